use crate::common::csr::Csr;
use crate::common::der::{Tlv, boolean, integer, octet_string, oid, printable, sequence, set, utf8};
use crate::common::key::SHARED;
use crate::common::pkcs10::{
    EXTENSION_REQUEST, SUBJECT_ALT_NAME, at, attribute, dns, extension, extension_request, extensions, honest, info,
    ip, san, sign, subject,
};
use crate::expect::{approved, denied, sans};

const CHALLENGE_PASSWORD: &str = "1.2.840.113549.1.9.7";
const UNSTRUCTURED_NAME: &str = "1.2.840.113549.1.9.2";
/// szOID_CERT_EXTENSIONS, Microsoft's own extensionRequest.
const MICROSOFT_EXTENSIONS: &str = "1.3.6.1.4.1.311.2.1.14";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";
const ISSUER_ALT_NAME: &str = "2.5.29.18";

fn own() -> Tlv {
    san(vec![dns("worker-1"), ip(&[10, 0, 0, 1])])
}

fn foreign() -> Tlv {
    san(vec![dns("worker-2")])
}

fn with_attributes(attributes: Vec<Tlv>) -> Csr {
    Csr::of(&sign(&info(subject("worker-1"), SHARED.public.clone(), attributes), &SHARED))
}

fn with_extensions(list: Vec<Tlv>) -> Csr {
    with_attributes(vec![extension_request(vec![extensions(list)])])
}

/// A SET OF is in ascending order (X.690 section 11.6).
fn ascending(mut list: Vec<Tlv>) -> Vec<Tlv> {
    list.sort_by_key(Tlv::bytes);
    list
}

fn challenge_password() -> Tlv {
    attribute(CHALLENGE_PASSWORD, vec![utf8("secret")])
}

#[test]
fn takes_one_extension_request_with_one_extension() {
    approved(&with_extensions(vec![own()]));
}

#[test]
fn refuses_a_request_without_attributes() {
    denied(&with_attributes(vec![]), &["MalformedRequest"], "has 0 attributes; exactly one, an extensionRequest");
    let mut info = honest(&SHARED);
    info.children.pop();
    denied(&Csr::of(&sign(&info, &SHARED)), &["MalformedRequest"], "the request is not strict DER");
}

#[test]
fn refuses_a_second_attribute_of_any_kind() {
    // Go merges several extensionRequests and passes over attributes that it does not know or cannot read.
    let request = |san: Tlv| extension_request(vec![extensions(vec![san])]);
    let pairs = [
        vec![request(own()), request(foreign())],
        vec![request(own()), challenge_password()],
        vec![request(own()), attribute(UNSTRUCTURED_NAME, vec![utf8("x")])],
        vec![request(own()), attribute(MICROSOFT_EXTENSIONS, vec![extensions(vec![foreign()])])],
        vec![request(own()), sequence(vec![oid("1.2.3.4"), set(vec![])])],
    ];
    for pair in pairs {
        denied(&with_attributes(ascending(pair.clone())), &["MalformedRequest"], "has 2 attributes; exactly one");
        let descending = ascending(pair).into_iter().rev().collect();
        denied(&with_attributes(descending), &["MalformedRequest"], "has 2 attributes; exactly one");
    }
    // The same attribute twice is no set at all.
    denied(&with_attributes(vec![request(own()), request(own())]), &["MalformedRequest"], "has 2 attributes");
}

#[test]
fn refuses_an_attribute_of_another_kind_and_says_which() {
    for kind in [CHALLENGE_PASSWORD, MICROSOFT_EXTENSIONS, "1.2.840.113549.1.9.15", "2.5.29.17"] {
        let other = with_attributes(vec![attribute(kind, vec![extensions(vec![own()])])]);
        denied(&other, &["MalformedRequest"], &format!("the request's attribute is {kind}, not an extensionRequest"));
    }
    denied(&with_attributes(vec![challenge_password()]), &["MalformedRequest"], CHALLENGE_PASSWORD);
}

