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
pub struct NamePattern {
    text: String,
    /// How much there is before the first star.
    literal: usize,
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (owned, literal) = (text.to_owned(), text.find('*').unwrap_or(text.len()));
        if is_pattern(text) {
            Ok(Self { text: owned, literal })
        } else {
            Err(PatternError { text: owned, node: false })
        }
    }
}

impl NamePattern {
    /// Whether the whole of `name` fits the pattern.
    #[must_use]
    pub fn matches(&self, name: &NodeName) -> bool {
        let Some((literal, rest)) = self.text.split_at_checked(self.literal) else { return false };
        name.as_str().strip_prefix(literal).is_some_and(|name| glob(rest, name))
    }

    /// The pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A pattern for host names, in which `{node}` stands for the node's name and `*` for a run of characters within a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsPattern {
    text: String,
    /// What is before, between and after the places of the node's name.
    pieces: Vec<String>,
}

impl FromStr for DnsPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.to_ascii_lowercase();
        if !is_pattern(&text.replace(NODE, "node")) {
            return Err(PatternError { text, node: true });
        }
        let pieces = text.split(NODE).map(str::to_owned).collect();
        Ok(Self { text, pieces })
    }
}

impl DnsPattern {
    /// Whether the whole of `name` fits the pattern for this node.
    #[must_use]
    pub fn matches(&self, name: &DnsName, node: &NodeName) -> bool {
        if !self.text.contains('*') {
            return self.is(name.as_str(), node.as_str());
        }
        let pattern = self.text.replace(NODE, node.as_str());
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
        &self.text
    }

    /// Whether `name` is the pattern to the letter, with the node's name in its places.
    fn is(&self, name: &str, node: &str) -> bool {
        let mut pieces = self.pieces.iter();
        let rest = pieces.next().and_then(|piece| name.strip_prefix(piece.as_str()));
        pieces.fold(rest, |rest, piece| rest?.strip_prefix(node)?.strip_prefix(piece.as_str())) == Some("")
    }
}

fn is_pattern(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'*');
    !text.is_empty() && text.bytes().all(allowed)
}

/// Whether `pattern` covers the whole of `text`, where `*` stands for any run of characters.
///
/// Where the rest does not fit, the last star takes one character more. Those before it need not be looked at again, which
/// keeps the time within `O(text × pattern)`.
fn glob(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.as_bytes(), text.as_bytes());
    let mut last_star = None;
    loop {
        match (pattern, text) {
            ([], []) | ([b'*'], _) => return true,
            ([b'*', rest @ ..], _) => {
                last_star = Some((rest, text));
                pattern = rest;
            }
            ([expected, rest @ ..], [found, after @ ..]) if expected == found => (pattern, text) = (rest, after),
            (_, _) => match last_star {
                Some((behind, [_, after @ ..])) => {
                    last_star = Some((behind, after));
                    (pattern, text) = (behind, after);
                }
                Some((_, [])) | None => return false,
            },
        }
    }
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
            ("*.example.com", "a.example.org", false),
            ("ip-*.internal", "worker-1.internal", false),
            ("ip-*.*.internal", "ip-10-0-0-1.eu.internal", true),
            ("kubelet-{node}", "kubelet-worker-1", true),
            ("kubelet-{node}", "kubelet-worker-1.a", false),
            ("{node}.{node}", "worker-1.worker-1", true),
            ("{node}.{node}", "worker-1.worker-2", false),
            ("*.{node}", "a.worker-1", true),
            ("worker-1", "worker-1", true),
            ("worker", "worker-1", false),
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
