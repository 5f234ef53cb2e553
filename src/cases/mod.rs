//! Case files: a cluster and a policy in short, requests, and what has to become of them. They are the tests of
//! policies, and show by example what a policy does.

mod check;
mod cluster;
mod request;
mod sign;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use crate::identity::{Inventory, MachineIndex, NodeIndex, Nodes, Order, Protected, Resolution, Resolutions};
use crate::policy::{Budget, Evaluation, Facts, File, FileError, Policy, Rule, evaluate, read_yaml};
use crate::request::Reading;
use crate::san::San;
use crate::verdict::{DeferReason, DenyReason, IgnoreReason, Unavailable, Verdict};
use check::Check;
use cluster::{MachineSource, NodeSource};
pub use request::Request;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CaseFile {
    /// What the cases show, in a sentence.
    #[allow(dead_code, reason = "for people")]
    description: String,
    /// A policy, or the path of one, from the folder of the case file; the one that is built in where it is left out.
    policy: Option<PolicySource>,
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
    cases: Vec<Case>,
}

/// A request, and what has to become of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    /// The Nodes of this case, instead of the file's.
    nodes: Option<Vec<NodeSource>>,
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
    verdict: Name,
    /// The names of all reasons, in order.
    #[serde(default)]
    reasons: Vec<String>,
    /// A piece of the sentence that people read.
    #[serde(default)]
    message: String,
    /// The policy's rule that decides.
    rule: Option<String>,
}

/// The name of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    Approve,
    Deny,
    Defer,
    Ignore,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum PolicySource {
    File(String),
    Inline(serde_yaml::Mapping),
}

fn cluster_local() -> String {
    "cluster.local".to_owned()
}

/// The cases of a file, which was read whole and makes sense.
#[derive(Debug)]
pub struct Cases {
    policy: Policy,
    inventory: Option<Inventory>,
    machines: MachineIndex,
    protected: Protected,
    remembered: Vec<(San, Order)>,
    nodes: Vec<NodeSource>,
    list: Vec<Case>,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What it says.
    Right,
    /// Something else, or nothing.
    Wrong {
        /// What it says, a line for each part.
        expected: Vec<String>,
        /// What came, in the same way.
        got: Vec<String>,
    },
}

