//! Requests for which two readers have been seen, or can be expected, to disagree.

use aws_lc_rs::rsa::KeySize;

use crate::common::csr::{Csr, owned, pem};
use crate::common::der::{
    Length, Tlv, bit_string, boolean, integer, null, octet_string, oid, printable, sequence, set, utf8,
};
use crate::common::key::{Key, SHARED};
use crate::common::pkcs10::{
    COMMON_NAME, EXTENSION_REQUEST, ORGANIZATION, SUBJECT_ALT_NAME, at, attribute, attribute_value, dns, extension,
    extension_request, extensions, honest, ip, rdn, san, sign, with_sans,
};

pub fn requests() -> Vec<Csr> {
    [keys(), subjects(), names(), attributes(), encodings(), texts(), usages()].concat()
}

fn signed(info: &Tlv) -> Csr {
    Csr::of(&sign(info, &SHARED))
}

/// The honest request with one piece replaced.
fn with(path: &[usize], piece: Tlv) -> Csr {
    let mut info = honest(&SHARED);
    *info.at(path) = piece;
    signed(&info)
}

fn keys() -> Vec<Csr> {
    let rsa = Key::rsa(KeySize::Rsa2048);
    let mut requests: Vec<Csr> =
        [&Key::p256(), &Key::p384(), &Key::p521(), &Key::ed25519(), &rsa, &Key::rsa(KeySize::Rsa3072)]
            .map(|key| Csr::of(&sign(&honest(key), key)))
            .into();
    for key in [rsa.with_sha512(), Key::rsa(KeySize::Rsa2048).with_pss()] {
        requests.push(Csr::of(&sign(&honest(&key), &key)));
    }
    requests
}

fn subjects() -> Vec<Csr> {
    let name = || printable("system:node:worker-1");
    let group = || printable("system:nodes");
    let (common_name, organization) = (|| rdn(COMMON_NAME, name()), || rdn(ORGANIZATION, group()));
    let both = || vec![organization(), common_name()];
    let and = |more: Tlv| [both(), vec![more]].concat();
    let before = |more: Tlv| [vec![more], both()].concat();
    let other = || rdn(COMMON_NAME, utf8("system:node:worker-2"));
    let latin = |tag| rdn(COMMON_NAME, name().tagged([tag]));
    let wide: Vec<u8> = "system:node:worker-1".encode_utf16().flat_map(u16::to_be_bytes).collect();
    [
        both(),
        vec![common_name(), organization()],
        vec![rdn(ORGANIZATION, utf8("system:nodes")), rdn(COMMON_NAME, utf8("system:node:worker-1"))],
        and(other()),
        before(other()),
        and(organization()),
        and(rdn(ORGANIZATION, utf8("system:masters"))),
        before(rdn(ORGANIZATION, utf8("system:masters"))),
        and(rdn("2.5.4.11", utf8("unit"))),
        and(rdn("2.5.4.5", printable("1"))),
        and(rdn("1.2.3.4", utf8("unknown"))),
        and(set(vec![])),
        before(set(vec![])),
        vec![organization()],
        vec![common_name()],
        vec![],
        vec![set(vec![attribute_value(COMMON_NAME, name()), attribute_value(ORGANIZATION, group())])],
        vec![set(vec![attribute_value(ORGANIZATION, group()), attribute_value(COMMON_NAME, name())])],
        vec![organization(), set(vec![attribute_value(COMMON_NAME, name()), attribute_value(COMMON_NAME, utf8("x"))])],
        vec![
            organization(),
            common_name(),
            set(vec![attribute_value(ORGANIZATION, group()), attribute_value(ORGANIZATION, utf8("x"))]),
        ],
        vec![organization(), latin(0x14)],
        vec![organization(), latin(0x16)],
        vec![organization(), latin(0x12)],
        vec![organization(), latin(0x1a)],
        vec![organization(), latin(0x2c)],
        vec![organization(), latin(0x4c)],
        vec![organization(), latin(0x8c)],
        vec![organization(), rdn(COMMON_NAME, Tlv::primitive(0x1e, wide))],
        vec![organization(), rdn(COMMON_NAME, utf8("system:node:worker-1\0"))],
        vec![organization(), rdn(COMMON_NAME, utf8("system:node:worker-1\0.example.com"))],
        vec![organization(), rdn(COMMON_NAME, utf8("System:Node:Worker-1"))],
        vec![organization(), rdn(COMMON_NAME, Tlv::primitive(0x0c, *b"system:node:worker-1\xff"))],
        vec![rdn(ORGANIZATION, utf8("System:Nodes")), common_name()],
        vec![rdn(ORGANIZATION, utf8(" system:nodes")), common_name()],
    ]
    .map(|rdns| with(at::SUBJECT, sequence(rdns)))
    .into()
}

