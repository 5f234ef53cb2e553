//! What the Machines behind the Nodes say: written by the infrastructure's controllers, not by nodes.

use std::collections::{HashMap, HashSet};

use super::NodeRecord;
use crate::api;
use crate::san::{NodeName, San};

/// One Machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineRecord {
    node: NodeName,
    provider_id: Option<String>,
    addresses: Vec<San>,
}

impl MachineRecord {
    /// Reads a Machine. `None` as long as no Node runs on it.
    #[must_use]
    pub fn read(machine: &api::Machine) -> Option<Self> {
        let node = machine.status.node_ref.as_ref()?.name.parse().ok()?;
        let addresses = machine.status.addresses.iter();
        Some(Self {
            node,
            provider_id: machine.spec.provider_id.clone(),
            addresses: addresses.filter_map(|item| San::from_node_address(&item.address).ok()).collect(),
        })
    }

    /// A machine vouches for its Node's name and for every address that it lists.
    fn vouches_for(&self, san: &San) -> bool {
        self.addresses.contains(san) || san.as_dns().is_some_and(|name| self.node.is(name))
    }

    /// Machines of several clusters may be managed in one place, and their nodes be called alike.
    fn is_of(&self, record: &NodeRecord) -> bool {
        self.node == *record.name()
            && (self.provider_id.is_none() || self.provider_id.as_deref() == record.provider_id())
    }
}

/// All Machines on which Nodes run, as last seen.
#[derive(Debug, Default)]
pub struct MachineIndex {
    machines: HashMap<String, MachineRecord>,
    by_node: HashMap<NodeName, HashSet<String>>,
}

impl MachineIndex {
    /// Takes in a Machine as it is now; `None` when no Node runs on it. Returns the nodes to which that matters.
    pub fn apply(&mut self, key: &str, record: Option<MachineRecord>) -> Vec<NodeName> {
        if self.machines.get(key) == record.as_ref() {
            return Vec::new();
        }
        let mut affected: Vec<NodeName> = Vec::new();
        if let Some(old) = self.machines.remove(key) {
            if let Some(keys) = self.by_node.get_mut(&old.node) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_node.remove(&old.node);
                }
            }
            affected.push(old.node);
        }
        if let Some(new) = record {
            affected.push(new.node.clone());
            self.by_node.entry(new.node.clone()).or_default().insert(key.to_owned());
            self.machines.insert(key.to_owned(), new);
        }
        affected
    }

    /// The keys that begin with this.
    #[must_use]
    pub fn keys_of(&self, group: &str) -> Vec<String> {
        self.machines.keys().filter(|key| key.starts_with(group)).cloned().collect()
    }

    /// Whether a Machine of this Node vouches for the name or address.
    #[must_use]
    pub fn vouch(&self, record: &NodeRecord, san: &San) -> bool {
        let keys = self.by_node.get(record.name()).into_iter().flatten();
        keys.filter_map(|key| self.machines.get(key)).any(|machine| machine.is_of(record) && machine.vouches_for(san))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn machine(node: Option<&str>, provider_id: Option<&str>, addresses: &[&str]) -> Option<MachineRecord> {
        let addresses: Vec<_> = addresses.iter().map(|a| json!({"type": "InternalIP", "address": a})).collect();
        let machine = json!({
            "metadata": {"name": "m", "namespace": "n"},
            "spec": {"providerID": provider_id},
            "status": {"nodeRef": node.map(|name| json!({"kind": "Node", "name": name})), "addresses": addresses},
        });
        MachineRecord::read(&serde_json::from_value(machine).unwrap())
    }

    fn node(name: &str, provider_id: Option<&str>) -> NodeRecord {
        let node = json!({"metadata": {"name": name}, "spec": {"providerID": provider_id}});
        NodeRecord::read(&serde_json::from_value(node).unwrap()).unwrap()
    }

    fn san(text: &str) -> San {
        San::from_node_address(text).unwrap()
    }

    #[test]
    fn a_machine_vouches_for_its_nodes_name_and_its_own_addresses() {
        let mut index = MachineIndex::default();
        assert_eq!(index.apply("g/n/m", machine(Some("a"), None, &["10.0.0.1", "a.internal"])).len(), 1);
        for (what, vouched) in
            [("a", true), ("10.0.0.1", true), ("A.internal", true), ("10.0.0.2", false), ("b", false)]
        {
            assert_eq!(index.vouch(&node("a", None), &san(what)), vouched, "{what}");
            assert!(!index.vouch(&node("b", None), &san(what)), "{what}");
        }
    }

    #[test]
    fn a_machine_of_another_cluster_with_a_node_of_the_same_name_does_not() {
        let mut index = MachineIndex::default();
        index.apply("g/n/m", machine(Some("a"), Some("cloud:///1"), &["10.0.0.1"]));
        assert!(index.vouch(&node("a", Some("cloud:///1")), &san("10.0.0.1")));
        assert!(!index.vouch(&node("a", Some("cloud:///2")), &san("10.0.0.1")));
        assert!(!index.vouch(&node("a", None), &san("10.0.0.1")));
    }

    #[test]
    fn tells_which_nodes_a_change_matters_to_and_forgets() {
        let mut index = MachineIndex::default();
        assert!(index.apply("g/n/m", machine(None, None, &["10.0.0.1"])).is_empty());
        index.apply("g/n/m", machine(Some("a"), None, &["10.0.0.1"]));
        assert!(index.apply("g/n/m", machine(Some("a"), None, &["10.0.0.1"])).is_empty());
        let affected = index.apply("g/n/m", machine(Some("b"), None, &["10.0.0.1"]));
        assert_eq!(affected.iter().map(NodeName::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(index.apply("g/n/m", None).len(), 1);
        assert!(index.machines.is_empty() && index.by_node.is_empty());
    }

    #[test]
    fn finds_the_machines_of_one_kind_so_that_those_that_are_gone_can_be_forgotten() {
        let mut index = MachineIndex::default();
        for key in ["g/n/m", "g/n/o", "h/n/m"] {
            index.apply(key, machine(Some("a"), None, &[]));
        }
        let mut keys = index.keys_of("g");
        keys.sort_unstable();
        assert_eq!(keys, ["g/n/m", "g/n/o"]);
    }
}