#[test]
fn refuses_attributes_in_another_wrapping() {
    let list = || vec![extension_request(vec![extensions(vec![own()])])];
    // [0] primitive, [1], [0] explicit around a SET, a SET, [0] with an attribute that is no SEQUENCE.
    let wrappings = [
        Tlv { children: list(), ..Tlv::primitive(0x80, []) },
        Tlv::constructed(0xa1, list()),
        Tlv::constructed(0xa0, vec![set(list())]),
        set(list()),
        Tlv::constructed(0xa0, vec![set(vec![oid(EXTENSION_REQUEST), set(vec![extensions(vec![own()])])])]),
        Tlv::constructed(0xa0, vec![sequence(vec![oid(EXTENSION_REQUEST), sequence(vec![extensions(vec![own()])])])]),
        Tlv::constructed(0xa0, vec![sequence(vec![oid(EXTENSION_REQUEST), extensions(vec![own()])])]),
        Tlv::constructed(0xa0, vec![sequence(vec![oid(EXTENSION_REQUEST)])]),
        Tlv::constructed(0xa0, vec![sequence(vec![])]),
    ];
    for attributes in wrappings {
        let mut info = honest(&SHARED);
        *info.at(at::ATTRIBUTES) = attributes;
        denied(&Csr::of(&sign(&info, &SHARED)), &["MalformedRequest"], "");
    }
}

#[test]
fn refuses_an_extension_request_without_exactly_one_value() {
    // Go takes the first value in the order of the bytes; whoever reads the last, or all, reads another request.
    denied(
        &with_attributes(vec![extension_request(vec![])]),
        &["MalformedRequest"],
        "the extensionRequest has 0 values",
    );
    let values = || vec![extensions(vec![own()]), extensions(vec![foreign()])];
    let two = with_attributes(vec![extension_request(ascending(values()))]);
    denied(&two, &["MalformedRequest"], "the extensionRequest has 2 values; exactly one is allowed");
    let descending = ascending(values()).into_iter().rev().collect();
    denied(&with_attributes(vec![extension_request(descending)]), &["MalformedRequest"], "has 2 values");
    let with_another_type = ascending(vec![extensions(vec![own()]), utf8("x")]);
    denied(&with_attributes(vec![extension_request(with_another_type)]), &["MalformedRequest"], "has 2 values");
}

#[test]
fn refuses_an_extension_request_of_another_type() {
    for value in [set(vec![own()]), octet_string(extensions(vec![own()])), utf8("x"), integer(&[0])] {
        denied(
            &with_attributes(vec![extension_request(vec![value])]),
            &["MalformedRequest"],
            "the extensionRequest is not strict DER",
        );
    }
    // Its parts are taken for extensions.
    denied(&with_attributes(vec![extension_request(vec![own()])]), &["MalformedRequest"], "asks for 2 extensions");
}

#[test]
fn refuses_anything_but_one_extension() {
    let basic_constraints = || extension(BASIC_CONSTRAINTS, sequence(vec![boolean(0xff)]));
    let key_usage = || extension(KEY_USAGE, Tlv::primitive(0x03, [1, 6]));
    denied(&with_extensions(vec![]), &["MalformedRequest"], "asks for 0 extensions; exactly one, subjectAltName");
    let several = [
        vec![own(), foreign()],
        vec![own(), own()],
        vec![foreign(), own()],
        vec![own(), basic_constraints()],
        vec![basic_constraints(), own()],
        vec![own(), key_usage()],
        vec![extension("1.2.3.4", utf8("x")), own()],
        vec![own(), extension(ISSUER_ALT_NAME, sequence(vec![dns("worker-2")]))],
    ];
    for list in several {
        denied(&with_extensions(list), &["MalformedRequest"], "the request asks for 2 extensions; exactly one");
    }
    let many = with_extensions((0..100).map(|_| own()).collect());
    denied(&many, &["MalformedRequest"], "the request asks for 100 extensions");
}

