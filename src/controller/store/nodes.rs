//! Nodes as the watch brings them, and what was seen before what.

use std::collections::{BTreeSet, HashSet};

use kube::runtime::watcher::Event;

use super::Store;
use crate::api::Node;
use crate::identity::{Moment, NodeChange, NodeRecord};
use crate::san::NodeName;

impl Store {
    /// Takes in what the watch of Nodes brings.
    pub(in crate::controller) fn follow_node(&mut self, event: Event<Node>) {
        match event {
            Event::Init => {
                // Of what one list brings nobody knows what came first; but all of it came after what was known. A list
                // that breaks off goes on in the next one: what it has brought did not come before the rest.
                if self.listed.is_none() {
                    self.next_moment();
                }
                self.listed = Some(HashSet::new());
            }
            Event::InitApply(node) => {
                if let Some(record) = NodeRecord::read(&node) {
                    self.listed.get_or_insert_default().insert(record.name().clone());
                    self.apply_node(record);
                }
            }
            Event::Apply(node) => {
                self.next_moment();
                if let Some(record) = NodeRecord::read(&node) {
                    self.apply_node(record);
                }
            }
            Event::Delete(node) => {
                self.next_moment();
                if let Some(name) = node.metadata.name.and_then(|name| name.parse::<NodeName>().ok()) {
                    self.remove_node(&name);
                }
            }
            Event::InitDone => {
                if let Some(listed) = self.listed.take() {
                    self.retain_nodes(&listed);
                }
            }
        }
    }

    /// Takes in a Node as it is now. The pending requests to which it matters are put in line.
    pub(in crate::controller) fn apply_node(&mut self, record: NodeRecord) {
        let name = record.name().clone();
        let change = self.nodes.apply(record, self.moment);
        self.node_changed(&name, &change);
    }

    /// The moment up to which everything has been seen.
    pub(in crate::controller) fn moment(&self) -> Moment {
        self.moment
    }

    /// The moment of the list that is under way, or else of the next one.
    pub(in crate::controller) fn moment_of_list(&self) -> Moment {
        if self.listed.is_some() { self.moment } else { self.moment + 1 }
    }

    /// What is seen from now on was seen after all that was seen before.
    pub(in crate::controller) fn next_moment(&mut self) {
        self.moment += 1;
    }

    fn remove_node(&mut self, name: &NodeName) {
        let change = self.nodes.remove(name);
        self.node_changed(name, &change);
    }

