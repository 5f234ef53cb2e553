use crate::common::csr::{Cluster, Csr, describe};
use crate::common::der::{Tlv, null, octet_string, oid, sequence, utf8};
use crate::common::key::SHARED;
use crate::common::pkcs10::{dns, ip, sign, subject, with_sans};
use crate::expect::{approved, denied, sans};

fn asking_for(names: Vec<Tlv>) -> Csr {
    Csr::of(&sign(&with_sans(&SHARED, names), &SHARED))
}

/// The node's own name, and one more.
fn and(name: Tlv) -> Csr {
    asking_for(vec![dns("worker-1"), name])
}

#[test]
fn takes_names_and_addresses_of_the_node() {
    approved(&asking_for(vec![dns("worker-1")]));
    approved(&asking_for(vec![dns("WORKER-1"), dns("Worker-1.Example.Com")]));
    approved(&asking_for(vec![ip(&[10, 0, 0, 1])]));
    approved(&asking_for(vec![dns("worker-1"), ip(&[10, 0, 0, 1]), ip(&fd00(1))]));
}

fn fd00(last: u8) -> [u8; 16] {
    let mut bytes = [0; 16];
    (bytes[0], bytes[15]) = (0xfd, last);
    bytes
}

#[test]
fn refuses_no_names_at_all() {
    denied(&asking_for(vec![]), &["ForbiddenSan"], "no dNSName and no iPAddress is requested");
}

#[test]
fn refuses_names_that_verifiers_match_differently() {
    let long_label = format!("{}.example.com", "a".repeat(64));
    let long_name = format!("{}example.com", "a.".repeat(122));
    let cases: &[(&str, &str)] = &[
        ("", "a dNSName is empty"),
        ("*", "the dNSName \"*\" is a wildcard"),
        ("*.example.com", "the dNSName \"*.example.com\" is a wildcard"),
        ("w*.example.com", "is a wildcard"),
        ("worker-1.*", "is a wildcard"),
        ("worker-1.", "the dNSName \"worker-1.\" ends in a dot"),
        (".", "ends in a dot"),
        (".worker-1", "the dNSName \".worker-1\" is not made of letters, digits and inner hyphens"),
        ("worker..1a", "is not made of letters"),
        ("-worker", "is not made of letters"),
        ("worker-", "is not made of letters"),
        ("a.-b.c", "is not made of letters"),
        ("worker_1", "the dNSName \"worker_1\" is not made of letters"),
        ("worker 1", "is not made of letters"),
        (" worker-1", "is not made of letters"),
        ("worker-1 ", "is not made of letters"),
        ("worker-1\n", "the dNSName \"worker-1\\n\" is not made of letters"),
        ("worker-1\0", "the dNSName \"worker-1\\u{0}\" is not made of letters"),
        ("worker-1\0.evil.example.com", "\\u{0}.evil.example.com\" is not made of letters"),
        ("worker-1,DNS:worker-2", "is not made of letters"),
        ("worker-1:10250", "is not made of letters"),
        ("https://worker-1", "is not made of letters"),
        ("admin@worker-1", "is not made of letters"),
        ("[fd00::1]", "is not made of letters"),
        ("worker%2d1", "is not made of letters"),
        ("worker-1\x7f", "is not made of letters"),
        ("10.0.0.1", "the dNSName \"10.0.0.1\" reads as an IP address"),
        ("fd00::1", "the dNSName \"fd00::1\" reads as an IP address"),
        ("::", "reads as an IP address"),
        ("10.1", "reads as an IP address"),
        ("010.0.0.1", "reads as an IP address"),
        ("10.0.0.256", "reads as an IP address"),
        ("0x0a.0x0", "reads as an IP address"),
        ("a.0X7f", "reads as an IP address"),
        (&long_label, "is not made of letters, digits and inner hyphens in labels of 1 to 63"),
        (&long_name, "has 255 characters; 253 are allowed"),
    ];
    for (name, message) in cases {
        denied(&and(dns(name)), &["ForbiddenSan"], message);
    }
}

