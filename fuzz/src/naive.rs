//! The rules once more, short and without regard to speed or to messages.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aws_lc_rs::signature::{ED25519, KeyPair, UnparsedPublicKey};

use super::der::{COMMON_NAME, KEY, ORGANIZATION, information, pem, request, split};

/// The names and addresses that a request of `username` asks for, if a kubelet could have filed it.
///
/// Reads without looking at the structure, writes down the request that has to have been meant, and compares.
pub fn asked_for(text: &[u8], username: &str, groups: &[String], usages: &[String]) -> Option<BTreeSet<String>> {
    let node = username.strip_prefix("system:node:")?;
    let usages: BTreeSet<&str> =
        usages.iter().map(String::as_str).filter(|usage| *usage != "key encipherment").collect();
    let honest = is_node_name(node)
        && groups.iter().any(|group| group == "system:nodes")
        && usages == BTreeSet::from(["digital signature", "server auth"]);

    let der = from_pem(text)?;
    let leaves = leaves(&der)?;
    let ([_, kinds @ .., (3, signature)], critical) = (leaves.as_slice(), leaves.len() == 13) else { return None };
    let (first, second) = ((kinds.first()?.1, kinds.get(1)?.0), (kinds.get(2)?.1, kinds.get(3)?.0));
    let (_, octets) = kinds.get(if critical { 9 } else { 8 })?;
    let names = self::leaves(octets)?;
    let attribute = |(kind, tag): (_, u8)| {
        let text: &[u8] = if kind == COMMON_NAME { username.as_bytes() } else { b"system:nodes" };
        (kind, tag, text)
    };
    let info = information([attribute(first), attribute(second)], critical, &names);
    let kinds: BTreeSet<&[u8]> = [first.0, second.0].into();
    let strings = [first.1, second.1].iter().all(|tag| [0x0c, 0x13].contains(tag));
    let meant = honest
        && strings
        && kinds == BTreeSet::from([COMMON_NAME, ORGANIZATION])
        && der == request(&info, signature.get(1..)?)
        && UnparsedPublicKey::new(&ED25519, KEY.public_key()).verify(&info, &signature[1..]).is_ok();
    let texts: Option<BTreeSet<String>> = names.iter().map(|(tag, name)| name_of(*tag, name)).collect();
    texts.filter(|texts| meant && !texts.is_empty())
}

/// Whether a Node can be called so.
pub fn is_node_name(name: &str) -> bool {
    let is_subdomain = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    name.split('.').all(is_subdomain) && name.chars().all(in_name) && name.len() <= 253
}

/// What the primitive values are, whatever is around them.
fn leaves(der: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let (mut rest, mut found) = (der, Vec::new());
    while !rest.is_empty() {
        let (tag, content, after) = split(rest)?;
        if tag & 0x20 == 0 {
            found.push((tag, content));
        } else {
            found.extend(leaves(content)?);
        }
        rest = after;
    }
    Some(found)
}

fn from_pem(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= 16 * 1024)?;
    let der = from_base64(text.lines().filter(|line| !line.starts_with('-')).flat_map(str::bytes));
    let written = pem(&der);
    (written == text || written.trim_end() == text).then_some(der)
}

/// What the digits say, whatever is between them.
pub fn from_base64(digits: impl Iterator<Item = u8>) -> Vec<u8> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for c in digits {
        let digit = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        (bits, count) = (bits << 6 & 0xffff | u32::from(digit), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_be_bytes()[3]);
        }
    }
    bytes
}

fn name_of(tag: u8, name: &[u8]) -> Option<String> {
    match (tag, name.len()) {
        (0x82, _) => std::str::from_utf8(name).ok().map(str::to_ascii_lowercase),
        (0x87, 4) => Some(IpAddr::from(<[u8; 4]>::try_from(name).ok()?).to_string()),
        (0x87, 16) => Some(IpAddr::from(<[u8; 16]>::try_from(name).ok()?).to_string()),
        _ => None,
    }
}

/// Whether two addresses are of one family, and the same in so many of their first bits.
pub fn agree(one: IpAddr, other: IpAddr, length: u32) -> bool {
    let bits = |address| match address {
        IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (128, v6.to_bits()),
    };
    let ((all, one), (also, other)) = (bits(one), bits(other));
    all == also && length <= all && (0..length).all(|bit| (one ^ other) >> (all - 1 - bit) & 1 == 0)
}

/// Whether a name or an address is written the same way, or is the same address.
pub fn same(one: &str, other: &str) -> bool {
    let address = |text: &str| text.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    one.eq_ignore_ascii_case(other) || address(one).is_some_and(|one| address(other) == Some(one))
}

/// Whether no node may have it, with the Services' range 10.96.0.0/12 and the domain cluster.local.
pub fn is_protected(san: &str) -> bool {
    match san.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => matches!(
            v4.octets(),
            [0 | 127 | 224..=239, ..] | [169, 254, ..] | [10, 96..=111, ..] | [255, 255, 255, 255]
        ),
        Ok(IpAddr::V6(v6)) => {
            v6.is_unspecified() || v6.is_loopback() || matches!(v6.segments()[0], 0xfe80..=0xfebf | 0xff00..)
        }
        Err(_) => {
            let dotted = format!(".{san}.");
            let under = |domain: &str| dotted.ends_with(&format!(".{domain}."));
            ["localhost", "localhost.localdomain", "cluster.local"].into_iter().any(under)
                || ["kubernetes", "kubernetes.default"].contains(&san)
                || san.split('.').skip(1).any(|label| label == "svc")
        }
    }
}
