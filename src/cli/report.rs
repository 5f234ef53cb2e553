//! What the commands tell of requests: the same for people and, as JSON or YAML, for programs.

use anstyle::Style;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::screen::{BAD, GOOD, WAITING};
use crate::controller::{Plan, plan};
use crate::gather::{Request, Snapshot};
use crate::identity::Inventory;
use crate::policy::{ApiVersion, Evaluation, Policy, Rule};
use crate::request::{Decoded, Reading};
use crate::verdict::{Approval, DeferReason, DenyReason, NonEmpty, Verdict};

/// The `kind` of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) enum ReviewKind {
    /// The only one there is.
    Review,
}

/// What would become of the requests of a cluster.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Review {
    /// `countersign/v1`.
    pub(super) api_version: ApiVersion,
    /// `Review`.
    pub(super) kind: ReviewKind,
    /// By which policy.
    pub(super) policy: PolicyReport,
    /// What has to be known to read the rest.
    pub(super) notes: Vec<String>,
    /// The requests, in the order of the cluster or the dump.
    pub(super) requests: Vec<RequestReport>,
    /// How many there are of which kind.
    pub(super) summary: Summary,
}

/// A policy.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyReport {
    /// The file; none where it is the one that is built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub(super) sha256: String,
    /// `enforce` or `audit`.
    pub(super) mode: String,
}

/// What would become of one request.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestReport {
    /// The request's name.
    pub(super) name: String,
    /// When it was filed; none where a dump does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) created: Option<Timestamp>,
    /// Who filed it, as the API server says.
    pub(super) requestor: String,
    /// The node, where the requestor is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    /// The names and addresses that it asks for, as they stand in it.
    pub(super) requested: Vec<NameReport>,
    /// The kind of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// What has become of it so far.
    pub(super) condition: ConditionReport,
    /// What would become of it.
    pub(super) verdict: VerdictReport,
    /// Every reason for that, the first of which names the condition's.
    pub(super) reasons: Vec<ReasonReport>,
    /// The message of the condition or Event: all reasons, the rule and the policy.
    pub(super) message: String,
    /// The policy's rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<String>,
    /// Whether what would become of it is other than what has.
    pub(super) differs: bool,
}

/// A subject alternative name as it was requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NameReport {
    /// What it is: `dNSName`, `iPAddress`, or another kind, which is forbidden.
    #[serde(rename = "type")]
    pub(super) type_: String,
    /// Its text.
    pub(super) value: String,
}

/// What has become of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConditionReport {
    /// Where it stands.
    #[serde(rename = "type")]
    pub(super) type_: ConditionType,
    /// The reason that the condition names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// The condition's message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) at: Option<Timestamp>,
    /// Whether the signer has issued a certificate.
    pub(super) issued: bool,
    /// Whether the signer has given up on it.
    pub(super) failed: bool,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) enum ConditionType {
    /// Nobody has answered it.
    Pending,
    /// It was approved.
    Approved,
    /// It was denied.
    Denied,
    /// The signer has given up on it, and nobody has answered it.
    Failed,
}

impl ConditionType {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Approved => "Approved",
            Self::Denied => "Denied",
            Self::Failed => "Failed",
        }
    }
}

/// What would become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum VerdictReport {
    /// It would be approved.
    Approve,
    /// It would be denied.
    Deny,
    /// It would be left pending.
    Defer,
}

impl VerdictReport {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Defer => "defer",
        }
    }

    /// How it is shown.
    pub(super) fn style(self) -> Style {
        match self {
            Self::Approve => GOOD,
            Self::Deny => BAD,
            Self::Defer => WAITING,
        }
    }
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReasonReport {
    /// Its name.
    pub(super) reason: String,
    /// The sentence that people read.
    pub(super) message: String,
}

/// How many requests there are of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    /// All that were looked at.
    pub(super) requests: usize,
    /// Those that would be approved.
    pub(super) approve: usize,
    /// Those that would be denied.
    pub(super) deny: usize,
    /// Those that would be left pending.
    pub(super) defer: usize,
    /// Those of which something else has become than would.
    pub(super) differ: usize,
    /// Those for other signers, which were not looked at.
    pub(super) other_signers: usize,
}

