//! The answer to one request, and every reason an answer can have.
//!
//! A reason's name ([`DenyReason::as_str`], [`DeferReason::as_str`]) is the condition's reason, the Event's
//! reason and the metric's label; its `Display` is the sentence that people read.

use std::fmt;
use std::net::IpAddr;

use crate::identity::Protection;
use crate::quote::MAX_LISTED;
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
    /// Every SAN that was found to be the node's own.
    pub sans: Vec<San>,
}

impl Approval {
    /// The condition's reason; the same that the approver within kube-controller-manager writes.
    pub const REASON: &'static str = "AutoApproved";
}

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, san) in self.sans.iter().take(MAX_LISTED).enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            san.fmt(f)?;
        }
        if let Some(more @ 1..) = self.sans.len().checked_sub(MAX_LISTED) {
            write!(f, " and {more} more")?;
        }
        write!(f, ": listed in status.addresses of Node {}", self.node)
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
            Self::MalformedRequest(_)
            | Self::BadSignature
            | Self::KeyNotAllowed(_)
            | Self::WeakKey(_)
            | Self::RequestorNotANode(_)
            | Self::SubjectMismatch(_)
            | Self::UsageNotAllowed(_)
            | Self::ForbiddenSan(_)
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
    /// The Node does not list the name.
    NameNotOwned(DnsName, NodeName),
    /// The Node does not list the address.
    AddressNotOwned(IpAddr, NodeName),
    /// The cluster's Nodes cannot be followed at the moment.
    SourceUnavailable,
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
            Self::NameNotOwned(..) => "NameNotOwned",
            Self::AddressNotOwned(..) => "AddressNotOwned",
            Self::SourceUnavailable => "SourceUnavailable",
            Self::Left(violation) => violation.as_str(),
        }
    }

    /// The Node object that has to be read afresh before this reason may be acted on, if it rests on one.
    #[must_use]
    pub fn rests_on(&self) -> Option<&NodeName> {
        match self {
            Self::NodeNotFound { node, .. } | Self::NameNotOwned(_, node) | Self::AddressNotOwned(_, node) => {
                Some(node)
            }
            // A violation that is only left pending is looked at again anyway.
            Self::Left(_) | Self::NoRuleMatched(_) | Self::SourceUnavailable => None,
        }
    }
}

impl fmt::Display for DeferReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuleMatched(node) => write!(f, "no rule of the policy matches node {node}"),
            Self::NodeNotFound { node, deleting: false } => write!(f, "Node {node} does not exist (yet)"),
            Self::NodeNotFound { node, deleting: true } => write!(f, "Node {node} is being deleted"),
            Self::NameNotOwned(name, node) => write!(f, "{name} is not in status.addresses of Node {node}"),
            Self::AddressNotOwned(address, node) => {
                write!(f, "{address} is not in status.addresses of Node {node}")
            }
            Self::SourceUnavailable => {
                f.write_str("the cluster's Nodes cannot be followed at the moment: their watch is down")
            }
            Self::Left(violation) => write!(f, "{violation} (left pending, as the policy's rule says)"),
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
