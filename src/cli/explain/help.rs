//! What can be done about each reason.

use crate::identity::{Contest, Protection};
use crate::policy::Source;
use crate::request::KeyError;
use crate::san::{NodeName, San};
use crate::verdict::{DeferReason, DenyReason, NotOwned, SanKind, Unavailable};

/// What would make a request approvable that waits for this reason.
pub(super) fn of_deferral(reason: &DeferReason) -> String {
    match reason {
        DeferReason::NoRuleMatched(node) => format!("add a rule to the policy whose match is about {node}"),
        DeferReason::NodeNotFound { node, deleting: false } => format!(
            "nothing, if its kubelet is about to register Node {node}: the request is approved then; else see the kubelet's \
             log why it does not"
        ),
        DeferReason::NodeNotFound { node, deleting: true } => {
            format!("nothing: Node {node} is going, and a new one of that name is judged afresh")
        }
        DeferReason::NameNotOwned(name, by) => owned(&San::Dns(name.clone()), by),
        DeferReason::NameNotConfirmed { name, .. } => format!(
            "have {name} lead to the node's addresses in DNS, and to no others; it is looked up again every half a minute"
        ),
        DeferReason::AddressNotOwned(address, by) => owned(&San::Ip(*address), by),
        DeferReason::ClaimedByAnotherNode(san, Contest::Later(other) | Contest::Unknown(other)) => format!(
            "delete Node {other} if it is gone for good, or have {san} taken out of its status.addresses; or say whose it is \
             in an inventory, or by Machines, which settles it"
        ),
        DeferReason::ClaimedByAnotherNode(san, Contest::Pods(range, other)) => format!(
            "delete Node {other} if its spec.podCIDRs with {range} is wrong, since it cannot be changed; or say in an \
             inventory, or by Machines, whose {san} is"
        ),
        DeferReason::NotAControlPlaneNode(_, node) => format!(
            "if it is one of the control plane, label it: kubectl label node {node} node-role.kubernetes.io/control-plane="
        ),
        DeferReason::ConditionError { .. } => {
            "have the condition allow for what is missing, such as `'zone' in node.labels && …`; or add it".to_owned()
        }
        DeferReason::RateLimited { .. } => {
            "wait; or find out why the node asks so often, and raise approvalsPerHour of the rule if it has to"
                .to_owned()
        }
        DeferReason::SourceUnavailable(Unavailable::Watch(objects)) => {
            format!("have the API server answer for {objects}; /readyz of the controller says why it does not")
        }
        DeferReason::SourceUnavailable(Unavailable::NotInDump(objects)) => {
            format!("give a dump that has them: kubectl get {objects} -A -o yaml")
        }
        DeferReason::SourceUnavailable(Unavailable::NotResolved(_)) => {
            "look at the live cluster, without -f: DNS is all that is left to ask, and is not asked for a dump"
                .to_owned()
        }
        DeferReason::SourceUnavailable(Unavailable::Resolver { .. }) => {
            "have the servers in /etc/resolv.conf answer; or take dns out of the rule's identity.sources".to_owned()
        }
        DeferReason::SourceUnavailable(Unavailable::NoInventory) => {
            "give --inventory, or take inventory out of the rule's identity.sources".to_owned()
        }
        DeferReason::Left(violation) => {
            format!(
                "it waits for a second approver or a person, as the policy says; otherwise: {}",
                of_denial(violation)
            )
        }
    }
}

fn owned(san: &San, by: &NotOwned) -> String {
    let each: Vec<String> = by.sources.iter().map(|source| owned_by(*source, san, &by.node)).collect();
    each.join(if by.any { "; or " } else { "; and " })
}

fn owned_by(source: Source, san: &San, node: &NodeName) -> String {
    match source {
        Source::Node => format!(
            "have {san} listed in status.addresses of Node {node}, by its kubelet (--node-ip, --hostname-override) or the \
             cloud controller manager"
        ),
        Source::Machine => format!(
            "have {san} listed in status.addresses of the Machine whose status.nodeRef is Node {node} and whose providerID is \
             the Node's"
        ),
        Source::Inventory => format!("add {san} to node {node} in the inventory"),
        Source::Dns => format!("have {san} lead to the node's addresses in DNS"),
    }
}

/// What can be done about a denial. It is final; but a kubelet files a new request within half a minute.
pub(super) fn of_denial(reason: &DenyReason) -> String {
    match reason {
        DenyReason::KeyNotAllowed(KeyError::NotInRule { key, .. }) => format!("add {key} to keys of the rule"),
        DenyReason::MalformedRequest(_)
        | DenyReason::BadSignature
        | DenyReason::KeyNotAllowed(_)
        | DenyReason::WeakKey(_)
        | DenyReason::SubjectMismatch(_)
        | DenyReason::UsageNotAllowed(_) => {
            "no kubelet files such a request: find out what did, with the requestor's credentials".to_owned()
        }
        DenyReason::RequestorNotANode(_) => {
            "file it for another signer: this one is for nodes; otherRequestors: leave leaves it to a person".to_owned()
        }
        DenyReason::ForbiddenSan(_) => {
            "correct the entry of the Node's status.addresses from which the kubelet has it".to_owned()
        }
        DenyReason::TooManySans { kind: SanKind::Dns, .. } => "raise dnsNames.max of the rule".to_owned(),
        DenyReason::TooManySans { kind: SanKind::Ip, .. } => "raise ipAddresses.max of the rule".to_owned(),
        DenyReason::NameOutsidePattern { .. } => {
            "add a pattern to dnsNames.patterns of the rule, if the name is right".to_owned()
        }
        DenyReason::AddressOutsideRange { .. } => {
            "add a range to ipAddresses.ranges of the rule, if the address is right".to_owned()
        }
        DenyReason::ExpirationTooLong { .. } => "raise maxExpiration of the rule".to_owned(),
        DenyReason::ConditionFailed { .. } => "see conditions of the rule for what it asks".to_owned(),
        DenyReason::ProtectedName(_, protection) | DenyReason::ProtectedAddress(_, protection) => protected(protection),
        DenyReason::NameOfAnotherNode(other) => {
            format!("delete Node {other} if it is gone for good, or correct the name that the kubelet goes by")
        }
        DenyReason::Superseded => "nothing: it is the newest request of the node that counts".to_owned(),
    }
}

fn protected(protection: &Protection) -> String {
    match protection {
        Protection::Policy(entry) => format!("take {entry} out of protected of the policy, if it is wrong there"),
        Protection::LoadBalancer => {
            "take loadBalancers out of protected of the policy, if these are the nodes' own addresses".to_owned()
        }
        Protection::ClusterDomain(domain) => {
            format!("give the node a name outside of {domain}, or give --cluster-domain if that is not the cluster's")
        }
        Protection::ServiceRange(range) => {
            format!("give the node an address outside of {range}, which is for Services")
        }
        Protection::PodRange(range, _) => format!("give the node an address outside of {range}, which is for its pods"),
        Protection::LocalHost
        | Protection::ApiServer
        | Protection::Service
        | Protection::Loopback
        | Protection::Unspecified
        | Protection::LinkLocal
        | Protection::Multicast
        | Protection::Broadcast => {
            "nothing: no policy allows it, since clients reach something else under it".to_owned()
        }
    }
}
