//! What a request asks for: parsed once, into types that cannot hold what no kubelet may have.
//!
//! Kube-controller-manager re-reads the request with Go's crypto/x509 and copies subject, dNSNames and
//! iPAddresses into the certificate.
//! INVARIANT: whatever Go could read differently from this module is a [`DenyReason`].

mod decoded;
mod der;
mod key;
mod pkcs10;
mod requestor;
mod rsa;
mod subject;
mod usages;

pub use decoded::{Decoded, RequestedName};
pub use key::{KeyError, KeyKind};
pub use pkcs10::MalformedRequest;
pub use requestor::USER_PREFIX;
pub use requestor::{Requestor, RequestorError};
pub use subject::SubjectError;
pub use usages::UsageError;

use std::time::Duration;

use crate::api::{CertificateSigningRequest, KUBELET_SERVING, RequestBytes, RequestSpec};
use crate::san::{MAX_SANS, NodeName, San, SanError};
use crate::verdict::{DenyReason, IgnoreReason, NonEmpty};
use pkcs10::{Name, Pkcs10};

/// A request that a kubelet could honestly have filed: everything that needs no knowledge of the cluster is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingRequest {
    node: NodeName,
    sans: Vec<San>,
    key: KeyKind,
    expiration: Option<Duration>,
}

impl ServingRequest {
    /// The node that asks, by its credential.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// What it asks for: at least one name or address.
    #[must_use]
    pub fn sans(&self) -> &[San] {
        &self.sans
    }

    /// The kind of its key.
    #[must_use]
    pub fn key(&self) -> KeyKind {
        self.key
    }

    /// The lifetime it asks for; without one, the signer chooses.
    #[must_use]
    pub fn expiration(&self) -> Option<Duration> {
        self.expiration
    }
}

/// What a CertificateSigningRequest turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A request that a kubelet could honestly have filed.
    Serving(ServingRequest),
    /// A request that is wrong in itself.
    Refused(Box<RefusedRequest>),
    /// Nothing for us to answer.
    NotOurs(IgnoreReason),
}

impl Reading {
    /// Reads one request and checks all that needs no knowledge of the cluster, or sees that it is not ours.
    #[must_use]
    pub fn of(csr: &CertificateSigningRequest) -> Self {
        if csr.spec.signer_name != KUBELET_SERVING {
            return Self::NotOurs(IgnoreReason::OtherSigner);
        }
        if csr.is_decided() {
            return Self::NotOurs(IgnoreReason::AlreadyDecided);
        }
        Self::of_spec(&csr.spec)
    }

    /// Reads what a request asks for that is for our signer and has no answer, as far as that is known already.
    #[must_use]
    pub fn of_spec(spec: &RequestSpec) -> Self {
        match read(spec) {
            Ok(request) => Self::Serving(request),
            Err(refused) => Self::Refused(refused),
        }
    }

    /// The node that asks, where the requestor is one.
    #[must_use]
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Serving(request) => Some(request.node()),
            Self::Refused(refused) => refused.node.as_ref(),
            Self::NotOurs(_) => None,
        }
    }
}

/// A request that is wrong in itself, with what could be read of it, so that a message can be complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRequest {
    /// The node that asks, where the requestor is one.
    pub node: Option<NodeName>,
    /// Those of the requested names and addresses that are well-formed.
    pub sans: Vec<San>,
    /// What is wrong.
    pub reasons: NonEmpty<DenyReason>,
}

/// Reads one request, and refuses it with every reason and not only the first.
fn read(spec: &RequestSpec) -> Result<ServingRequest, Box<RefusedRequest>> {
    let mut reasons = Vec::new();
    let mut content = Content::default();
    match &spec.request {
        RequestBytes::TooLong => reasons.push(DenyReason::MalformedRequest(MalformedRequest::TooLong)),
        RequestBytes::Pem(pem) => match pkcs10::decode_pem(pem) {
            Err(error) => reasons.push(DenyReason::MalformedRequest(error)),
            Ok(der) => match Pkcs10::from_der(&der) {
                Err(error) => reasons.push(DenyReason::MalformedRequest(error)),
                Ok(pkcs10) => content = Content::read(&pkcs10, &spec.username, &mut reasons),
            },
        },
    }
    let node = match Requestor::read(&spec.username, &spec.groups) {
        Ok(Requestor { node }) => Some(node),
        Err(error) => {
            reasons.push(DenyReason::RequestorNotANode(error));
            None
        }
    };
    if let Some(mismatch) = content.subject {
        reasons.push(mismatch);
    }
    if let Err(error) = usages::check(&spec.usages) {
        reasons.push(DenyReason::UsageNotAllowed(error));
    }
    reasons.extend(content.bad_sans.into_iter().map(DenyReason::ForbiddenSan));

    match (NonEmpty::from_vec(reasons), node, content.key) {
        (None, Some(node), Some(key)) => {
            let expiration = spec.expiration_seconds.map(|seconds| Duration::from_secs(seconds.into()));
            Ok(ServingRequest { node, sans: content.sans, key, expiration })
        }
        (Some(reasons), node, _) => Err(Box::new(RefusedRequest { node, sans: content.sans, reasons })),
        // Cannot happen: a missing node or key has left a reason behind. Refused all the same.
        (None, node, _) => {
            Err(Box::new(RefusedRequest { node, sans: content.sans, reasons: NonEmpty::one(DenyReason::BadSignature) }))
        }
    }
}

/// What a well-formed PKCS#10 request holds.
#[derive(Default)]
struct Content {
    key: Option<KeyKind>,
    subject: Option<DenyReason>,
    sans: Vec<San>,
    bad_sans: Vec<SanError>,
}

impl Content {
    /// Key and signature speak first, in the order of the reasons; the subject and the SANs are kept for their turn.
    fn read(pkcs10: &Pkcs10<'_>, username: &str, reasons: &mut Vec<DenyReason>) -> Self {
        let mut content = Self::default();
        match key::read(pkcs10) {
            Ok(key) => match pkcs10.verify_possession() {
                Ok(()) => content.key = Some(key),
                Err(_) if !key::is_point(pkcs10, key) => reasons.push(DenyReason::KeyNotAllowed(KeyError::Encoding)),
                Err(_) => reasons.push(DenyReason::BadSignature),
            },
            Err(error) if error.is_weakness() => reasons.push(DenyReason::WeakKey(error)),
            Err(error) => reasons.push(DenyReason::KeyNotAllowed(error)),
        }
        content.subject = subject::check(pkcs10.subject(), username).err().map(DenyReason::SubjectMismatch);
        let names = pkcs10.names();
        if names.len() > MAX_SANS {
            content.bad_sans.push(SanError::TooMany(names.len()));
        }
        for name in names.iter().take(MAX_SANS) {
            match san(*name) {
                Ok(san) => content.sans.push(san),
                Err(error) => content.bad_sans.push(error),
            }
        }
        if content.sans.is_empty() && content.bad_sans.is_empty() {
            content.bad_sans.push(SanError::NoNames);
        }
        content.sans.sort_unstable();
        content.sans.dedup();
        content
    }
}

fn san(name: Name<'_>) -> Result<San, SanError> {
    match name {
        Name::Dns(text) => text.parse().map(San::Dns),
        Name::Ip(bytes) => San::from_address_bytes(bytes),
        Name::Other(kind) => Err(SanError::OtherKind(kind)),
    }
}
