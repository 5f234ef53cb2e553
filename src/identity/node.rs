use std::collections::HashMap;

use crate::api;
use crate::san::{DnsName, NodeName, San};

/// What a Node object says of its node: written by the kubelet itself unless a cloud controller owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    name: NodeName,
    uid: String,
    deleting: bool,
    addresses: Vec<San>,
}

impl NodeRecord {
    /// Reads a Node object. Addresses that are neither a host name nor an IP address are left out: no request can
    /// ask for them. `None` for an object without a valid name, which the API server does not store.
    #[must_use]
    pub fn read(node: &api::Node) -> Option<Self> {
        let mut addresses: Vec<San> =
            node.status.addresses.iter().filter_map(|item| San::from_node_address(&item.address).ok()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Some(Self {
            name: node.metadata.name.as_deref()?.parse().ok()?,
            uid: node.metadata.uid.clone().unwrap_or_default(),
            deleting: node.metadata.deletion_timestamp.is_some(),
            addresses,
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
}

/// All Nodes of the cluster, as last seen.
#[derive(Debug, Default)]
pub struct NodeIndex {
    nodes: HashMap<NodeName, NodeRecord>,
}

impl NodeIndex {
    /// Takes in a Node as it is now; tells whether anything changed that a decision could rest on.
    pub fn apply(&mut self, record: NodeRecord) -> bool {
        match self.nodes.get_mut(record.name()) {
            Some(known) if *known == record => false,
            Some(known) => {
                *known = record;
                true
            }
            None => {
                self.nodes.insert(record.name.clone(), record);
                true
            }
        }
    }

    /// Forgets a Node; tells whether it was known.
    pub fn remove(&mut self, name: &NodeName) -> bool {
        self.nodes.remove(name).is_some()
    }

    /// Forgets all Nodes but those that `keep` holds, and returns the names of the forgotten.
    pub fn retain(&mut self, keep: impl Fn(&NodeName) -> bool) -> Vec<NodeName> {
        let gone: Vec<NodeName> = self.nodes.keys().filter(|name| !keep(name)).cloned().collect();
        for name in &gone {
            self.nodes.remove(name);
        }
        gone
    }

    /// The Node of this name.
    #[must_use]
    pub fn get(&self, name: &NodeName) -> Option<&NodeRecord> {
        self.nodes.get(name)
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
        match self.fresh.iter().find(|(fresh, _)| fresh == name) {
            Some((_, record)) => record.as_ref(),
            None => self.index.get(name),
        }
    }

    /// The Node other than `node` whose name this is.
    #[must_use]
    pub fn other_named(&self, name: &DnsName, node: &NodeName) -> Option<&'a NodeName> {
        let other = name.as_str().parse().ok().filter(|other| other != node)?;
        self.get(&other).map(NodeRecord::name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, addresses: &[&str]) -> NodeRecord {
        let addresses: Vec<_> =
            addresses.iter().map(|a| serde_json::json!({"type": "InternalIP", "address": a})).collect();
        let node = serde_json::json!({"metadata": {"name": name, "uid": "u"}, "status": {"addresses": addresses}});
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
    fn tells_changes_that_matter_from_heartbeats() {
        let mut index = NodeIndex::default();
        assert!(index.apply(record("a", &["10.0.0.1"])));
        assert!(!index.apply(record("a", &["10.0.0.1"])));
        assert!(index.apply(record("a", &["10.0.0.1", "10.0.0.2"])));
        assert!(index.remove(&"a".parse().unwrap()));
        assert!(!index.remove(&"a".parse().unwrap()));
    }

    #[test]
    fn what_was_read_afresh_outweighs_the_index() {
        let mut index = NodeIndex::default();
        index.apply(record("a", &["10.0.0.1"]));
        index.apply(record("b", &[]));
        let (a, b): (NodeName, NodeName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let fresh = [(a.clone(), Some(record("a", &["10.0.0.9"]))), (b.clone(), None)];
        let nodes = Nodes::new(&index, &fresh);
        assert!(nodes.get(&a).unwrap().lists(&san("10.0.0.9")));
        assert_eq!(nodes.other_named(&"B".parse().unwrap(), &a), None);
        assert_eq!(Nodes::new(&index, &[]).other_named(&"B".parse().unwrap(), &a), Some(&b));
        assert_eq!(Nodes::new(&index, &[]).other_named(&"A".parse().unwrap(), &a), None);
    }
}
