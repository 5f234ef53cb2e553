use std::str::FromStr;

use thiserror::Error;

/// A pattern for names, in which `*` stands for any run of characters, dots included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

/// A text that is no pattern for names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a pattern for node names: lower-case letters, digits, '-', '.' and '*' are allowed")]
pub struct PatternError(String);

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'*');
        if !text.is_empty() && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PatternError(text.to_owned()))
        }
    }
}

impl NamePattern {
    /// Whether the whole of `name` fits the pattern.
    ///
    /// Takes the leftmost place for each piece between two stars, which is enough where `*` is the only wildcard and
    /// keeps the time within `O(name × pattern)`.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, tail)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut rest) = name.strip_prefix(head) else { return false };
        let (middle, last) = tail.rsplit_once('*').unwrap_or(("", tail));
        for piece in middle.split('*') {
            let Some((_, after)) = rest.split_once(piece) else { return false };
            if !piece.is_empty() {
                rest = after;
            }
        }
        rest.ends_with(last)
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
            ("worker-*", "worker-", true),
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
            assert_eq!(pattern.parse::<NamePattern>().unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn refuses_what_no_node_can_be_called() {
        for text in ["", "Worker-*", "a b", "a/b", "w?rker", "^a$", "a_b"] {
            assert_eq!(text.parse::<NamePattern>(), Err(PatternError(text.to_owned())));
        }
    }
}
