//! The cluster of a case, in short.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::identity::{MachineRecord, NodeRecord};

/// A Node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NodeSource {
    pub(super) name: String,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    deleting: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// The ranges of its pods.
    #[serde(default)]
    pod_ranges: Vec<String>,
    provider_id: Option<String>,
    /// When its claims were seen: later than those of a smaller number, and of equal ones nobody knows.
    #[serde(default)]
    pub(super) seen: u64,
}

/// A Machine.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MachineSource {
    pub(super) node: String,
    #[serde(default)]
    addresses: Vec<String>,
    provider_id: Option<String>,
}

impl NodeSource {
    /// None where its name is none.
    pub(super) fn record(&self) -> Option<NodeRecord> {
        let node = json!({
            "metadata": {
                "name": self.name,
                "uid": format!("uid-of-{}", self.name),
                "labels": self.labels,
                "deletionTimestamp": self.deleting.then_some("2026-01-01T00:00:00Z"),
            },
            "spec": {"podCIDRs": self.pod_ranges, "providerID": self.provider_id},
            "status": {"addresses": addresses(&self.addresses)},
        });
        NodeRecord::read(&serde_json::from_value(node).ok()?)
    }
}

impl MachineSource {
    /// None where its Node's name is none.
    pub(super) fn record(&self) -> Option<MachineRecord> {
        let machine = json!({
            "metadata": {"name": "machine"},
            "spec": {"providerID": self.provider_id},
            "status": {"nodeRef": {"name": self.node}, "addresses": addresses(&self.addresses)},
        });
        MachineRecord::read(&serde_json::from_value(machine).ok()?)
    }
}

fn addresses(texts: &[String]) -> Vec<serde_json::Value> {
    texts.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect()
}