impl Summary {
    pub(super) fn count(&mut self, report: &RequestReport) {
        self.requests += 1;
        match report.verdict {
            VerdictReport::Approve => self.approve += 1,
            VerdictReport::Deny => self.deny += 1,
            VerdictReport::Defer => self.defer += 1,
        }
        self.differ += usize::from(report.differs);
    }
}

/// What requests are judged by.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) policy: &'a Policy,
    pub(super) inventory: Option<&'a Inventory>,
    pub(super) now: Timestamp,
}

/// A request that was judged.
pub(super) struct Judged<'a> {
    pub(super) request: &'a Request,
    pub(super) reading: Reading,
    pub(super) decoded: Option<Decoded>,
    pub(super) evaluation: Evaluation<'a>,
}

impl<'a> Judge<'a> {
    pub(super) fn judge(&self, request: &'a Request) -> Judged<'a> {
        let reading = Reading::of(&request.csr);
        let evaluation = self.snapshot.judge(request, &reading, self.policy, self.inventory, self.now);
        Judged { request, decoded: Decoded::read(&request.csr.spec.request), reading, evaluation }
    }
}

impl Judged<'_> {
    /// What is told of it. None where it is not for us to answer, which a snapshot has none of.
    pub(super) fn report(&self, policy: &Policy) -> Option<RequestReport> {
        let (verdict, reasons) = verdict(&self.evaluation.verdict)?;
        let message = match plan(&self.evaluation, policy) {
            Plan::Nothing => return None,
            Plan::Write(answer) | Plan::Tell(answer) => answer.message,
            Plan::Wait(waiting) => waiting.message,
        };
        let request = self.request;
        let created = request.csr.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let names = self.decoded.iter().flat_map(|decoded| &decoded.names);
        Some(RequestReport {
            name: request.name().to_owned(),
            created,
            requestor: request.csr.spec.username.clone(),
            node: self.reading.node().map(ToString::to_string),
            requested: names.map(|it| NameReport { type_: it.kind.to_owned(), value: it.text.clone() }).collect(),
            key: self.decoded.as_ref().map(|decoded| decoded.key.clone()),
            condition: condition(request),
            verdict,
            differs: request
                .answer
                .as_ref()
                .is_some_and(|it| verdict != if it.approved { VerdictReport::Approve } else { VerdictReport::Deny }),
            reasons,
            message,
            rule: self.evaluation.rule.map(|rule| Rule::name(rule).to_owned()),
        })
    }
}

fn verdict(verdict: &Verdict) -> Option<(VerdictReport, Vec<ReasonReport>)> {
    fn list<T: std::fmt::Display>(reasons: &NonEmpty<T>, name: fn(&T) -> &'static str) -> Vec<ReasonReport> {
        let report = |reason: &T| ReasonReport { reason: name(reason).to_owned(), message: reason.to_string() };
        reasons.iter().map(report).collect()
    }
    Some(match verdict {
        Verdict::Approve(approval) => {
            let reason = ReasonReport { reason: Approval::REASON.to_owned(), message: approval.to_string() };
            (VerdictReport::Approve, vec![reason])
        }
        Verdict::Deny(reasons) => (VerdictReport::Deny, list(reasons, DenyReason::as_str)),
        Verdict::Defer(reasons) => (VerdictReport::Defer, list(reasons, DeferReason::as_str)),
        Verdict::Ignore(_) => return None,
    })
}

fn condition(request: &Request) -> ConditionReport {
    let answer = request.answer.as_ref();
    ConditionReport {
        type_: match answer {
            Some(answer) if answer.approved => ConditionType::Approved,
            Some(_) => ConditionType::Denied,
            None if request.failed => ConditionType::Failed,
            None => ConditionType::Pending,
        },
        reason: answer.map(|it| it.reason.clone()),
        message: answer.map(|it| it.message.clone()),
        at: answer.and_then(|it| it.at),
        issued: request.issued,
        failed: request.failed,
    }
}
