use countersign::request::KeyKind;

use crate::common::csr::Csr;
use crate::common::der::{Tlv, integer, null, octet_string, oid, sequence};
use crate::common::key::{EC_PUBLIC_KEY, ED25519, Key, P256, P384, P521, RSA, RSA_PSS, SHARED, public};
use crate::common::pkcs10::{at, honest, sign};
use crate::expect::{approved, denied, named, serving};

const OTHER_PARAMETERS: &str = "the parameters of the public key are not the ones its standard asks for";
const OTHER_ENCODING: &str = "the public key is not in the encoding its standard asks for";

/// The honest request with another public key, signed with `key`.
fn with_public_key(key: &Key, public: Tlv) -> Csr {
    let mut info = honest(key);
    *info.at(at::PUBLIC_KEY) = public;
    Csr::of(&sign(&info, key))
}

/// The uncompressed point of the shared P-256 key.
fn point() -> Vec<u8> {
    SHARED.public.children[1].prefix[1..].to_vec()
}

fn on_p256(bytes: &[u8]) -> Csr {
    with_public_key(&SHARED, public(sequence(vec![oid(EC_PUBLIC_KEY), oid(P256)]), bytes))
}

#[test]
fn takes_the_curves_of_kubelets() {
    let cases =
        [(Key::p256(), KeyKind::EcdsaP256), (Key::p384(), KeyKind::EcdsaP384), (Key::ed25519(), KeyKind::Ed25519)];
    for (key, kind) in cases {
        let csr = Csr::of(&sign(&honest(&key), &key));
        approved(&csr);
        assert_eq!(serving(&csr).key(), kind);
    }
}

#[test]
fn takes_either_digest_of_sha_2_with_either_curve() {
    approved(&Csr::with_request(include_str!("fixtures/p256-sha384.pem")));
    approved(&Csr::with_request(include_str!("fixtures/p384-sha256.pem")));
}

#[test]
fn refuses_other_curves_and_says_which() {
    for key in [Key::p521(), Key::secp256k1()] {
        let curve = &key.public.children[0].children[1];
        let message = named(if *curve == oid(P521) { P521 } else { "1.3.132.0.10" });
        let message = format!("the elliptic curve {message} is not allowed; P-256 and P-384 are");
        denied(&Csr::of(&sign(&honest(&key), &key)), &["KeyNotAllowed"], &message);
    }
    // P-192, P-224, brainpoolP256r1 and no curve at all, around a point that is on P-256.
    for curve in ["1.2.840.10045.3.1.1", "1.3.132.0.33", "1.3.36.3.3.2.8.1.1.7", "1.2", "1.2.840.10045.3.1.7.1"] {
        let other = public(sequence(vec![oid(EC_PUBLIC_KEY), oid(curve)]), &point());
        denied(
            &with_public_key(&SHARED, other),
            &["KeyNotAllowed"],
            &format!("the elliptic curve {} is not", named(curve)),
        );
    }
}

#[test]
fn refuses_curves_that_are_not_named() {
    // RFC 5480 section 2.1.1: namedCurve only. Explicit parameters let the asker choose the generator.
    denied(&Csr::with_request(include_str!("fixtures/p256-explicit.pem")), &["KeyNotAllowed"], OTHER_PARAMETERS);
    let named = oid(P256);
    let parameters = [
        vec![],
        vec![null()],
        vec![sequence(vec![named.clone()])],
        vec![octet_string(named.clone())],
        vec![integer(&[1])],
        vec![Tlv::constructed(0xa0, vec![named])],
    ];
    for parameters in parameters {
        let algorithm = sequence([vec![oid(EC_PUBLIC_KEY)], parameters].concat());
        denied(&with_public_key(&SHARED, public(algorithm, &point())), &["KeyNotAllowed"], OTHER_PARAMETERS);
    }
}

#[test]
fn refuses_the_name_of_a_curve_under_another_tag() {
    // The same content bytes in a value that is no OBJECT IDENTIFIER.
    for tag in [0x04, 0x0c, 0x0d, 0x02, 0x13, 0x46, 0x80, 0x86, 0xa6, 0xc6] {
        let algorithm = sequence(vec![oid(EC_PUBLIC_KEY), oid(P256).tagged([tag])]);
        denied(&with_public_key(&SHARED, public(algorithm, &point())), &["KeyNotAllowed"], OTHER_PARAMETERS);
    }
}

#[test]
fn refuses_a_second_parameter() {
    let algorithm = sequence(vec![oid(EC_PUBLIC_KEY), oid(P256), null()]);
    denied(&with_public_key(&SHARED, public(algorithm, &point())), &["MalformedRequest"], "is not strict DER");
}

