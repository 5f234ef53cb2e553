//! What follows from a verdict: pure, so that it can be seen before anything is written.

use std::time::Duration;

use crate::identity::Contest;
use crate::policy::{Evaluation, Mode, Policy, Rule};
use crate::san::NodeName;
use crate::verdict::{Approval, DeferReason, DenyReason, NonEmpty, Unavailable, Verdict};

/// Longest message in bytes: what the note of an Event takes.
const MAX_MESSAGE: usize = 1024;

/// How long a request waits whose names DNS does not confirm.
const ASK_DNS_AGAIN: Duration = Duration::from_secs(30);

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: the request is not ours.
    Nothing,
    /// Write the answer.
    Write(Answer),
    /// The policy is in audit mode: tell what would be written.
    Tell(Answer),
    /// Leave it pending, and look again.
    Wait(Waiting),
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Yes or no.
    pub decision: Decision,
    /// Every reason by name, the first of which is the condition's.
    pub reasons: NonEmpty<&'static str>,
    /// For people: why, by which rule of which policy.
    pub message: String,
}

/// Why a request is left pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Every reason by name.
    pub reasons: NonEmpty<&'static str>,
    /// For people.
    pub message: String,
    /// Other Nodes that stand in the way, whose operators have to know of it too.
    pub others: Vec<NodeName>,
    /// When it is known to be right, unless something happens before.
    pub again: Option<Duration>,
}

/// The two answers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The condition `Approved`.
    Approved,
    /// The condition `Denied`.
    Denied,
}

impl Decision {
    /// The condition's type.
    #[must_use]
    pub fn condition_type(self) -> &'static str {
        match self {
            Self::Approved => "Approved",
            Self::Denied => "Denied",
        }
    }
}

/// Turns a verdict into a plan.
#[must_use]
pub fn plan(evaluation: &Evaluation<'_>, policy: &Policy) -> Plan {
    let by = Source { rule: evaluation.rule.map(Rule::name), policy };
    let answer = match &evaluation.verdict {
        Verdict::Ignore(_) => return Plan::Nothing,
        Verdict::Defer(reasons) => {
            return Plan::Wait(Waiting {
                reasons: reasons.clone().map(|reason| DeferReason::as_str(&reason)),
                message: by.message(reasons),
                others: reasons.iter().filter_map(other_node).cloned().collect(),
                again: reasons.iter().filter_map(due).max(),
            });
        }
        Verdict::Approve(approval) => Answer {
            decision: Decision::Approved,
            reasons: NonEmpty::one(Approval::REASON),
            message: by.message(approval),
        },
        Verdict::Deny(reasons) => Answer {
            decision: Decision::Denied,
            reasons: reasons.clone().map(|reason| DenyReason::as_str(&reason)),
            message: by.message(reasons),
        },
    };
    match policy.mode() {
        Mode::Enforce => Plan::Write(answer),
        Mode::Audit => Plan::Tell(answer),
    }
}

fn other_node(reason: &DeferReason) -> Option<&NodeName> {
    match reason {
        DeferReason::ClaimedByAnotherNode(
            _,
            Contest::Later(other) | Contest::Unknown(other) | Contest::Pods(_, other),
        ) => Some(other),
        DeferReason::NoRuleMatched(_)
        | DeferReason::NodeNotFound { .. }
        | DeferReason::NameNotOwned(..)
        | DeferReason::NameNotConfirmed { .. }
        | DeferReason::AddressNotOwned(..)
        | DeferReason::NotAControlPlaneNode(..)
        | DeferReason::ConditionError { .. }
        | DeferReason::RateLimited { .. }
        | DeferReason::SourceUnavailable(_)
        | DeferReason::Left(_) => None,
    }
}

fn due(reason: &DeferReason) -> Option<Duration> {
    match reason {
        DeferReason::RateLimited { wait, .. } => Some(*wait),
        // Nobody tells when DNS changes.
        DeferReason::NameNotConfirmed { .. } | DeferReason::SourceUnavailable(Unavailable::Resolver { .. }) => {
            Some(ASK_DNS_AGAIN)
        }
        // What else can change is followed, ordered, or for a person to mend.
        DeferReason::SourceUnavailable(
            Unavailable::Watch(_) | Unavailable::NotInDump(_) | Unavailable::NoInventory | Unavailable::NotResolved(_),
        )
        | DeferReason::NoRuleMatched(_)
        | DeferReason::NodeNotFound { .. }
        | DeferReason::NameNotOwned(..)
        | DeferReason::AddressNotOwned(..)
        | DeferReason::ClaimedByAnotherNode(..)
        | DeferReason::NotAControlPlaneNode(..)
        | DeferReason::ConditionError { .. }
        | DeferReason::Left(_) => None,
    }
}

/// Where a decision comes from.
struct Source<'a> {
    rule: Option<&'a str>,
    policy: &'a Policy,
}

impl Source<'_> {
    /// The reasons, cut to what an Event takes, and the rule and policy they come from, which are never cut off.
    fn message(&self, reasons: &impl std::fmt::Display) -> String {
        let hash = self.policy.sha256().get(..12).unwrap_or_default();
        let source = match self.rule {
            Some(rule) => format!(" (rule {rule:?} of policy {hash})"),
            None => format!(" (policy {hash})"),
        };
        let mut message = reasons.to_string();
        let room = MAX_MESSAGE.saturating_sub(source.len());
        if message.len() > room {
            let end = message.floor_char_boundary(room.saturating_sub('…'.len_utf8()));
            message.truncate(end);
            message.push('…');
        }
        message + &source
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::MalformedRequest;

    fn policy(mode: &str) -> Policy {
        let text = format!("{{apiVersion: countersign/v1, kind: ServingPolicy, mode: {mode}, rules: [{{name: all}}]}}");
        Policy::load(text.as_bytes()).unwrap()
    }

    fn denied(policy: &Policy, reasons: Vec<DenyReason>) -> Evaluation<'_> {
        Evaluation::new(policy.rules().next(), Verdict::Deny(NonEmpty::from_vec(reasons).unwrap()))
    }

    #[test]
    fn a_denial_names_every_reason_the_rule_and_the_policy() {
        let policy = policy("enforce");
        let evaluation = denied(&policy, vec![DenyReason::BadSignature, DenyReason::Superseded]);
        let Plan::Write(answer) = plan(&evaluation, &policy) else { panic!() };
        assert_eq!(answer.decision, Decision::Denied);
        assert_eq!(answer.reasons.iter().copied().collect::<Vec<_>>(), ["BadSignature", "Superseded"]);
        let source = format!(" (rule \"all\" of policy {})", &policy.sha256()[..12]);
        assert!(answer.message.contains("; the same node") && answer.message.ends_with(&source), "{}", answer.message);
    }

    #[test]
    fn audit_mode_tells_and_never_writes() {
        let policy = policy("audit");
        assert!(matches!(plan(&denied(&policy, vec![DenyReason::BadSignature]), &policy), Plan::Tell(_)));
    }

    #[test]
    fn a_message_fits_into_an_event_and_keeps_its_source() {
        let long = DenyReason::MalformedRequest(MalformedRequest::Label("ä".repeat(99)));
        let policy = policy("enforce");
        let Plan::Write(answer) = plan(&denied(&policy, vec![long; 8]), &policy) else { panic!() };
        assert!(
            answer.message.len() <= MAX_MESSAGE && answer.message.contains("… (rule \"all\""),
            "{}",
            answer.message
        );
    }
}
