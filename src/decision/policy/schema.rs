//! The policy file as it is written: flat, like the kubelet's own configuration. [`super::load`] turns it into a
//! [`super::Policy`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::request::KeyKind;

/// The `apiVersion` of a policy or inventory file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ApiVersion {
    /// The only one there is.
    #[serde(rename = "countersign/v1")]
    V1,
}

/// The `kind` of a policy file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ServingPolicyKind {
    /// Rules for kubelets' serving certificates.
    ServingPolicy,
}

/// Which nodes may have which names and addresses in their serving certificates.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ServingPolicy {
    /// `countersign/v1`.
    #[allow(dead_code, reason = "read for its check only")]
    pub(super) api_version: ApiVersion,
    /// `ServingPolicy`.
    #[allow(dead_code, reason = "read for its check only")]
    pub(super) kind: ServingPolicyKind,
    /// Whether verdicts are written (enforce), or only logged, counted and told in Events (audit).
    #[serde(default)]
    pub(super) mode: Mode,
    /// Names and addresses that no node may have, beside the built-in ones.
    #[serde(default)]
    pub(super) protected: Protected,
    /// What becomes of a request when the same node has filed a newer one.
    #[serde(default)]
    pub(super) superseded: Refusal,
    /// What becomes of kubelet-serving requests filed by something that is not a node.
    #[serde(default)]
    pub(super) other_requestors: Refusal,
    /// The first rule that matches the node decides; if none does, the request is left pending.
    #[schemars(length(min = 1))]
    pub(super) rules: Vec<Rule>,
}

/// Whether verdicts are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Approvals and denials are written.
    #[default]
    Enforce,
    /// Decided, logged, counted and told in Events; nothing is written to a request.
    Audit,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        })
    }
}

/// What is done with a request that is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// The request is denied.
    #[default]
    Deny,
    /// The request is left pending, for a second approver or a person.
    Leave,
}

/// Names and addresses that no node may have, beside the built-in ones.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Protected {
    /// Host names; `*.` in front stands for every name below.
    pub(super) dns_names: Vec<String>,
    /// Addresses and ranges in CIDR notation.
    pub(super) addresses: Vec<String>,
    /// Whether the load balancer and external addresses of Services are protected too. Not where they are the nodes'
    /// own, as with k3s and on bare metal.
    pub(super) load_balancers: bool,
}

/// What is asked of the nodes that match.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rule {
    /// Named in messages; unique in the file.
    #[schemars(length(min = 1, max = 63))]
    pub(super) name: String,
    /// Which nodes the rule is about; all of them where it is left out.
    #[serde(default, rename = "match")]
    pub(super) match_: Match,
    /// What proves that a name or address is the node's own.
    #[serde(default)]
    pub(super) identity: Identity,
    /// Which names may be asked for.
    #[serde(default)]
    pub(super) dns_names: DnsNames,
    /// Which addresses may be asked for.
    #[serde(default)]
    pub(super) ip_addresses: IpAddresses,
    /// Which kinds of key are allowed; all of these where it is left out.
    pub(super) keys: Option<Vec<KeyKind>>,
    /// The longest lifetime that may be asked for, such as `8760h`. A request that asks for none gets the signer's.
    pub(super) max_expiration: Option<String>,
    /// How many approvals a node gets in an hour: half of them at once, then at a steady pace.
    #[schemars(range(min = 1))]
    pub(super) approvals_per_hour: Option<u32>,
    /// Expressions in CEL that have to be true.
    #[serde(default)]
    pub(super) conditions: Vec<Condition>,
    /// Whether violations are denied or left pending.
    #[serde(default)]
    pub(super) on_violation: Refusal,
}

/// An expression that has to be true.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Condition {
    /// In CEL, over `request` (dnsNames, ipAddresses, key, expirationSeconds) and `node` (name, labels).
    pub(super) expression: String,
    /// What is asked for, in words; the expression itself where it is left out.
    pub(super) message: Option<String>,
}

/// Which nodes a rule is about.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Match {
    /// Patterns for the node's name, in which `*` stands for any run of characters.
    pub(super) node_names: Option<Vec<String>>,
    /// A Kubernetes label selector for the Node's labels.
    pub(super) node_selector: Option<NodeSelector>,
}

/// A Kubernetes LabelSelector.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct NodeSelector {
    /// Labels that the Node has to have.
    pub(super) match_labels: BTreeMap<String, String>,
    /// Requirements that the Node's labels have to meet.
    pub(super) match_expressions: Vec<Requirement>,
}

/// One requirement of a label selector.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Requirement {
    /// The label.
    pub(super) key: String,
    /// How the label relates to the values.
    pub(super) operator: Operator,
    /// Values, for `In` and `NotIn` only.
    #[serde(default)]
    pub(super) values: Vec<String>,
}

/// The operators of a label selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum Operator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is not there.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// What proves that a name or address is the node's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Identity {
    /// The sources that are asked.
    #[schemars(length(min = 1))]
    pub(super) sources: Vec<Source>,
    /// Whether all sources have to own a name or address, or any one of them.
    pub(super) require: Require,
}

impl Default for Identity {
    fn default() -> Self {
        Self { sources: vec![Source::Node], require: Require::All }
    }
}

/// A source of evidence for names and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The Node object's `status.addresses`: the kubelet's own word, unless a cloud controller owns them.
    Node,
    /// The Machine that the Node runs on, of Cluster API, OpenShift or kubermatic: nodes cannot write it.
    Machine,
    /// The operator's inventory file.
    Inventory,
    /// DNS: a requested name has to lead to requested addresses, and to no others. It confirms what the other sources of
    /// the rule say, and needs `require: all`; it says nothing about addresses.
    Dns,
}

/// How several sources go together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Require {
    /// Every source has to own the name or address.
    #[default]
    All,
    /// One source is enough.
    Any,
}

/// Which names may be asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct DnsNames {
    /// Patterns, in which `{node}` stands for the node's name and `*` for a run of characters within a label. Any name
    /// where it is left out; none where it is empty.
    pub(super) patterns: Option<Vec<String>>,
    /// How many names one request may ask for.
    pub(super) max: Option<u32>,
}

/// Which addresses may be asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct IpAddresses {
    /// Ranges in CIDR notation. Any address where it is left out; none where it is empty.
    pub(super) ranges: Option<Vec<String>>,
    /// How many addresses one request may ask for.
    pub(super) max: Option<u32>,
}
