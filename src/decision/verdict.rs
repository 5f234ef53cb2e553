//! The answer to one request, and every reason an answer can have.
//!
//! A reason's name ([`DenyReason::as_str`], [`DeferReason::as_str`]) is the condition's reason, the Event's
//! reason and the metric's label; its `Display` is the sentence that people read.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::identity::{Contest, Protection};
use crate::policy::Source;
use crate::quote::{MAX_LISTED, list};
use crate::request::{KeyError, MalformedRequest, RequestorError, SubjectError, UsageError};
use crate::san::{DnsName, NodeName, San, SanError};

/// What is to be done about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every name and address is the node's own and nothing speaks against it.
    Approve(Approval),
    /// Something can never become right. Irreversible.
    Deny(NonEmpty<DenyReason>),
    /// Something may still become right: the request stays pending and is looked at again.
    Defer(NonEmpty<DeferReason>),
    /// Not ours to touch.
    Ignore(IgnoreReason),
}

/// What an approval rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The node that gets the certificate.
    pub node: NodeName,
    /// Every name and address, with the sources that own it.
    pub evidence: Vec<(San, Vec<Source>)>,
}

impl Approval {
    /// The condition's reason; the same that the approver within kube-controller-manager writes.
    pub const REASON: &'static str = "AutoApproved";
}

impl fmt::Display for Approval {
    /// Names and addresses with the same sources are told together.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: Vec<(&[Source], Vec<&San>)> = Vec::new();
        for (san, sources) in &self.evidence {
            match groups.iter_mut().find(|(known, _)| *known == sources.as_slice()) {
                Some((_, sans)) => sans.push(san),
                None => groups.push((sources, vec![san])),
            }
        }
        for (position, (sources, sans)) in groups.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            let sources: Vec<String> = sources.iter().map(|source| place(*source, &self.node)).collect();
            write!(f, "{}: listed in {}", list(sans), sources.join(" and "))?;
        }
        Ok(())
    }
}

/// Where a source has its knowledge from.
fn place(source: Source, node: &NodeName) -> String {
    match source {
        Source::Node => format!("status.addresses of Node {node}"),
        Source::Machine => format!("status.addresses of node {node}'s Machine"),
        Source::Inventory => "the inventory".to_owned(),
        Source::Dns => "DNS".to_owned(),
    }
}

/// Why a request is none of our business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoreReason {
    /// Its signer is not `kubernetes.io/kubelet-serving`.
    OtherSigner,
    /// It already is Approved, Denied or Failed.
    AlreadyDecided,
}

/// Something about a request that can never become right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DenyReason {
    /// The request's bytes are not exactly one well-formed PKCS#10 request for SANs.
    MalformedRequest(MalformedRequest),
    /// The signature does not prove possession of the private key.
    BadSignature,
    /// The key or signature algorithm is not allowed.
    KeyNotAllowed(KeyError),
    /// The key is of an allowed kind, but weak.
    WeakKey(KeyError),
    /// The requestor is not a node.
    RequestorNotANode(RequestorError),
    /// The subject is not exactly the requestor's.
    SubjectMismatch(SubjectError),
    /// The requested usages are not those of a serving certificate.
    UsageNotAllowed(UsageError),
    /// A SAN that no kubelet-serving certificate may carry.
    ForbiddenSan(SanError),
    /// More names or addresses than the rule allows.
    TooManySans {
        /// Which of the two.
        kind: SanKind,
        /// As requested.
        count: usize,
        /// As allowed.
        max: usize,
    },
    /// A name that fits none of the rule's patterns.
    NameOutsidePattern {
        /// As requested.
        name: DnsName,
        /// As allowed.
        patterns: Vec<String>,
    },
    /// An address within none of the rule's ranges.
    AddressOutsideRange {
        /// As requested.
        address: IpAddr,
        /// As allowed.
        ranges: Vec<IpNet>,
    },
    /// A longer lifetime than the rule allows.
    ExpirationTooLong {
        /// As requested.
        requested: Duration,
        /// As allowed.
        max: Duration,
    },
    /// A condition of the rule is not true of the request and its Node.
    ConditionFailed {
        /// What is asked for, in the policy's words.
        message: String,
        /// The node, whose labels the condition may have looked at.
        node: NodeName,
    },
    /// A name that no node may have.
    ProtectedName(DnsName, Protection),
    /// An address that no node may have.
    ProtectedAddress(IpAddr, Protection),
    /// The name of another Node object.
    NameOfAnotherNode(NodeName),
    /// The same requestor has filed a newer request, and a kubelet waits on its newest only.
    Superseded,
}

