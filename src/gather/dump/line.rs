//! What a line of YAML in block style says, where that can be told from the line alone.

/// A line that opens nothing which has to be closed in another: no quoted text, no flow collection. Nor has it an
/// anchor, an alias, a tag or a comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'l> {
    /// Where its dash stands, if it has one.
    pub(super) dash: Option<usize>,
    /// Where what follows the dash stands.
    pub(super) column: usize,
    /// The key, with its quotes if it has any.
    pub(super) key: Option<&'l [u8]>,
    pub(super) value: Value,
}

/// What stands behind a key or a dash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Nothing,
    Scalar,
    /// The lines that follow, as far as they are indented further.
    Text,
}

/// Parsers take no longer keys than of 1024 characters.
const MAX_KEY: usize = 1000;

impl<'l> Line<'l> {
    /// Reads a line that is not blank, if it is such a one.
    pub(super) fn read(line: &'l [u8]) -> Option<Self> {
        let line = without_break(line);
        let start = spaces(line);
        let text = without_spaces_behind(line.get(start..)?);
        let (dash, column, text) = match text {
            [b'-'] => (Some(start), start + 1, &[][..]),
            [b'-', rest @ ..] if rest.starts_with(b" ") => {
                let apart = spaces(rest);
                (Some(start), start + 1 + apart, rest.get(apart..)?)
            }
            _ => (None, start, text),
        };
        let (end, is_one) = end_of_key(text)?;
        let Some(end) = end else {
            return Some(Self { dash, column, key: None, value: scalar(text, is_one)? });
        };
        let (key, rest) = (text.get(..end)?, text.get(end + 1..)?);
        let value = scalar(rest.get(spaces(rest)..)?, is_one)?;
        let is_sound = key.len() <= MAX_KEY && scalar(key, true) == Some(Value::Scalar);
        is_sound.then_some(Self { dash, column, key: Some(key), value })
    }

    /// Whether it is nothing but this key.
    pub(super) fn is_key(&self, key: &[u8]) -> bool {
        self.key == Some(key) && self.value == Value::Nothing
    }
}

/// Where the colon is that ends the key, if there is one, and whether it is the only one that could. Nothing where there
/// may be a comment, or one of the characters that parsers take for line breaks or refuse.
fn end_of_key(text: &[u8]) -> Option<(Option<usize>, bool)> {
    let (mut first, mut is_one, mut before) = (None, true, b'\n');
    for (at, byte) in text.iter().enumerate() {
        match (before, *byte) {
            (b':', b' ') if first.is_none() => first = Some(at - 1),
            (b':', b' ') => is_one = false,
            (b' ', b'#') => return None,
            (_, b' '..=b'~') => {}
            (_, _) => return None,
        }
        before = *byte;
    }
    match (first, before) {
        (None, b':') => first = Some(text.len() - 1),
        (Some(_), b':') => is_one = false,
        (_, _) => {}
    }
    let [quote @ (b'"' | b'\''), rest @ ..] = text else { return Some((first, is_one)) };
    let end = 2 + rest.iter().position(|byte| byte == quote)?;
    let is_key = text.get(end) == Some(&b':') && matches!(text.get(end + 1), None | Some(b' '));
    Some((is_key.then_some(end), is_one))
}

/// What it is, if it is complete and of the simplest kind. `is_plain` where no plain text would be more than that.
fn scalar(text: &[u8], is_plain: bool) -> Option<Value> {
    match text {
        [] => Some(Value::Nothing),
        b"{}" | b"[]" => Some(Value::Scalar),
        [quote @ (b'"' | b'\''), inner @ .., last] if quote == last => {
            let is_simple = !inner.iter().any(|byte| byte == quote || *byte == b'\\');
            is_simple.then_some(Value::Scalar)
        }
        [b'|' | b'>', ..] => Some(Value::Text),
        [b'-', next, ..] if *next != b' ' && is_plain => Some(Value::Scalar),
        [b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'/' | b'_' | b'<', ..] if is_plain => Some(Value::Scalar),
        _ => None,
    }
}

