use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::claims::{Claims, Moment, Order};
use crate::api;
use crate::san::{NodeName, San};

/// How many addresses of one Node are looked at. A node writes its own status, and nobody has that many.
const MAX_ADDRESSES: usize = 256;
/// The label of control-plane nodes. NodeRestriction keeps kubelets from giving it to themselves (KEP-279).
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// What a Node object says of its node: written by the kubelet itself unless a cloud controller owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    name: NodeName,
    uid: Box<str>,
    deleting: bool,
    addresses: Box<[San]>,
    pod_ranges: Box<[IpNet]>,
    provider_id: Option<Box<str>>,
    labels: Box<[(Arc<str>, Arc<str>)]>,
}

impl NodeRecord {
    /// Reads a Node object. Addresses that are neither a host name nor an IP address are left out: no request can
    /// ask for them. `None` for an object without a valid name, which the API server does not store.
    #[must_use]
    pub fn read(node: &api::Node) -> Option<Self> {
        let addresses = node.status.addresses.iter().take(MAX_ADDRESSES);
        let mut addresses: Vec<San> = addresses.filter_map(|item| San::from_node_address(&item.address).ok()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut pod_ranges: Vec<IpNet> = node
            .spec
            .pod_cidrs
            .iter()
            .filter_map(|text| text.parse::<IpNet>().ok())
            .map(|range| range.trunc())
            .collect();
        pod_ranges.sort_unstable();
        pod_ranges.dedup();
        let labels = node.metadata.labels.iter().flatten();
        Some(Self {
            name: node.metadata.name.as_deref()?.parse().ok()?,
            uid: node.metadata.uid.as_deref().unwrap_or_default().into(),
            deleting: node.metadata.deletion_timestamp.is_some(),
            addresses: addresses.into(),
            pod_ranges: pod_ranges.into(),
            provider_id: node.spec.provider_id.as_deref().map(Box::from),
            labels: labels.map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect(),
        })
    }

    /// The Node's `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The Node's `metadata.uid`, which a Node created anew under the same name does not share.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Whether the Node is being deleted.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// Whether the Node's `status.addresses` list this name or address.
    #[must_use]
    pub fn lists(&self, san: &San) -> bool {
        self.addresses.binary_search(san).is_ok()
    }

    /// The ranges of its pods.
    #[must_use]
    pub fn pod_ranges(&self) -> &[IpNet] {
        &self.pod_ranges
    }

    /// What the infrastructure calls the machine that the node runs on, as far as the Node says.
    #[must_use]
    pub fn provider_id(&self) -> Option<&str> {
        self.provider_id.as_deref()
    }

    /// Whether the Node is labelled as one of the control plane.
    #[must_use]
    pub fn is_control_plane(&self) -> bool {
        self.label(CONTROL_PLANE).is_some()
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        // Most labels differ in their lengths alone, which costs less to see than the order of a few.
        self.labels.iter().find(|(label, _)| **label == *key).map(|(_, value)| &**value)
    }

    /// Whether a label has this value.
    #[must_use]
    pub fn has_label(&self, key: &str, value: &str) -> bool {
        // Values differ sooner than keys.
        self.labels.iter().any(|(label, found)| **found == *value && **label == *key)
    }

    /// The Node's labels.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }
}

/// All Nodes of the cluster as last seen, and what they claim.
#[derive(Debug, Default)]
pub struct NodeIndex {
    nodes: HashMap<NodeName, NodeRecord>,
    /// The names of those that are called like an address.
    called_like_addresses: HashMap<Ipv4Addr, NodeName>,
    claims: Claims,
    texts: HashSet<Arc<str>>,
}

/// What a change of a Node means for others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NodeChange {
    /// Something changed that a decision about the node could rest on.
    pub changed: bool,
    /// Names and addresses that the Node claims or no longer claims.
    pub claims: Vec<San>,
    /// The Node no longer has a range of pods that it had.
    pub freed_range: bool,
}

