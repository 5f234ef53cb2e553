use jiff::Timestamp;

use super::{Budget, Policy, Refusal, Require, Rule, Selection, Source};
use crate::identity::{
    Answer, Contest, Evidence, Inventory, MachineIndex, NodeRecord, Nodes, PodRange, Protected, Protection, Resolution,
    Resolutions,
};
use crate::request::{Reading, RefusedRequest, ServingRequest};
use crate::san::{DnsName, NodeName, San};
use crate::verdict::{Approval, DeferReason, DenyReason, NonEmpty, NotOwned, Unavailable, Verdict};

/// All that one decision rests on beside the request and the policy.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The time of the decision.
    pub now: Timestamp,
    /// The cluster's Nodes.
    pub nodes: Nodes<'a>,
    /// What is not known of the cluster at the moment. Nothing is approved while there is anything: another Node may have
    /// come up under the requested name.
    pub unavailable: &'a [Unavailable],
    /// The Machines on which Nodes run.
    pub machines: &'a MachineIndex,
    /// What is not known of Machines at the moment. While there is anything, no Machine settles who of several Nodes
    /// has what they claim, and rules that ask for Machines approve nothing.
    pub machines_unavailable: &'a [Unavailable],
    /// The operator's inventory, where there is one.
    pub inventory: Option<&'a Inventory>,
    /// What came of looking up the request's names; nothing where the rule does not ask DNS, or nobody did so far.
    pub dns: &'a Resolutions,
    /// What no node may have.
    pub protected: &'a Protected,
    /// Whether the same requestor has filed a request that is strictly newer.
    pub superseded: bool,
    /// What the node has spent of its approvals, where it has spent any.
    pub budget: Option<&'a Budget>,
}

impl Facts<'_> {
    /// What the sources say about a Node and what is requested for it.
    #[must_use]
    pub fn evidence<'b>(&'b self, record: &'b NodeRecord, requested: &'b [San]) -> Evidence<'b> {
        Evidence {
            record,
            machines: self.machines,
            machines_live: self.machines_unavailable.is_empty(),
            inventory: self.inventory,
            dns: self.dns,
            requested,
        }
    }
}

/// What came out of one evaluation.
#[derive(Clone, Debug)]
pub struct Evaluation<'p> {
    /// The policy's rule that decided; none where no rule matched or the requestor is no node.
    pub rule: Option<&'p Rule>,
    /// The answer.
    pub verdict: Verdict,
    /// The node, where its Node's labels chose the rule.
    chosen_by_labels: Option<NodeName>,
}

impl<'p> Evaluation<'p> {
    /// An evaluation whose rule, if any, was chosen by the node's name alone.
    #[must_use]
    pub fn new(rule: Option<&'p Rule>, verdict: Verdict) -> Self {
        Self { rule, verdict, chosen_by_labels: None }
    }

    /// The names that have to be looked up before the verdict may stand: nothing else is in the way.
    pub fn to_resolve(&self) -> impl Iterator<Item = &DnsName> {
        let reasons = match &self.verdict {
            Verdict::Defer(reasons) => Some(reasons),
            Verdict::Approve(_) | Verdict::Deny(_) | Verdict::Ignore(_) => None,
        };
        reasons.into_iter().flat_map(NonEmpty::iter).filter_map(DeferReason::to_resolve)
    }

    /// The Node that has to be read afresh before the verdict may stand, other than those that `is_fresh` knows. A
    /// kubelet's request often overtakes its own status update, and a Node that others are measured against may be
    /// gone. One reason that is sure is enough for all.
    #[must_use]
    pub fn rests_on(&self, is_fresh: impl Fn(&NodeName) -> bool) -> Option<&NodeName> {
        match &self.verdict {
            Verdict::Approve(_) | Verdict::Ignore(_) => None,
            Verdict::Defer(reasons) => reasons.iter().filter_map(DeferReason::rests_on).find(|node| !is_fresh(node)),
            Verdict::Deny(reasons) => {
                let chosen = self.chosen_by_labels.as_ref().filter(|node| !is_fresh(node));
                let sure = reasons.iter().any(|reason| reason.rests_on().is_none_or(&is_fresh));
                chosen.or_else(|| if sure { None } else { reasons.first().rests_on() })
            }
        }
    }

