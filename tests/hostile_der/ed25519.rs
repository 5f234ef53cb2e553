use crate::common::csr::Csr;
use crate::common::der::{Tlv, bit_string, null, oid, sequence};
use crate::common::key::{ED25519, Key, public};
use crate::common::pkcs10::{at, honest, sign};
use crate::expect::denied;

fn with_public_key(key: &Key, public: Tlv) -> Csr {
    let mut info = honest(key);
    *info.at(at::PUBLIC_KEY) = public;
    Csr::of(&sign(&info, key))
}

#[test]
fn refuses_parameters() {
    // RFC 8410 section 3: they are absent, here and in the signature's algorithm.
    let mut key = Key::ed25519();
    let bytes = key.public.children[1].prefix[1..].to_vec();
    for parameters in [null(), oid(ED25519), sequence(vec![])] {
        let other = public(sequence(vec![oid(ED25519), parameters.clone()]), &bytes);
        denied(&with_public_key(&key, other), &["KeyNotAllowed"], "the parameters of the public key are not");
        key.algorithm = sequence(vec![oid(ED25519), parameters]);
        let csr = Csr::of(&sign(&honest(&key), &key));
        denied(&csr, &["KeyNotAllowed"], "the parameters of the signature are not the ones its standard asks for");
        key.algorithm = sequence(vec![oid(ED25519)]);
    }
}

#[test]
fn refuses_keys_of_another_length() {
    let key = Key::ed25519();
    let bytes = key.public.children[1].prefix[1..].to_vec();
    let other = |bytes: &[u8]| with_public_key(&key, public(sequence(vec![oid(ED25519)]), bytes));
    for bytes in [&[][..], &bytes[1..], &bytes[..31], &[&bytes[..], &[0]].concat(), &key.public.bytes(), &[0; 64]] {
        denied(&other(bytes), &["KeyNotAllowed"], "the public key is not in the encoding its standard asks for");
    }
}

#[test]
fn refuses_bytes_that_are_no_point() {
    // There is no x for y = 2 (RFC 8032 section 5.1.3).
    let mut bytes = [0; 32];
    bytes[0] = 2;
    let csr = with_public_key(&Key::ed25519(), public(sequence(vec![oid(ED25519)]), &bytes));
    denied(&csr, &["BadSignature"], "");
}

/// The points of order 1, 2, 4 and 8 on edwards25519, in all encodings that some reader takes, without the sign of x:
/// y = 1, -1, 0, the two of order 8, and 0 and 1 once more as p and p + 1 (RFC 8032 section 5.1).
fn points_of_small_order() -> Vec<[u8; 32]> {
    let hex = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let parse = |hex: &str| std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap());
    hex.into_iter().map(parse).collect()
}

#[test]
fn refuses_keys_that_anyone_can_sign_with() {
    // With A of small order, R the neutral point and S = 0, S·B = R + k·A holds for one in eight messages at least,
    // and for every message where A is the neutral point. No private key is needed, so none is proven.
    let neutral = points_of_small_order()[0];
    for point in points_of_small_order() {
        for sign_of_x in [0, 0x80] {
            let mut point = point;
            point[31] |= sign_of_x;
            let mut info = honest(&Key::ed25519());
            *info.at(at::PUBLIC_KEY) = public(sequence(vec![oid(ED25519)]), &point);
            let forged = bit_string(&[neutral, [0; 32]].concat());
            let request = sequence(vec![info, sequence(vec![oid(ED25519)]), forged]);
            denied(&Csr::of(&request), &["WeakKey"], "the Ed25519 key is a point of small order");
        }
    }
}
