//! Honest requests, damaged at random, with a seed that is always the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use countersign::request::Reading;
use x509_cert::der::{Decode, Encode};
use x509_cert::request::CertReq;

use crate::common::csr::{Csr, pem};
use crate::common::der::{Tlv, bit_string, boolean, oid, printable, sequence, split, utf8};
use crate::common::key::{Key, SHARED};
use crate::common::mutate::{Random, damage, rebuild};
use crate::common::pkcs10::{
    COMMON_NAME, ORGANIZATION, dns, extension_request, extensions, honest, info, ip, rdn, san, sign,
};

/// A second, naive reading of a request of `worker-1` with this key: takes every length at its word, and gives the
/// names in their order, and the CertificationRequestInfo as this file writes it for what was read.
fn naive(der: &[u8], key: &Key) -> Option<(Vec<Tlv>, Tlv)> {
    let (_, request, _) = split(der)?;
    let (_, whole_info, _) = split(request)?;
    let (_, _version, rest) = split(whole_info)?;
    let (_, subject, rest) = split(rest)?;
    let (_, _public_key, rest) = split(rest)?;
    let (_, attributes, _) = split(rest)?;
    let (_, attribute, _) = split(attributes)?;
    let (_, _kind, rest) = split(attribute)?;
    let (_, values, _) = split(rest)?;
    let (_, list, _) = split(values)?;
    let (_, extension, _) = split(list)?;
    let (_, _kind, mut value) = split(extension)?;
    let critical = value.first() == Some(&1);
    if critical {
        value = split(value)?.2;
    }
    let (_, wrapped, _) = split(value)?;
    let (_, mut rest, _) = split(wrapped)?;
    let mut names = Vec::new();
    while !rest.is_empty() {
        let (tag, name, after) = split(rest)?;
        names.push(if tag == 0x82 { dns(name) } else { ip(name) });
        rest = after;
    }

    let mut written = san(names.clone());
    if critical {
        written.children.insert(1, boolean(0xff));
    }
    let attributes = vec![extension_request(vec![extensions(vec![written])])];
    Some((names, info(naive_subject(subject)?, key.public.clone(), attributes)))
}

/// The subject in the order and with the string types of this one, and with the values that it has to have.
fn naive_subject(subject: &[u8]) -> Option<Tlv> {
    let (_, first, rest) = split(subject)?;
    let (_, second, _) = split(rest)?;
    let mut rdns = Vec::new();
    for set in [first, second] {
        let (_, attribute, _) = split(set)?;
        let (_, kind, value) = split(attribute)?;
        let string = if value.first() == Some(&0x13) { printable } else { utf8 };
        rdns.push(if kind == oid(COMMON_NAME).prefix {
            rdn(COMMON_NAME, string("system:node:worker-1"))
        } else {
            rdn(ORGANIZATION, string("system:nodes"))
        });
    }
    Some(sequence(rdns))
}

/// What the names read as, by themselves.
fn texts(names: &[Tlv]) -> BTreeSet<String> {
    let text = |name: &Tlv| match (name.tag[0], name.prefix.as_slice()) {
        (0x82, bytes) => String::from_utf8(bytes.to_ascii_lowercase()).unwrap(),
        (_, bytes) => match <[u8; 4]>::try_from(bytes) {
            Ok(v4) => IpAddr::from(v4).to_string(),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()).to_string(),
        },
    };
    names.iter().map(text).collect()
}

/// Reads a request. Where it is taken, the naive reading has to be the same, and what that writes the very bytes, but
/// for the signature. Says whether it is taken.
fn check(der: &[u8], key: &Key) -> bool {
    let Reading::Serving(request) = Csr::with_der(der).read() else { return false };
    let (names, info) = naive(der, key).expect("read naively");
    let whole = split(der).unwrap().1;
    let after_info = split(whole).unwrap().2;
    let after_algorithm = split(after_info).unwrap().2;
    let signature = split(after_algorithm).unwrap().1;
    let again = sequence(vec![info, key.algorithm.clone(), bit_string(&signature[1..])]);
    assert_eq!(again.bytes(), der);
    // What another library reads, and writes again, is the same too.
    assert_eq!(CertReq::from_der(der).unwrap().to_der().unwrap(), der);
    assert_eq!(texts(&names), request.sans().iter().map(ToString::to_string).collect());
    assert_eq!(request.node().as_str(), "worker-1");
    true
}

#[test]
fn damage_without_a_new_signature_is_never_taken() {
    let mut random = Random::new(0x5eed);
    for key in [&SHARED, &Key::ed25519()] {
        let honest = sign(&honest(key), key).bytes();
        assert!(check(&honest, key));
        for _ in 0..4_000 {
            let mut der = honest.clone();
            damage(&mut der, &mut random);
            assert!(!check(&der, key) || der == honest, "{der:02x?}");
        }
    }
}

#[test]
fn damage_under_a_new_signature_is_read_as_it_stands_or_not_at_all() {
    let key = Key::ed25519();
    let mut random = Random::new(0xda7a);
    let mut taken = 0;
    for round in 0..12_000 {
        let der = if round % 3 == 0 {
            let mut info = honest(&key).bytes();
            damage(&mut info, &mut random);
            let signature = bit_string(&key.sign(&info));
            sequence(vec![key.algorithm.clone(), signature]).with_prefix(info).bytes()
        } else {
            let mut info = honest(&key);
            rebuild(&mut info, &mut random);
            sign(&info, &key).bytes()
        };
        taken += u32::from(check(&der, &key));
    }
    // Changed names and doubled names are no less well-formed: the check above has to have had something to do.
    assert!(taken > 100, "{taken}");
}

#[test]
fn damage_to_the_text_is_never_taken() {
    let mut random = Random::new(0x7e47);
    let text = pem(&sign(&honest(&SHARED), &SHARED).bytes());
    for _ in 0..6_000 {
        let mut bytes = text.clone().into_bytes();
        damage(&mut bytes, &mut random);
        let csr = Csr::with_request(bytes.clone());
        let same = bytes.strip_suffix(b"\n").unwrap_or(&bytes) == text.trim_end().as_bytes();
        assert_eq!(matches!(csr.read(), Reading::Serving(_)), same, "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn noise_is_never_taken_and_never_panics() {
    let mut random = Random::new(0x0dd);
    for round in 0..6_000 {
        let bytes: Vec<u8> = (0..random.below(400)).map(|_| random.byte()).collect();
        let reading = if round % 2 == 0 { Csr::with_der(&bytes).read() } else { Csr::with_request(bytes).read() };
        assert!(matches!(reading, Reading::Refused(_)));
    }
}

#[test]
fn noise_in_every_piece_is_never_taken_for_something_else() {
    let key = Key::ed25519();
    let mut random = Random::new(0xa11);
    for path in honest(&key).paths() {
        for _ in 0..60 {
            let mut info = honest(&key);
            let noise: Vec<u8> = (0..random.below(40)).map(|_| random.byte()).collect();
            let piece = info.at(&path);
            *piece = Tlv::primitive(piece.tag[0], noise);
            check(&sign(&info, &key).bytes(), &key);
        }
    }
}
