//! The names that conditions, Events and metrics show, and the sentences that people read. Both are what users build
//! alerts and habits on: whoever changes one changes it here as well.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign::identity::{Contest, Protection};
use countersign::policy::Source;
use countersign::request::{KeyError, KeyKind, MalformedRequest, Reading, RequestorError, SubjectError};
use countersign::san::{San, SanError};
use countersign::verdict::{DeferReason, DenyReason, NotOwned, SanKind, Unavailable};

use crate::common::csr::{Csr, owned};

/// The position of a reason in the documentation. No `_`: a new reason does not compile until it has its sentence.
fn deny_position(reason: &DenyReason) -> usize {
    match reason {
        DenyReason::MalformedRequest(_) => 0,
        DenyReason::BadSignature => 1,
        DenyReason::KeyNotAllowed(_) => 2,
        DenyReason::WeakKey(_) => 3,
        DenyReason::RequestorNotANode(_) => 4,
        DenyReason::SubjectMismatch(_) => 5,
        DenyReason::UsageNotAllowed(_) => 6,
        DenyReason::ForbiddenSan(_) => 7,
        DenyReason::TooManySans { .. } => 8,
        DenyReason::NameOutsidePattern { .. } => 9,
        DenyReason::AddressOutsideRange { .. } => 10,
        DenyReason::ExpirationTooLong { .. } => 11,
        DenyReason::ConditionFailed { .. } => 12,
        DenyReason::ProtectedName(..) => 13,
        DenyReason::ProtectedAddress(..) => 14,
        DenyReason::NameOfAnotherNode(_) => 15,
        DenyReason::Superseded => 16,
    }
}

fn defer_position(reason: &DeferReason) -> usize {
    match reason {
        DeferReason::NoRuleMatched(_) => 0,
        DeferReason::NodeNotFound { .. } => 1,
        DeferReason::NameNotOwned(..) => 2,
        DeferReason::NameNotConfirmed { .. } => 3,
        DeferReason::AddressNotOwned(..) => 4,
        DeferReason::NotAControlPlaneNode(..) => 5,
        DeferReason::ClaimedByAnotherNode(..) => 6,
        DeferReason::SourceUnavailable(_) => 7,
        DeferReason::RateLimited { .. } => 8,
        DeferReason::ConditionError { .. } => 9,
        DeferReason::Left(_) => 10,
    }
}

/// Compares names and sentences, and sees that no reason is left out.
#[track_caller]
fn compare<R>(
    cases: &[(R, &str, &str)],
    position: impl Fn(&R) -> usize,
    name: impl Fn(&R) -> &'static str,
    sentence: impl Fn(&R) -> String,
    count: usize,
) {
    for (reason, expected_name, expected_sentence) in cases {
        assert_eq!((name(reason), sentence(reason).as_str()), (*expected_name, *expected_sentence));
    }
    let positions: BTreeSet<usize> = cases.iter().map(|(reason, ..)| position(reason)).collect();
    assert_eq!(positions, (0..count).collect());
}

#[track_caller]
fn compare_denials(cases: &[(DenyReason, &str, &str)]) {
    for (reason, name, sentence) in cases {
        assert_eq!((reason.as_str(), reason.to_string().as_str()), (*name, *sentence));
    }
}

fn usages(usages: &[&str]) -> DenyReason {
    let Reading::Refused(refused) = (Csr { usages: owned(usages), ..Csr::with_request("") }).read() else { panic!() };
    refused.reasons.iter().nth(1).unwrap().clone()
}

