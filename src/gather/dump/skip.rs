//! Passing over what is most of a Node's YAML and is never looked at, before the parser spends its time on it.

/// Follows the lines of one item of a list in block style, and knows which of them are of no use.
///
/// A mapping's keys all have one indentation, and whatever belongs to the value of one is indented further, other than the
/// dashes of a sequence (YAML 1.2, sections 8.2.1 and 8.2.2). So a key at the indentation of its mapping is one, and no
/// line of a text that looks like it. What is in lines that are passed over is not checked.
#[derive(Debug, Default)]
pub(super) struct Skip {
    /// The indentation of the item's fields; unknown before the first.
    fields: Option<usize>,
    /// The field in which something may be passed over, and the indentation of what is in it once that is known.
    within: Option<(&'static Section, Option<usize>)>,
    /// The indentation of the key whose value is passed over.
    skipped: Option<usize>,
}

/// A field of an object, and what in it is never looked at.
#[derive(Debug)]
struct Section {
    field: &'static [u8],
    unused: &'static [u8],
}

const SECTIONS: [Section; 2] =
    [Section { field: b"metadata:", unused: b"managedFields:" }, Section { field: b"status:", unused: b"images:" }];

impl Skip {
    /// Whether the next line of the item is of no use. The first line of an item has its dash.
    pub(super) fn skips(&mut self, line: &[u8]) -> bool {
        let is_first = self.fields.is_none();
        let mut indentation = spaces(line);
        let mut text = line.trim_ascii();
        if is_first && let Some(rest) = line.get(indentation..).and_then(|rest| rest.strip_prefix(b"-")) {
            indentation += 1 + spaces(rest);
            text = rest.trim_ascii();
        }
        if text.is_empty() || text.starts_with(b"#") {
            return false;
        }
        let fields = *self.fields.get_or_insert(indentation);
        if let Some(key) = self.skipped {
            if indentation > key || (indentation == key && (text == b"-" || text.starts_with(b"- "))) {
                return true;
            }
            self.skipped = None;
        }
        if indentation <= fields {
            self.within = SECTIONS.iter().find(|section| section.field == text).map(|section| (section, None));
        } else if let Some((section, keys)) = &mut self.within {
            let keys = *keys.get_or_insert(indentation);
            if indentation == keys && text == section.unused {
                self.skipped = Some(keys);
            }
        }
        false
    }
}

fn spaces(line: &[u8]) -> usize {
    line.iter().take_while(|byte| **byte == b' ').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are of use.
    fn used(item: &str) -> Vec<&str> {
        let mut skip = Skip::default();
        item.lines().filter(|line| !skip.skips(line.as_bytes())).collect()
    }

    #[test]
    fn passes_over_managed_fields_and_images() {
        let item = "- kind: Node\n  metadata:\n    managedFields:\n    - manager: a\n      fieldsV1:\n        x: {}\n    -\n      \
                    manager: b\n    name: a\n  status:\n    images:\n      - names: [a]\n\n      - names: [b]\n    nodeInfo: {}\n  \
                    z: 1\n";
        let expected = [
            "- kind: Node",
            "  metadata:",
            "    managedFields:",
            "    name: a",
            "  status:",
            "    images:",
            "",
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
}