    /// Whether this may not stand before the watch has brought what was read afresh: an approval, since another Node
    /// may have claimed the same before, and the watch not have brought that either.
    #[must_use]
    pub fn is_ahead(&self, nodes: &Nodes<'_>) -> bool {
        match &self.verdict {
            Verdict::Approve(_) => !nodes.agree(),
            Verdict::Defer(_) | Verdict::Deny(_) | Verdict::Ignore(_) => false,
        }
    }
}

/// Decides about one request. Pure: the same arguments give the same verdict.
///
/// Every check is made and every reason reported, in the order of the documentation; the first names the condition.
#[must_use]
pub fn evaluate<'p>(reading: &Reading, facts: &Facts<'_>, policy: &'p Policy) -> Evaluation<'p> {
    match reading {
        Reading::NotOurs(reason) => Evaluation::new(None, Verdict::Ignore(*reason)),
        Reading::Serving(request) => evaluate_of_node(request.node(), Ok(request), facts, policy),
        Reading::Refused(refused) => {
            if let Some(node) = &refused.node {
                return evaluate_of_node(node, Err(refused), facts, policy);
            }
            let reasons = refused_reasons(refused, None, facts, policy);
            Evaluation::new(None, refuse(reasons, facts.superseded, policy.other_requestors, policy.superseded))
        }
    }
}

/// The node's rule decides.
fn evaluate_of_node<'p>(
    node: &NodeName,
    request: Result<&ServingRequest, &RefusedRequest>,
    facts: &Facts<'_>,
    policy: &'p Policy,
) -> Evaluation<'p> {
    let waits = |reason| Evaluation::new(None, Verdict::Defer(NonEmpty::one(reason)));
    let record = facts.nodes.get(node);
    let (rule, by_labels) = match policy.select(node, record) {
        Selection::Rule { rule, by_labels } => (rule, by_labels),
        Selection::None => return waits(DeferReason::NoRuleMatched(node.clone())),
        Selection::NeedsNode => return waits(missing(node, facts)),
    };
    let verdict = match request {
        Err(refused) => {
            let reasons = refused_reasons(refused, record, facts, policy);
            refuse(reasons, facts.superseded, rule.on_violation(), policy.superseded)
        }
        Ok(request) => evaluate_serving(request, record, facts, policy, rule),
    };
    Evaluation { rule: Some(rule), verdict, chosen_by_labels: by_labels.then(|| node.clone()) }
}

/// Everything that is wrong with a request that is wrong in itself.
fn refused_reasons(
    refused: &RefusedRequest,
    record: Option<&NodeRecord>,
    facts: &Facts<'_>,
    policy: &Policy,
) -> NonEmpty<DenyReason> {
    let mut reasons = refused.reasons.clone();
    reasons.extend(takings(&refused.sans, refused.node.as_ref(), record, facts, policy));
    reasons
}

