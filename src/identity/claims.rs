//! Who else claims a name or an address, and who was first.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::san::{NodeName, San};

/// When a claim was seen: claims of a later moment came later; of two of one moment nobody knows which was first. What
/// the very first list brought has all one moment.
pub type Moment = u64;

/// Every name, address and pod range that Nodes claim in their own objects, by what is claimed.
#[derive(Debug, Default)]
pub struct Claims {
    /// Sorted, so that the addresses within a range are found.
    sans: BTreeMap<San, Holders>,
    ranges: HashMap<IpNet, Holders>,
    /// How many ranges there are of each prefix length, so as to look only for lengths that occur.
    lengths: BTreeMap<(bool, u8), usize>,
    /// Who was first in conflicts that were open before this program started.
    remembered: HashMap<San, NodeName>,
    conflicts: BTreeMap<San, NodeName>,
}

/// The Nodes that claim one thing: nearly always one.
#[derive(Debug)]
struct Holders(Vec<(NodeName, Moment)>);

impl Holders {
    /// The only one who was there at the earliest moment.
    fn first(&self) -> Option<&NodeName> {
        let earliest = self.0.iter().map(|(_, moment)| *moment).min()?;
        let mut first = self.0.iter().filter(|(_, moment)| *moment == earliest);
        match (first.next(), first.next()) {
            (Some((node, _)), None) => Some(node),
            _ => None,
        }
    }

    fn moment_of(&self, node: &NodeName) -> Option<Moment> {
        self.0.iter().find(|(holder, _)| holder == node).map(|(_, moment)| *moment)
    }

    fn add(&mut self, node: &NodeName, moment: Moment) {
        if self.moment_of(node).is_none() {
            self.0.push((node.clone(), moment));
        }
    }

    fn remove(&mut self, node: &NodeName) {
        self.0.retain(|(holder, _)| holder != node);
    }
}

/// Why a node may not have what it claims although its Node lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contest {
    /// This Node claimed it first.
    Later(NodeName),
    /// This Node claims it too, and nobody saw who was first.
    Unknown(NodeName),
}

/// Whether an address is among a Node's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodRange {
    /// Of this range of this Node, which was there before the claim to the address.
    Within(IpNet, NodeName),
    /// Of this range of this Node, and nobody saw which was first.
    Unknown(IpNet, NodeName),
}

impl Claims {
    /// Takes in what was kept of an earlier run: who was first in conflicts that were open then.
    pub fn remember(&mut self, first: impl IntoIterator<Item = (San, NodeName)>) {
        self.remembered.extend(first);
        let sans: Vec<San> = self.sans.keys().filter(|san| self.remembered.contains_key(*san)).cloned().collect();
        for san in sans {
            self.note_conflict(&san);
        }
    }

    pub(super) fn add(&mut self, san: &San, node: &NodeName, moment: Moment) {
        self.sans.entry(san.clone()).or_insert_with(|| Holders(Vec::new())).add(node, moment);
        self.note_conflict(san);
    }

    pub(super) fn remove(&mut self, san: &San, node: &NodeName) {
        if let Some(holders) = self.sans.get_mut(san) {
            holders.remove(node);
            if holders.0.is_empty() {
                self.sans.remove(san);
            }
        }
        self.note_conflict(san);
    }

    pub(super) fn add_range(&mut self, range: IpNet, node: &NodeName, moment: Moment) {
        let lengths = &mut self.lengths;
        let holders = self.ranges.entry(range).or_insert_with(|| {
            *lengths.entry(length(&range)).or_default() += 1;
            Holders(Vec::new())
        });
        holders.add(node, moment);
        self.note_conflicts_within(&range);
    }

