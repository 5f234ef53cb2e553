//! Who else claims a name or an address, and who was first.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use smallvec::SmallVec;
use thiserror::Error;

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
    /// The order of contested claims as another run of this program has left it.
    remembered: HashMap<San, Remembered>,
    contested: BTreeMap<San, Order>,
}

/// An order of claims, and up to which moment it outweighs what was seen here.
#[derive(Debug)]
struct Remembered {
    order: Order,
    until: Moment,
}

/// The Nodes that claim one thing: nearly always one, which takes no memory of its own.
#[derive(Debug, Default)]
struct Holders(SmallVec<[(NodeName, Moment); 1]>);

impl Holders {
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

/// A Node's claim to one name or address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// The Node lists it.
    Listed(NodeName),
    /// The address is within this range of the Node's pods.
    PodRange(IpNet, NodeName),
}

impl Claim {
    fn node(&self) -> &NodeName {
        match self {
            Self::Listed(node) | Self::PodRange(_, node) => node,
        }
    }
}

/// The claims to one name or address in the order they were seen; those of one inner list at the same moment.
///
/// As text, what was seen at different moments stands apart by a space and what was seen at the same by a comma; a range
/// of pods stands before its Node, with a tilde: `victim thief 10.0.0.0/8~pods,late`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order(Vec<Vec<Claim>>);

impl Order {
    /// Where a claim stands; behind all others if it is not among them.
    fn position(&self, claim: &Claim) -> usize {
        self.0.iter().position(|moment| moment.contains(claim)).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, moment) in self.0.iter().enumerate() {
            for (within, claim) in moment.iter().enumerate() {
                f.write_str(match (position, within) {
                    (0, 0) => "",
                    (_, 0) => " ",
                    (_, _) => ",",
                })?;
                match claim {
                    Claim::Listed(node) => node.fmt(f)?,
                    Claim::PodRange(range, node) => write!(f, "{range}~{node}")?,
                }
            }
        }
        Ok(())
    }
}

/// A text that is no order of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an order of claims")]
pub struct OrderError;

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let node = |text: &str| text.parse::<NodeName>().map_err(|_| OrderError);
        let claim = |text: &str| match text.split_once('~') {
            Some((range, holder)) => {
                let range = range.parse().map_err(|_| OrderError)?;
                node(holder).map(|holder| Claim::PodRange(range, holder))
            }
            None => node(text).map(Claim::Listed),
        };
        let moment = |text: &str| text.split(',').map(claim).collect::<Result<Vec<_>, _>>();
        text.split(' ').map(moment).collect::<Result<Vec<_>, _>>().map(Self)
    }
}

/// Why a node may not have what it claims although its Node lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contest {
    /// This Node claimed it first.
    Later(NodeName),
    /// This Node claims it too, and nobody saw who was first.
    Unknown(NodeName),
    /// It is within this range of this Node's pods, which was there before.
    Pods(IpNet, NodeName),
}

/// Whether an address is among a Node's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodRange {
    /// Of this range of this Node, which was there before the claim to the address.
    Within(IpNet, NodeName),
    /// Of this range of this Node, and nobody saw which was first.
    Unknown(IpNet, NodeName),
}

/// Who was first: by the remembered order as far as it outweighs the rest, then by the moment of being seen, then by the
/// remembered order again, since of what one list brings only that can tell.
type Rank = (usize, Moment, usize);

impl Claims {
    /// Takes in what another run has left, in place of what was taken in before. It had seen everything up to `until`, a
    /// moment of this run, so that its order is right for all claims that were seen by then and still stand; of later
    /// ones it only settles those that were seen at one moment.
    pub fn remember(&mut self, orders: impl IntoIterator<Item = (San, Order)>, until: Moment) {
        self.remembered.retain(|san, _| self.contested.contains_key(san));
        for (san, order) in orders {
            self.remembered.insert(san.clone(), Remembered { order, until });
            self.note_contest(&san);
        }
    }

    pub(super) fn add(&mut self, san: &San, node: &NodeName, moment: Moment) {
        self.sans.entry(san.clone()).or_default().add(node, moment);
        self.note_contest(san);
    }

