//! The format of a case file.
// Each program that includes this module uses a part of it.
#![allow(dead_code)]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use countersign::controller::{Plan, plan};
use countersign::identity::{
    Inventory, MachineIndex, MachineRecord, NodeIndex, NodeRecord, Protected, Resolution, Resolutions,
};
use countersign::policy::{Budget, Policy, Rule, Source};
use countersign::san::San;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::build::Request;
use crate::common::csr::{Cluster, Csr, describe};

/// One file: what its cases have in common, and the cases.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaseFile {
    /// What the cases show, in a sentence.
    description: String,
    /// A policy, or the name of a file under `policies/`.
    #[serde(default)]
    policy: PolicySource,
    /// The cluster's Nodes.
    #[serde(default)]
    nodes: Vec<NodeSource>,
    /// The ranges of the cluster's Services.
    #[serde(default)]
    service_ranges: Vec<String>,
    /// Addresses of the API server's endpoints.
    #[serde(default)]
    api_server: Vec<IpAddr>,
    /// Addresses of load balancers, where the policy has them protected.
    #[serde(default)]
    load_balancers: Vec<IpAddr>,
    /// The Machines that Nodes run on.
    #[serde(default)]
    machines: Vec<MachineSource>,
    /// The operator's inventory.
    inventory: Option<serde_yaml::Mapping>,
    /// In what order contested things were claimed at an earlier run.
    #[serde(default)]
    remembered: BTreeMap<String, String>,
    /// The cluster's domain.
    #[serde(default = "cluster_local")]
    cluster_domain: String,
    pub cases: Vec<Case>,
}

/// A request, and what has to become of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// The Nodes of this case, instead of the file's.
    pub nodes: Option<Vec<NodeSource>>,
    /// Whether the same node has filed a newer request.
    #[serde(default)]
    superseded: bool,
    /// How many approvals the node has had within the last moments.
    #[serde(default)]
    approved_just_now: u32,
    /// Where names lead in DNS; a name that is not listed cannot be looked up.
    resolves: Option<BTreeMap<String, Vec<IpAddr>>>,
    /// Whether the watch of Nodes is down.
    #[serde(default)]
    nodes_unavailable: bool,
    request: Request,
    verdict: Expected,
    /// The names of all reasons, in order.
    #[serde(default)]
    reasons: Vec<String>,
    /// A piece of the sentence that people read.
    #[serde(default)]
    message: String,
    /// The policy's rule that decides.
    rule: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Approve,
    Deny,
    Defer,
    Ignore,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PolicySource {
    File(String),
    Inline(serde_yaml::Mapping),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSource {
    name: String,
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
    seen: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MachineSource {
    node: String,
    #[serde(default)]
    addresses: Vec<String>,
    provider_id: Option<String>,
}

impl MachineSource {
    fn record(&self) -> Option<MachineRecord> {
        MachineRecord::read(&serde_json::from_value(self.object()).unwrap())
    }

    fn object(&self) -> Value {
        let addresses: Vec<_> = self.addresses.iter().map(|a| json!({"type": "InternalIP", "address": a})).collect();
        json!({
            "metadata": {"name": self.node},
            "spec": {"providerID": self.provider_id},
            "status": {"nodeRef": {"name": self.node}, "addresses": addresses},
        })
    }
}

fn cluster_local() -> String {
    "cluster.local".to_owned()
}

impl Default for PolicySource {
    fn default() -> Self {
        Self::File("default.yaml".to_owned())
    }
}

impl NodeSource {
    fn record(&self) -> NodeRecord {
        let mut node = self.object();
        node["metadata"]["uid"] = format!("uid-of-{}", self.name).into();
        if self.deleting {
            node["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        NodeRecord::read(&serde_json::from_value(node).unwrap()).unwrap()
    }

    fn object(&self) -> Value {
        let addresses: Vec<_> = self.addresses.iter().map(|a| json!({"type": "InternalIP", "address": a})).collect();
        json!({
            "metadata": {"name": self.name, "labels": self.labels},
            "spec": {
                "podCIDRs": self.pod_ranges, "podCIDR": self.pod_ranges.first(), "providerID": self.provider_id,
            },
            "status": {"addresses": addresses},
        })
    }
}

impl PolicySource {
    fn text(&self) -> Result<String, String> {
        match self {
            Self::Inline(policy) => serde_yaml::to_string(policy).map_err(|error| error.to_string()),
            Self::File(name) => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name);
                fs::read_to_string(path).map_err(|error| format!("policies/{name}: {error}"))
            }
        }
    }

    fn load(&self) -> Result<Policy, String> {
        Policy::load(self.text()?.as_bytes()).map_err(|error| format!("policy: {error}"))
    }
}

/// A Node of a cluster that is to be as a case has it.
pub struct ClusterNode {
    /// The object to create, status included.
    pub object: Value,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// Nodes with a smaller number are there before the program starts; the others come one after another.
    pub seen: u64,
}

/// For a real cluster that is to be as the file has it.
impl CaseFile {
    /// The policy, byte for byte.
    pub fn policy_text(&self) -> String {
        self.policy.text().unwrap()
    }

    /// The inventory, where there is one.
    pub fn inventory_text(&self) -> Option<String> {
        self.inventory.as_ref().map(|it| serde_yaml::to_string(it).unwrap())
    }

    /// What the program has to be told.
    pub fn flags(&self) -> Vec<String> {
        let ranges = self.service_ranges.iter().map(|range| format!("--service-cidr={range}"));
        ranges.chain([format!("--cluster-domain={}", self.cluster_domain)]).collect()
    }

    /// The Machines, as objects of Cluster API.
    pub fn machines(&self) -> Vec<Value> {
        self.machines.iter().map(MachineSource::object).collect()
    }

    /// The Nodes of a case; none where a case speaks of what only happens by accident in a real cluster.
    pub fn nodes(&self, case: &Case) -> Option<Vec<ClusterNode>> {
        let accidental = case.superseded
            || case.nodes_unavailable
            || case.approved_just_now > 0
            || self.policy.load().unwrap().asks(Source::Dns)
            || !(self.api_server.is_empty() && self.load_balancers.is_empty() && self.remembered.is_empty());
        let sources = case.nodes.as_ref().unwrap_or(&self.nodes);
        let later: Vec<u64> = sources.iter().map(|source| source.seen).filter(|seen| *seen > 0).collect();
        let at_once = later.iter().collect::<HashSet<_>>().len() < later.len();
        let node = |it: &NodeSource| ClusterNode { object: it.object(), deleting: it.deleting, seen: it.seen };
        (!accidental && !at_once).then(|| sources.iter().map(node).collect())
    }

    /// The request of a case, and what the program has to make of it.
    pub fn plan(&self, case: &Case) -> Result<(Csr, Plan), String> {
        let csr = case.request.build()?;
        let cluster = self.cluster(case);
        let plan = plan(&csr.judge(&cluster), &cluster.policy);
        Ok((csr, plan))
    }
}

impl Expected {
    fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Defer => "defer",
            Self::Ignore => "ignore",
        }
    }

    fn has_reasons(self) -> bool {
        match self {
            Self::Deny | Self::Defer => true,
            Self::Approve | Self::Ignore => false,
        }
    }
}

