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

/// The text of what is contested, and how much of it does not fit in.
pub(crate) fn format(contested: &BTreeMap<San, Order>) -> (String, usize) {
    let (mut text, mut left_out) = (String::new(), 0);
    for (san, order) in contested {
        let line = format!("{san} {order}\n");
        if text.len() + line.len() > MAX_BYTES {
            left_out += 1;
        } else {
            text.push_str(&line);
        }
    }
    (text, left_out)
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
        let (text, left_out) = format(&conflicts);
        assert_eq!((BTreeMap::from_iter(parse(&text)), left_out), (conflicts, 0));
        assert_eq!(parse("nonsense\n10.0.0.1 Not_A_Node\n"), []);
    }

    #[test]
    fn says_how_much_does_not_fit_into_a_config_map() {
        let orders = [format!("{} {}", "a".repeat(63), "b".repeat(63)), "c d".to_owned()];
        let contested: BTreeMap<San, Order> = (0..10_000_u32)
            .map(|number| {
                let [.., high, low] = number.to_be_bytes();
                let san = San::from_node_address(&format!("10.0.{high}.{low}")).unwrap();
                (san, orders[usize::from(number >= 9_000)].parse().unwrap())
            })
            .collect();
        let (text, left_out) = format(&contested);
        let kept = parse(&text);
        assert_eq!(kept.len() + left_out, contested.len());
        assert!(left_out > 1_000 && text.len() <= MAX_BYTES && MAX_BYTES - text.len() < 200, "{left_out}");
        assert!(kept.iter().all(|(san, order)| contested.get(san) == Some(order)));
    }
}