    pub(super) fn remove(&mut self, san: &San, node: &NodeName) {
        if let Some(holders) = self.sans.get_mut(san) {
            holders.remove(node);
            if holders.0.is_empty() {
                self.sans.remove(san);
            }
        }
        self.note_contest(san);
    }

    pub(super) fn add_range(&mut self, range: IpNet, node: &NodeName, moment: Moment) {
        let lengths = &mut self.lengths;
        let holders = self.ranges.entry(range).or_insert_with(|| {
            *lengths.entry(length(&range)).or_default() += 1;
            Holders::default()
        });
        holders.add(node, moment);
        self.note_contests_within(&range);
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
        self.note_contests_within(range);
    }

    /// Whether another Node stands in the way of `node` having `san`, which its own Node may or may not claim.
    #[must_use]
    pub fn contest(&self, san: &San, node: &NodeName) -> Option<Contest> {
        let holders = self.sans.get(san)?;
        let other = holders.0.iter().map(|(holder, _)| holder).find(|holder| *holder != node)?;
        let rank = |(holder, moment): &(NodeName, Moment)| self.rank(san, &Claim::Listed(holder.clone()), *moment);
        let earliest = holders.0.iter().map(rank).min()?;
        let mut first = holders.0.iter().filter(|holder| rank(holder) == earliest).map(|(holder, _)| holder);
        match (first.next(), first.next()) {
            (Some(first), None) if first == node => None,
            (Some(first), None) => Some(Contest::Later(first.clone())),
            (Some(_) | None, _) => Some(Contest::Unknown(other.clone())),
        }
    }

    /// Whether `address` is among the pods of a Node, its own included, for all that `node` can claim.
    #[must_use]
    pub fn pod_range(&self, address: IpAddr, node: Option<&NodeName>) -> Option<PodRange> {
        let san = San::Ip(address);
        let mut overlays = self.overlays(&san).peekable();
        // Mostly there are none.
        overlays.peek()?;
        let own = node.and_then(|node| {
            let moment = self.sans.get(&san)?.moment_of(node)?;
            Some(self.rank(&san, &Claim::Listed(node.clone()), moment))
        });
        let mut unknown = None;
        for (range, holder, since) in overlays {
            match own {
                Some(own) if Some(holder) != node && own < since => {}
                Some(own) if Some(holder) != node && own == since => {
                    unknown = Some(PodRange::Unknown(range, holder.clone()));
                }
                Some(_) | None => return Some(PodRange::Within(range, holder.clone())),
            }
        }
        unknown
    }

    /// Everything that several Nodes claim, and in what order: what has to be remembered.
    #[must_use]
    pub fn contested(&self) -> &BTreeMap<San, Order> {
        &self.contested
    }

    /// The Nodes that claim `san`.
    pub fn holders(&self, san: &San) -> impl Iterator<Item = &NodeName> {
        self.sans.get(san).into_iter().flat_map(|holders| holders.0.iter().map(|(node, _)| node))
    }

    fn rank(&self, san: &San, claim: &Claim, moment: Moment) -> Rank {
        match self.remembered.get(san).map(|it| (it.order.position(claim), it.until)) {
            Some((position, until)) if moment <= until => (position, moment, position),
            Some((position, _)) => (usize::MAX, moment, position),
            None => (usize::MAX, moment, usize::MAX),
        }
    }

