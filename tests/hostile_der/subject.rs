use crate::common::csr::Csr;
use crate::common::der::{Length, Tlv, null, octet_string, printable, sequence, set, utf8};
use crate::common::key::SHARED;
use crate::common::pkcs10::{COMMON_NAME, ORGANIZATION, at, attribute_value, honest, rdn, sign};
use crate::expect::{approved, denied, denied_for_one_of};

const ORGANIZATIONAL_UNIT: &str = "2.5.4.11";
const SERIAL_NUMBER: &str = "2.5.4.5";
const COUNTRY: &str = "2.5.4.6";

fn with_subject(subject: Tlv) -> Csr {
    let mut info = honest(&SHARED);
    *info.at(at::SUBJECT) = subject;
    Csr::of(&sign(&info, &SHARED))
}

fn organization() -> Tlv {
    rdn(ORGANIZATION, printable("system:nodes"))
}

fn common_name(text: &str) -> Tlv {
    rdn(COMMON_NAME, utf8(text))
}

fn own_name() -> Tlv {
    common_name("system:node:worker-1")
}

#[test]
fn takes_the_two_attributes_in_either_order_and_string_type() {
    approved(&with_subject(sequence(vec![organization(), own_name()])));
    approved(&with_subject(sequence(vec![own_name(), organization()])));
    for string in [printable, utf8] {
        for other in [printable, utf8] {
            let organization = rdn(ORGANIZATION, string("system:nodes"));
            approved(&with_subject(sequence(vec![organization, rdn(COMMON_NAME, other("system:node:worker-1"))])));
        }
    }
}

#[test]
fn refuses_the_name_of_anyone_else_and_shows_both() {
    let names = [
        "system:node:worker-2",
        "system:node:worker-1.example.com",
        "system:node:worker-10",
        "system:node:worker-",
        "system:node:",
        "",
        "worker-1",
        "system:node:Worker-1",
        "System:node:worker-1",
        "SYSTEM:NODE:WORKER-1",
        "system:node:worker-1 ",
        " system:node:worker-1",
        "system:node:worker-1\n",
        "system:node: worker-1",
        "system:node:worker-1.",
        "system:node:worker-1,O=system:masters",
        "system:admin",
        "system:node:worker\u{2010}1",
        "system:node:worker-1\u{200b}",
        "system:node:w\u{43e}rker-1",
    ];
    for name in names {
        let message = format!(
            "the subject's common name \"{}\" is not the requestor \"system:node:worker-1\"",
            name.escape_default()
        );
        let csr = with_subject(sequence(vec![organization(), common_name(name)]));
        denied(&csr, &["SubjectMismatch"], &message);
    }
}

#[test]
fn refuses_a_name_with_a_nul_and_does_not_stop_at_it() {
    for name in ["system:node:worker-1\0", "system:node:worker-1\0.evil.example.com", "\0system:node:worker-1"] {
        let csr = with_subject(sequence(vec![organization(), common_name(name)]));
        denied(&csr, &["SubjectMismatch"], &format!("\"{}\"", name.escape_default()));
    }
}

#[test]
fn refuses_any_other_organization_and_shows_it() {
    for name in
        ["system:masters", "System:Nodes", "system:nodes ", " system:nodes", "system:node", "", "system:nodes\0"]
    {
        let csr = with_subject(sequence(vec![rdn(ORGANIZATION, utf8(name)), own_name()]));
        let message = format!("the subject's organization \"{}\" is not \"system:nodes\"", name.escape_default());
        denied(&csr, &["SubjectMismatch"], &message);
    }
}

#[test]
fn refuses_an_attribute_missing_or_twice() {
    let cases = [
        (vec![], "the subject has 0 common names"),
        (vec![organization()], "the subject has 0 common names"),
        (vec![own_name()], "the subject has 0 organizations"),
        (vec![organization(), own_name(), own_name()], "the subject has 2 common names; exactly one is allowed"),
        (vec![organization(), own_name(), common_name("system:node:worker-2")], "the subject has 2 common names"),
        (vec![common_name("system:node:worker-2"), organization(), own_name()], "the subject has 2 common names"),
        (vec![organization(), organization(), own_name()], "the subject has 2 organizations; exactly one is allowed"),
        (
            vec![organization(), own_name(), rdn(ORGANIZATION, utf8("system:masters"))],
            "the subject has 2 organizations; exactly one is allowed",
        ),
    ];
    for (rdns, message) in cases {
        denied(&with_subject(sequence(rdns)), &["SubjectMismatch"], message);
    }
    let many = (0..500).map(|_| own_name()).chain([organization()]).collect();
    let mut info = honest(&SHARED);
    *info.at(at::SUBJECT) = sequence(many);
    denied(&Csr::of(&sign(&info, &SHARED)), &["MalformedRequest"], "the request has");
}

#[test]
fn refuses_every_other_attribute_and_says_which() {
    for kind in
        [ORGANIZATIONAL_UNIT, SERIAL_NUMBER, COUNTRY, "0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1", "2.5.4"]
    {
        for position in 0..3 {
            let mut rdns = vec![organization(), own_name()];
            rdns.insert(position, rdn(kind, printable("x")));
            let message = format!("the subject has the attribute {kind}; only one common name and one organization");
            denied(&with_subject(sequence(rdns)), &["SubjectMismatch"], &message);
        }
    }
}

