//! Passing over what is most of a Node's YAML and is never looked at, before the parser spends its time on it.

use super::line::{Line, Value, says_nothing, spaces};

/// Follows the lines of one item of a list in block style, and knows which of them are of no use.
///
/// A mapping's keys all have one indentation, and whatever belongs to the value of one is indented further, other than the
/// dashes of a sequence (YAML 1.2, sections 8.2.1 and 8.2.2). So a key at the indentation of its mapping is one, and no
/// line of a text that looks like it. Parsers do not insist on that within quotes and braces: from the first line on
/// that may leave some open, everything in the item is left to the parser. So is what is of no use but not written as
/// simply as kubectl writes it.
#[derive(Debug, Default)]
pub(super) struct Skip {
    /// Whether everything is left to the parser from here on.
    off: bool,
    /// The indentation of the item's fields; unknown before the first.
    fields: Option<usize>,
    /// The field in which something may be passed over, and the indentation of what is in it once that is known.
    within: Option<(&'static Section, Option<usize>)>,
    unused: Option<Unused>,
}

/// A field of an object, and what in it is never looked at.
#[derive(Debug)]
struct Section {
    field: &'static [u8],
    unused: &'static [u8],
}

const SECTIONS: [Section; 2] =
    [Section { field: b"metadata", unused: b"managedFields" }, Section { field: b"status", unused: b"images" }];

/// A value that is of no use, if it is one.
#[derive(Debug)]
struct Unused {
    /// Where it begins in the text of the item.
    start: usize,
    /// The indentation of its key.
    key: usize,
    is_sound: bool,
    block: Block,
}

impl Skip {
    /// Looks at the next line of an item, before it is added to the text. The first line of an item has its dash.
    pub(super) fn line(&mut self, line: &[u8], text: &mut Vec<u8>) {
        let is_blank = line.trim_ascii().is_empty() && says_nothing(line);
        if self.off || is_blank {
            return;
        }
        let read = Line::read(line);
        if let Some(unused) = &mut self.unused {
            let indentation = spaces(line);
            let has_dash = line.get(indentation) == Some(&b'-');
            if indentation > unused.key || (indentation == unused.key && has_dash) {
                unused.is_sound = unused.is_sound && read.is_some_and(|line| unused.block.take(&line));
                return;
            }
            self.end(text);
        }
        match read {
            Some(read) if !self.off => self.follow(&read, text.len() + line.len()),
            Some(_) | None => self.off = true,
        }
    }

    /// Takes what is of no use out of the text of the item, but for its line breaks, so that lines can be counted.
    pub(super) fn end(&mut self, text: &mut Vec<u8>) {
        let Some(unused) = self.unused.take() else { return };
        if unused.is_sound {
            let lines = text.iter().skip(unused.start).filter(|byte| **byte == b'\n').count();
            text.truncate(unused.start);
            text.resize(unused.start + lines, b'\n');
        } else {
            self.off = true;
        }
    }

    /// Takes in a line that is of use; `end` is where the next one begins.
    fn follow(&mut self, line: &Line<'_>, end: usize) {
        let is_first = self.fields.is_none();
        let column = if is_first { line.column } else { line.dash.unwrap_or(line.column) };
        let Some(fields) = self.fields.or(line.key.map(|_| column)) else {
            // A dash by itself, or an item that is no object.
            self.off = line.value != Value::Nothing;
            return;
        };
        self.fields = Some(fields);
        if column <= fields {
            self.within = SECTIONS.iter().find(|section| line.is_key(section.field)).map(|section| (section, None));
        } else if let Some((section, keys)) = &mut self.within {
            let is_entry = line.key.is_some() && line.dash.is_none();
            if keys.is_none() && !is_entry {
                self.within = None;
                return;
            }
            let keys = *keys.get_or_insert(column);
            if column == keys && is_entry && line.is_key(section.unused) {
                self.unused = Some(Unused { start: end, key: keys, is_sound: true, block: Block::below(keys) });
            }
        }
    }
}

/// Follows the lines of a value in block style that is made of nothing but whole lines.
#[derive(Debug)]
struct Block {
    /// The collections that a line may be an entry of, by the indentation of their entries; each within the one before.
    levels: Vec<(usize, Collection)>,
    /// Whether the last entry has no value so far.
    is_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Collection {
    Mapping,
    Sequence,
}

impl Block {
    /// The value of a key at this indentation.
    fn below(key: usize) -> Self {
        Self { levels: vec![(key, Collection::Mapping)], is_open: true }
    }

    /// Whether the line goes on with the value.
    fn take(&mut self, line: &Line<'_>) -> bool {
        if let Some(dash) = line.dash {
            if !self.enter(dash, Collection::Sequence) {
                return false;
            }
            self.is_open = true;
        }
        let in_order = match line.key {
            Some(_) => self.enter(line.column, Collection::Mapping),
            None => line.dash.is_some(),
        };
        self.is_open = line.value == Value::Nothing;
        in_order && line.value != Value::Text
    }