#[test]
fn takes_names_up_to_their_limits() {
    let longest_label = "a".repeat(63);
    let longest_name = format!("{}e", "a.".repeat(126));
    assert_eq!(longest_name.len(), 253);
    for name in [&longest_label, &longest_name, "1001", "a", "a.b", "xn--bcher-kva.example.com", "a--b"] {
        assert!(sans(&and(dns(name))).contains(&name.to_owned()), "{name}");
    }
}

#[test]
fn refuses_names_that_are_not_ascii() {
    // dNSName is an IA5String (RFC 5280 section 4.2.1.6): seven bits. A U-label belongs in its xn-- form.
    for name in ["b\u{fc}cher.example.com", "worker\u{2010}1", "\u{ff57}orker-1", "worker-1\u{3002}example.com"] {
        denied(&and(dns(name)), &["MalformedRequest"], "the subjectAltName is not strict DER");
    }
    for name in [&b"worker-1\x80"[..], b"\xff\xfe", b"b\xfccher"] {
        denied(&and(dns(name)), &["MalformedRequest"], "the subjectAltName is not strict DER");
    }
}

#[test]
fn refuses_addresses_of_any_other_length() {
    for length in (0..40).chain([64, 255, 256]).filter(|length| ![4, 16].contains(length)) {
        let csr = and(ip(&vec![1; length]));
        denied(&csr, &["ForbiddenSan"], &format!("an iPAddress has {length} bytes; 4 and 16 are allowed"));
    }
}

#[test]
fn refuses_v4_mapped_addresses() {
    // Go's net.IP makes no difference: the signer would issue the 4-byte address.
    let mapped = |v4: [u8; 4]| [&[0; 10][..], &[0xff, 0xff], &v4].concat();
    denied(&and(ip(&mapped([10, 0, 0, 1]))), &["ForbiddenSan"], "the iPAddress ::ffff:10.0.0.1 is IPv4-mapped");
    denied(&and(ip(&mapped([127, 0, 0, 1]))), &["ForbiddenSan"], "::ffff:127.0.0.1 is IPv4-mapped");
    // Go leaves the other addresses that hold an IPv4 one as they are.
    let nearly = |byte: usize, value: u8| {
        let mut bytes = mapped([10, 0, 0, 1]);
        bytes[byte] = value;
        bytes
    };
    for bytes in [nearly(11, 0), nearly(10, 0xfe), nearly(9, 1), nearly(0, 1)] {
        assert_eq!(sans(&and(ip(&bytes))).len(), 2, "{bytes:02x?}");
    }
}

/// A general name of each kind that no kubelet may ask for (RFC 5280 section 4.2.1.6), well-formed.
fn other_kinds() -> Vec<(&'static str, Tlv)> {
    let value = Tlv::constructed(0xa0, vec![utf8("worker-2")]);
    let name = sequence(subject("worker-2").children);
    vec![
        ("otherName", Tlv::constructed(0xa0, vec![oid("1.3.6.1.4.1.311.20.2.3"), value])),
        ("rfc822Name", Tlv::primitive(0x81, "root@worker-1")),
        ("x400Address", Tlv::constructed(0xa3, vec![sequence(vec![])])),
        ("directoryName", Tlv::constructed(0xa4, vec![name])),
        ("ediPartyName", Tlv::constructed(0xa5, vec![Tlv::constructed(0xa1, vec![utf8("worker-2")])])),
        ("uniformResourceIdentifier", Tlv::primitive(0x86, "https://worker-1/")),
        ("registeredID", oid("1.2.3.4").tagged([0x88])),
    ]
}

#[test]
fn refuses_every_other_kind_of_name_and_says_which() {
    // Go passes over all of these but e-mail addresses and URIs.
    for (kind, name) in other_kinds() {
        let message = format!("a subject alternative name is of the kind {kind}; only dNSName and iPAddress");
        denied(&and(name.clone()), &["ForbiddenSan"], &message);
        denied(&asking_for(vec![name]), &["ForbiddenSan"], &message);
    }
}

