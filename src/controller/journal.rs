//! What was found of each request, for a run that ends and tells of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::plan::{Answer, Decision, Waiting};
use crate::api::RequestSpec;
use crate::request::{Decoded, Reading};
use crate::verdict::NonEmpty;

/// The requests that were judged, by name.
#[derive(Debug, Default)]
pub struct Journal(Mutex<BTreeMap<Arc<str>, Entry>>);

/// One request that was judged.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it was filed.
    pub created: Timestamp,
    /// The node, where the requestor is one.
    pub node: Option<String>,
    /// The names and addresses that it asks for, as they stand in it.
    pub requested: Vec<String>,
    /// What was found; none where it could not be settled, or somebody else has answered it meanwhile.
    pub finding: Option<Finding>,
    /// Why the last attempt to settle it failed.
    pub problem: Option<String>,
}

/// What was found of a request.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The answer; none where it is left pending.
    pub decision: Option<Decision>,
    /// Whether the answer was written.
    pub written: bool,
    /// Every reason by name.
    pub reasons: NonEmpty<&'static str>,
    /// For people: why, by which rule of which policy.
    pub message: String,
}

impl Journal {
    /// All that was judged, by name.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<Arc<str>, Entry> {
        self.0.lock().clone()
    }

    /// A request is being judged.
    pub(super) fn begin(&self, name: &Arc<str>, created: Timestamp, spec: &RequestSpec, reading: &Reading) {
        let decoded = Decoded::read(&spec.request);
        let entry = Entry {
            created,
            node: reading.node().map(ToString::to_string),
            requested: decoded.into_iter().flat_map(|it| it.names).map(|it| it.text).collect(),
            finding: None,
            problem: None,
        };
        self.0.lock().insert(name.clone(), entry);
    }

    /// A request has an answer, or would have one.
    pub(super) fn answered(&self, name: &Arc<str>, answer: &Answer, written: bool) {
        let (decision, reasons) = (Some(answer.decision), answer.reasons.clone());
        self.found(name, Finding { decision, written, reasons, message: answer.message.clone() });
    }

    /// A request is left pending.
    pub(super) fn left(&self, name: &Arc<str>, waiting: &Waiting) {
        let (reasons, message) = (waiting.reasons.clone(), waiting.message.clone());
        self.found(name, Finding { decision: None, written: false, reasons, message });
    }

    /// A request could not be settled this time.
    pub(super) fn failed(&self, name: &Arc<str>, problem: String) {
        if let Some(entry) = self.0.lock().get_mut(name) {
            entry.problem = Some(problem);
        }
    }

    fn found(&self, name: &Arc<str>, finding: Finding) {
        if let Some(entry) = self.0.lock().get_mut(name) {
            entry.finding = Some(finding);
            entry.problem = None;
        }
    }
}
