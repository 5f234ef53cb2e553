use aws_lc_rs::rsa::KeySize;
use countersign::request::KeyKind;

use crate::common::csr::Csr;
use crate::common::der::{Length, Tlv, bit_string, integer, null, octet_string, oid, sequence, split};
use crate::common::key::{Key, RSA, SHA256_WITH_RSA, SHARED, public};
use crate::common::pkcs10::{at, honest, sign};
use crate::expect::{approved, denied, denied_for_one_of, serving};

const OTHER_ENCODING: &str = "the public key is not in the encoding its standard asks for";

/// A request for this RSA key, with a signature that nobody gets to look at.
fn with_rsa_key(algorithm: Tlv, key: &[u8]) -> Csr {
    let mut info = honest(&SHARED);
    *info.at(at::PUBLIC_KEY) = public(algorithm, key);
    Csr::of(&sequence(vec![info, sequence(vec![oid(SHA256_WITH_RSA), null()]), bit_string(&[1; 256])]))
}

fn rsa() -> Tlv {
    sequence(vec![oid(RSA), null()])
}

/// An RSAPublicKey (RFC 8017 appendix A.1.1).
fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Tlv {
    sequence(vec![integer(modulus), integer(exponent)])
}

/// An odd number of this many bits, as the content of an INTEGER.
fn modulus(bits: usize) -> Vec<u8> {
    let mut bytes = vec![0x5a; bits.div_ceil(8)];
    let top = (bits - 1) % 8;
    bytes[0] = 1 << top;
    *bytes.last_mut().unwrap() |= 1;
    if top == 7 { [vec![0], bytes].concat() } else { bytes }
}

const F4: &[u8] = &[1, 0, 1];

#[test]
fn takes_the_three_lengths_and_the_three_digests() {
    let (short, middle, long) = (Key::rsa(KeySize::Rsa2048), Key::rsa(KeySize::Rsa3072), Key::rsa(KeySize::Rsa4096));
    for (key, kind) in [(&short, KeyKind::Rsa2048), (&middle, KeyKind::Rsa3072), (&long, KeyKind::Rsa4096)] {
        let csr = Csr::of(&sign(&honest(key), key));
        approved(&csr);
        assert_eq!(serving(&csr).key(), kind);
    }
    let middle = middle.with_sha384();
    approved(&Csr::of(&sign(&honest(&middle), &middle)));
    let short = short.with_sha512();
    approved(&Csr::of(&sign(&honest(&short), &short)));
}

#[test]
fn refuses_other_lengths_and_says_which() {
    denied(
        &Csr::with_request(include_str!("fixtures/rsa-1024.pem")),
        &["WeakKey"],
        "an RSA key of 1024 bits is too weak",
    );
    denied(
        &Csr::with_request(include_str!("fixtures/rsa-2047.pem")),
        &["WeakKey"],
        "an RSA key of 2047 bits is too weak",
    );
    denied(
        &Csr::with_request(include_str!("fixtures/rsa-2050.pem")),
        &["KeyNotAllowed"],
        "an RSA key of 2050 bits is not allowed; 2048, 3072 and 4096 are",
    );
    for bits in [1, 7, 8, 512, 2040, 2046, 2047] {
        let csr = with_rsa_key(rsa(), &rsa_public_key(&modulus(bits), F4).bytes());
        denied(&csr, &["WeakKey"], &format!("an RSA key of {bits} bits is too weak; 2048, 3072 and 4096 are allowed"));
    }
    for bits in [2049, 2056, 3071, 3073, 4095, 4097, 8192, 16_384] {
        let csr = with_rsa_key(rsa(), &rsa_public_key(&modulus(bits), F4).bytes());
        denied(&csr, &["KeyNotAllowed"], &format!("an RSA key of {bits} bits is not allowed"));
    }
}

#[test]
fn refuses_other_exponents() {
    let message = "the RSA key's public exponent is not 65537";
    denied(&Csr::with_request(include_str!("fixtures/rsa-2048-e3.pem")), &["WeakKey"], message);
    let exponents: [&[u8]; 9] =
        [&[0], &[1], &[2], &[3], &[17], &[1, 0, 0], &[1, 0, 3], &[1, 0, 0, 0, 1], &[1, 0, 1, 0]];
    for exponent in exponents {
        denied(&with_rsa_key(rsa(), &rsa_public_key(&modulus(2048), exponent).bytes()), &["WeakKey"], message);
    }
}

