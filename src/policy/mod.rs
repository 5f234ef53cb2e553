//! The operator's policy, and the one function that decides.

mod evaluate;
mod load;
mod pattern;
mod schema;

pub use evaluate::{Evaluation, Facts, evaluate};
pub use load::PolicyError;
pub use pattern::NamePattern;
pub use schema::{Mode, OnViolation, Source};

use crate::san::NodeName;
use crate::verdict::NonEmpty;

/// A policy that was read whole and makes sense. Built only by [`Policy::load`].
#[derive(Clone, Debug)]
pub struct Policy {
    mode: Mode,
    rules: NonEmpty<Rule>,
    sha256: String,
}

impl Policy {
    /// Whether verdicts are written, or only told.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The SHA-256 of the file's bytes, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The rule that decides about a node: the first that matches.
    #[must_use]
    pub fn rule_for(&self, node: &NodeName) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches(node))
    }
}

/// What is asked of the nodes that a rule matches.
#[derive(Clone, Debug)]
pub struct Rule {
    name: String,
    node_names: Vec<NamePattern>,
    on_violation: OnViolation,
}

impl Rule {
    /// The rule's name, unique within the policy.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether violations are denied or left pending.
    #[must_use]
    pub fn on_violation(&self) -> OnViolation {
        self.on_violation
    }

    fn matches(&self, node: &NodeName) -> bool {
        self.node_names.iter().any(|pattern| pattern.matches(node.as_str()))
    }
}
