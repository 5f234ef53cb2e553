//! PKCS#10 to verdict.

use std::sync::LazyLock;

use countersign::request::Reading;

use super::der::{pem, signed};
use super::naive;
use super::world::{ANY, ASKING, OWN, World, csr, texts_of};

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// Reads and judges a request. The first byte says what the rest is: the text, the DER within it, or what is to be signed;
/// the second, who files it and what for.
///
/// What is approved is what the naive rules allow, and nothing else. Says whether it is approved.
pub fn run(data: &[u8]) -> bool {
    let [form, filing, rest @ ..] = data else { return false };
    let text = match form % 4 {
        0 => rest.to_vec(),
        1 => pem(bounded(rest)).into_bytes(),
        _ => pem(&signed(bounded(rest))).into_bytes(),
    };
    let username = match filing % 8 {
        0 => "system:node:worker-2",
        1 => "system:node:",
        2 => "system:serviceaccount:default:worker-1",
        _ => "system:node:worker-1",
    };
    let groups = texts_of(if filing / 8 % 8 == 0 { &["system:authenticated"] } else { &["system:nodes"] });
    let usages = texts_of(match filing / 64 {
        0 => &["digital signature", "server auth", "client auth"],
        1 => &["key encipherment", "digital signature", "server auth"],
        _ => &["digital signature", "server auth"],
    });

    let approved = WORLD.approves(&Reading::of(&csr(&text, username, &groups, &usages)), &ANY);
    let asked_for = naive::asked_for(&text, username, &groups, &usages);
    let own = asked_for.is_some_and(|sans| sans.iter().all(|san| OWN.contains(&san.as_str())));
    let allowed = own && username == format!("system:node:{ASKING}");
    assert_eq!(approved, allowed, "{username} {groups:?} {usages:?}\n{}", String::from_utf8_lossy(&text));
    approved
}

/// More than any length that the writer of DER knows is cut off.
fn bounded(bytes: &[u8]) -> &[u8] {
    bytes.get(..32 * 1024).unwrap_or(bytes)
}