impl Cases {
    /// Reads a case file. `folder` is where it lies.
    ///
    /// # Errors
    /// [`FileError`] with everything that is wrong with it.
    pub fn load(bytes: &[u8], folder: &Path) -> Result<Self, FileError> {
        let file: File<CaseFile> = read_yaml(bytes).map_err(FileError::new)?;
        let mut check = Check::new(&file);
        let policy = check.policy(folder);
        let inventory = check.inventory();
        let protected = check.protected();
        let machines = check.machines();
        let remembered = check.remembered();
        check.nodes();
        check.cases();
        let problems = check.problems();
        match (policy, protected, problems.is_empty()) {
            (Some(policy), Some(protected), true) => Ok(Self {
                policy,
                inventory,
                machines,
                protected,
                remembered,
                nodes: file.value.nodes,
                list: file.value.cases,
            }),
            (_, _, _) => Err(FileError::new(problems)),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Decides about each request, and compares. Gives the name of each case and what came of it.
    pub fn run(&self) -> impl Iterator<Item = (&str, Outcome)> {
        self.list.iter().map(|case| (case.name.as_str(), self.run_one(case)))
    }

    fn run_one(&self, case: &Case) -> Outcome {
        let object = case.request.object().and_then(|it| serde_json::from_value(it).map_err(|error| error.to_string()));
        let csr = match object {
            Ok(csr) => csr,
            Err(error) => {
                let expected = vec![format!("verdict: {}", case.verdict)];
                return Outcome::Wrong { expected, got: vec![format!("the request cannot be built: {error}")] };
            }
        };
        let mut nodes = NodeIndex::default();
        nodes.remember(self.remembered.iter().cloned(), 0);
        for source in case.nodes.as_ref().unwrap_or(&self.nodes) {
            if let Some(record) = source.record() {
                nodes.apply(record, source.seen);
            }
        }
        let mut budget = Budget::full(Timestamp::UNIX_EPOCH);
        for _ in 0..case.approved_just_now {
            budget.take(120, Timestamp::UNIX_EPOCH);
        }
        let unavailable = Vec::from_iter(case.nodes_unavailable.then_some(Unavailable::Watch("nodes")));
        let facts = Facts {
            now: Timestamp::UNIX_EPOCH,
            nodes: Nodes::new(&nodes, &[]),
            unavailable: &unavailable,
            machines: &self.machines,
            machines_unavailable: &[],
            inventory: self.inventory.as_ref(),
            dns: &case.resolutions(),
            protected: &self.protected,
            superseded: case.superseded,
            budget: Some(&budget),
        };
        case.compare(&evaluate(&Reading::of(&csr), &facts, &self.policy))
    }
}

impl Case {
    /// What DNS says of the requested names; nothing where it is not asked.
    fn resolutions(&self) -> Resolutions {
        let lookup = |name: &String, resolves: &BTreeMap<String, Vec<IpAddr>>| match resolves.get(name) {
            Some(found) => Resolution::Addresses(found.clone()),
            None => Resolution::Failed("no answer within 5 s".to_owned()),
        };
        let names = self.request.dns_names().iter();
        let answers = self
            .resolves
            .iter()
            .flat_map(|resolves| names.clone().filter_map(|name| Some((name.parse().ok()?, lookup(name, resolves)))));
        answers.collect()
    }

    fn compare(&self, evaluation: &Evaluation<'_>) -> Outcome {
        let (verdict, reasons, message) = describe(&evaluation.verdict);
        let rule = evaluation.rule.map(Rule::name);
        let fits = verdict == self.verdict
            && reasons == self.reasons
            && message.contains(&self.message)
            && self.rule.as_deref().is_none_or(|expected| rule == Some(expected));
        if fits {
            return Outcome::Right;
        }
        let mut got = vec![format!("verdict: {verdict}"), format!("reasons: [{}]", reasons.join(", "))];
        got.push(format!("rule: {}", rule.unwrap_or("none")));
        got.push(format!("message: {message}"));
        Outcome::Wrong { expected: self.expected(&message, rule), got }
    }

    /// What is expected, next to a message and a rule that came: what the case does not ask for is as it came.
    fn expected(&self, message: &str, rule: Option<&str>) -> Vec<String> {
        let rule = self.rule.as_deref().or(rule).unwrap_or("none");
        let message = if message.contains(&self.message) { message } else { &self.message };
        vec![
            format!("verdict: {}", self.verdict),
            format!("reasons: [{}]", self.reasons.join(", ")),
            format!("rule: {rule}"),
            format!("message: {message}"),
        ]
    }
}

impl Name {
    fn has_reasons(self) -> bool {
        match self {
            Self::Deny | Self::Defer => true,
            Self::Approve | Self::Ignore => false,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Defer => "defer",
            Self::Ignore => "ignore",
        })
    }
}

/// The name of the verdict, the names of its reasons, and the sentence that people read.
fn describe(verdict: &Verdict) -> (Name, Vec<&'static str>, String) {
    match verdict {
        Verdict::Approve(approval) => (Name::Approve, Vec::new(), approval.to_string()),
        Verdict::Deny(reasons) => (Name::Deny, reasons.iter().map(DenyReason::as_str).collect(), reasons.to_string()),
        Verdict::Defer(reasons) => {
            (Name::Defer, reasons.iter().map(DeferReason::as_str).collect(), reasons.to_string())
        }
        Verdict::Ignore(IgnoreReason::OtherSigner) => (Name::Ignore, Vec::new(), "for another signer".to_owned()),
        Verdict::Ignore(IgnoreReason::AlreadyDecided) => (Name::Ignore, Vec::new(), "already decided".to_owned()),
    }
}
