//! YAML, a few lines at a time.
//!
//! serde_yaml holds a whole document in memory, several times over, and a dump of a large cluster is one document. So the
//! text is cut before every item of the list, and each is read by itself. An item begins with a dash at the indentation of
//! the first, and everything within it is indented further (YAML 1.2, section 8.2.1), so that no cut goes through one: in
//! a text where that is not so, a piece has no end or no beginning, and is an error. What is large and never looked at in
//! an item does not come before the parser at all (`skip`). Nothing is read that would not be if the document were read
//! as a whole.

use std::io::BufRead;

use serde::de::DeserializeSeed as _;

use super::Problem;
use super::line::{says_nothing, spaces};
use super::object::{Document, Items, Kind, Sink};
use super::skip::Skip;

/// The longest item of a list, and the longest document that is no list in block style, in bytes. The API server stores no
/// object of more than 1.5 MiB or so.
const MAX_PIECE: usize = 32 * 1024 * 1024;

/// Reads every document of a text.
pub(super) fn read(input: &mut dyn BufRead, sink: &Sink<'_>) -> Result<(), Problem> {
    let mut reader = Reader {
        sink,
        head: Piece::default(),
        item: Piece::default(),
        skip: Skip::default(),
        list: List::None,
        list_kind: Kind::default(),
        is_closed: false,
    };
    let mut number = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        number += 1;
        let mut limited = std::io::Read::take(&mut *input, MAX_PIECE as u64 + 1);
        let length = limited.read_until(b'\n', &mut line).map_err(Problem::Io)?;
        if length == 0 {
            return reader.end();
        }
        let text = if number == 1 { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line) } else { &line };
        reader.line(number, text)?;
    }
}

/// Some lines of the text.
#[derive(Default)]
struct Piece {
    /// The number of the first.
    from: usize,
    text: Vec<u8>,
}

impl Piece {
    fn push(&mut self, number: usize, line: &[u8]) -> Result<(), Problem> {
        if self.text.is_empty() {
            self.from = number;
        }
        self.text.extend_from_slice(line);
        if self.text.len() > MAX_PIECE {
            return Err(Problem::at(self.from, format!("there is no end to it within {} MiB", MAX_PIECE >> 20)));
        }
        Ok(())
    }

    fn has_content(&self) -> bool {
        let text = marked(&self.text, b"---").unwrap_or(&self.text);
        !text.split(|byte| *byte == b'\n').all(says_nothing)
    }

    /// The text, which is taken away.
    fn take(&mut self) -> Result<(usize, String), Problem> {
        let text = std::mem::take(&mut self.text);
        let from = self.from;
        String::from_utf8(text).map(|text| (from, text)).map_err(|error| {
            let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let lines = good.split(|byte| *byte == b'\n').count();
            Problem::at(from + lines.saturating_sub(1), "this is not UTF-8 text".to_owned())
        })
    }
}

/// Where in a document the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    /// Before any list.
    None,
    /// After `items:` on a line of its own, which ends here in the head.
    Announced(usize),
    /// Among items, whose dashes have this indentation.
    Within(usize),
    /// After the items.
    Ended,
}

struct Reader<'a, 's> {
    sink: &'a Sink<'s>,
    /// The document without the items of its list.
    head: Piece,
    item: Piece,
    skip: Skip,
    list: List,
    /// What the list says of itself before its items.
    list_kind: Kind,
    /// Whether the last document was closed by `...`, so that the next has to be opened.
    is_closed: bool,
}