impl Case {
    fn resolutions(&self) -> Resolutions {
        let Some(resolves) = &self.resolves else { return Resolutions::default() };
        let lookup = |name: &String| match resolves.get(name) {
            Some(found) => Resolution::Addresses(found.clone()),
            None => Resolution::Failed("no answer within 5 s".to_owned()),
        };
        self.request.dns.iter().map(|name| (name.parse().unwrap(), lookup(name))).collect()
    }
}

impl CaseFile {
    /// Reads a file, and says what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let file: Self = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        file.policy.load()?;
        let mut names = HashSet::new();
        for case in &file.cases {
            if !names.insert(&case.name) {
                return Err(format!("two cases have the name {:?}", case.name));
            }
            if case.verdict.has_reasons() == case.reasons.is_empty() {
                return Err(format!("{}: deny and defer come with reasons, approve and ignore without", case.name));
            }
        }
        Ok(file)
    }

    /// What is not as the cases say it has to be.
    pub fn failures(&self) -> Vec<String> {
        self.cases.iter().filter_map(|case| self.failure(case)).collect()
    }

    fn failure(&self, case: &Case) -> Option<String> {
        let csr = match case.request.build() {
            Ok(csr) => csr,
            Err(error) => return Some(format!("{}\n  the request cannot be built: {error}", case.name)),
        };
        let cluster = self.cluster(case);
        let evaluation = csr.judge(&cluster);
        let (verdict, reasons, text) = describe(&evaluation);
        let fits = verdict == case.verdict.as_str()
            && reasons == case.reasons
            && text.contains(&case.message)
            && case.rule.as_deref().is_none_or(|rule| evaluation.rule.is_some_and(|it| it.name() == rule));
        if fits {
            return None;
        }
        let with = |label: &str, text: &str| if text.is_empty() { String::new() } else { format!("{label}{text}") };
        Some(format!(
            "{}\n  expected: {} [{}]{}{}\n  got:      {verdict} [{}]{}{}",
            case.name,
            case.verdict.as_str(),
            case.reasons.join(", "),
            with(", by the rule ", case.rule.as_deref().unwrap_or_default()),
            with(": ", &case.message),
            reasons.join(", "),
            with(", by the rule ", evaluation.rule.map(Rule::name).unwrap_or_default()),
            with(": ", &text),
        ))
    }

    fn cluster(&self, case: &Case) -> Cluster {
        let mut nodes = NodeIndex::default();
        let orders = self.remembered.iter();
        let orders = orders.map(|(san, order)| (San::from_node_address(san).unwrap(), order.parse().unwrap()));
        nodes.remember(orders, 0);
        for source in case.nodes.as_ref().unwrap_or(&self.nodes) {
            nodes.apply(source.record(), source.seen);
        }
        let ranges = self.service_ranges.iter().map(|range| range.parse().unwrap()).collect();
        let mut protected = Protected::new(self.cluster_domain.parse().unwrap(), ranges);
        protected.load_balancers = self.load_balancers.iter().copied().collect();
        protected.api_server.addresses = self.api_server.iter().copied().collect();
        let inventory =
            self.inventory.as_ref().map(|it| Inventory::load(serde_yaml::to_string(it).unwrap().as_bytes()).unwrap());
        let mut machines = MachineIndex::default();
        for (position, machine) in self.machines.iter().enumerate() {
            machines.apply(&position.to_string(), machine.record());
        }
        let mut budget = Budget::full(Timestamp::UNIX_EPOCH);
        for _ in 0..case.approved_just_now {
            budget.take(120, Timestamp::UNIX_EPOCH);
        }
        Cluster {
            nodes,
            unavailable: if case.nodes_unavailable { vec!["nodes"] } else { Vec::new() },
            machines,
            inventory,
            budget: Some(budget),
            dns: case.resolutions(),
            protected,
            superseded: case.superseded,
            policy: self.policy.load().unwrap(),
        }
    }
}
