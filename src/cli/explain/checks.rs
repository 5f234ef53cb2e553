//! Every check there is, and what came of each.

use schemars::JsonSchema;
use serde::Serialize;

use crate::policy::{Evaluation, Refusal};
use crate::request::Reading;
use crate::verdict::{DeferReason, DenyReason, Verdict};

/// What came of a check.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckReport {
    /// The reason that it would give.
    pub(super) reason: String,
    /// What is checked.
    pub(super) what: String,
    /// What came of it.
    pub(super) outcome: CheckOutcome,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum CheckOutcome {
    /// Nothing speaks against the request.
    Passed,
    /// It speaks against the request.
    Failed,
    /// It may still become right.
    Waits,
    /// It did not come to that.
    NotReached,
}

/// When a check is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// On the request's bytes.
    Bytes,
    /// On what well-formed bytes hold.
    Content,
    /// On the signature, where the key is one that may be.
    Signature,
    /// On what the API server says of the request.
    Request,
    /// On the node that asks.
    Rule,
    /// On a request that is right in itself, by its rule.
    Limits,
    /// By the conditions of its rule, on a request that is within all limits.
    Conditions,
    /// On the names and addresses that are well-formed.
    Takings,
    /// On the other requests of the requestor.
    Others,
    /// On a request against which nothing speaks.
    Node,
    /// The same, once there is a Node.
    Evidence,
}

/// The checks in the order in which they are made.
#[rustfmt::skip]
const CHECKS: &[(&str, Stage, &str)] = &[
    ("MalformedRequest", Stage::Bytes, "exactly one strict PKCS#10 request for names and addresses"),
    ("KeyNotAllowed", Stage::Content, "the key and the signature are of an allowed kind"),
    ("WeakKey", Stage::Content, "the key is strong"),
    ("BadSignature", Stage::Signature, "it is signed with the private key of its public key"),
    ("RequestorNotANode", Stage::Request, "a node filed it"),
    ("SubjectMismatch", Stage::Content, "the subject is exactly the requestor's"),
    ("UsageNotAllowed", Stage::Request, "the usages are those of a serving certificate"),
    ("ForbiddenSan", Stage::Content, "nothing but host names and addresses is asked for"),
    ("NoRuleMatched", Stage::Rule, "a rule of the policy is about the node"),
    ("TooManySans", Stage::Limits, "there are no more names and addresses than the rule allows"),
    ("NameOutsidePattern", Stage::Limits, "the names fit the rule's patterns"),
    ("AddressOutsideRange", Stage::Limits, "the addresses are within the rule's ranges"),
    ("ExpirationTooLong", Stage::Limits, "the lifetime is no longer than the rule allows"),
    ("ConditionFailed", Stage::Conditions, "the rule's conditions are true"),
    ("ProtectedName", Stage::Takings, "no name is one that no node may have"),
    ("ProtectedAddress", Stage::Takings, "no address is one that no node may have"),
    ("NameOfAnotherNode", Stage::Takings, "no name is another Node's"),
    ("Superseded", Stage::Others, "the requestor has filed no newer request"),
    ("NodeNotFound", Stage::Node, "the Node exists and is not being deleted"),
    ("NameNotOwned", Stage::Evidence, "the rule's sources say that the names are the node's"),
    ("AddressNotOwned", Stage::Evidence, "the rule's sources say that the addresses are the node's"),
    ("NotAControlPlaneNode", Stage::Evidence, "what the API server is reached at is for the control plane only"),
    ("ClaimedByAnotherNode", Stage::Evidence, "no other Node was seen with a name or address before"),
    ("ConditionError", Stage::Evidence, "whether the rule's conditions are true can be told"),
    ("SourceUnavailable", Stage::Evidence, "everything that has to be asked can be asked"),
    ("RateLimited", Stage::Evidence, "the node has approvals left for now"),
];