fn names() -> Vec<Csr> {
    let mapped = |last| ip(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last]);
    let of = |tag: u8, content: &str| Tlv::primitive(tag, content);
    let directory = Tlv::constructed(0xa4, vec![sequence(vec![rdn(COMMON_NAME, utf8("worker-1"))])]);
    let other_name = Tlv::constructed(0xa0, vec![oid("1.2.3.4"), Tlv::constructed(0xa0, vec![utf8("worker-1")])]);
    let lists = vec![
        vec![],
        vec![dns("worker-1")],
        vec![ip(&[10, 0, 0, 1])],
        vec![dns("worker-1"), dns("worker-1"), dns("WORKER-1"), ip(&[10, 0, 0, 1]), ip(&[10, 0, 0, 1])],
        vec![ip(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), ip(&[0; 16]), ip(&[0; 4])],
        (0..300).map(|number| dns(format!("worker-{number}"))).collect(),
    ];
    let single = [
        mapped(1),
        ip(&[]),
        ip(&[10]),
        ip(&[10, 0, 0, 0, 255, 0, 0, 0]),
        ip(&[0; 17]),
        ip(&[0; 32]),
        dns(""),
        dns("."),
        dns("worker-1."),
        dns("*"),
        dns("*.example.com"),
        dns("10.0.0.1"),
        dns("fd00::1"),
        dns("a_b"),
        dns("a b"),
        dns("worker-1\0.example.com"),
        dns("worker-1,DNS:worker-2"),
        dns("w\u{f6}rker"),
        dns([0xff]),
        dns("a".repeat(64)),
        dns("a.".repeat(126) + "a"),
        dns("a.".repeat(127) + "a"),
        of(0x81, "root@worker-1"),
        of(0x81, ""),
        of(0x86, "https://worker-1"),
        of(0x86, "\0"),
        of(0x83, "worker-1"),
        of(0x85, "worker-1"),
        of(0x88, "\u{2a}\u{3}\u{4}"),
        of(0x89, "worker-2"),
        of(0x02, "worker-2"),
        of(0x42, "worker-2"),
        of(0xc2, "worker-2"),
        octet_string(dns("worker-2")).tagged([0xa2]),
        octet_string(ip(&[10, 0, 0, 2])).tagged([0xa7]),
        dns("worker-2").tagged([0x9f, 0x02]),
        dns("worker-2").with_length(Length::Long(0)),
        directory,
        other_name,
        sequence(vec![dns("worker-2")]),
    ];
    // Alone, and behind and before what is right.
    let beside = single
        .into_iter()
        .flat_map(|name| [vec![name.clone()], vec![dns("worker-1"), name.clone()], vec![name, ip(&[10, 0, 0, 1])]]);
    lists.into_iter().chain(beside).map(|list| signed(&with_sans(&SHARED, list))).collect()
}

fn attributes() -> Vec<Csr> {
    let own = || san(vec![dns("worker-1")]);
    let foreign = || san(vec![dns("worker-2"), ip(&[10, 0, 0, 2])]);
    let request = |list: Vec<Tlv>| extension_request(vec![extensions(list)]);
    let critical = |byte| {
        let mut extension = own();
        extension.children.insert(1, boolean(byte));
        extension
    };
    let constraints = || extension("2.5.29.19", sequence(vec![boolean(0xff)]));
    let challenge = || attribute("1.2.840.113549.1.9.7", vec![utf8("secret")]);
    [
        vec![],
        vec![request(vec![own()])],
        vec![request(vec![critical(0xff)])],
        vec![request(vec![critical(0x01)])],
        vec![request(vec![critical(0x00)])],
        vec![request(vec![])],
        vec![request(vec![own(), foreign()])],
        vec![request(vec![own(), constraints()])],
        vec![request(vec![constraints(), own()])],
        vec![request(vec![constraints()])],
        vec![request(vec![own()]), request(vec![foreign()])],
        vec![request(vec![foreign()]), request(vec![own()])],
        vec![request(vec![own()]), request(vec![constraints()])],
        vec![challenge(), request(vec![own()])],
        vec![request(vec![own()]), challenge()],
        vec![extension_request(vec![extensions(vec![own()]), extensions(vec![foreign()])])],
        vec![extension_request(vec![extensions(vec![foreign()]), extensions(vec![own()])])],
        vec![extension_request(vec![])],
        vec![extension_request(vec![set(vec![own()])])],
        vec![attribute("1.3.6.1.4.1.311.2.1.14", vec![extensions(vec![own()])])],
        vec![attribute(EXTENSION_REQUEST, vec![octet_string(extensions(vec![own()]))])],
        vec![sequence(vec![oid(EXTENSION_REQUEST), set(vec![extensions(vec![own()])]), null()])],
        vec![request(vec![own()]), null()],
        vec![null(), request(vec![own()])],
        vec![request(vec![sequence(vec![oid(SUBJECT_ALT_NAME), sequence(vec![dns("worker-1")])])])],
        vec![request(vec![own().with_suffix([5, 0])])],
    ]
    .map(|attributes| with(at::ATTRIBUTES, Tlv::constructed(0xa0, attributes)))
    .into()
}

