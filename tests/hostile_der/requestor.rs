use countersign::request::Reading;
use countersign::verdict::IgnoreReason;

use crate::common::csr::{Csr, owned};
use crate::common::der::utf8;
use crate::common::key::{Key, SHARED};
use crate::common::pkcs10::{COMMON_NAME, at, dns, honest, ip, rdn, sign, with_sans};
use crate::expect::{approved, denied};

fn csr() -> Csr {
    Csr::of(&sign(&honest(&SHARED), &SHARED))
}

/// A request whose subject fits its requestor, whoever that is.
fn filed_by(username: &str, groups: &[&str]) -> Csr {
    let mut info = with_sans(&SHARED, vec![dns("worker-1")]);
    info.at(at::SUBJECT).children[1] = rdn(COMMON_NAME, utf8(username));
    Csr { username: username.to_owned(), groups: owned(groups), ..Csr::of(&sign(&info, &SHARED)) }
}

#[test]
fn takes_nodes_in_their_group() {
    approved(&filed_by("system:node:worker-1", &["system:nodes"]));
    approved(&filed_by("system:node:worker-1", &["system:authenticated", "system:nodes", "others"]));
}

#[test]
fn refuses_everyone_else_and_says_who() {
    let group = &["system:nodes"][..];
    let no_node = "is not a node: its username does not begin with system:node:";
    let no_name = "is not a node: no Node can have that name";
    let long = format!("system:node:{}", "a".repeat(254));
    let cases = [
        ("system:admin", group, no_node),
        ("", group, no_node),
        ("system:serviceaccount:kube-system:node-1", group, no_node),
        ("system:bootstrap:abcdef", group, no_node),
        ("kubernetes-admin", group, no_node),
        ("System:node:worker-1", group, no_node),
        (" system:node:worker-1", group, no_node),
        ("system:nodes:worker-1", group, no_node),
        ("system:node:", group, no_name),
        ("system:node:Worker-1", group, no_name),
        ("system:node:worker-1 ", group, no_name),
        ("system:node:worker-1\0", group, no_name),
        ("system:node:worker-1/../worker-2", group, no_name),
        ("system:node:system:node:worker-1", group, no_name),
        ("system:node:worker_1", group, no_name),
        ("system:node:w\u{f6}rker", group, no_name),
        (&long, group, no_name),
        ("system:node:worker-1", &[], "is not in the group system:nodes, but in []"),
        (
            "system:node:worker-1",
            &["system:masters", "System:nodes", "system:nodes "],
            "is not in the group system:nodes, but in [\"system:masters\", \"System:nodes\", \"system:nodes \"]",
        ),
    ];
    for (username, groups, message) in cases {
        denied(&filed_by(username, groups), &["RequestorNotANode"], message);
    }
}

#[test]
fn takes_the_usages_of_a_serving_certificate() {
    for usages in [
        &["digital signature", "server auth"][..],
        &["server auth", "digital signature"],
        &["digital signature", "key encipherment", "server auth"],
        &["server auth", "server auth", "digital signature"],
    ] {
        approved(&Csr { usages: owned(usages), ..csr() });
    }
}

#[test]
fn refuses_all_other_usages_and_shows_them() {
    for usages in [
        &[][..],
        &["server auth"],
        &["digital signature"],
        &["key encipherment", "server auth"],
        &["digital signature", "client auth"],
        &["digital signature", "server auth", "client auth"],
        &["digital signature", "key encipherment", "server auth", "client auth"],
        &["digital signature", "server auth", "any"],
        &["digital signature", "server auth", "cert sign"],
        &["digital signature", "server auth", "signing"],
        &["digital signature", "server auth", ""],
        &["Digital Signature", "Server Auth"],
        &["digital signature ", "server auth"],
    ] {
        let message = format!("the usages {usages:?} are not those of a kubelet's serving certificate");
        denied(&Csr { usages: owned(usages), ..csr() }, &["UsageNotAllowed"], &message);
    }
}

#[test]
fn leaves_alone_what_is_not_ours() {
    for signer in
        ["kubernetes.io/kube-apiserver-client-kubelet", "example.com/serving", "", "Kubernetes.io/kubelet-serving"]
    {
        let csr = Csr { signer_name: signer.to_owned(), ..Csr::with_request("whatever") };
        assert_eq!(csr.read(), Reading::NotOurs(IgnoreReason::OtherSigner));
    }
    for condition in ["Approved", "Denied", "Failed"] {
        let csr = Csr { conditions: owned(&["Odd", condition]), ..csr() };
        assert_eq!(csr.read(), Reading::NotOurs(IgnoreReason::AlreadyDecided));
    }
    approved(&Csr { conditions: owned(&["Odd", "approved"]), ..csr() });
}

#[test]
fn tells_everything_that_is_wrong_in_the_order_of_the_documentation() {
    let key = Key::secp256k1();
    let mut info = honest(&key);
    info.at(at::SUBJECT).children.pop();
    info.at(at::SANS).children =
        vec![dns("*"), ip(&[127, 0, 0, 1]), dns("worker-2"), dns("kubernetes"), ip(&[1, 2, 3])];
    let csr = Csr {
        username: "system:node:worker-1".to_owned(),
        groups: vec![],
        usages: owned(&["client auth"]),
        ..Csr::of(&sign(&info, &key))
    };
    let reasons = [
        "KeyNotAllowed",
        "RequestorNotANode",
        "SubjectMismatch",
        "UsageNotAllowed",
        "ForbiddenSan",
        "ForbiddenSan",
        "ProtectedName",
        "ProtectedAddress",
    ];
    denied(&csr, &reasons, "the elliptic curve secp256k1 (1.3.132.0.10) is not allowed; P-256 and P-384 are");
}

#[test]
fn a_request_is_its_nodes_whether_it_is_taken_or_refused() {
    let node = |csr: &Csr| csr.read().node().map(ToString::to_string);
    assert_eq!(node(&csr()).as_deref(), Some("worker-1"));
    assert_eq!(node(&Csr { usages: owned(&["client auth"]), ..csr() }).as_deref(), Some("worker-1"));
    assert_eq!(node(&filed_by("system:admin", &["system:nodes"])), None);
    assert_eq!(node(&Csr { signer_name: "example.com/other".to_owned(), ..csr() }), None);
}
