use aws_lc_rs::rsa::KeySize;

use crate::common::csr::Csr;
use crate::common::der::{Length, Tlv, bit_string, integer, null, oid, sequence, split};
use crate::common::key::{
    ECDSA_WITH_SHA1, ECDSA_WITH_SHA256, ECDSA_WITH_SHA384, ECDSA_WITH_SHA512, ED25519, Key, MD5_WITH_RSA, RSA, RSA_PSS,
    SHA1_WITH_RSA, SHA256_WITH_RSA, SHA384_WITH_RSA, SHARED,
};
use crate::common::pkcs10::{dns, honest, sign, with_sans};
use crate::expect::{denied, named};

const NOT_PROVEN: &str = "the request's signature was not made with the private key of its public key";

fn bad(request: &Tlv) {
    denied(&Csr::of(request), &["BadSignature"], NOT_PROVEN);
}

/// The honest request with these bytes for a signature.
fn signed_with(key: &Key, signature: &[u8]) -> Tlv {
    sequence(vec![honest(key), key.algorithm.clone(), bit_string(signature)])
}

/// The honest request whose signature's algorithm is said to be another.
fn with_algorithm(key: &Key, algorithm: Tlv) -> Csr {
    let mut request = sign(&honest(key), key);
    request.children[1] = algorithm;
    Csr::of(&request)
}

#[test]
fn refuses_the_signature_of_another_key() {
    for (key, other) in [(Key::p256(), Key::p256()), (Key::p384(), Key::p384()), (Key::ed25519(), Key::ed25519())] {
        bad(&sign(&honest(&key), &other));
    }
    let (key, other) = (Key::rsa(KeySize::Rsa2048), Key::rsa(KeySize::Rsa2048));
    bad(&sign(&honest(&key), &other));
    // The algorithm fits the key, but not the signature.
    let mut other_kind = sign(&honest(&SHARED), &Key::ed25519());
    other_kind.children[1] = SHARED.algorithm.clone();
    bad(&other_kind);
}

#[test]
fn refuses_a_signature_over_other_bytes() {
    let mut swapped = sign(&honest(&SHARED), &SHARED);
    swapped.children[0] = with_sans(&SHARED, vec![dns("worker-1")]);
    bad(&swapped);

    let info = honest(&SHARED).bytes();
    for other in [&info[1..], &info[..info.len() - 1], &[&info[..], &[0]].concat(), b"", &honest(&SHARED).content()] {
        bad(&signed_with(&SHARED, &SHARED.sign(other)));
    }
}

#[test]
fn refuses_malformed_signatures() {
    for key in [&SHARED, &Key::p384(), &Key::ed25519(), &Key::rsa(KeySize::Rsa2048)] {
        let good = key.sign(&honest(key).bytes());
        let cases = [
            vec![],
            vec![0],
            vec![0x30, 0],
            vec![0; good.len()],
            vec![0xff; good.len()],
            vec![0; 10_000],
            good[1..].to_vec(),
            good[..good.len() - 1].to_vec(),
            [&good[..], &[0]].concat(),
            [&[0], &good[..]].concat(),
            [&good[..], &good[..]].concat(),
        ];
        for signature in cases {
            bad(&signed_with(key, &signature));
        }
    }
}

#[test]
fn refuses_ecdsa_signatures_in_another_encoding() {
    // RFC 3279 section 2.2.3: Ecdsa-Sig-Value, in DER.
    let good = SHARED.sign(&honest(&SHARED).bytes());
    let (_, content, _) = split(&good).unwrap();
    let (_, r, rest) = split(content).unwrap();
    let (_, s, _) = split(rest).unwrap();
    let pair = |r: &[u8], s: &[u8]| sequence(vec![integer(r), integer(s)]);
    let fixed = |number: &[u8]| {
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        [vec![0; 32 - number.len()], number.to_vec()].concat()
    };
    assert_eq!(pair(r, s).bytes(), good);
    let cases = [
        pair(&[0], s).bytes(),
        pair(r, &[0]).bytes(),
        pair(s, r).bytes(),
        pair(&[&[0], r].concat(), s).bytes(),
        pair(&[&[0xff], r].concat(), s).bytes(),
        pair(&[], s).bytes(),
        pair(r, s).with_length(Length::Long(1)).bytes(),
        pair(r, s).with_length(Length::Indefinite).bytes(),
        pair(r, s).with_suffix([5, 0]).bytes(),
        pair(r, s).tagged([0x31]).bytes(),
        [fixed(r), fixed(s)].concat(),
    ];
    for signature in cases {
        bad(&signed_with(&SHARED, &signature));
    }
}