fn evaluate_serving(
    request: &ServingRequest,
    record: Option<&NodeRecord>,
    facts: &Facts<'_>,
    policy: &Policy,
    rule: &Rule,
) -> Verdict {
    let mut violations = rule.violations(request);
    // A request beyond the rule's limits may be too large for loops over it.
    let (failed, undecided) = match record {
        Some(record) if violations.is_empty() => rule.check_conditions(request, record),
        Some(_) | None => (Vec::new(), Vec::new()),
    };
    violations.extend(failed);
    violations.extend(takings(request.sans(), Some(request.node()), record, facts, policy));
    if let Some(reasons) = NonEmpty::from_vec(violations) {
        return refuse(reasons, facts.superseded, rule.on_violation(), policy.superseded);
    }
    if facts.superseded {
        return match policy.superseded {
            Refusal::Deny => refuse_all(NonEmpty::one(DenyReason::Superseded), rule.on_violation()),
            Refusal::Leave => Verdict::Defer(NonEmpty::one(DeferReason::Left(DenyReason::Superseded))),
        };
    }
    let Some(record) = record else { return Verdict::Defer(NonEmpty::one(missing(request.node(), facts))) };
    let evidence = facts.evidence(record, request.sans());
    let mut doubts = doubts(request, &evidence, facts, rule);
    doubts.extend(undecided);
    // Last, so that nobody is asked for names that are not the node's anyway.
    if doubts.is_empty() && rule.sources().0.contains(&Source::Dns) {
        doubts.extend(request.sans().iter().filter_map(San::as_dns).filter_map(|name| unconfirmed(name, &evidence)));
    }
    match NonEmpty::from_vec(doubts) {
        Some(reasons) => Verdict::Defer(reasons),
        None => Verdict::Approve(approval(request, &evidence, rule)),
    }
}

fn missing(node: &NodeName, facts: &Facts<'_>) -> DeferReason {
    match facts.unavailable.iter().find(|what| matches!(what, Unavailable::NotInDump("nodes"))) {
        Some(nodes) => DeferReason::SourceUnavailable(nodes.clone()),
        None => DeferReason::NodeNotFound { node: node.clone(), deleting: false },
    }
}

/// Refuses for these reasons, and for being superseded on top where that is refused in the same way.
fn refuse(mut reasons: NonEmpty<DenyReason>, superseded: bool, refusal: Refusal, on_superseded: Refusal) -> Verdict {
    if superseded && on_superseded == Refusal::Deny {
        reasons.extend([DenyReason::Superseded]);
    }
    refuse_all(reasons, refusal)
}

fn refuse_all(reasons: NonEmpty<DenyReason>, refusal: Refusal) -> Verdict {
    match refusal {
        Refusal::Deny => Verdict::Deny(reasons),
        Refusal::Leave => Verdict::Defer(reasons.map(DeferReason::Left)),
    }
}

/// Names and addresses that can never be the node's: protected ones, and the names of other Nodes. `own` is its Node.
fn takings(
    sans: &[San],
    node: Option<&NodeName>,
    own: Option<&NodeRecord>,
    facts: &Facts<'_>,
    policy: &Policy,
) -> Vec<DenyReason> {
    let protected = sans.iter().filter_map(|san| {
        let protection = policy.protected.protect(san).or_else(|| match san {
            San::Dns(name) => facts.protected.name(name),
            San::Ip(address) => facts.protected.address(*address).or_else(|| {
                if policy.load_balancers && facts.protected.load_balancers.contains(address) {
                    return Some(Protection::LoadBalancer);
                }
                // Another Node's range only makes the request wait: a hostile Node may have laid it over anything.
                let record = own?;
                let range = record.pod_ranges().iter().find(|range| range.contains(address))?;
                Some(Protection::PodRange(*range, record.name().clone()))
            }),
        })?;
        Some(match san {
            San::Dns(name) => DenyReason::ProtectedName(name.clone(), protection),
            San::Ip(address) => DenyReason::ProtectedAddress(*address, protection),
        })
    });
    let mut reasons: Vec<DenyReason> = protected.collect();
    if let Some(node) = node {
        let others = sans.iter().filter_map(|san| facts.nodes.other_named(san, node));
        reasons.extend(others.cloned().map(DenyReason::NameOfAnotherNode));
    }
    reasons
}

/// Whether the operator's inventory or a Machine, which no node can write, says that it is this node's. What Machines
/// said while they were followed may be another node's by now.
fn settled(san: &San, record: &NodeRecord, facts: &Facts<'_>) -> bool {
    let by_inventory = facts.inventory.is_some_and(|inventory| inventory.owner(san) == Some(record.name()));
    by_inventory || (facts.machines_unavailable.is_empty() && facts.machines.vouch(record, san))
}