#[test]
fn refuses_another_extension_and_says_which() {
    for kind in [BASIC_CONSTRAINTS, KEY_USAGE, ISSUER_ALT_NAME, "2.5.29.37", "2.5.29.17.1", "2.5.29"] {
        let other = with_extensions(vec![extension(kind, sequence(vec![dns("worker-1")]))]);
        denied(&other, &["MalformedRequest"], &format!("asks for the extension {kind}, not subjectAltName"));
    }
}

#[test]
fn takes_critical_true_and_refuses_every_other_way_to_say_it() {
    // X.690 sections 11.1 and 11.5: TRUE is 0xff, and a value that is the default (FALSE) is left out.
    let with_critical = |critical: Tlv| {
        let value = own().children.pop().unwrap();
        with_extensions(vec![sequence(vec![oid(SUBJECT_ALT_NAME), critical, value])])
    };
    approved(&with_critical(boolean(0xff)));
    denied(
        &with_critical(boolean(0)),
        &["MalformedRequest"],
        "the extensionRequest is not in its one canonical encoding",
    );
    for value in [0x01, 0x80, 0xfe] {
        denied(&with_critical(boolean(value)), &["MalformedRequest"], "the extensionRequest is not strict DER");
    }
    for other in [
        Tlv::primitive(0x01, []),
        Tlv::primitive(0x01, [0xff, 0xff]),
        integer(&[1]),
        Tlv::primitive(0x80, [0xff]),
        printable("TRUE"),
    ] {
        denied(&with_critical(other), &["MalformedRequest"], "the extensionRequest is not strict DER");
    }
}

#[test]
fn refuses_an_extension_of_another_shape() {
    let value = || own().children.pop().unwrap();
    let names = || value().children.pop().unwrap();
    let shapes = [
        sequence(vec![oid(SUBJECT_ALT_NAME)]),
        sequence(vec![oid(SUBJECT_ALT_NAME), names()]),
        sequence(vec![oid(SUBJECT_ALT_NAME), value(), value()]),
        sequence(vec![oid(SUBJECT_ALT_NAME), value(), boolean(0xff)]),
        sequence(vec![value(), oid(SUBJECT_ALT_NAME)]),
        sequence(vec![oid(SUBJECT_ALT_NAME), boolean(0xff), boolean(0xff), value()]),
        sequence(vec![oid(SUBJECT_ALT_NAME), value().tagged([0x24])]),
        sequence(vec![oid(SUBJECT_ALT_NAME), Tlv { prefix: vec![0], ..value() }.tagged([0x03])]),
        sequence(vec![oid(SUBJECT_ALT_NAME), octet_string(value())]),
        sequence(vec![oid(SUBJECT_ALT_NAME), Tlv::primitive(0x04, [])]),
        set(vec![oid(SUBJECT_ALT_NAME), value()]),
    ];
    for shape in shapes {
        denied(&with_extensions(vec![shape]), &["MalformedRequest"], "");
    }
}

#[test]
fn refuses_bytes_behind_the_names_in_their_octet_string() {
    for suffix in [&[0][..], &[0, 0], &[5, 0], &san(vec![dns("worker-2")]).bytes()] {
        let mut info = honest(&SHARED);
        info.at(at::EXTENSION_VALUE).suffix = suffix.to_vec();
        denied(&Csr::of(&sign(&info, &SHARED)), &["MalformedRequest"], "the subjectAltName is not strict DER");
        let mut info = honest(&SHARED);
        info.at(at::SANS).suffix = suffix.to_vec();
        denied(&Csr::of(&sign(&info, &SHARED)), &["MalformedRequest"], "");
    }
}

#[test]
fn takes_names_in_any_order() {
    let names = || vec![dns("worker-1"), ip(&[10, 0, 0, 1]), dns("worker-1.example.com")];
    let expected = ["worker-1", "worker-1.example.com", "10.0.0.1"];
    assert_eq!(sans(&with_extensions(vec![san(names())])), expected);
    assert_eq!(sans(&with_extensions(vec![san(names().into_iter().rev().collect())])), expected);
}