impl NodeIndex {
    /// Takes in a Node as it is now, seen at this moment.
    pub fn apply(&mut self, mut record: NodeRecord, moment: Moment) -> NodeChange {
        let before = self.nodes.get(record.name());
        if before == Some(&record) {
            return NodeChange::default();
        }
        let (old, old_ranges) = before.map_or((&[][..], &[][..]), |before| (&*before.addresses, &*before.pod_ranges));
        let gone: Vec<San> = old.iter().filter(|san| !record.lists(san)).cloned().collect();
        let new: Vec<San> = record.addresses.iter().filter(|san| old.binary_search(san).is_err()).cloned().collect();
        let gone_ranges: Vec<IpNet> = old_ranges.iter().filter(|it| !record.pod_ranges.contains(it)).copied().collect();
        for san in &gone {
            self.claims.remove(san, &record.name);
        }
        for san in &new {
            self.claims.add(san, &record.name, moment);
        }
        for range in &gone_ranges {
            self.claims.remove_range(range, &record.name);
        }
        for range in &*record.pod_ranges {
            self.claims.add_range(*range, &record.name, moment);
        }
        for (key, value) in &mut record.labels {
            *key = self.intern(key);
            *value = self.intern(value);
        }
        if let Some(address) = record.name.as_address() {
            self.called_like_addresses.insert(address, record.name.clone());
        }
        self.nodes.insert(record.name.clone(), record);
        NodeChange {
            changed: true,
            claims: gone.into_iter().chain(new).collect(),
            freed_range: !gone_ranges.is_empty(),
        }
    }

    /// Forgets a Node.
    pub fn remove(&mut self, name: &NodeName) -> NodeChange {
        let Some(record) = self.nodes.remove(name) else { return NodeChange::default() };
        if let Some(address) = name.as_address() {
            self.called_like_addresses.remove(&address);
        }
        for san in &*record.addresses {
            self.claims.remove(san, name);
        }
        for range in &*record.pod_ranges {
            self.claims.remove_range(range, name);
        }
        NodeChange { changed: true, claims: record.addresses.into(), freed_range: !record.pod_ranges.is_empty() }
    }

    /// The names of all Nodes.
    pub fn names(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.keys()
    }

    /// The Node of this name.
    #[must_use]
    pub fn get(&self, name: &NodeName) -> Option<&NodeRecord> {
        self.nodes.get(name)
    }

    /// What the Nodes claim.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Takes in what another run has left: in what order contested things were claimed. See [`Claims::remember`].
    pub fn remember(&mut self, orders: impl IntoIterator<Item = (San, Order)>, until: Moment) {
        self.claims.remember(orders, until);
    }

    /// Labels are the same on thousands of Nodes; each text is kept once. Values that nobody has any more are dropped
    /// when the table has doubled.
    fn intern(&mut self, text: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        if self.texts.len() == self.texts.capacity() {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
        }
        self.texts.insert(text.clone());
        text.clone()
    }
}

/// The Nodes as one decision sees them: the index, overlaid with those that were read afresh for it.
#[derive(Clone, Copy, Debug)]
pub struct Nodes<'a> {
    index: &'a NodeIndex,
    fresh: &'a [(NodeName, Option<NodeRecord>)],
}

impl<'a> Nodes<'a> {
    /// The index, and over it what was read afresh: `None` where there is no Node of that name.
    #[must_use]
    pub fn new(index: &'a NodeIndex, fresh: &'a [(NodeName, Option<NodeRecord>)]) -> Self {
        Self { index, fresh }
    }

