use std::net::IpAddr;

use super::{OnViolation, Policy, Rule};
use crate::identity::{NodeRecord, Nodes, Protected};
use crate::request::{Reading, RefusedRequest, ServingRequest};
use crate::san::{NodeName, San};
use crate::verdict::{Approval, DeferReason, DenyReason, NonEmpty, Verdict};

/// All that one decision rests on beside the request and the policy.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The cluster's Nodes.
    pub nodes: Nodes<'a>,
    /// Whether the index of Nodes follows the cluster at the moment. Nothing is approved on an index that does not:
    /// another Node may have come up under the requested name.
    pub nodes_live: bool,
    /// What no node may have.
    pub protected: &'a Protected,
    /// Whether the same requestor has filed a request that is strictly newer.
    pub superseded: bool,
}

/// What came out of one evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation<'p> {
    /// The name of the policy's rule that decided; none where no rule matched or the requestor is no node.
    pub rule: Option<&'p str>,
    /// The answer.
    pub verdict: Verdict,
}

/// Decides about one request. Pure: the same arguments give the same verdict.
///
/// Every check is made and every reason reported, in the order of the documentation; the first names the condition.
#[must_use]
pub fn evaluate<'p>(reading: &Reading, facts: &Facts<'_>, policy: &'p Policy) -> Evaluation<'p> {
    let node = reading.node();
    let rule = node.and_then(|node| policy.rule_for(node));
    let verdict = match (reading, node, rule) {
        (Reading::NotOurs(reason), _, _) => Verdict::Ignore(*reason),
        (_, Some(node), None) => Verdict::Defer(NonEmpty::one(DeferReason::NoRuleMatched(node.clone()))),
        (Reading::Refused(refused), _, rule) => {
            refuse(refused_reasons(refused, facts), rule.map(Rule::on_violation).unwrap_or_default())
        }
        (Reading::Serving(request), _, rule) => evaluate_serving(request, facts, rule),
    };
    Evaluation { rule: rule.map(Rule::name), verdict }
}

/// Everything that is wrong with a request that is wrong in itself.
fn refused_reasons(refused: &RefusedRequest, facts: &Facts<'_>) -> NonEmpty<DenyReason> {
    let mut reasons = refused.reasons.clone();
    reasons.extend(violations(&refused.sans, refused.node.as_ref(), facts));
    reasons
}

fn evaluate_serving(request: &ServingRequest, facts: &Facts<'_>, rule: Option<&Rule>) -> Verdict {
    let node = request.node();
    if let Some(reasons) = NonEmpty::from_vec(violations(request.sans(), Some(node), facts)) {
        return refuse(reasons, rule.map(Rule::on_violation).unwrap_or_default());
    }
    match NonEmpty::from_vec(doubts(request, facts)) {
        Some(reasons) => Verdict::Defer(reasons),
        None => Verdict::Approve(Approval { node: node.clone(), sans: request.sans().to_vec() }),
    }
}

fn refuse(reasons: NonEmpty<DenyReason>, on_violation: OnViolation) -> Verdict {
    match on_violation {
        OnViolation::Deny => Verdict::Deny(reasons),
        OnViolation::Leave => Verdict::Defer(reasons.map(DeferReason::Left)),
    }
}

/// What can never become right in the light of the cluster.
fn violations(sans: &[San], node: Option<&NodeName>, facts: &Facts<'_>) -> Vec<DenyReason> {
    let mut reasons = Vec::new();
    for san in sans {
        match san {
            San::Dns(name) => {
                reasons.extend(facts.protected.name(name).map(|why| DenyReason::ProtectedName(name.clone(), why)));
            }
            San::Ip(address) => {
                reasons
                    .extend(facts.protected.address(*address).map(|why| DenyReason::ProtectedAddress(*address, why)));
            }
        }
    }
    if let Some(node) = node {
        let others = sans.iter().filter_map(|san| match san {
            San::Dns(name) => facts.nodes.other_named(name, node),
            San::Ip(address) => other_named_by_address(*address, node, facts),
        });
        reasons.extend(others.cloned().map(DenyReason::NameOfAnotherNode));
    }
    if facts.superseded {
        reasons.push(DenyReason::Superseded);
    }
    reasons
}

/// The Node other than `node` that is called like this address: a node may be named by its IPv4 address.
fn other_named_by_address<'a>(address: IpAddr, node: &NodeName, facts: &Facts<'a>) -> Option<&'a NodeName> {
    let other = address.to_string().parse().ok().filter(|other| other != node)?;
    facts.nodes.get(&other).map(NodeRecord::name)
}

/// What is not right yet.
fn doubts(request: &ServingRequest, facts: &Facts<'_>) -> Vec<DeferReason> {
    let node = request.node();
    let mut reasons = match facts.nodes.get(node) {
        None => vec![DeferReason::NodeNotFound { node: node.clone(), deleting: false }],
        Some(record) if record.is_deleting() => vec![DeferReason::NodeNotFound { node: node.clone(), deleting: true }],
        Some(record) => request
            .sans()
            .iter()
            .filter(|san| !record.lists(san))
            .map(|san| match san {
                San::Dns(name) => DeferReason::NameNotOwned(name.clone(), node.clone()),
                San::Ip(address) => DeferReason::AddressNotOwned(*address, node.clone()),
            })
            .collect(),
    };
    if !facts.nodes_live {
        reasons.push(DeferReason::SourceUnavailable);
    }
    reasons
}
