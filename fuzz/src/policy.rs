//! A policy file to verdicts.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use countersign::policy::Policy;
use serde_yaml::Value;

use super::inventory::is_within;
use super::world::{ASKING, OWN, REQUESTS, World};

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// Reads a policy, and judges requests of the asking kubelet by it.
///
/// No policy gives a node what is not its own, and the first rule that matches allows what is approved. Says whether
/// anything is approved.
pub fn run(data: &[u8]) -> bool {
    let policy = match Policy::load(data) {
        Ok(policy) => policy,
        Err(error) => {
            assert!(!error.problems().is_empty() && !error.to_string().is_empty());
            return false;
        }
    };
    let file: Value = serde_yaml::from_slice(data).expect("a file that was read");
    let mut any = false;
    for (sans, reading) in REQUESTS.iter() {
        if WORLD.approves(reading, &policy) {
            assert!(sans.iter().all(|san| OWN.contains(&san.as_str())), "{sans:?} by {file:?}");
            assert!(allowed(&file, sans), "{sans:?} by {file:?}");
            any = true;
        }
    }
    any
}

/// Whether the file allows it to the asking Node, which has no labels, for an Ed25519 key and no set lifetime.
fn allowed(file: &Value, sans: &BTreeSet<String>) -> bool {
    let rules = file["rules"].as_sequence().into_iter().flatten();
    let Some(rule) = rules.into_iter().find(|rule| matches(&rule["match"])) else { return false };
    let (addresses, names): (Vec<&String>, Vec<&String>) =
        sans.iter().partition(|san| san.parse::<std::net::IpAddr>().is_ok());
    let at_most = |field: &str, count: usize| rule[field]["max"].as_u64().is_none_or(|max| count as u64 <= max);
    // What is not listed is not limited.
    let any = |list: &Value, fits: &dyn Fn(&str) -> bool| {
        list.as_sequence().is_none_or(|list| list.iter().filter_map(Value::as_str).any(fits))
    };
    at_most("dnsNames", names.len())
        && at_most("ipAddresses", addresses.len())
        && names.iter().all(|name| any(&rule["dnsNames"]["patterns"], &|pattern| fits_labels(pattern, name)))
        && addresses.iter().all(|it| any(&rule["ipAddresses"]["ranges"], &|range| is_within(it, range)))
        && any(&rule["keys"], &|key| key == "ed25519")
        && !any_lists(&rule["identity"]["sources"], &["inventory", "machine"], rule["identity"]["require"] == "any")
}

/// Whether a source is asked that knows nothing, and has to agree.
fn any_lists(sources: &Value, unknowing: &[&str], any_will_do: bool) -> bool {
    let sources: Vec<&str> = sources.as_sequence().into_iter().flatten().filter_map(Value::as_str).collect();
    let unknowing = sources.iter().filter(|source| unknowing.contains(source)).count();
    if any_will_do { unknowing == sources.len() && unknowing > 0 } else { unknowing > 0 }
}

fn matches(rule: &Value) -> bool {
    let selector = &rule["nodeSelector"];
    let wanted = selector["matchLabels"].as_mapping().map_or(0, serde_yaml::Mapping::len);
    let absent = |requirement: &Value| requirement["operator"] == "DoesNotExist" || requirement["operator"] == "NotIn";
    let named = |names: &Vec<Value>| {
        names.iter().filter_map(Value::as_str).any(|glob| fits(glob.as_bytes(), ASKING.as_bytes()))
    };
    rule["nodeNames"].as_sequence().is_none_or(named)
        && wanted == 0
        && selector["matchExpressions"].as_sequence().into_iter().flatten().all(absent)
}

fn fits_labels(pattern: &str, name: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase().replace("{node}", ASKING);
    let (patterns, labels): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), name.split('.').collect());
    patterns.len() == labels.len()
        && patterns.iter().zip(labels).all(|(glob, label)| fits(glob.as_bytes(), label.as_bytes()))
}

/// Tries every length for every star.
fn fits(glob: &[u8], text: &[u8]) -> bool {
    match glob {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|taken| fits(rest, &text[taken..])),
        [first, rest @ ..] => text.first() == Some(first) && fits(rest, &text[1..]),
    }
}