/// What is not right yet.
fn doubts(request: &ServingRequest, evidence: &Evidence<'_>, facts: &Facts<'_>, rule: &Rule) -> Vec<DeferReason> {
    let node = request.node();
    let mut reasons = Vec::new();
    if evidence.record.is_deleting() {
        reasons.push(DeferReason::NodeNotFound { node: node.clone(), deleting: true });
    }
    reasons.extend(request.sans().iter().filter_map(|san| not_owned(san, node, evidence, rule)));
    for san in request.sans() {
        if facts.protected.api_server.is_at(san) && !evidence.record.is_control_plane() {
            reasons.push(DeferReason::NotAControlPlaneNode(san.clone(), node.clone()));
        }
    }
    reasons.extend(request.sans().iter().filter_map(|san| contested(san, evidence.record, facts)));
    let (sources, _) = rule.sources();
    if sources.contains(&Source::Inventory) && facts.inventory.is_none() {
        reasons.push(DeferReason::SourceUnavailable(Unavailable::NoInventory));
    }
    let machines = if sources.contains(&Source::Machine) { facts.machines_unavailable } else { &[] };
    let unavailable = facts.unavailable.iter().chain(machines);
    reasons.extend(unavailable.cloned().map(DeferReason::SourceUnavailable));
    let per_hour = rule.approvals_per_hour();
    let wait = facts.budget.map(|budget| budget.wait(per_hour, facts.now)).unwrap_or_default();
    if !wait.is_zero() {
        reasons.push(DeferReason::RateLimited { per_hour, wait });
    }
    reasons
}

/// Why DNS does not confirm a name.
fn unconfirmed(name: &DnsName, evidence: &Evidence<'_>) -> Option<DeferReason> {
    let unavailable = match evidence.dns.get(name) {
        None => Unavailable::NotResolved(name.clone()),
        Some(Resolution::Failed(problem)) => Unavailable::Resolver { name: name.clone(), problem: problem.clone() },
        Some(Resolution::Addresses(found)) if evidence.confirms(found) => return None,
        Some(Resolution::Addresses(found)) => {
            return Some(DeferReason::NameNotConfirmed { name: name.clone(), found: found.clone() });
        }
    };
    Some(DeferReason::SourceUnavailable(unavailable))
}

/// Why the rule's sources leave it open whether a name or address is the node's.
fn not_owned(san: &San, node: &NodeName, evidence: &Evidence<'_>, rule: &Rule) -> Option<DeferReason> {
    let (sources, require) = rule.sources();
    // DNS is asked last, and only to confirm.
    let sources = || sources.iter().copied().filter(|source| *source != Source::Dns);
    let saying = |answer: Answer| sources().filter(move |source| evidence.ask(*source, san, node) == answer);
    let owning = saying(Answer::Owned).count();
    let owned = match require {
        Require::All => owning == sources().count(),
        Require::Any => owning > 0,
    };
    if owned {
        return None;
    }
    let by = NotOwned { node: node.clone(), sources: saying(Answer::NotOwned).collect(), any: require == Require::Any };
    // What could not be asked is reported once for the whole request.
    if by.sources.is_empty() && saying(Answer::Unavailable).next().is_some() {
        return None;
    }
    Some(match san {
        San::Dns(name) => DeferReason::NameNotOwned(name.clone(), by),
        San::Ip(address) => DeferReason::AddressNotOwned(*address, by),
    })
}

