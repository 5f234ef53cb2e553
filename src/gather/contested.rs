//! The text in which the order of contested claims is kept, and the ConfigMap that holds it.

use std::collections::BTreeMap;

use crate::identity::Order;
use crate::san::San;

/// The ConfigMap's name, in the namespace that the controller runs in.
pub(crate) const NAME: &str = "countersign-claims";
/// The key under which the orders are kept: one contested name or address a line, and the Nodes that claim it.
pub(crate) const KEY: &str = "order";
/// The most that is kept, in bytes: a ConfigMap takes 1 MiB.
const MAX_BYTES: usize = 900 * 1024;

/// The text of what is contested.
pub(crate) fn format(contested: &BTreeMap<San, Order>) -> String {
    let mut text = String::new();
    for (san, order) in contested {
        let line = format!("{san} {order}\n");
        if text.len() + line.len() > MAX_BYTES {
            break;
        }
        text.push_str(&line);
    }
    text
}

/// What a text of an earlier run says. Lines that cannot be read are passed over.
pub(crate) fn parse(text: &str) -> Vec<(San, Order)> {
    let line = |line: &str| {
        let (san, order) = line.split_once(' ')?;
        Some((San::from_node_address(san).ok()?, order.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_has_written() {
        let of = |san: &str, order: &str| (San::from_node_address(san).unwrap(), order.parse().unwrap());
        let conflicts =
            BTreeMap::from([of("a.example.com", "a b"), of("10.0.0.1", "b,10.0.0.0/24~a c"), of("fd00::1", "c d")]);
        assert_eq!(BTreeMap::from_iter(parse(&format(&conflicts))), conflicts);
        assert_eq!(parse("nonsense\n10.0.0.1 Not_A_Node\n"), []);
    }
}