    /// Forgets every Node but these, which are all that exist.
    fn retain_nodes(&mut self, names: &HashSet<NodeName>) {
        let gone: Vec<NodeName> = self.nodes.names().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            self.remove_node(&name);
        }
    }

    fn node_changed(&mut self, name: &NodeName, change: &NodeChange) {
        if !change.changed {
            return;
        }
        self.push_requests_of(name);
        // Whoever else claims the same may be on its own now.
        let claims = self.nodes.claims();
        let others: BTreeSet<NodeName> = change.claims.iter().flat_map(|san| claims.holders(san)).cloned().collect();
        for other in others {
            self.push_requests_of(&other);
        }
        if change.freed_range {
            self.push_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::api::KUBELET_SERVING;
    use crate::gather::Surroundings;
    use crate::identity::Contest;
    use crate::san::San;

    fn store() -> Store {
        Store::new(Surroundings::new("cluster.local".parse().unwrap(), Vec::new()))
    }

    /// A Node with the address over which there is a conflict.
    fn node(name: &str) -> Node {
        let addresses = json!([{"type": "InternalIP", "address": "10.0.0.1"}]);
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"addresses": addresses}})).unwrap()
    }

    /// A list that brings these, of which the end is still to come.
    fn list(store: &mut Store, names: &[&str]) {
        store.follow_node(Event::Init);
        for name in names {
            store.follow_node(Event::InitApply(node(name)));
        }
    }

    fn contest(store: &Store, name: &str) -> Option<Contest> {
        let san = San::from_node_address("10.0.0.1").unwrap();
        store.nodes.claims().contest(&san, &name.parse().unwrap())
    }

    #[test]
    fn a_list_that_broke_off_makes_nobody_the_first() {
        let mut store = store();
        list(&mut store, &["thief"]);
        list(&mut store, &["thief"]);
        list(&mut store, &["thief", "victim"]);
        store.follow_node(Event::InitDone);
        let [thief, victim] = ["thief", "victim"].map(|name| contest(&store, name));
        assert_eq!(thief, Some(Contest::Unknown("victim".parse().unwrap())));
        assert_eq!(victim, Some(Contest::Unknown("thief".parse().unwrap())));
    }

    #[test]
    fn what_a_list_brings_comes_after_all_that_an_earlier_one_has_brought() {
        let mut store = store();
        list(&mut store, &["victim"]);
        store.follow_node(Event::InitDone);
        list(&mut store, &["thief", "victim"]);
        store.follow_node(Event::InitDone);
        assert_eq!(contest(&store, "victim"), None);
        assert_eq!(contest(&store, "thief"), Some(Contest::Later("victim".parse().unwrap())));
    }

    #[test]
    fn a_list_that_broke_off_does_not_overtake_what_is_remembered() {
        let mut store = store();
        list(&mut store, &["thief"]);
        let order = "victim thief".parse().unwrap();
        let until = store.moment_of_list();
        store.nodes.remember([(San::from_node_address("10.0.0.1").unwrap(), order)], until);
        list(&mut store, &["thief"]);
        list(&mut store, &["thief", "victim"]);
        store.follow_node(Event::InitDone);
        assert_eq!(contest(&store, "victim"), None);
    }

    #[test]
    fn what_one_event_brings_comes_before_what_the_next_one_does() {
        let mut store = store();
        store.follow_node(Event::Apply(node("victim")));
        store.follow_node(Event::Apply(node("thief")));
        assert_eq!(contest(&store, "victim"), None);
        assert_eq!(contest(&store, "thief"), Some(Contest::Later("victim".parse().unwrap())));
    }

    #[test]
    fn what_is_remembered_holds_for_what_a_list_brings_and_for_nothing_later() {
        let remember = |store: &mut Store, order: &str| {
            let (order, until) = (order.parse().unwrap(), store.moment_of_list());
            store.nodes.remember([(San::from_node_address("10.0.0.1").unwrap(), order)], until);
        };
        let mut before = store();
        before.follow_node(Event::Apply(node("thief")));
        remember(&mut before, "victim thief");
        list(&mut before, &["thief", "victim"]);
        let mut under_way = store();
        list(&mut under_way, &["victim"]);
        remember(&mut under_way, "thief victim");
        under_way.follow_node(Event::InitDone);
        under_way.follow_node(Event::Apply(node("thief")));
        for store in [before, under_way] {
            assert_eq!(contest(&store, "victim"), None);
            assert_eq!(contest(&store, "thief"), Some(Contest::Later("victim".parse().unwrap())));
        }
    }

    #[test]
    fn a_request_is_judged_again_when_what_was_in_its_way_is_gone() {
        let pods = json!({"metadata": {"name": "pods"}, "spec": {"podCIDRs": ["10.0.0.0/24"]}});
        let csr = json!({
            "metadata": {"name": "csr-a", "uid": "1", "resourceVersion": "1"},
            "spec": {"request": "", "signerName": KUBELET_SERVING, "username": "system:node:victim"},
        });
        for in_its_way in [node("thief"), serde_json::from_value(pods).unwrap()] {
            let mut store = store();
            store.follow_node(Event::Apply(in_its_way.clone()));
            store.follow_node(Event::Apply(node("victim")));
            store.apply_request(serde_json::from_value(csr.clone()).unwrap(), None);
            let (requestor, name) = store.queue.pop(Instant::now()).unwrap();
            store.queue.done(&requestor);
            assert_eq!(store.queue.pop(Instant::now()), None);
            store.follow_node(Event::Delete(in_its_way));
            assert_eq!(store.queue.pop(Instant::now()), Some((requestor, name)));
        }
    }

    #[test]
    fn only_a_list_that_is_complete_tells_what_is_gone() {
        let mut store = store();
        list(&mut store, &["a", "b"]);
        store.follow_node(Event::InitDone);
        list(&mut store, &["a"]);
        list(&mut store, &["b"]);
        assert_eq!(store.nodes.names().count(), 2);
        store.follow_node(Event::InitDone);
        assert_eq!(store.nodes.names().map(NodeName::as_str).collect::<Vec<_>>(), ["b"]);
    }
}