#[test]
fn every_denial_has_its_name_and_its_sentence() {
    let worker = || "worker-1".parse().unwrap();
    let cases = [
        (
            DenyReason::MalformedRequest(MalformedRequest::Pem),
            "MalformedRequest",
            "the request is not exactly one PEM block of 64-character lines and nothing else",
        ),
        (
            DenyReason::BadSignature,
            "BadSignature",
            "the request's signature was not made with the private key of its public key",
        ),
        (
            DenyReason::KeyNotAllowed(KeyError::Encoding),
            "KeyNotAllowed",
            "the public key is not in the encoding its standard asks for",
        ),
        (
            DenyReason::WeakKey(KeyError::RsaTooShort(1024)),
            "WeakKey",
            "an RSA key of 1024 bits is too weak; 2048, 3072 and 4096 are allowed",
        ),
        (
            DenyReason::RequestorNotANode(RequestorError::NotANodeUser("admin".into())),
            "RequestorNotANode",
            "the requestor \"admin\" is not a node: its username does not begin with system:node:",
        ),
        (
            DenyReason::SubjectMismatch(SubjectError::CommonNames(2)),
            "SubjectMismatch",
            "the subject has 2 common names; exactly one is allowed",
        ),
        (
            usages(&["client auth"]),
            "UsageNotAllowed",
            "the usages [\"client auth\"] are not those of a kubelet's serving certificate: digital signature and server \
             auth, with or without key encipherment",
        ),
        (DenyReason::ForbiddenSan(SanError::Wildcard("*".into())), "ForbiddenSan", "the dNSName \"*\" is a wildcard"),
        (
            DenyReason::TooManySans { kind: SanKind::Dns, count: 5, max: 4 },
            "TooManySans",
            "5 names are requested; 4 are allowed",
        ),
        (
            DenyReason::TooManySans { kind: SanKind::Ip, count: 9, max: 8 },
            "TooManySans",
            "9 addresses are requested; 8 are allowed",
        ),
        (
            DenyReason::NameOutsidePattern { name: "a".parse().unwrap(), patterns: owned(&["{node}", "{node}.b"]) },
            "NameOutsidePattern",
            "a fits none of the rule's patterns: {node}, {node}.b",
        ),
        (
            DenyReason::NameOutsidePattern { name: "a".parse().unwrap(), patterns: vec![] },
            "NameOutsidePattern",
            "a is requested; the rule allows no name",
        ),
        (
            DenyReason::AddressOutsideRange {
                address: "10.2.0.1".parse().unwrap(),
                ranges: vec!["10.1.0.0/16".parse().unwrap()],
            },
            "AddressOutsideRange",
            "10.2.0.1 is within none of the rule's ranges: 10.1.0.0/16",
        ),
        (
            DenyReason::AddressOutsideRange { address: "10.2.0.1".parse().unwrap(), ranges: vec![] },
            "AddressOutsideRange",
            "10.2.0.1 is requested; the rule allows no address",
        ),
        (
            DenyReason::ExpirationTooLong { requested: Duration::from_hours(49), max: Duration::from_hours(24) },
            "ExpirationTooLong",
            "a lifetime of 49h is requested; 24h is allowed",
        ),
        (
            DenyReason::ConditionFailed { message: "names are short".into(), node: worker() },
            "ConditionFailed",
            "a condition of the rule is not met: names are short",
        ),
        (
            DenyReason::ProtectedName("kubernetes".parse().unwrap(), Protection::ApiServer),
            "ProtectedName",
            "no node may have the name kubernetes: it names the Kubernetes API server",
        ),
        (
            DenyReason::ProtectedAddress("127.0.0.1".parse().unwrap(), Protection::Loopback),
            "ProtectedAddress",
            "no node may have the address 127.0.0.1: it is a loopback address",
        ),
        (DenyReason::NameOfAnotherNode(worker()), "NameOfAnotherNode", "worker-1 is the name of another Node"),
        (
            DenyReason::Superseded,
            "Superseded",
            "the same node has filed a newer request since, and a kubelet waits on its newest only",
        ),
    ];
    compare(&cases, deny_position, DenyReason::as_str, ToString::to_string, 17);
}

