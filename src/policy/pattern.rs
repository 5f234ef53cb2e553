use std::str::FromStr;

use thiserror::Error;

use crate::san::{DnsName, NodeName};

/// What stands for the node's name in a pattern for host names.
const NODE: &str = "{node}";

/// A text that is no pattern for names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a pattern for names: lower-case letters, digits, '-', '.', '*'{} are allowed", if *.node { " and {node}" } else { "" })]
pub struct PatternError {
    text: String,
    node: bool,
}

/// A pattern for the names of nodes, in which `*` stands for any run of characters, dots included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if is_pattern(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PatternError { text: text.to_owned(), node: false })
        }
    }
}

impl NamePattern {
    /// Whether the whole of `name` fits the pattern.
    #[must_use]
    pub fn matches(&self, name: &NodeName) -> bool {
        glob(&self.0, name.as_str())
    }

    /// The pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A pattern for host names, in which `{node}` stands for the node's name and `*` for a run of characters within a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsPattern(String);

impl FromStr for DnsPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.to_ascii_lowercase();
        if is_pattern(&text.replace(NODE, "node")) { Ok(Self(text)) } else { Err(PatternError { text, node: true }) }
    }
}

impl DnsPattern {
    /// Whether the whole of `name` fits the pattern for this node.
    #[must_use]
    pub fn matches(&self, name: &DnsName, node: &NodeName) -> bool {
        let pattern = self.0.replace(NODE, node.as_str());
        let (mut patterns, mut labels) = (pattern.split('.'), name.as_str().split('.'));
        loop {
            match (patterns.next(), labels.next()) {
                (Some(pattern), Some(label)) if glob(pattern, label) => {}
                (None, None) => return true,
                (Some(_) | None, _) => return false,
            }
        }
    }

    /// The pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_pattern(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'*');
    !text.is_empty() && text.bytes().all(allowed)
}

/// Whether `pattern` covers the whole of `text`, where `*` stands for any run of characters.
///
/// Takes the leftmost place for each piece between two stars, which is enough where `*` is the only wildcard, and keeps
/// the time within `O(text × pattern)`.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let (middle, last) = tail.rsplit_once('*').unwrap_or(("", tail));
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run_of_characters() {
        let cases = [
            ("*", "a", true),
            ("worker-1", "worker-1", true),
            ("worker-1", "worker-10", false),
            ("worker-*", "worker-1.example.com", true),
            ("worker-*", "my-worker-1", false),
            ("*-1", "worker-1", true),
            ("*-1", "worker-10", false),
            ("a*b", "ab", true),
            ("a*a", "a", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("a**c", "abc", true),
            ("ab*ab", "ab", false),
            ("ab*ab", "abab", true),
            ("*b*", "abc", true),
            ("*b*", "ac", false),
            ("*ab*ba", "aba", false),
            ("*ab*ba", "abba", true),
        ];
        for (pattern, name, expected) in cases {
            let pattern: NamePattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&name.parse().unwrap()), expected, "{pattern:?} {name}");
        }
    }

    #[test]
    fn a_host_name_fits_label_by_label() {
        let cases = [
            ("{node}", "worker-1", true),
            ("{node}", "WORKER-1", true),
            ("{node}", "worker-10", false),
            ("{node}.example.com", "worker-1.example.com", true),
            ("{node}.example.com", "worker-1.a.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("ip-*.*.internal", "ip-10-0-0-1.eu.internal", true),
            ("kubelet-{node}", "kubelet-worker-1", true),
            ("{NODE}.Example.com", "worker-1.example.com", true),
        ];
        for (pattern, name, expected) in cases {
            let pattern: DnsPattern = pattern.parse().unwrap();
            assert_eq!(
                pattern.matches(&name.parse().unwrap(), &"worker-1".parse().unwrap()),
                expected,
                "{pattern:?} {name}"
            );
        }
    }

    #[test]
    fn refuses_what_no_node_can_be_called() {
        for text in ["", "Worker-*", "a b", "a/b", "w?rker", "^a$", "a_b", "{node}"] {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
        }
        for text in ["", "a b", "{name}", "{node", "a_b", "{node}}"] {
            assert!(text.parse::<DnsPattern>().is_err(), "{text}");
        }
    }
}