    /// The Node of this name.
    #[must_use]
    pub fn get(&self, name: &NodeName) -> Option<&'a NodeRecord> {
        self.named(name.as_str())
    }

    fn named(&self, name: &str) -> Option<&'a NodeRecord> {
        match self.fresh.iter().find(|(fresh, _)| fresh.as_str() == name) {
            Some((_, record)) => record.as_ref(),
            None => self.index.nodes.get(name),
        }
    }

    /// The Node other than `node` whose name this is. A Node may be called like its IPv4 address; names have no colons.
    #[must_use]
    pub fn other_named(&self, san: &San, node: &NodeName) -> Option<&'a NodeName> {
        match san {
            San::Dns(name) if node.is(name) => None,
            San::Dns(name) => self.named(name.as_str()).map(NodeRecord::name),
            San::Ip(IpAddr::V4(address)) => self.called(*address).filter(|called| *called != node),
            San::Ip(IpAddr::V6(_)) => None,
        }
    }

    fn called(&self, address: Ipv4Addr) -> Option<&'a NodeName> {
        match self.fresh.iter().find(|(fresh, _)| fresh.as_address() == Some(address)) {
            Some((_, record)) => record.as_ref().map(NodeRecord::name),
            None => self.index.called_like_addresses.get(&address),
        }
    }

    /// Whether the index has what was read afresh. What Nodes claim is known from the index alone: events come in their
    /// order, so that with a Node as it is now all is there that others claimed before.
    #[must_use]
    pub fn agree(&self) -> bool {
        self.fresh.iter().all(|(name, record)| self.index.get(name) == record.as_ref())
    }

    /// What the Nodes claim.
    #[must_use]
    pub fn claims(&self) -> &'a Claims {
        self.index.claims()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, addresses: &[&str]) -> NodeRecord {
        let addresses: Vec<_> =
            addresses.iter().map(|a| serde_json::json!({"type": "InternalIP", "address": a})).collect();
        let node = serde_json::json!({
            "metadata": {"name": name, "uid": "u", "labels": {"zone": "a"}}, "status": {"addresses": addresses},
        });
        NodeRecord::read(&serde_json::from_value(node).unwrap()).unwrap()
    }

    fn san(text: &str) -> San {
        San::from_node_address(text).unwrap()
    }

    #[test]
    fn lists_names_in_any_case_and_addresses_in_any_spelling() {
        let node = record("a", &["Worker.Example.com", "fd00:0::0001", "10.0.0.1", "not a name"]);
        for listed in ["worker.example.COM", "fd00::1", "10.0.0.1"] {
            assert!(node.lists(&san(listed)), "{listed}");
        }
        for foreign in ["example.com", "fd00::2", "10.0.0.10", "a"] {
            assert!(!node.lists(&san(foreign)), "{foreign}");
        }
    }

    #[test]
    fn looks_at_so_many_addresses_of_a_node_and_no_more() {
        let addresses: Vec<String> = (0..300).map(|i| format!("10.0.{}.{}", i / 256, i % 256)).collect();
        let node = record("a", &addresses.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(node.lists(&san("10.0.0.255")) && !node.lists(&san("10.0.1.0")));
    }

    #[test]
    fn tells_changes_that_matter_from_heartbeats() {
        let mut index = NodeIndex::default();
        assert!(index.apply(record("a", &["10.0.0.1"]), 0).changed);
        assert_eq!(index.apply(record("a", &["10.0.0.1"]), 1), NodeChange::default());
        assert_eq!(index.names().map(NodeName::as_str).collect::<Vec<_>>(), ["a"]);
        let change = index.apply(record("a", &["10.0.0.2"]), 2);
        assert_eq!(change.claims, [san("10.0.0.1"), san("10.0.0.2")]);
        assert_eq!(index.remove(&"a".parse().unwrap()).claims, [san("10.0.0.2")]);
        assert_eq!(index.remove(&"a".parse().unwrap()), NodeChange::default());
    }

    #[test]
    fn what_was_read_afresh_outweighs_the_index() {
        let mut index = NodeIndex::default();
        index.apply(record("a", &["10.0.0.1"]), 0);
        index.apply(record("b", &[]), 0);
        let (a, b): (NodeName, NodeName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let fresh = [(a.clone(), Some(record("a", &["10.0.0.9"]))), (b.clone(), None)];
        let nodes = Nodes::new(&index, &fresh);
        assert!(nodes.get(&a).unwrap().lists(&san("10.0.0.9")));
        assert_eq!(nodes.other_named(&san("b"), &a), None);
        assert_eq!(Nodes::new(&index, &[]).other_named(&san("b"), &a), Some(&b));
        assert_eq!(Nodes::new(&index, &[]).other_named(&san("a"), &a), None);
    }

    #[test]
    fn tells_whether_the_index_has_what_was_read_afresh() {
        let mut index = NodeIndex::default();
        index.apply(record("a", &["10.0.0.1"]), 0);
        let agree = |fresh: &[_]| Nodes::new(&index, fresh).agree();
        let (a, b): (NodeName, NodeName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let same = (a.clone(), Some(record("a", &["10.0.0.1"])));
        assert!(agree(&[]) && agree(std::slice::from_ref(&same)) && agree(&[(b.clone(), None)]));
        assert!(!agree(&[(a.clone(), Some(record("a", &["10.0.0.1", "10.0.0.2"])))]));
        assert!(!agree(&[(a, None)]));
        assert!(!agree(&[same, (b, Some(record("b", &[])))]));
    }

    #[test]
    fn a_node_may_be_called_like_an_address() {
        let mut index = NodeIndex::default();
        let (called, other): (NodeName, NodeName) = ("10.0.0.1".parse().unwrap(), "a".parse().unwrap());
        index.apply(record("10.0.0.1", &[]), 0);
        index.apply(record("a", &[]), 0);
        let of = |index: &NodeIndex, fresh: &[_], what: &str, node: &NodeName| {
            Nodes::new(index, fresh).other_named(&san(what), node).map(ToString::to_string)
        };
        assert_eq!(of(&index, &[], "10.0.0.1", &other).as_deref(), Some("10.0.0.1"));
        assert_eq!(of(&index, &[], "10.0.0.1", &called), None);
        assert_eq!(of(&index, &[], "10.0.0.2", &other), None);
        assert_eq!(of(&index, &[(called.clone(), None)], "10.0.0.1", &other), None);
        let new = ("10.0.0.2".parse().unwrap(), Some(record("10.0.0.2", &[])));
        assert_eq!(of(&index, &[new], "10.0.0.2", &other).as_deref(), Some("10.0.0.2"));
        index.remove(&called);
        assert_eq!(of(&index, &[], "10.0.0.1", &other), None);
    }

    #[test]
    fn says_which_object_it_is() {
        let node = record("a", &[]);
        assert_eq!((node.name().as_str(), node.uid(), node.label("zone")), ("a", "u", Some("a")));
    }

    #[test]
    fn tells_when_a_range_of_pods_is_free_again() {
        let node = |ranges: &[&str]| {
            let node = serde_json::json!({"metadata": {"name": "a"}, "spec": {"podCIDRs": ranges}});
            NodeRecord::read(&serde_json::from_value(node).unwrap()).unwrap()
        };
        let mut index = NodeIndex::default();
        assert!(!index.apply(node(&["10.9.0.0/24"]), 0).freed_range);
        assert!(!index.apply(node(&["10.9.0.0/24", "fd00::/64"]), 1).freed_range);
        assert!(index.apply(node(&["10.9.1.0/24", "fd00::/64"]), 2).freed_range);
        assert!(index.remove(&"a".parse().unwrap()).freed_range);
        index.apply(node(&[]), 3);
        assert!(!index.remove(&"a".parse().unwrap()).freed_range);
    }

    #[test]
    fn keeps_each_text_of_a_label_once_and_none_that_nobody_has() {
        let labelled = |name: &str, value: &str| {
            let node = serde_json::json!({"metadata": {"name": name, "labels": {"zone": value}}});
            NodeRecord::read(&serde_json::from_value(node).unwrap()).unwrap()
        };
        let mut index = NodeIndex::default();
        index.apply(labelled("first", "a"), 0);
        for round in 0..1000 {
            index.apply(labelled("changing", &round.to_string()), round);
        }
        index.apply(labelled("last", "a"), 1000);
        let texts = ["first", "last"].map(|name| index.get(&name.parse().unwrap()).unwrap().labels[0].clone());
        let [(first_key, first_value), (last_key, last_value)] = &texts;
        assert!(Arc::ptr_eq(first_key, last_key) && Arc::ptr_eq(first_value, last_value));
        assert!(index.texts.len() < 20, "{}", index.texts.len());
    }
}