fn encodings() -> Vec<Csr> {
    let info = honest(&SHARED);
    let mut requests: Vec<Csr> = [vec![], vec![1], vec![0, 0], vec![2], vec![0xff], vec![0, 1]]
        .map(|version: Vec<u8>| with(at::VERSION, integer(&version)))
        .into();
    for path in info.paths() {
        let changes: [fn(Tlv) -> Tlv; 6] = [
            |piece| piece.with_length(Length::Long(0)),
            |piece| piece.with_length(Length::Long(1)),
            |piece| piece.with_length(Length::Indefinite),
            |piece| piece.with_suffix([0]),
            |piece| piece.with_suffix([5, 0]),
            |piece| Tlv { tag: vec![piece.tag[0] ^ 0x20], ..piece },
        ];
        for change in changes {
            let mut info = info.clone();
            let piece = info.at(&path);
            *piece = change(piece.clone());
            requests.push(signed(&info));
        }
    }
    // What stands behind the signed part, where no signature is in the way.
    let whole = sign(&info, &SHARED);
    let signature = whole.children[2].content()[1..].to_vec();
    requests.push(Csr::of(&whole.clone().with_suffix([5, 0])));
    requests.push(Csr::with_der(&[whole.bytes(), vec![0]].concat()));
    requests.push(Csr::with_der(&[whole.bytes(), whole.bytes()].concat()));
    requests.push(Csr::of(&sequence(vec![info.clone(), SHARED.algorithm.clone(), bit_string(&signature), null()])));
    let nulled = sequence([SHARED.algorithm.children.clone(), vec![null()]].concat());
    requests.push(Csr::of(&sequence(vec![info, nulled, bit_string(&signature)])));
    requests
}

fn texts() -> Vec<Csr> {
    let own = pem(&sign(&honest(&SHARED), &SHARED).bytes());
    let foreign = pem(&sign(&with_sans(&SHARED, vec![dns("worker-2")]), &SHARED).bytes());
    let label = "CERTIFICATE REQUEST";
    [
        own.clone(),
        own.trim_end().to_owned(),
        format!("{own}{foreign}"),
        format!("{foreign}{own}"),
        format!("text\n{own}"),
        format!("{own}text\n"),
        format!("\n{own}"),
        format!("{own}\n"),
        own.replace('\n', "\r\n"),
        own.replace('\n', " \n"),
        own.replacen("-----\n", "-----\nName: value\n\n", 1),
        own.replacen("-----\n", "-----\n\n", 1),
        own.replace(label, "NEW CERTIFICATE REQUEST"),
        own.replace(label, "CERTIFICATE"),
        own.replacen("-----BEGIN", " -----BEGIN", 1),
        own.replacen("-----BEGIN", "-----BEGIN X-----\n-----BEGIN", 1),
        own.replacen("-----END", "=\n-----END", 1),
        own.lines().map(|line| format!("{line}\n")).filter(|line| !line.starts_with("-----END")).collect(),
        String::new(),
    ]
    .map(Csr::with_request)
    .into()
}

fn usages() -> Vec<Csr> {
    let lists: [&[&str]; 9] = [
        &[],
        &["server auth"],
        &["digital signature", "server auth", "key encipherment"],
        &["server auth", "digital signature"],
        &["digital signature", "server auth", "server auth"],
        &["digital signature", "key encipherment"],
        &["digital signature", "server auth", "client auth"],
        &["digital signature", "server auth", "any"],
        &["Digital Signature", "server auth"],
    ];
    lists.map(|usages| Csr { usages: owned(usages), ..signed(&honest(&SHARED)) }).into()
}
