//! The operator's own word on whose names and addresses are whose.

use std::collections::{HashMap, HashSet};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::policy::{ApiVersion, FieldPath, File, FileError, Problem, range, read_yaml};
use crate::san::{DnsName, NodeName, San};

/// The `kind` of an inventory file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
enum InventoryKind {
    NodeInventory,
}

/// Which names and addresses are whose, in the operator's own word.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NodeInventory {
    #[allow(dead_code, reason = "read for its check only")]
    /// `countersign/v1`.
    api_version: ApiVersion,
    #[allow(dead_code, reason = "read for its check only")]
    /// `NodeInventory`.
    kind: InventoryKind,
    /// The nodes, each once.
    nodes: Vec<InventoryNode>,
}

/// One node of the inventory.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InventoryNode {
    /// The name of its Node object.
    name: String,
    /// Its addresses, and ranges in CIDR notation.
    #[serde(default)]
    addresses: Vec<String>,
    /// Its host names.
    #[serde(default)]
    dns_names: Vec<String>,
}

/// Which node has which names and addresses. Nothing is in it twice.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    nodes: HashSet<NodeName>,
    names: HashMap<DnsName, NodeName>,
    /// Sorted by their first address, and disjoint.
    ranges: Vec<(IpNet, NodeName)>,
}

impl Inventory {
    /// Reads an inventory file.
    ///
    /// # Errors
    /// [`FileError`] with everything that is wrong with it: a node, a name or an address that is in it twice included.
    pub fn load(bytes: &[u8]) -> Result<Self, FileError> {
        let file: File<NodeInventory> = read_yaml(bytes).map_err(FileError::new)?;
        let mut inventory = Self::default();
        let mut problems = Vec::new();
        let nodes = FieldPath::default().key("nodes");
        for (position, node) in file.value.nodes.iter().enumerate() {
            inventory.add(node, &nodes.index(position), &file, &mut problems);
        }
        inventory.ranges.sort_unstable();
        let mut disjoint: Vec<(IpNet, NodeName)> = Vec::with_capacity(inventory.ranges.len());
        for (range, node) in inventory.ranges {
            match disjoint.last() {
                Some((outer, owner)) if outer.contains(&range) => {
                    if *owner != node {
                        let message = format!("{range} of node {node} is within {outer} of node {owner}");
                        problems.push(file.problem(nodes.clone(), message));
                    }
                }
                Some(_) | None => disjoint.push((range, node)),
            }
        }
        inventory.ranges = disjoint;
        if problems.is_empty() { Ok(inventory) } else { Err(FileError::new(problems)) }
    }

    /// The JSON Schema of an inventory file (draft 2020-12), made from the types that read it.
    #[must_use]
    pub fn json_schema() -> schemars::Schema {
        schemars::schema_for!(NodeInventory)
    }

    fn add(&mut self, node: &InventoryNode, path: &FieldPath, file: &File<NodeInventory>, problems: &mut Vec<Problem>) {
        let name: NodeName = match node.name.parse() {
            Ok(name) => name,
            Err(error) => {
                problems.push(file.problem(path.key("name"), error.to_string()));
                return;
            }
        };
        if !self.nodes.insert(name.clone()) {
            problems.push(file.problem(path.key("name"), format!("node {name} is in the inventory twice")));
        }
        for (position, text) in node.dns_names.iter().enumerate() {
            let path = path.key("dnsNames").index(position);
            match text.parse::<DnsName>() {
                Err(error) => problems.push(file.problem(path, error.to_string())),
                Ok(dns_name) => {
                    if let Some(other) = self.names.insert(dns_name, name.clone()).filter(|other| *other != name) {
                        problems.push(file.problem(path, format!("{text} is a name of node {other} too")));
                    }
                }
            }
        }
        for (position, text) in node.addresses.iter().enumerate() {
            match range(text) {
                Err(problem) => problems.push(file.problem(path.key("addresses").index(position), problem)),
                Ok(range) => self.ranges.push((range, name.clone())),
            }
        }
    }

    /// How many nodes are in it.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The node that has this name or address, if any has.
    #[must_use]
    pub fn owner(&self, san: &San) -> Option<&NodeName> {
        match san {
            San::Dns(name) => self.names.get(name),
            San::Ip(address) => {
                let after = self.ranges.partition_point(|(range, _)| range.network() <= *address);
                // The ranges are disjoint, so that only the one with the nearest start can hold the address.
                let (range, node) = self.ranges.get(after.checked_sub(1)?)?;
                range.contains(address).then_some(node)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: countersign/v1\nkind: NodeInventory\nnodes:\n";

    fn errors(nodes: &str) -> Vec<String> {
        let error = Inventory::load(format!("{HEAD}{nodes}").as_bytes()).unwrap_err();
        error.problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn knows_whose_names_and_addresses_are_whose() {
        let text = format!(
            "{HEAD}- {{name: a, addresses: [10.0.0.1, 10.1.0.0/16, 10.1.2.0/24, 'fd00::/64'], dnsNames: [A.example.com]}}\n\
             - {{name: b, addresses: [10.0.0.2]}}\n"
        );
        let inventory = Inventory::load(text.as_bytes()).unwrap();
        assert_eq!(inventory.node_count(), 2);
        let owner = |text: &str| inventory.owner(&San::from_node_address(text).unwrap()).map(ToString::to_string);
        for (text, expected) in [
            ("10.0.0.1", Some("a")),
            ("10.0.0.2", Some("b")),
            ("10.0.0.3", None),
            ("10.0.0.0", None),
            ("10.1.2.255", Some("a")),
            ("10.1.3.0", Some("a")),
            ("10.2.0.0", None),
            ("fd00::1", Some("a")),
            ("fd00:0:0:1::1", None),
            ("a.EXAMPLE.com", Some("a")),
            ("b.example.com", None),
            ("a", None),
        ] {
            assert_eq!(owner(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_said_twice() {
        assert_eq!(
            errors("- name: a\n- name: a\n"),
            ["line 5, column 3: nodes[1].name: node a is in the inventory twice"]
        );
        assert_eq!(
            errors("- {name: a, dnsNames: [x.example.com]}\n- {name: b, dnsNames: [X.example.com]}\n"),
            ["line 5, column 24: nodes[1].dnsNames[0]: X.example.com is a name of node a too"]
        );
        assert_eq!(
            errors("- {name: a, addresses: [10.1.0.0/16]}\n- {name: b, addresses: [10.1.2.3]}\n"),
            ["line 3, column 1: nodes: 10.1.2.3/32 of node b is within 10.1.0.0/16 of node a"]
        );
        assert_eq!(
            errors("- {name: a, addresses: [10.1.0.0/16, 10.1.2.0/24]}\n- {name: b, addresses: [10.1.3.0/24]}\n"),
            ["line 3, column 1: nodes: 10.1.3.0/24 of node b is within 10.1.0.0/16 of node a"]
        );
    }

    #[test]
    fn refuses_what_cannot_be_read() {
        assert!(errors("- {name: A}\n").first().unwrap().contains("not a valid node name"));
        assert!(errors("- {name: a, addresses: [10.0.0.0/33]}\n").first().unwrap().contains("neither an address"));
        assert!(errors("- {name: a, adresses: []}\n").first().unwrap().contains("did you mean `addresses`?"));
        assert_eq!(Inventory::load(b"").unwrap_err().to_string(), "the file is empty");
    }
}