/// Whether another Node stands in the way.
fn contested(san: &San, record: &NodeRecord, facts: &Facts<'_>) -> Option<DeferReason> {
    let (node, claims) = (record.name(), facts.nodes.claims());
    let range = san.as_ip().and_then(|address| claims.pod_range(address, Some(node)));
    let contest = claims.contest(san, node).or(match range {
        Some(PodRange::Unknown(_, other)) => Some(Contest::Unknown(other)),
        Some(PodRange::Within(range, other)) => Some(Contest::Pods(range, other)),
        None => None,
    })?;
    if settled(san, record, facts) { None } else { Some(DeferReason::ClaimedByAnotherNode(san.clone(), contest)) }
}

fn approval(request: &ServingRequest, evidence: &Evidence<'_>, rule: &Rule) -> Approval {
    let (sources, _) = rule.sources();
    let owning = |san: &San| {
        sources.iter().copied().filter(|source| evidence.ask(*source, san, request.node()) == Answer::Owned).collect()
    };
    Approval {
        node: request.node().clone(),
        evidence: request.sans().iter().map(|san| (san.clone(), owning(san))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use serde_json::{from_value, json};

    use super::*;
    use crate::identity::{MachineRecord, NodeIndex};
    use crate::verdict::IgnoreReason;

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn defer<const N: usize>(reasons: [DeferReason; N]) -> Verdict {
        Verdict::Defer(NonEmpty::from_vec(reasons.into()).unwrap())
    }

    fn other(name: &str) -> DenyReason {
        DenyReason::NameOfAnotherNode(node(name))
    }

    fn failed(name: &str) -> DenyReason {
        DenyReason::ConditionFailed { message: String::new(), node: node(name) }
    }

    fn missing(name: &str) -> DeferReason {
        DeferReason::NodeNotFound { node: node(name), deleting: false }
    }

    fn unresolved(name: &str) -> DeferReason {
        DeferReason::SourceUnavailable(Unavailable::NotResolved(name.parse().unwrap()))
    }

    /// What a verdict on node a's request rests on, where its Node's labels chose the rule and where not.
    fn rest(verdict: &Verdict, fresh: &[&str]) -> [Option<String>; 2] {
        [Some(node("a")), None].map(|chosen_by_labels| {
            let evaluation = Evaluation { rule: None, verdict: verdict.clone(), chosen_by_labels };
            evaluation.rests_on(|node| fresh.contains(&node.as_str())).map(ToString::to_string)
        })
    }

    #[test]
    fn a_denial_waits_for_the_nodes_it_rests_on() {
        let cases: [(&[DenyReason], &[&str], _); 9] = [
            (&[other("b")], &[], [Some("a"), Some("b")]),
            (&[other("b")], &["a"], [Some("b"); 2]),
            (&[other("b")], &["b"], [Some("a"), None]),
            (&[failed("a")], &[], [Some("a"); 2]),
            (&[failed("a")], &["a"], [None; 2]),
            (&[other("b"), other("c")], &["a"], [Some("b"); 2]),
            // One reason that is sure is enough, but the labels have to be.
            (&[other("b"), other("c")], &["c"], [Some("a"), None]),
            (&[other("b"), DenyReason::BadSignature], &[], [Some("a"), None]),
            (&[DenyReason::Superseded], &["a"], [None; 2]),
        ];
        for (reasons, fresh, expected) in cases {
            let verdict = Verdict::Deny(NonEmpty::from_vec(reasons.to_vec()).unwrap());
            assert_eq!(rest(&verdict, fresh).each_ref().map(Option::as_deref), expected, "{reasons:?} {fresh:?}");
        }
    }

    #[test]
    fn a_deferral_waits_for_every_node_it_rests_on_and_an_approval_for_none() {
        let by = || NotOwned { node: node("a"), sources: vec![Source::Node], any: false };
        let not_owned = [
            DeferReason::NameNotOwned("x".parse().unwrap(), by()),
            DeferReason::AddressNotOwned(IpAddr::from([192, 0, 2, 1]), by()),
            DeferReason::NotAControlPlaneNode(San::Ip(IpAddr::from([192, 0, 2, 1])), node("a")),
            missing("a"),
        ];
        for reason in not_owned {
            let verdict = defer([unresolved("x"), reason]);
            assert_eq!(rest(&verdict, &["b"]).each_ref().map(Option::as_deref), [Some("a"); 2]);
            assert_eq!(rest(&verdict, &["a"]), [None, None]);
        }
        assert_eq!(rest(&defer([missing("a"), missing("b")]), &["a"])[0].as_deref(), Some("b"));
        let sure = [DeferReason::NoRuleMatched(node("a")), DeferReason::Left(other("b"))];
        let approval = Approval { node: node("a"), evidence: Vec::new() };
        for verdict in [defer(sure), Verdict::Approve(approval), Verdict::Ignore(IgnoreReason::OtherSigner)] {
            assert_eq!(rest(&verdict, &[]), [None, None]);
        }
    }

    #[test]
    fn only_an_approval_waits_for_the_watch_to_bring_what_was_read_afresh() {
        let approval = Verdict::Approve(Approval { node: node("a"), evidence: Vec::new() });
        let others = [
            defer([missing("a")]),
            Verdict::Deny(NonEmpty::one(other("b"))),
            Verdict::Ignore(IgnoreReason::OtherSigner),
        ];
        let index = NodeIndex::default();
        let record = NodeRecord::read(&from_value(json!({"metadata": {"name": "a"}})).unwrap());
        let ahead = |verdict: Verdict, fresh: &[_]| Evaluation::new(None, verdict).is_ahead(&Nodes::new(&index, fresh));
        let fresh = [(node("a"), record)];
        assert!(ahead(approval.clone(), &fresh));
        assert!(!ahead(approval.clone(), &[(node("a"), None)]) && !ahead(approval, &[]));
        for verdict in others {
            assert!(!ahead(verdict, &fresh));
        }
    }

    #[test]
    fn a_machine_settles_a_conflict_only_while_machines_are_followed() {
        let address = json!([{"type": "InternalIP", "address": "192.0.2.1"}]);
        let mut index = NodeIndex::default();
        for name in ["a", "b"] {
            let node = json!({"metadata": {"name": name}, "status": {"addresses": address}});
            index.apply(NodeRecord::read(&from_value(node).unwrap()).unwrap(), 0);
        }
        let machine = json!({"metadata": {"name": "m"}, "status": {"nodeRef": {"name": "a"}, "addresses": address}});
        let mut machines = MachineIndex::default();
        machines.apply("m", MachineRecord::read(&from_value(machine).unwrap()));
        let san = San::Ip(IpAddr::from([192, 0, 2, 1]));
        let protected = Protected::new("cluster.local".parse().unwrap(), Vec::new());
        let is_contested = |name: &str, machines_unavailable: &[Unavailable]| {
            let facts = Facts {
                now: Timestamp::UNIX_EPOCH,
                nodes: Nodes::new(&index, &[]),
                unavailable: &[],
                machines: &machines,
                machines_unavailable,
                inventory: None,
                dns: &Resolutions::default(),
                protected: &protected,
                superseded: false,
                budget: None,
            };
            contested(&san, index.get(&node(name)).unwrap(), &facts).is_some()
        };
        assert!(!is_contested("a", &[]) && is_contested("b", &[]));
        assert!(is_contested("a", &[Unavailable::Watch("machines")]));
    }

    #[test]
    fn names_are_looked_up_where_nothing_else_is_in_the_way() {
        let names = |verdict| {
            Evaluation::new(None, verdict).to_resolve().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
        };
        let no_inventory = DeferReason::SourceUnavailable(Unavailable::NoInventory);
        assert_eq!(names(defer([unresolved("x"), unresolved("y.example.com")])), ["x", "y.example.com"]);
        assert!(names(defer([missing("a"), no_inventory])).is_empty());
        assert!(names(Verdict::Deny(NonEmpty::one(DenyReason::BadSignature))).is_empty());
    }
}