    pub(super) fn remove_range(&mut self, range: &IpNet, node: &NodeName) {
        let Some(holders) = self.ranges.get_mut(range) else { return };
        holders.remove(node);
        if holders.0.is_empty() {
            self.ranges.remove(range);
            if let Some(count) = self.lengths.get_mut(&length(range)) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&length(range));
                }
            }
        }
        self.note_conflicts_within(range);
    }

    /// Whether another Node stands in the way of `node` having `san`, which its own Node may or may not claim.
    #[must_use]
    pub fn contest(&self, san: &San, node: &NodeName) -> Option<Contest> {
        let holders = self.sans.get(san)?;
        let other = holders.0.iter().map(|(holder, _)| holder).find(|holder| *holder != node)?;
        match self.first(san, holders) {
            Some(first) if first == node => None,
            Some(first) => Some(Contest::Later(first.clone())),
            None => Some(Contest::Unknown(other.clone())),
        }
    }

    /// Whether `address` is among the pods of a Node, its own included, for all that `node` can claim.
    #[must_use]
    pub fn pod_range(&self, address: IpAddr, node: Option<&NodeName>) -> Option<PodRange> {
        let san = San::Ip(address);
        let holders = self.sans.get(&san);
        let own = node.and_then(|node| holders.and_then(|holders| holders.moment_of(node)));
        let remembered = node.is_some() && self.remembered.get(&san) == node;
        self.ranges_with(address).find_map(|(range, holders)| {
            let (holder, since) = holders.0.iter().min_by_key(|(_, moment)| *moment)?;
            match own {
                _ if Some(holder) == node => Some(PodRange::Within(range, holder.clone())),
                Some(own) if own < *since => None,
                Some(own) if own == *since && remembered => None,
                Some(own) if own == *since => Some(PodRange::Unknown(range, holder.clone())),
                Some(_) | None => Some(PodRange::Within(range, holder.clone())),
            }
        })
    }

    /// The conflicts that are open and who was first in each: what has to be remembered.
    #[must_use]
    pub fn conflicts(&self) -> &BTreeMap<San, NodeName> {
        &self.conflicts
    }

    /// The Nodes that claim `san`.
    pub fn holders(&self, san: &San) -> impl Iterator<Item = &NodeName> {
        self.sans.get(san).into_iter().flat_map(|holders| holders.0.iter().map(|(node, _)| node))
    }

    fn ranges_with(&self, address: IpAddr) -> impl Iterator<Item = (IpNet, &Holders)> {
        self.lengths.keys().filter(move |(v4, _)| *v4 == address.is_ipv4()).filter_map(move |(_, length)| {
            let range = IpNet::new(address, *length).ok()?.trunc();
            self.ranges.get(&range).map(|holders| (range, holders))
        })
    }

    fn first<'a>(&'a self, san: &San, holders: &'a Holders) -> Option<&'a NodeName> {
        holders.first().or_else(|| {
            let remembered = self.remembered.get(san)?;
            holders.moment_of(remembered).map(|_| remembered)
        })
    }

    fn note_conflict(&mut self, san: &San) {
        match self.first_in_conflict(san).cloned() {
            Some(first) => {
                self.conflicts.insert(san.clone(), first);
            }
            None => {
                self.conflicts.remove(san);
            }
        }
    }

    /// Who was first with `san`, where others claim it too or have laid a range of pods over it since.
    fn first_in_conflict(&self, san: &San) -> Option<&NodeName> {
        let holders = self.sans.get(san)?;
        let first = self.first(san, holders)?;
        let overlaid = || match san {
            San::Dns(_) => false,
            San::Ip(address) => {
                self.ranges_with(*address).any(|(_, range)| range.0.iter().any(|(node, _)| node != first))
                    && self.pod_range(*address, Some(first)).is_none()
            }
        };
        (holders.0.len() > 1 || overlaid()).then_some(first)
    }

    fn note_conflicts_within(&mut self, range: &IpNet) {
        let (from, to) = (San::Ip(range.network()), San::Ip(range.broadcast()));
        let sans: Vec<San> = self.sans.range(from..=to).map(|(san, _)| san.clone()).collect();
        for san in sans {
            self.note_conflict(&san);
        }
    }
}