fn without_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn without_spaces_behind(text: &[u8]) -> &[u8] {
    let behind = text.iter().rev().take_while(|byte| **byte == b' ').count();
    text.get(..text.len() - behind).unwrap_or(text)
}

pub(super) fn spaces(line: &[u8]) -> usize {
    line.iter().take_while(|byte| **byte == b' ').count()
}

/// Whether a line of YAML is blank or a comment, and no more than one line to a parser.
pub(super) fn says_nothing(line: &[u8]) -> bool {
    let breaks = |c: char| matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let line = without_break(line);
    match line.get(spaces(line)..) {
        None | Some([]) => true,
        Some([b'#', comment @ ..]) => std::str::from_utf8(comment)
            .is_ok_and(|text| text.chars().all(|c| c == '\t' || !(c.is_control() || breaks(c)))),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_a_line_says_where_it_is_whole() {
        let line = |dash, column, key: Option<&'static str>, value| {
            Some(Line { dash, column, key: key.map(str::as_bytes), value })
        };
        for (text, expected) in [
            ("  name: a\n", line(None, 2, Some("name"), Value::Scalar)),
            ("  name: a b\r\n", line(None, 2, Some("name"), Value::Scalar)),
            ("- kind: Node", line(Some(0), 2, Some("kind"), Value::Scalar)),
            ("-   kind:  ", line(Some(0), 4, Some("kind"), Value::Nothing)),
            (" -", line(Some(1), 2, None, Value::Nothing)),
            ("- a@sha256:b", line(Some(0), 2, None, Value::Scalar)),
            ("k:{\"type\":\"Ready\"}:", line(None, 0, Some("k:{\"type\":\"Ready\"}"), Value::Nothing)),
            ("v:\"a/b\": {}", line(None, 0, Some("v:\"a/b\""), Value::Scalar)),
            (".: {}", line(None, 0, Some("."), Value::Scalar)),
            ("a: \"2026-01-01T00:00:00Z\"", line(None, 0, Some("a"), Value::Scalar)),
            ("'a: b': '{\"c\":1}'", line(None, 0, Some("'a: b'"), Value::Scalar)),
            ("a: |-", line(None, 0, Some("a"), Value::Text)),
            ("a: -1", line(None, 0, Some("a"), Value::Scalar)),
        ] {
            assert_eq!(Line::read(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn tells_nothing_of_what_may_go_on_in_another_line() {
        for text in [
            "a: \"b",
            "a: 'b",
            "a: {",
            "a: [b",
            "{a: b",
            "[",
            "\"a",
            "\"a\nb: c",
            "a: \"b\\\"",
            "a: \"b\" \"",
            "a: 'b'c'",
            "? a",
            "a: &b c",
            "a: *b",
            "a: !b c",
            "&a b: c",
            "a: b: c",
            "a: b # c",
            "# a",
            "a: # b",
            "a\tb: c",
            "a: b\u{85}c",
            "a:\rb",
            "a: b\u{c}",
            "- - a",
            "%YAML 1.2",
            "a: @b",
        ] {
            assert_eq!(Line::read(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Line::read(format!("{}: b", "a".repeat(1100)).as_bytes()), None);
    }

    #[test]
    fn what_says_nothing_hides_nothing() {
        for text in ["", "\n", "   \r\n", "# a", "  # größer\t\n"] {
            assert!(says_nothing(text.as_bytes()), "{text:?}");
        }
        for text in ["a", "\t\n", "#\ra: b\n", "# a\u{2028}b: c", "# \u{85}", "#\u{0}", "\u{feff}"] {
            assert!(!says_nothing(text.as_bytes()), "{text:?}");
        }
        assert!(!says_nothing(b"# \xff"));
    }
}
