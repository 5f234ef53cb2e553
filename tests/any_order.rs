//! The same Nodes in whatever order come to the same answers. Where Nodes contradict each other, only the order matters
//! in which their claims were seen; and a restart or a change of leader, at whatever point, changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use countersign::identity::{Contest, Moment, NodeIndex, NodeRecord, Order, PodRange};
use countersign::san::{NodeName, San};
use proptest::prelude::*;
use serde_json::json;

const NODES: usize = 5;
const SANS: [&str; 6] = ["a.example.com", "b.example.com", "10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1"];
const RANGES: [&str; 3] = ["10.0.0.0/24", "10.0.0.0/16", "fd00::/64"];

/// What happens to one Node: it is now like this, or gone.
#[derive(Clone, Debug)]
struct Event {
    node: usize,
    now: Option<(Vec<bool>, Vec<bool>)>,
}

fn event() -> impl Strategy<Value = Event> {
    let flags = |count| prop::collection::vec(any::<bool>(), count);
    // Ranges are rarer than addresses, as in life.
    let ranges = prop_oneof![3 => Just(vec![false; RANGES.len()]), 1 => flags(RANGES.len())];
    let now = prop_oneof![4 => (flags(SANS.len()), ranges).prop_map(Some), 1 => Just(None)];
    (0..NODES, now).prop_map(|(node, now)| Event { node, now })
}

fn name(node: usize) -> NodeName {
    format!("node-{node}").parse().unwrap()
}

fn record(node: usize, sans: &[bool], ranges: &[bool]) -> NodeRecord {
    let chosen = |all: &[&str], flags: &[bool]| -> Vec<String> {
        all.iter().zip(flags).filter(|(_, chosen)| **chosen).map(|(text, _)| (*text).to_owned()).collect()
    };
    let addresses: Vec<_> =
        chosen(&SANS, sans).into_iter().map(|text| json!({"type": "InternalIP", "address": text})).collect();
    let node = json!({
        "metadata": {"name": name(node).as_str(), "uid": "u"},
        "spec": {"podCIDRs": chosen(&RANGES, ranges)},
        "status": {"addresses": addresses},
    });
    NodeRecord::read(&serde_json::from_value(node).unwrap()).unwrap()
}

/// The cluster as it is, and what the program knows of it.
#[derive(Default)]
struct World {
    index: NodeIndex,
    nodes: BTreeMap<usize, NodeRecord>,
    moment: Moment,
}

impl World {
    fn see(&mut self, event: &Event) {
        self.moment += 1;
        if let Some((sans, ranges)) = &event.now {
            let record = record(event.node, sans, ranges);
            self.index.apply(record.clone(), self.moment);
            self.nodes.insert(event.node, record);
        } else {
            self.index.remove(&name(event.node));
            self.nodes.remove(&event.node);
        }
    }

    /// The program ends, and starts again with what it has kept and a list in whatever order.
    fn restart(&mut self, backwards: bool) {
        let orders = self.kept();
        let mut records: Vec<NodeRecord> = self.nodes.values().cloned().collect();
        if backwards {
            records.reverse();
        }
        self.index = NodeIndex::default();
        self.index.remember(orders, 0);
        self.moment = 1;
        for record in records {
            self.index.apply(record, self.moment);
        }
    }

    /// After a gap, the watch brings everything as another has seen it, at one moment.
    fn list(&mut self, as_seen_by: &World) {
        self.moment += 1;
        for record in as_seen_by.nodes.values() {
            self.index.apply(record.clone(), self.moment);
        }
        for gone in self.nodes.keys().filter(|node| !as_seen_by.nodes.contains_key(node)) {
            self.index.remove(&name(*gone));
        }
        self.nodes.clone_from(&as_seen_by.nodes);
    }

    /// What it writes down for others.
    fn kept(&self) -> Vec<(San, Order)> {
        self.index.claims().contested().iter().map(|(san, order)| (san.clone(), order.clone())).collect()
    }

    /// What stands in the way of every node for everything that it could ask for. Which of several others is named does
    /// not matter where nobody knows who was first.
    fn answers(&self) -> Vec<(usize, &'static str, String)> {
        let claims = self.index.claims();
        let mut answers = Vec::new();
        for node in 0..NODES {
            for text in SANS {
                let san = San::from_node_address(text).unwrap();
                let contest = match claims.contest(&san, &name(node)) {
                    None => "nobody".to_owned(),
                    Some(Contest::Later(first)) => format!("{first} before"),
                    Some(Contest::Unknown(_)) => "unknown".to_owned(),
                    Some(Contest::Pods(range, _)) => format!("pods of {range}"),
                };
                let pods = match san.as_ip().and_then(|address| claims.pod_range(address, Some(&name(node)))) {
                    None => "free",
                    Some(PodRange::Within(..)) => "pods",
                    Some(PodRange::Unknown(..)) => "perhaps pods",
                };
                answers.push((node, text, format!("{contest}, {pods}")));
            }
        }
        answers
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_at_any_point_changes_nothing(
        events in prop::collection::vec(event(), 1..16),
        restarts in prop::collection::vec((0..16_usize, any::<bool>()), 1..4),
    ) {
        let (mut steady, mut restarted) = (World::default(), World::default());
        for (point, event) in events.iter().enumerate() {
            steady.see(event);
            restarted.see(event);
            for (at, backwards) in &restarts {
                if *at == point {
                    restarted.restart(*backwards);
                }
            }
            prop_assert_eq!(steady.answers(), restarted.answers());
        }
    }

    #[test]
    fn a_change_of_leader_at_any_point_changes_nothing(
        events in prop::collection::vec((event(), prop::bool::weighted(0.7)), 1..16),
        dies in 0..16_usize,
        after in 0..4_usize,
    ) {
        // A standby whose watch has gaps; none after the leader's death, which nobody could make good.
        let (mut leader, mut standby) = (World::default(), World::default());
        let (mut kept, mut until, mut gap, mut took_over) = (Vec::new(), 0, false, false);
        for (point, (event, seen)) in events.iter().enumerate() {
            leader.see(event);
            match (seen, gap) {
                (false, _) if point < dies => gap = true,
                (_, true) => {
                    standby.list(&leader);
                    gap = false;
                }
                (_, false) => standby.see(event),
            }
            if point <= dies {
                kept = leader.kept();
                if point == dies && gap {
                    standby.list(&leader);
                    gap = false;
                }
                until = standby.moment;
            }
            if point == dies + after {
                standby.index.remember(std::mem::take(&mut kept), until);
                took_over = true;
            }
            if took_over {
                prop_assert_eq!(leader.answers(), standby.answers());
            }
        }
    }

    #[test]
    fn without_contradictions_no_order_matters(
        owners in prop::collection::vec(prop::option::of(0..NODES), SANS.len()),
        events in prop::collection::vec(event(), 0..8),
        order in Just((0..NODES).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let last = |node: usize| Event {
            node,
            now: Some((owners.iter().map(|owner| *owner == Some(node)).collect(), vec![false; RANGES.len()])),
        };
        let (mut straight, mut winding) = (World::default(), World::default());
        for node in 0..NODES {
            straight.see(&last(node));
        }
        // Whatever was before, in the end every Node is as it is there.
        let ends = order.iter().map(|node| last(*node));
        for event in events.into_iter().chain(ends) {
            winding.see(&event);
        }
        prop_assert_eq!(straight.answers(), winding.answers());
        prop_assert!(winding.index.claims().contested().is_empty());
    }
}