fn length(range: &IpNet) -> (bool, u8) {
    (range.addr().is_ipv4(), range.prefix_len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn san(text: &str) -> San {
        San::from_node_address(text).unwrap()
    }

    fn claims(list: &[(&str, &str, Moment)]) -> Claims {
        let mut claims = Claims::default();
        for (holder, what, moment) in list {
            claims.add(&san(what), &node(holder), *moment);
        }
        claims
    }

    #[test]
    fn the_first_claimant_goes_on_and_the_later_waits() {
        let claims = claims(&[("victim", "10.0.0.1", 0), ("thief", "10.0.0.1", 1)]);
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("victim")), None);
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("thief")), Some(Contest::Later(node("victim"))));
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("third")), Some(Contest::Later(node("victim"))));
        assert_eq!(claims.conflicts().get(&san("10.0.0.1")), Some(&node("victim")));
    }

    #[test]
    fn where_nobody_saw_who_was_first_both_wait() {
        let claims = claims(&[("a", "10.0.0.1", 0), ("b", "10.0.0.1", 0), ("c", "10.0.0.1", 5)]);
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("a")), Some(Contest::Unknown(node("b"))));
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("b")), Some(Contest::Unknown(node("a"))));
        assert!(claims.contest(&san("10.0.0.1"), &node("c")).is_some());
        assert!(claims.conflicts().is_empty());
    }

    #[test]
    fn what_an_earlier_run_saw_settles_it() {
        let mut claims = claims(&[("a", "10.0.0.1", 0), ("b", "10.0.0.1", 0)]);
        claims.remember([(san("10.0.0.1"), node("b"))]);
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("b")), None);
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("a")), Some(Contest::Later(node("b"))));
        claims.remove(&san("10.0.0.1"), &node("b"));
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("a")), None);
        assert!(claims.conflicts().is_empty());
    }

    #[test]
    fn when_the_other_drops_its_claim_there_is_no_contest() {
        let mut claims = claims(&[("victim", "10.0.0.1", 0), ("heir", "10.0.0.1", 1)]);
        claims.remove(&san("10.0.0.1"), &node("victim"));
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("heir")), None);
        claims.add(&san("10.0.0.1"), &node("victim"), 2);
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("victim")), Some(Contest::Later(node("heir"))));
    }

    #[test]
    fn a_pod_range_keeps_others_out_but_takes_nothing_from_those_who_were_there() {
        let mut claims = claims(&[("early", "10.9.0.1", 0), ("late", "10.9.0.2", 7), ("same", "10.9.0.3", 5)]);
        let range: IpNet = "10.9.0.0/24".parse().unwrap();
        claims.add_range(range, &node("pods"), 5);
        let within = Some(PodRange::Within(range, node("pods")));
        let of = |address: &str, name: &str| claims.pod_range(address.parse().unwrap(), Some(&node(name)));
        assert_eq!(of("10.9.0.1", "early"), None);
        assert_eq!(of("10.9.0.2", "late"), within);
        assert_eq!(of("10.9.0.3", "same"), Some(PodRange::Unknown(range, node("pods"))));
        assert_eq!(of("10.9.0.4", "nobody"), within);
        assert_eq!(of("10.9.0.4", "pods"), within);
        assert_eq!(of("10.9.1.4", "late"), None);
        assert_eq!(claims.pod_range("fd00::1".parse().unwrap(), None), None);
        // What has to survive a restart: who was there before the range.
        assert_eq!(claims.conflicts().iter().collect::<Vec<_>>(), [(&san("10.9.0.1"), &node("early"))]);
        claims.remove_range(&range, &node("pods"));
        assert!(claims.conflicts().is_empty());
        assert_eq!(claims.pod_range("10.9.0.2".parse().unwrap(), Some(&node("late"))), None);
        assert!(claims.lengths.is_empty() && claims.ranges.is_empty());
    }
}