#[test]
fn refuses_points_that_are_not_written_out() {
    // SEC 1 section 2.3.3. Go reads uncompressed points only; hybrid ones have a tag of 6 or 7.
    let point = point();
    let (x, y) = point[1..].split_at(32);
    let odd = y[31] & 1;
    let cases = [
        [&[2 | odd], x].concat(),
        [&[3 ^ odd], x].concat(),
        [&[6 | odd], x, y].concat(),
        [&[2 | odd], x, y].concat(),
        [&[0], x, y].concat(),
        [&[5], x, y].concat(),
        [x, y].concat(),
        [&[0x30], x, y].concat(),
        [&[4], x, y, &[0]].concat(),
        [&[4, 0], x, y].concat(),
        [&[4], x, &y[..31]].concat(),
        vec![0],
        vec![4],
        vec![],
    ];
    for bytes in cases {
        denied(&on_p256(&bytes), &["KeyNotAllowed"], OTHER_ENCODING);
    }
    // The key within an OCTET STRING, and as a whole SubjectPublicKeyInfo.
    denied(&on_p256(&octet_string(Tlv::primitive(0x04, point.clone())).bytes()), &["KeyNotAllowed"], OTHER_ENCODING);
    denied(&on_p256(&SHARED.public.bytes()), &["KeyNotAllowed"], OTHER_ENCODING);
}

#[test]
fn refuses_points_that_are_not_on_the_curve() {
    // p, and p itself as a coordinate instead of 0 (FIPS 186-4 section D.1.2.3).
    let mut prime = [0xff; 32];
    prime[4..8].copy_from_slice(&[0, 0, 0, 1]);
    prime[8..20].fill(0);
    let point = point();
    let (x, y) = point[1..].split_at(32);
    let flipped: Vec<u8> = x.iter().enumerate().map(|(i, byte)| byte ^ u8::from(i == 31)).collect();
    for (x, y) in
        [(&flipped[..], y), (y, x), (&[0; 32], &[0; 32]), (&[0xff; 32], &[0xff; 32]), (x, &prime), (&prime, y)]
    {
        denied(&on_p256(&[&[4], x, y].concat()), &["KeyNotAllowed"], OTHER_ENCODING);
    }
}

#[test]
fn refuses_a_point_of_one_curve_under_the_name_of_another() {
    let p384 = Key::p384();
    let named_p256 = public(sequence(vec![oid(EC_PUBLIC_KEY), oid(P256)]), &p384.public.children[1].prefix[1..]);
    denied(&with_public_key(&p384, named_p256), &["KeyNotAllowed"], OTHER_ENCODING);
    let named_p384 = public(sequence(vec![oid(EC_PUBLIC_KEY), oid(P384)]), &point());
    denied(&with_public_key(&SHARED, named_p384), &["KeyNotAllowed"], OTHER_ENCODING);
}

#[test]
fn refuses_other_algorithms_and_says_which() {
    denied(
        &Csr::with_request(include_str!("fixtures/ed448.pem")),
        &["KeyNotAllowed"],
        "the public key's algorithm Ed448 (1.3.101.113) is not allowed; RSA, ECDSA on P-256 or P-384 and Ed25519 are",
    );
    // X25519, DSA, a PSS-only key, id-ecDH, id-ecMQV, ML-DSA-65, and prefixes and extensions of known ones.
    let others =
        ["1.3.101.110", "1.2.840.10040.4.1", RSA_PSS, "1.3.132.1.12", "1.3.132.1.13", "2.16.840.1.101.3.4.3.18"];
    for other in others.into_iter().chain(["1.2.840.10045.2", "1.2.840.10045.2.1.1", "1.3.101", "1.2"]) {
        for parameters in [vec![], vec![null()], vec![oid(P256)]] {
            let algorithm = sequence([vec![oid(other)], parameters].concat());
            let message = format!("the public key's algorithm {} is not allowed", named(other));
            denied(&with_public_key(&SHARED, public(algorithm, &point())), &["KeyNotAllowed"], &message);
        }
    }
}

#[test]
fn refuses_one_algorithms_key_under_the_name_of_another() {
    for (name, message) in [(ED25519, OTHER_PARAMETERS), (RSA, OTHER_PARAMETERS)] {
        let algorithm = sequence(vec![oid(name), oid(P256)]);
        denied(&with_public_key(&SHARED, public(algorithm, &point())), &["KeyNotAllowed"], message);
    }
    let as_ed25519 = public(sequence(vec![oid(ED25519)]), &point());
    denied(&with_public_key(&SHARED, as_ed25519), &["KeyNotAllowed"], OTHER_ENCODING);
    let as_rsa = public(sequence(vec![oid(RSA), null()]), &point());
    denied(&with_public_key(&SHARED, as_rsa), &["KeyNotAllowed"], OTHER_ENCODING);
}