#[test]
fn refuses_a_relative_name_of_several_attributes_or_none() {
    // Go flattens them; several O's of a Go client come as one RDN.
    let o = |text: &str| attribute_value(ORGANIZATION, utf8(text));
    let cn = |text: &str| attribute_value(COMMON_NAME, utf8(text));
    let two = "the subject has an RDN of 2 attributes; exactly one is allowed";
    let none = "the subject has an RDN of 0 attributes; exactly one is allowed";
    let cases = [
        (vec![set(vec![cn("system:node:worker-1"), o("system:nodes")])], two),
        (vec![set(vec![o("system:nodes"), o("system:masters")]), own_name()], two),
        (vec![set(vec![o("system:nodes"), attribute_value(ORGANIZATION, printable("system:nodes"))]), own_name()], two),
        (vec![set(vec![cn("system:node:worker-1"), cn("system:node:worker-2")]), organization()], two),
        (vec![set(vec![]), organization(), own_name()], none),
        (vec![organization(), own_name(), set(vec![])], none),
    ];
    for (rdns, message) in cases {
        denied(&with_subject(sequence(rdns)), &["SubjectMismatch"], message);
    }
}

#[test]
fn counts_the_attributes_of_a_relative_name_however_many_there_are() {
    for count in 2..=9 {
        let attributes = (0..count).map(|_| attribute_value(ORGANIZATION, utf8("system:nodes"))).collect();
        let message = format!("the subject has an RDN of {count} attributes; exactly one is allowed");
        denied(&with_subject(sequence(vec![set(attributes), own_name()])), &["SubjectMismatch"], &message);
    }
}

#[test]
fn refuses_what_stands_behind_a_relative_name_that_some_readers_stop_at() {
    // A reader that takes relative names for as long as it understands them sees the node's own subject here; Go goes
    // on, and takes the last common name.
    let hidden = [common_name("system:node:worker-2"), rdn(ORGANIZATION, utf8("system:masters"))];
    let stops =
        [set(vec![]), rdn(ORGANIZATIONAL_UNIT, Tlv::primitive(0x1f, [])), rdn(COUNTRY, Tlv::primitive(0x24, []))];
    for stop in stops {
        for hidden in hidden.clone() {
            let csr = with_subject(sequence(vec![organization(), own_name(), stop.clone(), hidden]));
            denied_for_one_of(&csr, &["SubjectMismatch", "MalformedRequest"]);
        }
    }
}

#[test]
fn refuses_string_types_that_readers_decode_differently() {
    // RFC 5280 section 4.1.2.4: DirectoryString; IA5String and the rest are none, and T61, BMP and Universal have
    // decoders that do not agree.
    let wide = |text: &str, width: usize| -> Vec<u8> {
        text.bytes().flat_map(|byte| [vec![0; width - 1], vec![byte]].concat()).collect()
    };
    for (position, text) in ["system:nodes", "system:node:worker-1"].into_iter().enumerate() {
        let values = [
            Tlv::primitive(0x14, text),
            Tlv::primitive(0x16, text),
            Tlv::primitive(0x1e, wide(text, 2)),
            Tlv::primitive(0x1c, wide(text, 4)),
            Tlv::primitive(0x1a, text),
            Tlv::primitive(0x1b, text),
            Tlv::primitive(0x12, text),
            Tlv::primitive(0x15, text),
            Tlv::primitive(0x19, text),
            Tlv::primitive(0x07, text),
            Tlv::primitive(0x04, text),
            Tlv::primitive(0x02, text),
            octet_string(utf8(text)),
            sequence(vec![utf8(text)]),
            null(),
        ];
        for value in values {
            refuse_value(position, value);
        }
    }
}

#[test]
fn refuses_strings_of_another_class_or_form() {
    // Go takes a value of another class for no string at all and issues a certificate without it.
    for (position, text) in ["system:nodes", "system:node:worker-1"].into_iter().enumerate() {
        for number in [0x0c, 0x13] {
            for bits in [0x20, 0x40, 0x60, 0x80, 0xa0, 0xc0, 0xe0] {
                refuse_value(position, Tlv::primitive(number | bits, text));
                refuse_value(position, Tlv::constructed(number | bits, vec![Tlv::primitive(number, text)]));
            }
            let (head, tail) = text.split_at(5);
            let pieces = vec![Tlv::primitive(number, head), Tlv::primitive(number, tail)];
            refuse_value(position, Tlv::constructed(number | 0x20, pieces).with_length(Length::Indefinite));
        }
    }
}

/// Expects a refusal with this value for the organization (0) or the common name (1).
#[track_caller]
fn refuse_value(position: usize, value: Tlv) {
    let mut info = honest(&SHARED);
    info.at(&[1, position, 0]).children[1] = value;
    denied_for_one_of(&Csr::of(&sign(&info, &SHARED)), &["SubjectMismatch", "MalformedRequest"]);
}

#[test]
fn refuses_text_that_is_not_utf_8() {
    for text in
        [&b"system:node:worker-1\xff"[..], b"\xc0\x80", b"system:node:worker\xc0\xad1", b"\xed\xa0\x80", b"\xfe"]
    {
        for tag in [0x0c, 0x13] {
            let csr = with_subject(sequence(vec![organization(), rdn(COMMON_NAME, Tlv::primitive(tag, text))]));
            denied_for_one_of(&csr, &["SubjectMismatch", "MalformedRequest"]);
        }
    }
}

#[test]
fn refuses_a_subject_of_another_shape() {
    let shapes = [
        set(vec![organization(), own_name()]),
        sequence(vec![attribute_value(ORGANIZATION, utf8("system:nodes"))]),
        sequence(vec![sequence(vec![attribute_value(ORGANIZATION, utf8("system:nodes"))]), own_name()]),
        sequence(vec![sequence(vec![organization(), own_name()])]),
        Tlv::constructed(0xa4, vec![sequence(vec![organization(), own_name()])]),
        null(),
        utf8("O=system:nodes,CN=system:node:worker-1"),
    ];
    for shape in shapes {
        denied(&with_subject(shape), &["MalformedRequest"], "");
    }
}
