//! Untrusted text, made fit for a log line, a condition or an Event.

use std::fmt;

/// Longest piece of untrusted text that is repeated in a message, in characters.
const MAX_SHOWN: usize = 100;

/// Shows untrusted text in quotation marks: control and non-ASCII characters escaped, so that it can neither
/// forge a line of a log nor colour a terminal, and cut to 100 characters.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.char_indices().nth(MAX_SHOWN).map_or(self.0, |(end, _)| self.0.get(..end).unwrap_or_default());
        write!(f, "\"{}\"", cut.escape_default())?;
        if cut.len() < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}

/// Untrusted text as it is, where it is nothing but printable ASCII without blanks, as nearly always; else [`Quoted`].
#[must_use]
pub fn plain(text: &str) -> String {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain && text.len() <= MAX_SHOWN { text.to_owned() } else { Quoted(text).to_string() }
}

/// Shows a list of untrusted texts, each as [`Quoted`], at most eight of them.
pub(crate) struct QuotedList<'a>(pub(crate) &'a [String]);

/// Shows a list of what needs no quotation marks, at most eight of them.
pub(crate) fn list<T: fmt::Display>(items: &[T]) -> String {
    let text = items.iter().take(MAX_LISTED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match items.len().checked_sub(MAX_LISTED) {
        None | Some(0) => text,
        Some(more) => format!("{text} and {more} more"),
    }
}

/// How many items of a list a message names before it counts the rest.
pub(crate) const MAX_LISTED: usize = 8;

impl fmt::Display for QuotedList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (position, text) in self.0.iter().take(MAX_LISTED).enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            Quoted(text).fmt(f)?;
        }
        match self.0.len().checked_sub(MAX_LISTED) {
            None | Some(0) => f.write_str("]"),
            Some(more) => write!(f, " and {more} more]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_cuts_untrusted_text() {
        assert_eq!(Quoted("worker-1").to_string(), "\"worker-1\"");
        assert_eq!((plain("worker-1").as_str(), plain("").as_str()), ("worker-1", "\"\""));
        assert_eq!(plain("a b\x1b"), "\"a b\\u{1b}\"");
        assert_eq!(Quoted("a\n\x1b[31m\"b\"").to_string(), "\"a\\n\\u{1b}[31m\\\"b\\\"\"");
        assert_eq!(Quoted(&"ä".repeat(101)).to_string(), format!("\"{}\"…", "\\u{e4}".repeat(100)));
    }

    #[test]
    fn counts_what_a_long_list_leaves_out() {
        let list: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        assert_eq!(QuotedList(&list[..2]).to_string(), r#"["0", "1"]"#);
        assert!(QuotedList(&list).to_string().ends_with(r#""7" and 2 more]"#));
        assert_eq!(QuotedList(&[]).to_string(), "[]");
        assert_eq!(super::list(&[1, 2]), "1, 2");
        assert_eq!(super::list(&[0; 10]), "0, 0, 0, 0, 0, 0, 0, 0 and 2 more");
    }
}