    /// The ranges of pods that an address is in, whose they are and since when.
    fn overlays<'a>(&'a self, san: &'a San) -> impl Iterator<Item = (IpNet, &'a NodeName, Rank)> {
        let ranges = san.as_ip().into_iter().flat_map(|address| self.ranges_with(address));
        ranges.flat_map(move |(range, holders)| {
            holders.0.iter().map(move |(node, moment)| {
                (range, node, self.rank(san, &Claim::PodRange(range, node.clone()), *moment))
            })
        })
    }

    fn ranges_with(&self, address: IpAddr) -> impl Iterator<Item = (IpNet, &Holders)> {
        self.lengths.keys().filter(move |(v4, _)| *v4 == address.is_ipv4()).filter_map(move |(_, length)| {
            let range = IpNet::new(address, *length).ok()?.trunc();
            self.ranges.get(&range).map(|holders| (range, holders))
        })
    }

    fn note_contest(&mut self, san: &San) {
        match self.order(san) {
            Some(order) => {
                self.contested.insert(san.clone(), order);
            }
            None => {
                self.contested.remove(san);
            }
        }
    }

    /// In what order `san` was claimed, where several Nodes claim it.
    fn order(&self, san: &San) -> Option<Order> {
        let holders = self.sans.get(san)?;
        let listed = holders.0.iter().map(|(node, moment)| {
            let claim = Claim::Listed(node.clone());
            (self.rank(san, &claim, *moment), claim)
        });
        let overlays = self.overlays(san).map(|(range, node, rank)| (rank, Claim::PodRange(range, node.clone())));
        let mut claims: Vec<(Rank, Claim)> = listed.chain(overlays).collect();
        let (_, one) = claims.first()?;
        if claims.iter().all(|(_, claim)| claim.node() == one.node()) {
            return None;
        }
        claims.sort_unstable();
        let moments = claims.chunk_by(|(a, _), (b, _)| a == b);
        Some(Order(moments.map(|moment| moment.iter().map(|(_, claim)| claim.clone()).collect()).collect()))
    }

    fn note_contests_within(&mut self, range: &IpNet) {
        let (from, to) = (San::Ip(range.network()), San::Ip(range.broadcast()));
        let sans: Vec<San> = self.sans.range(from..=to).map(|(san, _)| san.clone()).collect();
        for san in sans {
            self.note_contest(&san);
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
        claims_after("", list)
    }

    /// Claims of a run that remembers an order for 10.0.0.1.
    fn claims_after(order: &str, list: &[(&str, &str, Moment)]) -> Claims {
        let mut claims = Claims::default();
        if !order.is_empty() {
            claims.remember([(san("10.0.0.1"), order.parse().unwrap())], 0);
        }
        for (holder, what, moment) in list {
            claims.add(&san(what), &node(holder), *moment);
        }
        claims
    }

    fn order(claims: &Claims, what: &str) -> Option<String> {
        claims.contested().get(&san(what)).map(ToString::to_string)
    }

    #[test]
    fn the_first_claimant_goes_on_and_the_later_waits() {
        let claims = claims(&[("victim", "10.0.0.1", 0), ("thief", "10.0.0.1", 1)]);
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("victim")), None);
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("thief")), Some(Contest::Later(node("victim"))));
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("third")), Some(Contest::Later(node("victim"))));
        assert_eq!(order(&claims, "10.0.0.1").as_deref(), Some("victim thief"));
        assert_eq!(claims.holders(&san("10.0.0.1")).collect::<Vec<_>>(), [&node("victim"), &node("thief")]);
    }

    #[test]
    fn where_nobody_saw_who_was_first_both_wait() {
        let claims = claims(&[("a", "10.0.0.1", 0), ("b", "10.0.0.1", 0), ("c", "10.0.0.1", 5)]);
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("a")), Some(Contest::Unknown(node("b"))));
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("b")), Some(Contest::Unknown(node("a"))));
        assert!(claims.contest(&san("10.0.0.1"), &node("c")).is_some());
        assert_eq!(order(&claims, "10.0.0.1").as_deref(), Some("a,b c"));
    }

    #[test]
    fn what_an_earlier_run_saw_settles_it_down_to_the_last() {
        let mut claims = claims_after("b a c", &[("a", "10.0.0.1", 1), ("b", "10.0.0.1", 1), ("c", "10.0.0.1", 1)]);
        assert_eq!(order(&claims, "10.0.0.1").as_deref(), Some("b a c"));
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("b")), None);
        claims.remove(&san("10.0.0.1"), &node("b"));
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("a")), None);
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("c")), Some(Contest::Later(node("a"))));
        claims.add(&san("10.0.0.1"), &node("b"), 2);
        assert_eq!(order(&claims, "10.0.0.1").as_deref(), Some("a c b"));
    }

    #[test]
    fn what_another_run_saw_outweighs_what_was_seen_here_up_to_its_end() {
        let mut claims = claims(&[("a", "10.0.0.1", 1), ("b", "10.0.0.1", 3), ("c", "10.0.0.1", 3)]);
        assert_eq!(order(&claims, "10.0.0.1").as_deref(), Some("a b,c"));
        claims.remember([(san("10.0.0.1"), "c b a".parse().unwrap())], 3);
        assert_eq!(order(&claims, "10.0.0.1").as_deref(), Some("c b a"));
        // What was dropped and claimed anew after that is later than the rest.
        claims.remove(&san("10.0.0.1"), &node("c"));
        claims.add(&san("10.0.0.1"), &node("c"), 4);
        assert_eq!(order(&claims, "10.0.0.1").as_deref(), Some("b a c"));
        // Where the other did not know either, what was seen here decides.
        claims.remember([(san("10.0.0.1"), "a,b,c".parse().unwrap())], 4);
        assert_eq!(order(&claims, "10.0.0.1").as_deref(), Some("a b c"));
    }

    #[test]
    fn what_is_remembered_of_settled_conflicts_is_dropped() {
        let mut claims = claims_after("a b", &[("a", "10.0.0.1", 1), ("b", "10.0.0.1", 1)]);
        claims.remember([], 1);
        assert_eq!(order(&claims, "10.0.0.1").as_deref(), Some("a b"));
        claims.remove(&san("10.0.0.1"), &node("b"));
        claims.remember([], 2);
        assert!(claims.remembered.is_empty());
    }

    #[test]
    fn who_came_while_nobody_looked_stands_behind_those_that_are_remembered() {
        let claims = claims_after("b a", &[("new", "10.0.0.1", 1), ("a", "10.0.0.1", 1), ("b", "10.0.0.1", 1)]);
        assert_eq!(order(&claims, "10.0.0.1").as_deref(), Some("b a new"));
    }

    #[test]
    fn when_the_other_drops_its_claim_there_is_no_contest() {
        let mut claims = claims(&[("victim", "10.0.0.1", 0), ("heir", "10.0.0.1", 1)]);
        claims.remove(&san("10.0.0.1"), &node("victim"));
        assert_eq!(claims.contest(&san("10.0.0.1"), &node("heir")), None);
        assert_eq!(order(&claims, "10.0.0.1"), None);
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
        let orders = ["10.9.0.1", "10.9.0.2", "10.9.0.3"].map(|address| order(&claims, address).unwrap());
        assert_eq!(orders, ["early 10.9.0.0/24~pods", "10.9.0.0/24~pods late", "same,10.9.0.0/24~pods"]);
        claims.remove_range(&range, &node("pods"));
        assert!(claims.contested().is_empty());
        assert_eq!(claims.pod_range("10.9.0.2".parse().unwrap(), Some(&node("late"))), None);
        assert!(claims.lengths.is_empty() && claims.ranges.is_empty());
    }

    #[test]
    fn a_restart_does_not_turn_a_pods_address_into_a_nodes() {
        let range: IpNet = "10.0.0.0/24".parse().unwrap();
        let mut claims = claims_after("10.0.0.0/24~pods a b", &[("a", "10.0.0.1", 1), ("b", "10.0.0.1", 1)]);
        claims.add_range(range, &node("pods"), 1);
        let of = |name: &str| claims.pod_range("10.0.0.1".parse().unwrap(), Some(&node(name)));
        assert_eq!(of("a"), Some(PodRange::Within(range, node("pods"))));
        let mut claims = claims_after("a 10.0.0.0/24~pods b", &[("a", "10.0.0.1", 1), ("b", "10.0.0.1", 1)]);
        claims.add_range(range, &node("pods"), 1);
        let of = |name: &str| claims.pod_range("10.0.0.1".parse().unwrap(), Some(&node(name)));
        assert_eq!((of("a"), of("b")), (None, Some(PodRange::Within(range, node("pods")))));
    }

    #[test]
    fn an_order_reads_as_it_is_written() {
        for text in ["a", "a b", "a,b c", "10.0.0.0/8~a b,fd00::/64~c", "worker-1.example.com 10.0.0.0/24~worker-2"] {
            assert_eq!(text.parse::<Order>().unwrap().to_string(), text);
        }
        for text in ["", "a  b", "a,,b", "~", "~a", "Not_A_Node", "10.0.0.0/8~", "10.0.0.0~a"] {
            assert!(text.parse::<Order>().is_err(), "{text:?}");
        }
    }
}