/// What a verdict says about each check. `superseded` is what the policy has done with requests that are superseded.
pub(super) fn report(
    reading: &Reading,
    evaluation: &Evaluation<'_>,
    has_node: bool,
    superseded: Refusal,
) -> Vec<CheckReport> {
    let found = Found::new(reading, evaluation, has_node, superseded);
    let report = |(name, stage, what): &(&'static str, Stage, &str)| CheckReport {
        reason: (*name).to_owned(),
        what: (*what).to_owned(),
        outcome: match (found.failed.contains(name), found.waits.contains(name), found.is_reached(*stage)) {
            (true, _, _) => CheckOutcome::Failed,
            (false, true, _) => CheckOutcome::Waits,
            (false, false, true) => CheckOutcome::Passed,
            (false, false, false) => CheckOutcome::NotReached,
        },
    };
    CHECKS.iter().map(report).collect()
}

/// What is known of a decision.
#[allow(clippy::struct_excessive_bools, reason = "each says one thing, and all combinations occur")]
struct Found {
    failed: Vec<&'static str>,
    waits: Vec<&'static str>,
    is_serving: bool,
    is_node: bool,
    has_rule: bool,
    has_node: bool,
    superseded: Refusal,
}

impl Found {
    fn new(reading: &Reading, evaluation: &Evaluation<'_>, has_node: bool, superseded: Refusal) -> Self {
        let (mut failed, mut waits) = (Vec::new(), Vec::new());
        // What is wrong with a request in itself is so whether a rule says what becomes of it or not.
        if let Reading::Refused(refused) = reading {
            failed.extend(refused.reasons.iter().map(DenyReason::as_str));
        }
        match &evaluation.verdict {
            Verdict::Approve(_) | Verdict::Ignore(_) => {}
            Verdict::Deny(reasons) => failed.extend(reasons.iter().map(DenyReason::as_str)),
            Verdict::Defer(reasons) => waits.extend(reasons.iter().map(DeferReason::as_str)),
        }
        let (is_serving, is_node) = (matches!(reading, Reading::Serving(_)), reading.node().is_some());
        Self { failed, waits, is_serving, is_node, has_rule: evaluation.rule.is_some(), has_node, superseded }
    }

    fn speaks(&self, name: &str) -> bool {
        self.failed.contains(&name) || self.waits.contains(&name)
    }

    fn passed(&self, stages: &[Stage]) -> bool {
        !CHECKS.iter().any(|(name, stage, _)| stages.contains(stage) && self.speaks(name))
    }

    /// Whether the checks of a stage are made (upstream of this: `policy::evaluate`).
    fn is_reached(&self, stage: Stage) -> bool {
        let well_formed = self.passed(&[Stage::Bytes]);
        let good_key = !self.speaks("KeyNotAllowed") && !self.speaks("WeakKey");
        let has_limits = self.is_serving && self.has_rule;
        let settled = [Stage::Limits, Stage::Conditions, Stage::Takings, Stage::Others];
        let fine = has_limits && good_key && self.passed(&settled);
        match stage {
            Stage::Bytes | Stage::Request => true,
            Stage::Content => well_formed,
            Stage::Signature => self.is_serving || (well_formed && good_key),
            Stage::Rule => self.is_node,
            Stage::Limits => has_limits,
            Stage::Conditions => has_limits && self.has_node && good_key && self.passed(&[Stage::Limits]),
            Stage::Takings => well_formed && (self.has_rule || !self.is_node),
            // Where older requests are left alone, that is only looked at when nothing else is wrong.
            Stage::Others => (self.has_rule || !self.is_node) && (fine || self.superseded == Refusal::Deny),
            Stage::Node => fine,
            Stage::Evidence => fine && self.has_node,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The README lists every reason.
    #[test]
    fn every_reason_is_a_check() {
        let readme = include_str!("../../../README.md");
        let (_, table) = readme.split_once("| reason | verdict | what it means |").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let cells = table.lines().skip(2).filter_map(|line| line.split('|').nth(1));
        let mut listed: Vec<&str> = cells.flat_map(|cell| cell.split(',')).map(str::trim).collect();
        listed.retain(|name| *name != "AutoApproved");
        let mut checks: Vec<&str> = CHECKS.iter().map(|(name, _, _)| *name).collect();
        listed.sort_unstable();
        checks.sort_unstable();
        assert_eq!(checks, listed);
    }
}