impl DenyReason {
    /// The reason's name in conditions, Events and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::MalformedRequest(_) => "MalformedRequest",
            Self::BadSignature => "BadSignature",
            Self::KeyNotAllowed(_) => "KeyNotAllowed",
            Self::WeakKey(_) => "WeakKey",
            Self::RequestorNotANode(_) => "RequestorNotANode",
            Self::SubjectMismatch(_) => "SubjectMismatch",
            Self::UsageNotAllowed(_) => "UsageNotAllowed",
            Self::ForbiddenSan(_) => "ForbiddenSan",
            Self::TooManySans { .. } => "TooManySans",
            Self::NameOutsidePattern { .. } => "NameOutsidePattern",
            Self::AddressOutsideRange { .. } => "AddressOutsideRange",
            Self::ExpirationTooLong { .. } => "ExpirationTooLong",
            Self::ConditionFailed { .. } => "ConditionFailed",
            Self::ProtectedName(..) => "ProtectedName",
            Self::ProtectedAddress(..) => "ProtectedAddress",
            Self::NameOfAnotherNode(_) => "NameOfAnotherNode",
            Self::Superseded => "Superseded",
        }
    }

    /// The Node object that has to be read afresh before this reason may be acted on, if it rests on one.
    #[must_use]
    pub fn rests_on(&self) -> Option<&NodeName> {
        match self {
            Self::NameOfAnotherNode(other) => Some(other),
            Self::ConditionFailed { node, .. } => Some(node),
            Self::MalformedRequest(_)
            | Self::BadSignature
            | Self::KeyNotAllowed(_)
            | Self::WeakKey(_)
            | Self::RequestorNotANode(_)
            | Self::SubjectMismatch(_)
            | Self::UsageNotAllowed(_)
            | Self::ForbiddenSan(_)
            | Self::TooManySans { .. }
            | Self::NameOutsidePattern { .. }
            | Self::AddressOutsideRange { .. }
            | Self::ExpirationTooLong { .. }
            | Self::ProtectedName(..)
            | Self::ProtectedAddress(..)
            | Self::Superseded => None,
        }
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedRequest(error) => error.fmt(f),
            Self::BadSignature => {
                f.write_str("the request's signature was not made with the private key of its public key")
            }
            Self::KeyNotAllowed(error) | Self::WeakKey(error) => error.fmt(f),
            Self::RequestorNotANode(error) => error.fmt(f),
            Self::SubjectMismatch(error) => error.fmt(f),
            Self::UsageNotAllowed(error) => error.fmt(f),
            Self::ForbiddenSan(error) => error.fmt(f),
            Self::TooManySans { kind, count, max } => {
                write!(f, "{count} {kind} are requested; {max} are allowed")
            }
            Self::NameOutsidePattern { name, patterns } if patterns.is_empty() => {
                write!(f, "{name} is requested; the rule allows no name")
            }
            Self::NameOutsidePattern { name, patterns } => {
                write!(f, "{name} fits none of the rule's patterns: {}", list(patterns))
            }
            Self::AddressOutsideRange { address, ranges } if ranges.is_empty() => {
                write!(f, "{address} is requested; the rule allows no address")
            }
            Self::AddressOutsideRange { address, ranges } => {
                write!(f, "{address} is within none of the rule's ranges: {}", list(ranges))
            }
            Self::ExpirationTooLong { requested, max } => {
                write!(f, "a lifetime of {} is requested; {} is allowed", duration(*requested), duration(*max))
            }
            Self::ConditionFailed { message, .. } => write!(f, "a condition of the rule is not met: {message}"),
            Self::ProtectedName(name, protection) => write!(f, "no node may have the name {name}: {protection}"),
            Self::ProtectedAddress(address, protection) => {
                write!(f, "no node may have the address {address}: {protection}")
            }
            Self::NameOfAnotherNode(other) => write!(f, "{other} is the name of another Node"),
            Self::Superseded => {
                f.write_str("the same node has filed a newer request since, and a kubelet waits on its newest only")
            }
        }
    }
}

/// The two kinds of subject alternative names that a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SanKind {
    /// dNSName.
    Dns,
    /// iPAddress.
    Ip,
}

impl fmt::Display for SanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "names",
            Self::Ip => "addresses",
        })
    }
}

/// A time in hours, minutes and seconds.
fn duration(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |it| format!("{it:#}"))
}