fn not_in(sources: &[Source], any: bool) -> NotOwned {
    NotOwned { node: "worker-1".parse().unwrap(), sources: sources.to_vec(), any }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn every_reason_to_wait_has_its_name_and_its_sentence() {
    let worker = || "worker-1".parse().unwrap();
    let cases = [
        (DeferReason::NoRuleMatched(worker()), "NoRuleMatched", "no rule of the policy matches node worker-1"),
        (
            DeferReason::NodeNotFound { node: worker(), deleting: false },
            "NodeNotFound",
            "Node worker-1 does not exist (yet)",
        ),
        (
            DeferReason::NodeNotFound { node: worker(), deleting: true },
            "NodeNotFound",
            "Node worker-1 is being deleted",
        ),
        (
            DeferReason::NameNotOwned("a.example.com".parse().unwrap(), not_in(&[Source::Node], false)),
            "NameNotOwned",
            "a.example.com is not in status.addresses of Node worker-1",
        ),
        (
            DeferReason::NameNotConfirmed { name: "a.example.com".parse().unwrap(), found: Vec::new() },
            "NameNotOwned",
            "a.example.com has no address in DNS (yet)",
        ),
        (
            DeferReason::NameNotConfirmed {
                name: "a.example.com".parse().unwrap(),
                found: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            },
            "NameNotOwned",
            "a.example.com leads to 10.0.0.1, fd00::1 in DNS, and not only to addresses that are requested",
        ),
        (
            DeferReason::AddressNotOwned("fd00::1".parse().unwrap(), not_in(&[Source::Node], false)),
            "AddressNotOwned",
            "fd00::1 is not in status.addresses of Node worker-1",
        ),
        (
            DeferReason::AddressNotOwned("fd00::1".parse().unwrap(), not_in(&[Source::Inventory], false)),
            "AddressNotOwned",
            "fd00::1 is not in the inventory as node worker-1's",
        ),
        (
            DeferReason::AddressNotOwned("fd00::1".parse().unwrap(), not_in(&[Source::Node, Source::Inventory], true)),
            "AddressNotOwned",
            "fd00::1 is not in status.addresses of Node worker-1 nor in the inventory",
        ),
        (
            DeferReason::AddressNotOwned("fd00::1".parse().unwrap(), not_in(&[Source::Machine], false)),
            "AddressNotOwned",
            "fd00::1 is not in status.addresses of node worker-1's Machine",
        ),
        (
            DeferReason::NotAControlPlaneNode(San::Ip("10.0.0.9".parse().unwrap()), worker()),
            "NotAControlPlaneNode",
            "the API server is reached at 10.0.0.9, and Node worker-1 has no label \
             node-role.kubernetes.io/control-plane (yet)",
        ),
        (
            DeferReason::ClaimedByAnotherNode(San::Ip("10.0.0.9".parse().unwrap()), Contest::Later(worker())),
            "ClaimedByAnotherNode",
            "10.0.0.9 was claimed by Node worker-1 before; it waits until that Node is deleted or drops it",
        ),
        (
            DeferReason::ClaimedByAnotherNode(San::Ip("10.0.0.9".parse().unwrap()), Contest::Unknown(worker())),
            "ClaimedByAnotherNode",
            "10.0.0.9 is claimed by Node worker-1 too, and nobody saw who was first; both wait until one is deleted or \
             drops it",
        ),
        (
            DeferReason::ClaimedByAnotherNode(
                San::Ip("10.9.0.9".parse().unwrap()),
                Contest::Pods("10.9.0.0/24".parse().unwrap(), worker()),
            ),
            "ClaimedByAnotherNode",
            "10.9.0.9 is within the range 10.9.0.0/24 of the pods of Node worker-1, which was there before",
        ),
        (
            DeferReason::SourceUnavailable(Unavailable::Watch("nodes")),
            "SourceUnavailable",
            "the cluster's nodes cannot be followed at the moment: their watch is down",
        ),
        (
            DeferReason::SourceUnavailable(Unavailable::NotResolved("a.example.com".parse().unwrap())),
            "SourceUnavailable",
            "the rule asks DNS, and a.example.com was not looked up",
        ),
        (
            DeferReason::SourceUnavailable(Unavailable::Resolver {
                name: "a.example.com".parse().unwrap(),
                problem: "request timed out".to_owned(),
            }),
            "SourceUnavailable",
            "a.example.com cannot be looked up in DNS: request timed out",
        ),
        (
            DeferReason::SourceUnavailable(Unavailable::NotInDump("nodes")),
            "SourceUnavailable",
            "there are no nodes in the dump",
        ),
        (
            DeferReason::SourceUnavailable(Unavailable::NoInventory),
            "SourceUnavailable",
            "the rule asks the inventory, and the program was started without one",
        ),
        (
            DeferReason::ConditionError { expression: "a == b".into(), problem: "no such key".into() },
            "ConditionError",
            "whether a == b is true cannot be told: no such key",
        ),
        (
            DeferReason::RateLimited { per_hour: 120, wait: Duration::from_secs(30) },
            "RateLimited",
            "the node has had its approvals for now (120 an hour); the next is due in 30 s",
        ),
        (
            DeferReason::Left(DenyReason::NameOfAnotherNode(worker())),
            "NameOfAnotherNode",
            "worker-1 is the name of another Node (left pending, as the policy's rule says)",
        ),
    ];
    compare(&cases, defer_position, DeferReason::as_str, ToString::to_string, 11);
}

#[test]
fn every_malformed_request_has_its_sentence() {
    let malformed = |error| DenyReason::MalformedRequest(error);
    let name = "MalformedRequest";
    let part = "the subjectAltName";
    compare_denials(&[
        (malformed(MalformedRequest::TooLong), name, "the request has more than 16384 bytes"),
        (
            malformed(MalformedRequest::Label("X\n".into())),
            name,
            "the request's PEM block is a \"X\\n\", not a \"CERTIFICATE REQUEST\"",
        ),
        (
            malformed(MalformedRequest::Der { part, problem: "odd".into() }),
            name,
            "the subjectAltName is not strict DER (RFC 2986, X.690): odd",
        ),
        (
            malformed(MalformedRequest::NotCanonical(part)),
            name,
            "the subjectAltName is not in its one canonical encoding (X.690 section 10)",
        ),
        (malformed(MalformedRequest::UnusedBits("signature")), name, "the signature is not a whole number of bytes"),
        (
            malformed(MalformedRequest::Attributes(2)),
            name,
            "the request has 2 attributes; exactly one, an extensionRequest, is allowed",
        ),
        (
            malformed(MalformedRequest::OtherAttribute("1.2.3".into())),
            name,
            "the request's attribute is 1.2.3, not an extensionRequest",
        ),
        (malformed(MalformedRequest::Values(2)), name, "the extensionRequest has 2 values; exactly one is allowed"),
        (
            malformed(MalformedRequest::Extensions(0)),
            name,
            "the request asks for 0 extensions; exactly one, subjectAltName, is allowed",
        ),
        (
            malformed(MalformedRequest::OtherExtension("2.5.29.19".into())),
            name,
            "the request asks for the extension 2.5.29.19, not subjectAltName",
        ),
        (malformed(MalformedRequest::Ambiguous), name, "the request can be read in more than one way"),
    ]);
}

#[test]
fn every_bad_key_has_its_sentence() {
    let not_allowed = |error| DenyReason::KeyNotAllowed(error);
    let signature = KeyError::Signature { signature: "1.2.840.113549.1.1.5".into(), key: KeyKind::Rsa2048 };
    compare_denials(&[
        (
            not_allowed(KeyError::Algorithm("1.3.101.113".into())),
            "KeyNotAllowed",
            "the public key's algorithm 1.3.101.113 is not allowed; RSA, ECDSA on P-256 or P-384 and Ed25519 are",
        ),
        (
            not_allowed(KeyError::Curve("1.3.132.0.35".into())),
            "KeyNotAllowed",
            "the elliptic curve 1.3.132.0.35 is not allowed; P-256 and P-384 are",
        ),
        (
            not_allowed(KeyError::Parameters("public key")),
            "KeyNotAllowed",
            "the parameters of the public key are not the ones its standard asks for",
        ),
        (
            not_allowed(signature),
            "KeyNotAllowed",
            "the signature algorithm 1.2.840.113549.1.1.5 is not allowed with a key of the kind rsa-2048; SHA-2 is asked \
             for",
        ),
        (
            not_allowed(KeyError::RsaLength(2049)),
            "KeyNotAllowed",
            "an RSA key of 2049 bits is not allowed; 2048, 3072 and 4096 are",
        ),
        (
            not_allowed(KeyError::NotInRule {
                key: KeyKind::Rsa2048,
                allowed: vec![KeyKind::EcdsaP256, KeyKind::Ed25519],
            }),
            "KeyNotAllowed",
            "a key of the kind rsa-2048 is not among those that the policy's rule allows: ecdsa-p256, ed25519",
        ),
        (DenyReason::WeakKey(KeyError::RsaEven), "WeakKey", "the RSA key's modulus is even"),
        (DenyReason::WeakKey(KeyError::RsaSmallFactor(3)), "WeakKey", "the RSA key's modulus is divisible by 3"),
        (
            DenyReason::WeakKey(KeyError::RsaRoca),
            "WeakKey",
            "the RSA key was made by a library whose keys can be factored (ROCA, CVE-2017-15361)",
        ),
        (
            DenyReason::WeakKey(KeyError::RsaClosePrimes),
            "WeakKey",
            "the RSA key's primes are so close to each other that it can be factored (CVE-2022-26320)",
        ),
        (DenyReason::WeakKey(KeyError::RsaExponent), "WeakKey", "the RSA key's public exponent is not 65537"),
        (
            DenyReason::WeakKey(KeyError::SmallOrder),
            "WeakKey",
            "the Ed25519 key is a point of small order: anyone can sign with it",
        ),
    ]);
    let kinds = [
        (KeyKind::EcdsaP256, "ecdsa-p256"),
        (KeyKind::EcdsaP384, "ecdsa-p384"),
        (KeyKind::Ed25519, "ed25519"),
        (KeyKind::Rsa2048, "rsa-2048"),
        (KeyKind::Rsa3072, "rsa-3072"),
        (KeyKind::Rsa4096, "rsa-4096"),
    ];
    for (kind, name) in kinds {
        assert_eq!(kind.to_string(), name);
    }
}

#[test]
fn every_other_requestor_and_subject_has_its_sentence() {
    let requestor = |error| DenyReason::RequestorNotANode(error);
    let subject = |error| DenyReason::SubjectMismatch(error);
    let username = || "system:node:worker-1".to_owned();
    compare_denials(&[
        (
            requestor(RequestorError::BadNodeName("system:node:A".into())),
            "RequestorNotANode",
            "the requestor \"system:node:A\" is not a node: no Node can have that name",
        ),
        (
            requestor(RequestorError::NotInGroup { username: username(), groups: owned(&["a", "b"]) }),
            "RequestorNotANode",
            "the requestor \"system:node:worker-1\" is not in the group system:nodes, but in [\"a\", \"b\"]",
        ),
        (
            subject(SubjectError::RdnAttributes(2)),
            "SubjectMismatch",
            "the subject has an RDN of 2 attributes; exactly one is allowed",
        ),
        (
            subject(SubjectError::OtherAttribute("2.5.4.11".into())),
            "SubjectMismatch",
            "the subject has the attribute 2.5.4.11; only one common name and one organization are allowed",
        ),
        (
            subject(SubjectError::StringType),
            "SubjectMismatch",
            "a value of the subject is neither a PrintableString nor a UTF8String",
        ),
        (
            subject(SubjectError::Organizations(0)),
            "SubjectMismatch",
            "the subject has 0 organizations; exactly one is allowed",
        ),
        (
            subject(SubjectError::OtherCommonName { common_name: "x".into(), username: username() }),
            "SubjectMismatch",
            "the subject's common name \"x\" is not the requestor \"system:node:worker-1\"",
        ),
        (
            subject(SubjectError::OtherOrganization("system:masters".into())),
            "SubjectMismatch",
            "the subject's organization \"system:masters\" is not \"system:nodes\"",
        ),
    ]);
}

#[test]
fn every_forbidden_name_has_its_sentence() {
    let forbidden = |error| DenyReason::ForbiddenSan(error);
    let name = "ForbiddenSan";
    compare_denials(&[
        (forbidden(SanError::EmptyName), name, "a dNSName is empty"),
        (
            forbidden(SanError::NameTooLong { name: "a".repeat(254), length: 254 }),
            name,
            &format!("the dNSName \"{}\"… has 254 characters; 253 are allowed", "a".repeat(100)),
        ),
        (forbidden(SanError::TrailingDot("a.".into())), name, "the dNSName \"a.\" ends in a dot"),
        (
            forbidden(SanError::NotLdh("a_b".into())),
            name,
            "the dNSName \"a_b\" is not made of letters, digits and inner hyphens in labels of 1 to 63",
        ),
        (forbidden(SanError::AddressAsName("10.1".into())), name, "the dNSName \"10.1\" reads as an IP address"),
        (forbidden(SanError::AddressLength(5)), name, "an iPAddress has 5 bytes; 4 and 16 are allowed"),
        (
            forbidden(SanError::MappedAddress("::ffff:10.0.0.1".parse().unwrap())),
            name,
            "the iPAddress ::ffff:10.0.0.1 is IPv4-mapped; ask for the IPv4 address itself",
        ),
        (
            forbidden(SanError::OtherKind("rfc822Name")),
            name,
            "a subject alternative name is of the kind rfc822Name; only dNSName and iPAddress are allowed",
        ),
        (
            forbidden(SanError::TooMany(257)),
            name,
            "257 names and addresses are requested, more than the 256 that are looked at",
        ),
        (forbidden(SanError::NoNames), name, "no dNSName and no iPAddress is requested"),
    ]);
}

#[test]
fn every_protection_has_its_sentence() {
    let cases = [
        (Protection::LocalHost, "it names the local host"),
        (Protection::Service, "it is in the form of a Service's name"),
        (Protection::ClusterDomain("cluster.local".parse().unwrap()), "it is within the cluster domain cluster.local"),
        (Protection::Unspecified, "it is the unspecified address"),
        (Protection::LinkLocal, "it is a link-local address"),
        (Protection::Multicast, "it is a multicast address"),
        (Protection::Broadcast, "it is the broadcast address"),
        (Protection::LoadBalancer, "it is the load balancer or external address of a Service"),
        (
            Protection::PodRange("10.9.0.0/24".parse().unwrap(), "worker-1".parse().unwrap()),
            "it is within the range 10.9.0.0/24 of the pods of node worker-1",
        ),
        (Protection::Policy("*.db.example.com".into()), "the policy protects *.db.example.com"),
        (Protection::ServiceRange("10.96.0.0/12".parse().unwrap()), "it is within the Services' range 10.96.0.0/12"),
    ];
    for (protection, sentence) in cases {
        assert_eq!(protection.to_string(), sentence);
    }
}
