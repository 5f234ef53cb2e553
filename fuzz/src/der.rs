//! The few forms of DER that an acceptable request is made of.

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

/// The key of every request that is signed here: its seed is seven times over.
pub static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());

pub const COMMON_NAME: &[u8] = &[0x55, 4, 3];
pub const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 29, 17];
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 9, 14];
const ED25519: &[u8] = &[0x2b, 101, 112];

/// A tag, the length and the content, put together of these parts.
pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap();
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        0x100.. => vec![tag, 0x82, high, low],
    };
    [head, content].concat()
}

/// The first tag and its content, and what follows.
pub fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, length, rest) = match bytes {
        [tag, length @ 0..=0x7f, rest @ ..] | [tag, 0x81, length, rest @ ..] => (*tag, usize::from(*length), rest),
        [tag, 0x82, high, low, rest @ ..] => (*tag, usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A CertificationRequestInfo for [`KEY`]: the subject's attributes as kind, tag and text, and general names by tag.
pub fn information(subject: [(&[u8], u8, &[u8]); 2], critical: bool, names: &[(u8, &[u8])]) -> Vec<u8> {
    let rdns = subject.map(|(kind, tag, text)| tlv(0x31, &[&tlv(0x30, &[&tlv(6, &[kind]), &tlv(tag, &[text])])]));
    let names: Vec<Vec<u8>> = names.iter().map(|(tag, name)| tlv(*tag, &[name])).collect();
    let octets = tlv(4, &[&tlv(0x30, &[&names.concat()])]);
    let criticality = if critical { tlv(1, &[&[0xff]]) } else { Vec::new() };
    let extension = tlv(0x30, &[&tlv(6, &[SUBJECT_ALT_NAME]), &criticality, &octets]);
    let values = tlv(0x31, &[&tlv(0x30, &[&extension])]);
    let attribute = tlv(0x30, &[&tlv(6, &[EXTENSION_REQUEST]), &values]);
    let public_key = tlv(0x30, &[&algorithm(), &tlv(3, &[&[0], KEY.public_key().as_ref()])]);
    tlv(0x30, &[&tlv(2, &[&[0]]), &tlv(0x30, &[&rdns[0], &rdns[1]]), &public_key, &tlv(0xa0, &[&attribute])])
}

/// The CertificationRequest with this signature.
pub fn request(info: &[u8], signature: &[u8]) -> Vec<u8> {
    tlv(0x30, &[info, &algorithm(), &tlv(3, &[&[0], signature])])
}

/// The CertificationRequest for any bytes in place of the CertificationRequestInfo.
pub fn signed(info: &[u8]) -> Vec<u8> {
    request(info, KEY.sign(info).as_ref())
}

fn algorithm() -> Vec<u8> {
    tlv(0x30, &[&tlv(6, &[ED25519])])
}

/// One PEM block with lines of 64 characters.
pub fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE REQUEST-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let bits =
                three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
            for digit in 0..4 {
                let shown = digit <= three.len();
                text.push(if shown { char::from(DIGITS[bits >> (18 - 6 * digit) & 63]) } else { '=' });
            }
        }
        text.push('\n');
    }
    text + "-----END CERTIFICATE REQUEST-----\n"
}