impl Reader<'_, '_> {
    fn line(&mut self, number: usize, line: &[u8]) -> Result<(), Problem> {
        if marked(line, b"---").is_some() {
            self.end()?;
            self.is_closed = false;
            return self.head.push(number, line);
        }
        let after_end = marked(line, b"...");
        if after_end.is_some() {
            self.end()?;
            self.is_closed = true;
        }
        if self.is_closed {
            return if says_nothing(after_end.unwrap_or(line)) {
                Ok(())
            } else {
                Err(Problem::at(number, "a document needs `---` after `...`".to_owned()))
            };
        }
        let trimmed = line.trim_ascii();
        let indentation = spaces(line);
        let is_item = marked(trimmed, b"-").is_some();
        let says_nothing = says_nothing(line);
        match self.list {
            List::Announced(end) if is_item => {
                // The items are taken out of the head, and there can be no others.
                self.head.text.splice(end..end, *b" []");
                self.list = List::Within(indentation);
                self.push_item(number, line)
            }
            List::Within(dash) if is_item && indentation == dash => {
                self.end_item()?;
                self.push_item(number, line)
            }
            List::Within(dash) if says_nothing || indentation > dash => self.push_item(number, line),
            List::Announced(_) if says_nothing => self.head.push(number, line),
            List::None if line.starts_with(b"items:") && trimmed == b"items:" => {
                self.list = self.announced();
                self.head.push(number, line)
            }
            List::Announced(_) | List::Within(_) => {
                self.end_item()?;
                self.list = List::Ended;
                self.head.push(number, line)
            }
            List::None | List::Ended => self.head.push(number, line),
        }
    }

    /// What comes with `items:`: a list, if what stands before it is whole and does not say otherwise. If it does, the
    /// document is read as one piece.
    fn announced(&mut self) -> List {
        let before = &self.head.text;
        let kind = if self.head.has_content() { serde_yaml::from_slice(before) } else { Ok(Kind::default()) };
        match kind {
            Ok(kind) if kind.may_be_list() => {
                self.list_kind = kind;
                List::Announced(before.len() + b"items:".len())
            }
            Ok(_) | Err(_) => List::Ended,
        }
    }

    fn push_item(&mut self, number: usize, line: &[u8]) -> Result<(), Problem> {
        self.skip.line(line, &mut self.item.text);
        self.item.push(number, line)
    }

    /// Reads the item that has come to its end.
    fn end_item(&mut self) -> Result<(), Problem> {
        std::mem::take(&mut self.skip).end(&mut self.item.text);
        if self.item.text.is_empty() {
            return Ok(());
        }
        let (from, text) = self.item.take()?;
        let items = Items { sink: self.sink, list: &self.list_kind };
        items.deserialize(serde_yaml::Deserializer::from_str(&text)).map_err(|error| self.problem(from, &error))
    }

    /// Reads the document that has come to its end.
    fn end(&mut self) -> Result<(), Problem> {
        self.end_item()?;
        let list = std::mem::replace(&mut self.list, List::None);
        if !self.head.has_content() {
            self.head.text.clear();
            return Ok(());
        }
        let (from, text) = self.head.take()?;
        let document = Document(self.sink).deserialize(serde_yaml::Deserializer::from_str(&text));
        let kind = document.map_err(|error| self.problem(from, &error))?;
        // kubectl writes the fields of a List by the alphabet: its kind comes after its items.
        if list != List::None && kind.kind.is_none() {
            let message = "the List that begins here has no `kind`: the end of the text is missing";
            return Err(Problem::at(from, message.to_owned()));
        }
        Ok(())
    }

    fn problem(&self, from: usize, error: &serde_yaml::Error) -> Problem {
        let (line, text) = match error.location() {
            Some(place) => {
                let stated = format!(" at line {} column {}", place.line(), place.column());
                (from + place.line().saturating_sub(1), error.to_string().replace(&stated, ""))
            }
            None => (from, error.to_string()),
        };
        let text = shift(&text, from);
        // The path to the field begins at the item, which is read as the only one of a list.
        let text = text.strip_prefix(".[0]").map_or(text.as_str(), |text| text.trim_start_matches(['.', ':', ' ']));
        Problem::Content { line: Some(line), kind: self.sink.reading(), message: Problem::short(text) }
    }
}

/// A message about a piece, with the lines that it names counted from the beginning of the whole text.
fn shift(message: &str, from: usize) -> String {
    const PLACE: &str = " at line ";
    let mut parts = message.split(PLACE);
    let mut shifted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        let line = number.parse().map_or_else(|_| number.to_owned(), |line: usize| (line + from - 1).to_string());
        shifted = format!("{shifted}{PLACE}{line}{rest}");
    }
    shifted
}

/// What follows a dash or a marker, if it is apart from it.
fn marked<'l>(line: &'l [u8], marker: &[u8]) -> Option<&'l [u8]> {
    line.strip_prefix(marker).filter(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}