#[test]
fn names_every_forbidden_name_in_the_order_of_the_request() {
    let names = other_kinds().into_iter().map(|(_, name)| name).chain([dns("*"), ip(&[1]), dns("worker-1")]).collect();
    denied(&asking_for(names), &["ForbiddenSan"; 9], "is of the kind otherName");
}

#[test]
fn refuses_unknown_kinds() {
    for number in 9..0x1f {
        for name in [Tlv::primitive(0x80 | number, "x"), Tlv::constructed(0xa0 | number, vec![null()])] {
            denied(&and(name), &["MalformedRequest"], "the subjectAltName is not strict DER");
        }
    }
    for tag in [&[0x9f, 0x02][..], &[0x9f, 0x82, 0x02], &[0xbf, 0x07], &[0x9f, 0x1f], &[0x9f]] {
        denied(&and(dns("worker-2").tagged(tag)), &["MalformedRequest"], "the subjectAltName is not strict DER");
    }
}

#[test]
fn refuses_choices_in_the_wrong_form_or_class() {
    // A constructed dNSName is several strings to a BER reader; Go compares the whole tag byte and passes over it.
    for number in 0..9_u8 {
        let wrong_form = if [0, 3, 4, 5].contains(&number) { 0x80 | number } else { 0xa0 | number };
        let text = Tlv::primitive(wrong_form, "worker-2");
        denied(&and(text), &["MalformedRequest"], "the subjectAltName is not strict DER");
        let wrapped = Tlv { children: vec![utf8("worker-2")], ..Tlv::primitive(wrong_form, []) };
        denied(&and(wrapped), &["MalformedRequest"], "the subjectAltName is not strict DER");
        for class in [0x00, 0x40, 0xc0] {
            let other = Tlv::primitive(class | number, "worker-2");
            denied(&and(other), &["MalformedRequest"], "the subjectAltName is not strict DER");
        }
    }
    for inner in [utf8("worker-2"), Tlv::primitive(0x16, "worker-2"), octet_string(dns("worker-2"))] {
        denied(&and(inner.clone()), &["MalformedRequest"], "the subjectAltName is not strict DER");
        denied(&and(Tlv::constructed(0xa2, vec![inner])), &["MalformedRequest"], "");
    }
}

#[test]
fn a_name_said_twice_counts_once() {
    let csr =
        asking_for(vec![dns("worker-1"), dns("WORKER-1"), ip(&[10, 0, 0, 1]), dns("worker-1"), ip(&[10, 0, 0, 1])]);
    assert_eq!(sans(&csr), ["worker-1", "10.0.0.1"]);
    approved(&csr);
    denied(&asking_for(vec![ip(&[1]), ip(&[1])]), &["ForbiddenSan"; 2], "an iPAddress has 1 bytes");
}

#[test]
fn takes_thousands_of_names_and_does_not_repeat_them_all() {
    let asking_for_many = |count: u16| {
        let foreign = (0..count).map(|i| ip(&[&[10, 96], &i.to_be_bytes()[..]].concat())).collect();
        describe(&asking_for(foreign).judge(&Cluster::default()))
    };
    let (verdict, reasons, text) = asking_for_many(256);
    assert_eq!((verdict, reasons.len(), reasons[0]), ("deny", 257, "TooManySans"));
    assert!(text.starts_with("256 addresses are requested; 32 are allowed; no node may have"), "{text}");
    assert!(text.ends_with("; and 249 more") && text.len() < 1_024, "{text}");
    let (verdict, reasons, text) = asking_for_many(257);
    assert_eq!((verdict, reasons.len(), reasons[0]), ("deny", 257, "ForbiddenSan"));
    assert!(text.starts_with("257 names and addresses are requested, more than the 256"), "{text}");
}
