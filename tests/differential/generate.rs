//! Requests at random: near what is right, so that many are taken, and with all that readers are known to disagree on.

use crate::common::csr::{Csr, owned};
use crate::common::der::{Tlv, bit_string, boolean, integer, octet_string, oid, printable, sequence, set, utf8};
use crate::common::key::{Key, SHARED};
use crate::common::mutate::{Random, damage, rebuild};
use crate::common::pkcs10::{
    COMMON_NAME, ORGANIZATION, SUBJECT_ALT_NAME, attribute, attribute_value, dns, extension, extension_request,
    extensions, info, ip, rdn, sign,
};

pub struct Generator {
    random: Random,
    key: Key,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), key: Key::ed25519_from([7; 32]) }
    }

    /// The next request.
    pub fn request(&mut self) -> Csr {
        let key = if self.random.one_in(16) { &*SHARED } else { &self.key };
        let random = &mut self.random;
        let mut info = information(random, key);
        // As it is, damaged as DER, or damaged as bytes; signed afterwards in any case.
        let der = match random.below(4) {
            0 => sign(&info, key).bytes(),
            1 | 2 => {
                rebuild(&mut info, random);
                sign(&info, key).bytes()
            }
            _ => {
                let mut bytes = info.bytes();
                damage(&mut bytes, random);
                let signature = bit_string(&key.sign(&bytes));
                sequence(vec![key.algorithm.clone(), signature]).with_prefix(bytes).bytes()
            }
        };
        let mut csr = Csr::with_der(&der);
        if random.one_in(20) {
            damage(&mut csr.request, random);
        }
        csr.usages = usages(random);
        csr
    }
}

fn usages(random: &mut Random) -> Vec<String> {
    let mut usages = owned(&["digital signature", "server auth"]);
    match random.below(24) {
        0 => usages.push("key encipherment".to_owned()),
        1 => usages.push("client auth".to_owned()),
        2 => usages.push("server auth".to_owned()),
        3 => drop(usages.pop()),
        _ => {}
    }
    usages
}

/// A CertificationRequestInfo.
fn information(random: &mut Random, key: &Key) -> Tlv {
    let mut attributes = vec![request_for_extensions(random)];
    match random.below(24) {
        0 => attributes.push(request_for_extensions(random)),
        1 => attributes.push(attribute("1.2.840.113549.1.9.7", vec![utf8("challenge")])),
        2 => attributes.insert(0, attribute("1.2.840.113549.1.9.2", vec![printable("unstructured")])),
        3 => drop(attributes.pop()),
        _ => {}
    }
    let mut info = info(subject(random), key.public.clone(), attributes);
    if random.one_in(24) {
        info.children[0] = integer(&[random.byte()]);
    }
    info
}

fn subject(random: &mut Random) -> Tlv {
    let name = *random.of(&[
        "system:node:worker-1",
        "system:node:worker-1",
        "system:node:worker-1",
        "system:node:worker-1",
        "system:node:worker-1",
        "system:node:worker-1",
        "system:node:Worker-1",
        "system:node:worker-2",
    ]);
    let common_name = string(random, name);
    let organization = string(random, "system:nodes");
    let mut rdns = vec![rdn(ORGANIZATION, organization), rdn(COMMON_NAME, common_name)];
    if random.one_in(2) {
        rdns.swap(0, 1);
    }
    let extra = string(random, "system:nodes");
    match random.below(32) {
        0 => rdns.push(rdn(ORGANIZATION, extra)),
        1 => rdns.push(rdn("2.5.4.11", extra)),
        2 => rdns[0].children.push(attribute_value("2.5.4.11", extra)),
        3 => rdns.push(set(vec![])),
        4 => rdns = vec![set(rdns.into_iter().flat_map(|rdn| rdn.children).collect())],
        5 => rdns.push(rdns[0].clone()),
        _ => {}
    }
    sequence(rdns)
}

/// A text in one of the ASN.1 types for texts, mostly in the two that are taken.
fn string(random: &mut Random, text: &str) -> Tlv {
    match random.below(24) {
        0 => printable(text).tagged([*random.of(&[0x12, 0x14, 0x16, 0x1a, 0x1b, 0x1c, 0x04, 0x2c, 0x4c, 0x8c])]),
        1 => Tlv::primitive(0x1e, text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>()),
        2 => utf8(&format!("{text}{}", random.of(&["\0", " ", "\u{301}", "\u{feff}", "x"]))),
        3..14 => utf8(text),
        _ => printable(text),
    }
}

/// An extensionRequest attribute.
fn request_for_extensions(random: &mut Random) -> Tlv {
    let mut list = vec![subject_alt_name(random)];
    match random.below(24) {
        0 => list.push(subject_alt_name(random)),
        1 => list.push(extension("2.5.29.19", sequence(vec![boolean(0xff)]))),
        2 => list.insert(0, extension("2.5.29.15", Tlv::primitive(0x03, [5, 0xa0]))),
        3 => drop(list.pop()),
        _ => {}
    }
    let mut values = vec![extensions(list)];
    if random.one_in(24) {
        values.push(extensions(vec![subject_alt_name(random)]));
    }
    extension_request(values)
}

fn subject_alt_name(random: &mut Random) -> Tlv {
    let names = sequence((0..=random.below(4)).map(|_| general_name(random)).collect());
    let mut extension = extension(SUBJECT_ALT_NAME, names);
    match random.below(24) {
        0 => extension.children.insert(1, boolean(*random.of(&[0xff, 0xff, 0x01, 0x00]))),
        1 => extension.children[1].children.push(sequence(vec![dns("behind.example.com")])),
        _ => {}
    }
    extension
}

fn general_name(random: &mut Random) -> Tlv {
    match random.below(64) {
        0 => dns(random.of(&["", ".", "*", "*.example.com", "a..b", "-a", "10.0.0.1", "::1", "a_b", "a b", "a,b"])),
        1 => dns(random.of(&["worker-1.", "worker-1\0.example.com", "w\u{f6}rker", "[::1]", "127.1", "a:443", "a/b"])),
        2 => dns([random.byte(), random.byte(), random.byte()]),
        3 => Tlv::primitive(0x81, *random.of(&["a@b", "worker-1", "@"])),
        4 => Tlv::primitive(0x86, *random.of(&["https://worker-1", "worker-1", "%", ""])),
        5 => Tlv::primitive(0x88, oid("1.2.3.4").prefix),
        6 => Tlv::constructed(0xa4, vec![sequence(vec![rdn(COMMON_NAME, utf8("worker-1"))])]),
        7 => Tlv::constructed(0xa0, vec![oid("1.2.3.4"), Tlv::constructed(0xa0, vec![utf8("worker-1")])]),
        8 => Tlv::primitive(*random.of(&[0x83, 0x85, 0x89, 0x8a, 0x42, 0xc2, 0x02, 0x16, 0x07]), "worker-1"),
        9 => octet_string(dns("worker-1")).tagged([*random.of(&[0xa2, 0xa7, 0xa1, 0xa6, 0x30])]),
        10 => ip(&vec![random.byte(); random.below(34)]),
        11 => ip(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, random.byte()]),
        12 => ip(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, random.byte()]),
        13..24 => ip(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, random.byte(), random.byte()]),
        24..40 => ip(&[10, 0, random.byte(), random.byte()]),
        _ => dns(random.of(&["worker-1", "Worker-1.Example.COM", "a.b.c", "1001", "xn--bcher-kva.example", "a--b"])),
    }
}