/// Something about a request that is not right now but may become right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeferReason {
    /// No rule of the policy matches the node.
    NoRuleMatched(NodeName),
    /// The Node object does not exist, or is being deleted.
    NodeNotFound {
        /// The requestor's node.
        node: NodeName,
        /// Whether it exists and is on its way out.
        deleting: bool,
    },
    /// The sources that the rule asks do not say that the name is the node's.
    NameNotOwned(DnsName, NotOwned),
    /// DNS does not confirm the name: it leads nowhere, or to addresses that are not requested.
    NameNotConfirmed {
        /// As requested.
        name: DnsName,
        /// Where it leads.
        found: Vec<IpAddr>,
    },
    /// The sources that the rule asks do not say that the address is the node's.
    AddressNotOwned(IpAddr, NotOwned),
    /// Another Node stands in the way.
    ClaimedByAnotherNode(San, Contest),
    /// The API server is reached under it, and the Node is not (yet) labelled as one of the control plane.
    NotAControlPlaneNode(San, NodeName),
    /// Whether a condition of the rule is true cannot be told.
    ConditionError {
        /// The condition.
        expression: String,
        /// What the interpreter says.
        problem: String,
    },
    /// The node has had its approvals for now.
    RateLimited {
        /// How many it gets in an hour.
        per_hour: u32,
        /// How long until the next.
        wait: Duration,
    },
    /// Something that has to be asked cannot be asked at the moment.
    SourceUnavailable(Unavailable),
    /// What would be denied, were it not for `onViolation: leave`.
    Left(DenyReason),
}

impl DeferReason {
    /// The reason's name in Events and metrics; what was left pending keeps the name it would be denied with.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NoRuleMatched(_) => "NoRuleMatched",
            Self::NodeNotFound { .. } => "NodeNotFound",
            Self::NameNotOwned(..) | Self::NameNotConfirmed { .. } => "NameNotOwned",
            Self::AddressNotOwned(..) => "AddressNotOwned",
            Self::ClaimedByAnotherNode(..) => "ClaimedByAnotherNode",
            Self::NotAControlPlaneNode(..) => "NotAControlPlaneNode",
            Self::ConditionError { .. } => "ConditionError",
            Self::RateLimited { .. } => "RateLimited",
            Self::SourceUnavailable(_) => "SourceUnavailable",
            Self::Left(violation) => violation.as_str(),
        }
    }

    /// The Node object that has to be read afresh before this reason may be acted on, if it rests on one.
    #[must_use]
    pub fn rests_on(&self) -> Option<&NodeName> {
        match self {
            Self::NodeNotFound { node, .. } | Self::NotAControlPlaneNode(_, node) => Some(node),
            Self::NameNotOwned(_, by) | Self::AddressNotOwned(_, by) => Some(&by.node),
            // A violation that is only left pending is looked at again anyway.
            Self::Left(_)
            | Self::NoRuleMatched(_)
            | Self::NameNotConfirmed { .. }
            | Self::ClaimedByAnotherNode(..)
            | Self::ConditionError { .. }
            | Self::RateLimited { .. }
            | Self::SourceUnavailable(_) => None,
        }
    }
}

impl DeferReason {
    /// The name that has to be looked up before this reason may be acted on, if it rests on one.
    #[must_use]
    pub fn to_resolve(&self) -> Option<&DnsName> {
        match self {
            Self::SourceUnavailable(Unavailable::NotResolved(name)) => Some(name),
            Self::SourceUnavailable(
                Unavailable::Watch(_)
                | Unavailable::NotInDump(_)
                | Unavailable::NoInventory
                | Unavailable::Resolver { .. },
            )
            | Self::Left(_)
            | Self::NoRuleMatched(_)
            | Self::NodeNotFound { .. }
            | Self::NameNotOwned(..)
            | Self::NameNotConfirmed { .. }
            | Self::AddressNotOwned(..)
            | Self::ClaimedByAnotherNode(..)
            | Self::NotAControlPlaneNode(..)
            | Self::ConditionError { .. }
            | Self::RateLimited { .. } => None,
        }
    }
}

impl fmt::Display for DeferReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuleMatched(node) => write!(f, "no rule of the policy matches node {node}"),
            Self::NodeNotFound { node, deleting: false } => write!(f, "Node {node} does not exist (yet)"),
            Self::NodeNotFound { node, deleting: true } => write!(f, "Node {node} is being deleted"),
            Self::NameNotOwned(name, by) => write!(f, "{name} is not {by}"),
            Self::NameNotConfirmed { name, found } if found.is_empty() => {
                write!(f, "{name} has no address in DNS (yet)")
            }
            Self::NameNotConfirmed { name, found } => {
                write!(f, "{name} leads to {} in DNS, and not only to addresses that are requested", list(found))
            }
            Self::AddressNotOwned(address, by) => write!(f, "{address} is not {by}"),
            Self::ClaimedByAnotherNode(san, Contest::Later(other)) => {
                write!(f, "{san} was claimed by Node {other} before; it waits until that Node is deleted or drops it")
            }
            Self::ClaimedByAnotherNode(san, Contest::Unknown(other)) => write!(
                f,
                "{san} is claimed by Node {other} too, and nobody saw who was first; both wait until one is deleted or drops it"
            ),
            Self::ClaimedByAnotherNode(san, Contest::Pods(range, other)) => {
                write!(f, "{san} is within the range {range} of the pods of Node {other}, which was there before")
            }
            Self::NotAControlPlaneNode(san, node) => write!(
                f,
                "the API server is reached at {san}, and Node {node} has no label node-role.kubernetes.io/control-plane (yet)"
            ),
            Self::ConditionError { expression, problem } => {
                write!(f, "whether {expression} is true cannot be told: {problem}")
            }
            Self::RateLimited { per_hour, wait } => write!(
                f,
                "the node has had its approvals for now ({per_hour} an hour); the next is due in {} s",
                wait.as_secs().max(1)
            ),
            Self::SourceUnavailable(what) => what.fmt(f),
            Self::Left(violation) => write!(f, "{violation} (left pending, as the policy's rule says)"),
        }
    }
}