    /// Begins an entry of a collection that there is or may be at this indentation.
    fn enter(&mut self, column: usize, collection: Collection) -> bool {
        while self.levels.pop_if(|(level, _)| *level > column).is_some() {
            self.is_open = false;
        }
        let Some((level, found)) = self.levels.last().copied() else { return false };
        if level == column && found == collection {
            return true;
        }
        // A sequence may have the indentation of the mapping that it is a value in.
        if level == column && collection == Collection::Mapping {
            self.levels.pop();
            return self.levels.last() == Some(&(column, collection));
        }
        self.levels.push((column, collection));
        self.is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are left, without those that are or have become blank.
    fn used(item: &str) -> Vec<String> {
        let (mut skip, mut text) = (Skip::default(), Vec::new());
        for line in item.split_inclusive('\n') {
            skip.line(line.as_bytes(), &mut text);
            text.extend_from_slice(line.as_bytes());
        }
        skip.end(&mut text);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.matches('\n').count(), item.matches('\n').count(), "{item}");
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn passes_over_managed_fields_and_images() {
        let item = "- kind: Node\n  metadata:\n    managedFields:\n    - manager: a\n      fieldsV1:\n        x: {}\n    -\n      \
                    manager: b\n    name: a\n  status:\n    addresses:\n    - address: b\n    images:\n      - names:\n        - a\n\n      - sizeBytes: 1\n    nodeInfo: {}\n  \
                    z: 1\n";
        let expected = [
            "- kind: Node",
            "  metadata:",
            "    managedFields:",
            "    name: a",
            "  status:",
            "    addresses:",
            "    - address: b",
            "    images:",
            "    nodeInfo: {}",
            "  z: 1",
        ];
        assert_eq!(used(item), expected);
        // Wherever the dash stands, and however far what is below is indented.
        let shifted = format!("  {}", item.trim_end().replace('\n', "\n  "));
        assert_eq!(used(&shifted).iter().map(|line| line.trim()).collect::<Vec<_>>(), expected.map(str::trim));
        let below = item.replace("- kind", "-\n  kind");
        assert_eq!(used(&below).len(), expected.len() + 1);
    }

    #[test]
    fn takes_nothing_for_a_key_that_is_a_text_or_stands_elsewhere() {
        for item in [
            "- metadata:\n    annotations:\n      a: |\n        managedFields:\n        - b\n      managedFields:\n      - c\n",
            "- metadata:\n    annotations:\n      a: \"b\n        managedFields:\n        - c\"\n    name: a\n",
            "- spec:\n    managedFields:\n    - a\n    images:\n    - b\n",
            "- data:\n    a: |\n      metadata:\n        managedFields:\n        - b\n",
            "- metadata:\n    labels: {}\n  images:\n  - a\n",
            "- metadata:\n    managedFields: [a]\n    name: a\n",
            "- status: |\n    images:\n    - a\n",
        ] {
            assert_eq!(used(item), item.lines().collect::<Vec<_>>(), "{item}");
        }
    }

    #[test]
    fn leaves_to_the_parser_what_is_not_as_simple_as_kubectl_writes_it() {
        let managed = |lines: &str| format!("- metadata:\n    managedFields:\n{lines}    name: a\n");
        for lines in [
            "    - a: \"b\n",
            "    - a: {b: c,\n      d: e}\n",
            "    - a: &b c\n",
            "    - a: |\n        b\n",
            "    - a: b\n      # c\n",
            "    - a: b\n        c: d\n",
            "    - a: b\n     c: d\n",
            "    - a\n      b\n",
            "      a: b\n    - c\n",
            "      a: b\n     c: d\n",
            "    -  a: b\n      c: d\n",
            "      a\n",
        ] {
            let item = managed(lines);
            assert_eq!(used(&item), item.lines().collect::<Vec<_>>(), "{item}");
        }
        for lines in [
            "    - a: b\n      c:\n      - d\n      - e: f\n      g: {}\n    - h\n",
            "      a:\n        b: c\n      d:\n        - e\n      f: g\n",
            "    -\n      a: b\n    -\n    - c:\n",
        ] {
            assert_eq!(used(&managed(lines)), used(&managed("")), "{lines}");
        }
        // Nor is anything passed over behind what parsers may read on in, whatever the indentation.
        for before in ["  q: {\n", "  q: \"a\n", "  ? \"a\n", "  q: [a,\n", "  q: b\u{85}c\n"] {
            let item = format!("- kind: Node\n{before}  metadata:\n    managedFields:\n    - a: b\n    name: a\n");
            assert_eq!(used(&item).len(), 6, "{item}");
        }
        let flow = "- kind: Node\n  status:\n    {\n    images:\n      [], addresses: []\n    }\n";
        assert_eq!(used(flow), flow.lines().collect::<Vec<_>>());
    }
}
