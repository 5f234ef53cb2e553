//! What a real cluster needs to know of a case file. That the file itself is right is checked elsewhere.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use countersign::cases::Request;
use serde::Deserialize;
use serde_json::{Value, json};

/// A cluster, a policy, and requests with what has to become of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseFile {
    policy: Option<Policy>,
    #[serde(default)]
    nodes: Vec<Node>,
    #[serde(default)]
    service_ranges: Vec<String>,
    #[serde(default)]
    api_server: Vec<String>,
    #[serde(default)]
    load_balancers: Vec<String>,
    #[serde(default)]
    machines: Vec<Machine>,
    inventory: Option<serde_yaml::Mapping>,
    #[serde(default)]
    remembered: BTreeMap<String, String>,
    cluster_domain: Option<String>,
    pub cases: Vec<Case>,
}

/// A request, and what has to become of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    pub name: String,
    pub nodes: Option<Vec<Node>>,
    #[serde(default)]
    superseded: bool,
    #[serde(default)]
    approved_just_now: u32,
    #[serde(default)]
    nodes_unavailable: bool,
    pub request: Request,
    pub verdict: String,
    #[serde(default)]
    pub reasons: Vec<String>,
    #[serde(default)]
    pub message: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Policy {
    File(String),
    Inline(serde_yaml::Mapping),
}

/// A Node.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    name: String,
    #[serde(default)]
    addresses: Vec<String>,
    /// Whether it is on its way out.
    #[serde(default)]
    pub deleting: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    pod_ranges: Vec<String>,
    provider_id: Option<String>,
    /// Nodes of number 0 are there before the program starts; the others come one after another.
    #[serde(default)]
    pub seen: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Machine {
    node: String,
    #[serde(default)]
    addresses: Vec<String>,
    provider_id: Option<String>,
}

fn addresses(texts: &[String]) -> Vec<Value> {
    texts.iter().map(|text| json!({"type": "InternalIP", "address": text})).collect()
}

impl Node {
    /// The object to create.
    pub fn object(&self) -> Value {
        json!({
            "metadata": {"name": self.name, "labels": self.labels},
            "spec": {
                "podCIDRs": self.pod_ranges, "podCIDR": self.pod_ranges.first(), "providerID": self.provider_id,
            },
            "status": {"addresses": addresses(&self.addresses)},
        })
    }
}

impl CaseFile {
    /// The policy's text.
    pub fn policy(&self, folder: &Path) -> Result<String> {
        Ok(match &self.policy {
            Some(Policy::File(name)) => std::fs::read_to_string(folder.join(name))?,
            Some(Policy::Inline(policy)) => serde_yaml::to_string(policy)?,
            None => std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/default.yaml"))?,
        })
    }

    /// What else the program has to be told. Files go to the directory.
    pub fn flags(&self, directory: &Path) -> Result<Vec<String>> {
        let mut flags: Vec<String> =
            self.service_ranges.iter().map(|range| format!("--service-cidr={range}")).collect();
        flags.extend(self.cluster_domain.iter().map(|domain| format!("--cluster-domain={domain}")));
        if let Some(inventory) = &self.inventory {
            let path: PathBuf = directory.join("case-inventory.yaml");
            std::fs::write(&path, serde_yaml::to_string(inventory)?)?;
            flags.push(format!("--inventory={}", path.display()));
        }
        Ok(flags)
    }

    /// The Machines, as objects of Cluster API.
    pub fn machines(&self) -> Vec<Value> {
        let object = |machine: &Machine| {
            json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2",
                "kind": "Machine",
                "metadata": {"name": machine.node},
                "spec": {"providerID": machine.provider_id},
                "status": {"nodeRef": {"name": machine.node}, "addresses": addresses(&machine.addresses)},
            })
        };
        self.machines.iter().map(object).collect()
    }

    /// The Nodes of a case; none where it speaks of what only happens by accident in a real cluster.
    pub fn nodes<'f>(&'f self, case: &'f Case) -> Option<&'f [Node]> {
        let accidental = case.superseded
            || case.nodes_unavailable
            || case.approved_just_now > 0
            || !(self.api_server.is_empty() && self.load_balancers.is_empty() && self.remembered.is_empty());
        let nodes = case.nodes.as_deref().unwrap_or(&self.nodes);
        let later: Vec<u64> = nodes.iter().map(|node| node.seen).filter(|seen| *seen > 0).collect();
        let at_once = later.iter().collect::<HashSet<_>>().len() < later.len();
        (!accidental && !at_once).then_some(nodes)
    }
}