/// Which sources do not say that something is a node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOwned {
    /// The node that asks.
    pub node: NodeName,
    /// The sources that say it is not.
    pub sources: Vec<Source>,
    /// Whether one of them would have been enough.
    pub any: bool,
}

impl fmt::Display for NotOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<String> = self.sources.iter().map(|source| place(*source, &self.node)).collect();
        write!(f, "in {}", sources.join(if self.any { " nor in " } else { " and not in " }))?;
        if self.sources == [Source::Inventory] { write!(f, " as node {}'s", self.node) } else { Ok(()) }
    }
}

/// What cannot be asked at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The watch of this kind of object is down.
    Watch(&'static str),
    /// There are no objects of this kind in the dump that is all there is to go by.
    NotInDump(&'static str),
    /// The rule asks the inventory, and there is none.
    NoInventory,
    /// The rule asks DNS for this name, and nobody did so far.
    NotResolved(DnsName),
    /// The rule asks DNS, which gave no answer.
    Resolver {
        /// The name that was looked up.
        name: DnsName,
        /// Why, in a sentence.
        problem: String,
    },
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watch(objects) => {
                write!(f, "the cluster's {objects} cannot be followed at the moment: their watch is down")
            }
            Self::NotInDump(objects) => write!(f, "there are no {objects} in the dump"),
            Self::NoInventory => f.write_str("the rule asks the inventory, and the program was started without one"),
            Self::NotResolved(name) => write!(f, "the rule asks DNS, and {name} was not looked up"),
            Self::Resolver { name, problem } => write!(f, "{name} cannot be looked up in DNS: {problem}"),
        }
    }
}

/// At least one of something, in the order it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonEmpty<T> {
    first: T,
    rest: Vec<T>,
}

impl<T> NonEmpty<T> {
    /// A list of one.
    pub fn one(first: T) -> Self {
        Self { first, rest: Vec::new() }
    }

    /// `None` when there is nothing in the list.
    #[must_use]
    pub fn from_vec(items: Vec<T>) -> Option<Self> {
        let mut items = items.into_iter();
        items.next().map(|first| Self { first, rest: items.collect() })
    }

    /// The first, which names the condition's reason.
    pub fn first(&self) -> &T {
        &self.first
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// Appends more.
    pub fn extend(&mut self, more: impl IntoIterator<Item = T>) {
        self.rest.extend(more);
    }

    /// The same list with each item changed.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> NonEmpty<U> {
        NonEmpty { first: change(self.first), rest: self.rest.into_iter().map(change).collect() }
    }
}

impl<T: fmt::Display> fmt::Display for NonEmpty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, item) in self.iter().take(MAX_LISTED).enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            item.fmt(f)?;
        }
        match (self.rest.len() + 1).checked_sub(MAX_LISTED) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_tells_what_has_the_same_sources_together() {
        let name = |name: &str| San::Dns(name.parse().unwrap());
        let evidence = vec![
            (name("a"), vec![Source::Node]),
            (San::Ip(IpAddr::from([192, 0, 2, 1])), vec![Source::Node, Source::Inventory]),
            (name("b"), vec![Source::Node]),
        ];
        let approval = Approval { node: "a".parse().unwrap(), evidence };
        assert_eq!(
            approval.to_string(),
            "a, b: listed in status.addresses of Node a; 192.0.2.1: listed in status.addresses of Node a and the inventory"
        );
    }

    #[test]
    fn counts_the_reasons_that_a_message_leaves_out() {
        let reasons = |count| NonEmpty::from_vec(vec!["x"; count]).unwrap().to_string();
        assert_eq!(reasons(1), "x");
        assert_eq!(reasons(8), "x; x; x; x; x; x; x; x");
        assert_eq!(reasons(9), "x; x; x; x; x; x; x; x; and 1 more");
    }
}
