//! An inventory file to what is whose.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::LazyLock;

use countersign::identity::Inventory;
use countersign::policy::Policy;
use serde_yaml::Value;

use super::naive;
use super::world::{ASKING, REQUESTS, World};

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let text =
        "apiVersion: countersign/v1\nkind: ServingPolicy\nrules: [{name: all, identity: {sources: [inventory]}}]\n";
    Policy::load(text.as_bytes()).unwrap()
});

/// Reads an inventory, and judges requests of the asking kubelet by it.
///
/// What is approved is in it under the Node's name, and is not protected. Says whether anything is approved.
pub fn run(data: &[u8]) -> bool {
    let inventory = match Inventory::load(data) {
        Ok(inventory) => inventory,
        Err(error) => {
            assert!(!error.problems().is_empty() && !error.to_string().is_empty());
            return false;
        }
    };
    let file: Value = serde_yaml::from_slice(data).expect("a file that was read");
    let mut world = World::new();
    world.inventory = Some(inventory);
    let mut any = false;
    for (sans, reading) in REQUESTS.iter() {
        if world.approves(reading, &POLICY) {
            assert!(allowed(&file, sans), "{sans:?} by {file:?}");
            any = true;
        }
    }
    any
}

fn allowed(file: &Value, sans: &BTreeSet<String>) -> bool {
    let nodes: Vec<&Value> =
        file["nodes"].as_sequence().into_iter().flatten().filter(|node| node["name"] == ASKING).collect();
    let listed = |field: &'static str| nodes.iter().filter_map(move |node| node[field].as_sequence()).flatten();
    sans.iter().all(|san| {
        let named = listed("dnsNames").filter_map(Value::as_str).any(|text| naive::same(text, san));
        let within = listed("addresses").filter_map(Value::as_str).any(|text| is_within(san, text));
        (named || within) && !naive::is_protected(san)
    })
}

/// Whether an address has the first bits of a range.
pub fn is_within(san: &str, range: &str) -> bool {
    let (start, length) = range.split_once('/').unwrap_or((range, ""));
    let address = |text: &str| text.parse::<IpAddr>().map(|address| address.to_canonical());
    let (Ok(san), Ok(start)) = (address(san), address(start)) else { return false };
    if length.is_empty() { san == start } else { length.parse().is_ok_and(|length| naive::agree(san, start, length)) }
}