#[test]
fn refuses_an_even_modulus() {
    let mut even = modulus(2048);
    *even.last_mut().unwrap() &= 0xfe;
    let csr = with_rsa_key(rsa(), &rsa_public_key(&even, F4).bytes());
    denied_for_one_of(&csr, &["WeakKey", "BadSignature"]);
}

#[test]
fn refuses_numbers_that_are_not_positive_or_not_minimal() {
    // X.690 section 8.3.2. A modulus of 2048 bits without its leading zero is a negative number.
    let good = modulus(2048);
    let numbers = [
        good[1..].to_vec(),
        [&[0], &good[..]].concat(),
        [&[0, 0], &good[..]].concat(),
        [&[0xff], &good[1..]].concat(),
        vec![],
        vec![0xff],
        vec![0; 257],
    ];
    for number in &numbers {
        denied(&with_rsa_key(rsa(), &rsa_public_key(number, F4).bytes()), &["KeyNotAllowed"], OTHER_ENCODING);
    }
    for exponent in [&[0, 1, 0, 1][..], &[0xff], &[0x81], &[], &[0, 0]] {
        denied(&with_rsa_key(rsa(), &rsa_public_key(&good, exponent).bytes()), &["KeyNotAllowed"], OTHER_ENCODING);
    }
    denied(&with_rsa_key(rsa(), &rsa_public_key(&[0], F4).bytes()), &["WeakKey"], "an RSA key of 0 bits");
}

#[test]
fn refuses_an_rsa_public_key_of_another_shape() {
    let good = || rsa_public_key(&modulus(2048), F4);
    let bytes = good().bytes();
    let keys = [
        [&bytes[..], &[0]].concat(),
        [&bytes[..], &[5, 0]].concat(),
        [&bytes[..], &bytes[..]].concat(),
        good().with_suffix([0]).bytes(),
        good().with_suffix([5, 0]).bytes(),
        good().with_suffix(integer(&[1]).bytes()).bytes(),
        good().with_length(Length::Long(1)).bytes(),
        good().with_length(Length::Indefinite).bytes(),
        good().with_length(Length::Beyond(1)).bytes(),
        good().tagged([0x31]).bytes(),
        good().tagged([0xb0]).bytes(),
        sequence(vec![integer(&modulus(2048))]).bytes(),
        sequence(vec![integer(&modulus(2048)), integer(F4).with_length(Length::Long(0))]).bytes(),
        sequence(vec![integer(&modulus(2048)).tagged([0x82]), integer(F4)]).bytes(),
        sequence(vec![octet_string(integer(&modulus(2048))), integer(F4)]).bytes(),
        octet_string(good()).bytes(),
        public(rsa(), &bytes).bytes(),
        modulus(2048),
        vec![0x30, 0],
        vec![0x30],
        vec![],
    ];
    for key in keys {
        denied(&with_rsa_key(rsa(), &key), &["KeyNotAllowed"], OTHER_ENCODING);
    }
}

#[test]
fn refuses_parameters_other_than_null() {
    // RFC 3279 section 2.3.1: NULL, and it has to be there. Go compares the two bytes 05 00.
    let key = rsa_public_key(&modulus(2048), F4).bytes();
    let parameters = [
        vec![],
        vec![oid(RSA)],
        vec![sequence(vec![])],
        vec![Tlv::primitive(0x05, [0])],
        vec![Tlv::primitive(0x05, [0, 0])],
        vec![Tlv::primitive(0x04, [])],
        vec![null().tagged([0x45])],
        vec![null().tagged([0x85])],
        vec![null().tagged([0xa5])],
        vec![null().tagged([0xc5])],
    ];
    for parameters in parameters {
        let algorithm = sequence([vec![oid(RSA)], parameters].concat());
        denied(&with_rsa_key(algorithm, &key), &["KeyNotAllowed"], "the parameters of the public key are not the ones");
    }
    let two = sequence(vec![oid(RSA), null(), null()]);
    denied(&with_rsa_key(two, &key), &["MalformedRequest"], "is not strict DER");
}

#[test]
fn the_numbers_of_these_tests_have_as_many_bits_as_they_say() {
    for bits in [1, 7, 8, 2047, 2048, 2049] {
        let bytes = integer(&modulus(bits)).bytes();
        let (_, content, _) = split(&bytes).unwrap();
        let leading = content.iter().take_while(|&&byte| byte == 0).count();
        let bytes = &content[leading..];
        assert_eq!(bytes.len() * 8 - bytes[0].leading_zeros() as usize, bits);
    }
}
