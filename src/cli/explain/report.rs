//! All that is told of one request.

use schemars::JsonSchema;
use serde::Serialize;

use super::checks::{self, CheckReport};
use super::help;
use super::names::{self, SanReport};
use crate::cli::report::{Judge, Judged, PolicyReport, RequestReport};
use crate::gather::Request;
use crate::policy::{About, ApiVersion};
use crate::verdict::Verdict;

/// The `kind` of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::cli) enum ExplanationKind {
    /// The only one there is.
    Explanation,
}

/// All that is to be said about one request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Explanation {
    /// `countersign/v1`.
    pub(super) api_version: ApiVersion,
    /// `Explanation`.
    pub(super) kind: ExplanationKind,
    /// By which policy.
    pub(super) policy: PolicyReport,
    /// What has to be known to read the rest.
    pub(super) notes: Vec<String>,
    /// The request, as in a review.
    pub(super) request: RequestReport,
    /// What else stands in it.
    pub(super) content: ContentReport,
    /// The policy's rules; empty where no node asks.
    pub(super) rules: Vec<RuleReport>,
    /// Every name and address that is asked for, and whose it is.
    pub(super) names: Vec<SanReport>,
    /// Every check, in the order in which they are made.
    pub(super) checks: Vec<CheckReport>,
    /// What can be done about each reason of the verdict, in the same order; nothing for an approval.
    pub(super) help: Vec<String>,
}

/// What stands in a request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct ContentReport {
    /// The subject, in the form of RFC 4514; none where the bytes cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    /// The signature's algorithm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signature: Option<String>,
    /// The object identifiers of what else is asked for, and not allowed.
    pub(super) others: Vec<String>,
    /// The requestor's groups.
    pub(super) groups: Vec<String>,
    /// The key usages.
    pub(super) usages: Vec<String>,
    /// The lifetime that is asked for; the signer chooses where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expiration_seconds: Option<u32>,
}

/// One of the policy's rules.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct RuleReport {
    /// Its name.
    pub(super) name: String,
    /// Whether it is about the node.
    pub(super) about: AboutReport,
    /// Why.
    pub(super) why: String,
}

/// Whether a rule is about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) enum AboutReport {
    /// It is the first that is, and decides.
    Decides,
    /// It is about other nodes.
    OtherNodes,
    /// That depends on the labels of a Node that does not exist.
    NeedsNode,
    /// It was not looked at.
    NotLookedAt,
}

/// Judges a request and tells everything about it. None where it is not for us to answer.
pub(super) fn explain(
    judge: &Judge<'_>,
    request: &Request,
    policy: PolicyReport,
    notes: Vec<String>,
) -> Option<Explanation> {
    let judged = judge.judge(request);
    let node = judged.reading.node();
    let record = node.and_then(|node| judge.snapshot.nodes().get(node));
    let rules = node.map(|node| judge.policy.matching(node, record)).unwrap_or_default();
    let rules = rules.into_iter().map(|it| RuleReport {
        name: it.rule.name().to_owned(),
        about: match it.about {
            About::Decides => AboutReport::Decides,
            About::OtherNodes => AboutReport::OtherNodes,
            About::NeedsNode => AboutReport::NeedsNode,
            About::NotLookedAt => AboutReport::NotLookedAt,
        },
        why: it.why,
    });
    let snapshot = judge.snapshot;
    let names =
        snapshot.with_facts(request, judge.policy, judge.inventory, judge.now, |facts| names::report(&judged, facts));
    Some(Explanation {
        api_version: ApiVersion::V1,
        kind: ExplanationKind::Explanation,
        policy,
        notes,
        request: judged.report(judge.policy)?,
        content: content(&judged),
        rules: rules.collect(),
        names,
        checks: checks::report(&judged.reading, &judged.evaluation, record.is_some(), judge.policy.on_superseded()),
        help: match &judged.evaluation.verdict {
            Verdict::Approve(_) | Verdict::Ignore(_) => Vec::new(),
            Verdict::Deny(reasons) => reasons.iter().map(help::of_denial).collect(),
            Verdict::Defer(reasons) => reasons.iter().map(help::of_deferral).collect(),
        },
    })
}

fn content(judged: &Judged<'_>) -> ContentReport {
    let (spec, decoded) = (&judged.request.csr.spec, judged.decoded.as_ref());
    ContentReport {
        subject: decoded.map(|it| it.subject.clone()),
        signature: decoded.map(|it| it.signature.clone()),
        others: decoded.map(|it| it.others.clone()).unwrap_or_default(),
        groups: spec.groups.clone(),
        usages: spec.usages.clone(),
        expiration_seconds: spec.expiration_seconds,
    }
}