#[test]
fn refuses_digests_older_than_sha_2_and_says_which() {
    // Go verifies SHA-1 in requests, though not in certificates.
    let cases = [
        (include_str!("fixtures/rsa-2048-md5.pem"), MD5_WITH_RSA, "rsa-2048"),
        (include_str!("fixtures/rsa-2048-sha1.pem"), SHA1_WITH_RSA, "rsa-2048"),
        (include_str!("fixtures/rsa-2048-sha224.pem"), "1.2.840.113549.1.1.14", "rsa-2048"),
        (include_str!("fixtures/p256-sha1.pem"), ECDSA_WITH_SHA1, "ecdsa-p256"),
    ];
    for (text, algorithm, key) in cases {
        let algorithm = named(algorithm);
        let message = format!("the signature algorithm {algorithm} is not allowed with a key of the kind {key}; SHA-2");
        denied(&Csr::with_request(text), &["KeyNotAllowed"], &message);
    }
}

#[test]
fn refuses_pss_and_ecdsa_with_sha_512() {
    let key = Key::rsa(KeySize::Rsa2048).with_pss();
    let message = format!("the signature algorithm {} is not allowed with a key of the kind rsa-2048", named(RSA_PSS));
    denied(&Csr::of(&sign(&honest(&key), &key)), &["KeyNotAllowed"], &message);
    let algorithm = named(ECDSA_WITH_SHA512);
    let message = format!("the signature algorithm {algorithm} is not allowed with a key of the kind ecdsa-p256");
    denied(&Csr::with_request(include_str!("fixtures/p256-sha512.pem")), &["KeyNotAllowed"], &message);
}

#[test]
fn refuses_an_algorithm_that_does_not_go_with_the_key() {
    let rsa = Key::rsa(KeySize::Rsa2048);
    let ed25519 = Key::ed25519();
    let cases = [
        (&*SHARED, sequence(vec![oid(ED25519)]), ED25519),
        (&SHARED, sequence(vec![oid(SHA256_WITH_RSA), null()]), SHA256_WITH_RSA),
        (&SHARED, sequence(vec![oid("1.2.840.10045.2.1")]), "1.2.840.10045.2.1"),
        (&SHARED, sequence(vec![oid("1.2.840.10045.4.3")]), "1.2.840.10045.4.3"),
        (&rsa, sequence(vec![oid(ECDSA_WITH_SHA256)]), ECDSA_WITH_SHA256),
        (&rsa, sequence(vec![oid(RSA), null()]), RSA),
        (&ed25519, sequence(vec![oid(ECDSA_WITH_SHA256)]), ECDSA_WITH_SHA256),
        (&ed25519, sequence(vec![oid("1.3.101.110")]), "1.3.101.110"),
    ];
    for (key, algorithm, name) in cases {
        denied(
            &with_algorithm(key, algorithm),
            &["KeyNotAllowed"],
            &format!("the signature algorithm {} is not", named(name)),
        );
    }
    // One digest is said to be used, and another was.
    denied(&with_algorithm(&SHARED, sequence(vec![oid(ECDSA_WITH_SHA384)])), &["BadSignature"], NOT_PROVEN);
    denied(&with_algorithm(&rsa, sequence(vec![oid(SHA384_WITH_RSA), null()])), &["BadSignature"], NOT_PROVEN);
}

#[test]
fn refuses_other_parameters_of_the_algorithm() {
    let other = "the parameters of the signature are not the ones its standard asks for";
    // RFC 5758 section 3.2: absent with ECDSA.
    for parameters in [null(), oid(ECDSA_WITH_SHA256), sequence(vec![])] {
        let algorithm = sequence(vec![oid(ECDSA_WITH_SHA256), parameters]);
        denied(&with_algorithm(&SHARED, algorithm), &["KeyNotAllowed"], other);
    }
    // RFC 4055 section 5: NULL with RSA.
    let rsa = Key::rsa(KeySize::Rsa2048);
    let not_null = [Tlv::primitive(0x05, [0]), null().tagged([0x85]), null().tagged([0x45]), null().tagged([0xc5])];
    for parameters in [oid(RSA), sequence(vec![])].into_iter().chain(not_null).map(|one| vec![one]).chain([vec![]]) {
        let algorithm = sequence([vec![oid(SHA256_WITH_RSA)], parameters].concat());
        denied(&with_algorithm(&rsa, algorithm), &["KeyNotAllowed"], other);
    }
}
