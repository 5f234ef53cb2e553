//! Each name and address with what the sources say about it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::report::Judged;
use crate::identity::{Answer, NodeRecord};
use crate::policy::{Facts, Source};
use crate::request::{Reading, RequestedName};
use crate::san::{NodeName, San};
use crate::verdict::{DeferReason, DenyReason, Verdict};

/// A name or address that is asked for, and whose it is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SanReport {
    /// What it is: `dNSName`, `iPAddress`, or another kind, which is forbidden.
    #[serde(rename = "type")]
    pub(super) type_: String,
    /// Its text.
    pub(super) value: String,
    /// What each source says of it; empty where it is not one that can be anybody's, or no node asks.
    pub(super) evidence: Vec<EvidenceReport>,
    /// Other Nodes that list it in their status, by name.
    pub(super) listed_by_others: Vec<String>,
    /// What speaks against it.
    pub(super) problems: Vec<String>,
}

/// What one source says of a name or address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EvidenceReport {
    /// `node`, `machine`, `inventory` or `dns`.
    pub(super) source: String,
    /// Whether the rule asks it.
    pub(super) asked: bool,
    /// What it says.
    pub(super) answer: EvidenceAnswer,
}

/// What a source says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum EvidenceAnswer {
    /// It is the node's.
    Owned,
    /// It is not, or not yet.
    NotOwned,
    /// It cannot say.
    Unavailable,
}

/// The sources there are.
const SOURCES: [Source; 3] = [Source::Node, Source::Machine, Source::Inventory];

pub(super) fn source_name(source: Source) -> &'static str {
    match source {
        Source::Node => "node",
        Source::Machine => "machine",
        Source::Inventory => "inventory",
        Source::Dns => "dns",
    }
}

/// Reports on every name and address that a request asks for.
pub(super) fn report(judged: &Judged<'_>, facts: &Facts<'_>) -> Vec<SanReport> {
    let names = judged.decoded.iter().flat_map(|decoded| &decoded.names);
    names.map(|name| report_one(name, judged, facts)).collect()
}

fn report_one(name: &RequestedName, judged: &Judged<'_>, facts: &Facts<'_>) -> SanReport {
    let node = judged.reading.node();
    let san = name.san.as_ref().ok();
    let record = node.and_then(|node| facts.nodes.get(node));
    let others = san.into_iter().flat_map(|san| facts.nodes.claims().holders(san));
    SanReport {
        type_: name.kind.to_owned(),
        value: name.text.clone(),
        evidence: match (san, node, record) {
            (Some(san), Some(node), Some(record)) => ask(san, node, record, judged, facts),
            (_, _, _) => Vec::new(),
        },
        listed_by_others: others.filter(|holder| Some(*holder) != node).map(ToString::to_string).collect(),
        problems: match &name.san {
            Err(error) => vec![error.to_string()],
            Ok(san) => problems(san, &judged.evaluation.verdict),
        },
    }
}

/// What of a verdict is about this name or address.
fn problems(san: &San, verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Approve(_) | Verdict::Ignore(_) => Vec::new(),
        Verdict::Deny(reasons) => {
            reasons.iter().filter(|reason| is_denied_for(reason, san)).map(ToString::to_string).collect()
        }
        Verdict::Defer(reasons) => {
            reasons.iter().filter(|reason| waits_for(reason, san)).map(ToString::to_string).collect()
        }
    }
}

fn is_denied_for(reason: &DenyReason, san: &San) -> bool {
    match reason {
        DenyReason::NameOutsidePattern { name, .. } | DenyReason::ProtectedName(name, _) => san.as_dns() == Some(name),
        DenyReason::AddressOutsideRange { address, .. } | DenyReason::ProtectedAddress(address, _) => {
            san.as_ip() == Some(*address)
        }
        DenyReason::NameOfAnotherNode(other) => san.to_string() == other.as_str(),
        DenyReason::MalformedRequest(_)
        | DenyReason::BadSignature
        | DenyReason::KeyNotAllowed(_)
        | DenyReason::WeakKey(_)
        | DenyReason::RequestorNotANode(_)
        | DenyReason::SubjectMismatch(_)
        | DenyReason::UsageNotAllowed(_)
        | DenyReason::ForbiddenSan(_)
        | DenyReason::TooManySans { .. }
        | DenyReason::ExpirationTooLong { .. }
        | DenyReason::ConditionFailed { .. }
        | DenyReason::Superseded => false,
    }
}

fn waits_for(reason: &DeferReason, san: &San) -> bool {
    match reason {
        DeferReason::NameNotOwned(name, _) | DeferReason::NameNotConfirmed { name, .. } => san.as_dns() == Some(name),
        DeferReason::AddressNotOwned(address, _) => san.as_ip() == Some(*address),
        DeferReason::ClaimedByAnotherNode(contested, _) | DeferReason::NotAControlPlaneNode(contested, _) => {
            san == contested
        }
        DeferReason::Left(violation) => is_denied_for(violation, san),
        DeferReason::NoRuleMatched(_)
        | DeferReason::NodeNotFound { .. }
        | DeferReason::ConditionError { .. }
        | DeferReason::RateLimited { .. }
        | DeferReason::SourceUnavailable(_) => false,
    }
}

fn ask(san: &San, node: &NodeName, record: &NodeRecord, judged: &Judged<'_>, facts: &Facts<'_>) -> Vec<EvidenceReport> {
    let requested = match &judged.reading {
        Reading::Serving(request) => request.sans(),
        Reading::Refused(refused) => &refused.sans,
        Reading::NotOurs(_) => &[],
    };
    let evidence = facts.evidence(record, requested);
    let asked = judged.evaluation.rule.map(|rule| rule.sources().0).unwrap_or_default();
    let one = |source: Source| EvidenceReport {
        source: source_name(source).to_owned(),
        asked: asked.contains(&source),
        answer: match evidence.ask(source, san, node) {
            Answer::Owned => EvidenceAnswer::Owned,
            Answer::NotOwned => EvidenceAnswer::NotOwned,
            Answer::Unavailable | Answer::Abstains => EvidenceAnswer::Unavailable,
        },
    };
    // DNS is only spoken of where it matters.
    let dns = asked.contains(&Source::Dns) && san.as_dns().is_some();
    SOURCES.into_iter().chain(dns.then_some(Source::Dns)).map(one).collect()
}
