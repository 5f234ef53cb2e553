//! A Node object to what is known of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::naive;
use super::world::{ANY, ASKING, OTHERS, REQUESTS, World};

/// Reads a Node object from JSON, and judges requests of the asking kubelet in a cluster that has it.
///
/// What is approved is listed by the Node, and is neither another's nor protected. Says whether anything is approved.
pub fn run(data: &[u8]) -> bool {
    let Ok(node) = serde_json::from_slice::<Value>(data) else { return false };
    let mut world = World::without_the_asking_node();
    world.add(&node);
    let mut any = false;
    for (sans, reading) in REQUESTS.iter() {
        if world.approves(reading, &ANY) {
            assert!(allowed(&node, sans), "{sans:?} of {node}");
            any = true;
        }
    }
    any
}

fn allowed(node: &Value, sans: &BTreeSet<String>) -> bool {
    let listed: Vec<&str> =
        node["status"]["addresses"].as_array().into_iter().flatten().filter_map(|it| it["address"].as_str()).collect();
    let own = |san: &String| {
        listed.iter().any(|text| naive::same(text, san))
            && !OTHERS.contains(&san.as_str())
            && !san.starts_with("10.244.2.")
            && !naive::is_protected(san)
    };
    node["metadata"]["name"] == ASKING && node["metadata"]["deletionTimestamp"].is_null() && sans.iter().all(own)
}
