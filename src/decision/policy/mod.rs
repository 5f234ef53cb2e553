//! The operator's policy, and the one function that decides.

mod budget;
mod condition;
mod evaluate;
mod labels;
mod load;
mod matching;
mod pattern;
mod rule;
mod schema;
mod yaml;

pub use budget::Budget;
pub use condition::is_guarded;
pub use evaluate::{Evaluation, Facts, evaluate};
pub(crate) use load::range;
pub use matching::{About, Matching};
pub use pattern::{DnsPattern, NamePattern};
pub use rule::Rule;
pub use schema::{ApiVersion, Mode, Refusal, Require, Source};
pub use yaml::{FieldPath, FileError, Problem};
pub use yaml::{File, read as read_yaml};

use crate::identity::{Additions, NodeRecord};
use crate::san::NodeName;
use crate::verdict::NonEmpty;
use rule::Match;

/// A policy that was read whole and makes sense. Built only by [`Policy::load`].
#[derive(Clone, Debug)]
pub struct Policy {
    mode: Mode,
    superseded: Refusal,
    other_requestors: Refusal,
    protected: Additions,
    load_balancers: bool,
    rules: NonEmpty<Rule>,
    sha256: String,
}

/// Which rule decides about a node.
#[derive(Clone, Copy, Debug)]
enum Selection<'p> {
    /// This one; chosen by the Node's labels, or not.
    Rule { rule: &'p Rule, by_labels: bool },
    /// None matches.
    None,
    /// That depends on the labels of a Node that does not exist.
    NeedsNode,
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

    /// What becomes of a request when the same node has filed a newer one.
    #[must_use]
    pub fn on_superseded(&self) -> Refusal {
        self.superseded
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Whether any rule asks this source.
    #[must_use]
    pub fn asks(&self, source: Source) -> bool {
        self.rules.iter().any(|rule| rule.sources().0.contains(&source))
    }

    /// Whether the load balancer and external addresses of Services are protected.
    #[must_use]
    pub fn protects_load_balancers(&self) -> bool {
        self.load_balancers
    }

    /// The first rule that matches decides. One that needs the labels of a Node that does not exist ends the search: it
    /// might have been the one.
    fn select(&self, node: &NodeName, record: Option<&NodeRecord>) -> Selection<'_> {
        for rule in self.rules.iter() {
            match rule.matches(node, record) {
                Match::Yes => return Selection::Rule { rule, by_labels: false },
                Match::ByLabels => return Selection::Rule { rule, by_labels: true },
                Match::NeedsNode => return Selection::NeedsNode,
                Match::OtherName | Match::OtherLabels => {}
            }
        }
        Selection::None
    }
}
