//! The policy file as it is written. [`super::load`] turns it into a [`super::Policy`].

use serde::Deserialize;

/// The only `apiVersion` there is.
pub(super) const API_VERSION: &str = "countersign/v1";
/// The only `kind` there is.
pub(super) const KIND: &str = "ServingPolicy";

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ServingPolicy {
    pub(super) api_version: String,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) mode: Mode,
    pub(super) rules: Vec<Rule>,
}

/// Whether verdicts are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Approvals and denials are written.
    #[default]
    Enforce,
    /// Decided, logged, counted and told in Events; nothing is written to a request.
    Audit,
}

/// One rule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: String,
    #[serde(default, rename = "match")]
    pub(super) match_: Match,
    #[serde(default)]
    pub(super) identity: Identity,
    #[serde(default)]
    pub(super) on_violation: OnViolation,
}

/// Which nodes a rule is about. Without `nodeNames`, all of them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Match {
    pub(super) node_names: Option<Vec<String>>,
}

/// What proves that a name or address is the node's own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) sources: Vec<Source>,
}

impl Default for Identity {
    fn default() -> Self {
        Self { sources: vec![Source::Node] }
    }
}

/// A source of evidence for names and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The Node object's `status.addresses`.
    Node,
}

/// What becomes of a violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnViolation {
    /// The request is denied.
    #[default]
    Deny,
    /// The request is left pending, for a second approver or a person.
    Leave,
}
