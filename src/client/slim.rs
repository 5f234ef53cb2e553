//! Lists without what nothing here reads.
//!
//! Nine tenths of a Node of a large cluster are its managedFields and its images. They are dropped as they come, so that
//! a page takes a tenth of the memory, and is parsed in a tenth of the time.

use memchr::memchr2;

/// Of a Node's status.
const STATUS: [&[u8]; 6] = [b"allocatable", b"capacity", b"images", b"nodeInfo", b"volumesAttached", b"volumesInUse"];

/// A JSON text that comes in parts, in which lists and objects that nothing reads become null: `managedFields` of
/// `metadata`, and some of `status`. All else stays as it is, to the byte; of what is no JSON, what comes out is none
/// either.
#[derive(Default)]
pub(super) struct Slim {
    kept: Vec<u8>,
    /// The objects and arrays around this place, but for those that are left out.
    around: Vec<Place>,
    /// What stands before the next value, or will be the next key.
    key: Key,
    /// Inside of a string: whether it is a key, and whether its next byte is escaped.
    string: Option<(bool, bool)>,
    /// How deep this place is in a value that is left out.
    dropped: usize,
}

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Metadata,
    Status,
    OtherObject,
    Array,
}

/// The first bytes of a key, enough of them to know those that matter.
#[derive(Default)]
struct Key {
    bytes: [u8; 16],
    length: usize,
    /// Whether it is the key of a value that comes next.
    of_next: bool,
}

impl Key {
    fn push(&mut self, part: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.length).zip(part) {
            *place = *byte;
        }
        self.length += part.len();
    }

    fn is(&self, name: &[u8]) -> bool {
        self.of_next && self.bytes.get(..self.length) == Some(name)
    }
}

impl Slim {
    /// Takes in the next part.
    pub(super) fn push(&mut self, part: &[u8]) {
        let mut rest = part;
        // What is kept is copied when something is not, or at the end.
        let mut kept = part;
        while let Some((&byte, after)) = rest.split_first() {
            if self.string.is_some() {
                rest = self.within_string(rest);
                continue;
            }
            rest = after;
            let before = self.dropped;
            self.between_strings(byte);
            if before == 0 && self.dropped == 1 {
                let (until, _) = kept.split_at(kept.len() - rest.len() - 1);
                self.kept.extend_from_slice(until);
                self.kept.extend_from_slice(b"null");
            }
            if before > 0 && self.dropped == 0 {
                kept = rest;
            }
        }
        if self.dropped == 0 {
            self.kept.extend_from_slice(kept);
        }
    }

    /// What is left of everything.
    pub(super) fn finish(self) -> Vec<u8> {
        self.kept
    }

    /// Goes on to the next byte of a string that may end it, and says what comes after that.
    fn within_string<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let Some((is_key, escaped)) = self.string else { return rest };
        let length = if escaped { 1 } else { memchr2(b'"', b'\\', rest).map_or(rest.len(), |at| at + 1) };
        let (read, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        let ends = !escaped && read.last() == Some(&b'"');
        if is_key {
            self.key.push(if ends { read.split_last().map_or(read, |(_, key)| key) } else { read });
        }
        self.string = if ends { None } else { Some((is_key, !escaped && read.last() == Some(&b'\\'))) };
        after
    }

    fn between_strings(&mut self, byte: u8) {
        match byte {
            b'"' => {
                let is_key =
                    self.dropped == 0 && !self.key.of_next && self.around.last().is_some_and(|it| *it != Place::Array);
                if is_key {
                    self.key = Key::default();
                }
                self.string = Some((is_key, false));
            }
            b'{' | b'[' if self.dropped > 0 => self.dropped += 1,
            b'}' | b']' if self.dropped > 0 => self.dropped -= 1,
            b'{' | b'[' if self.is_dropped() => self.dropped = 1,
            b'{' => {
                let place = if self.key.is(b"metadata") {
                    Place::Metadata
                } else if self.key.is(b"status") {
                    Place::Status
                } else {
                    Place::OtherObject
                };
                self.enter(place);
            }
            b'[' => self.enter(Place::Array),
            b'}' | b']' => {
                self.around.pop();
            }
            b':' if self.dropped == 0 => self.key.of_next = true,
            b',' if self.dropped == 0 => self.key.of_next = false,
            _ => {}
        }
    }

    fn enter(&mut self, place: Place) {
        self.around.push(place);
        self.key.of_next = false;
    }

    fn is_dropped(&self) -> bool {
        match self.around.last() {
            Some(Place::Metadata) => self.key.is(b"managedFields"),
            Some(Place::Status) => STATUS.iter().any(|name| self.key.is(name)),
            Some(Place::OtherObject | Place::Array) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::{Value, json};

    use super::*;

    fn slim(text: &str, ends: &[usize]) -> String {
        let mut slim = Slim::default();
        let mut start = 0;
        for &end in ends {
            slim.push(&text.as_bytes()[start..end]);
            start = end;
        }
        slim.push(&text.as_bytes()[start..]);
        String::from_utf8(slim.finish()).unwrap()
    }

    /// The same by a parser.
    fn parsed_and_slimmed(value: &mut Value, key: &str) {
        match value {
            Value::Object(map) => {
                let dropped = match key {
                    "metadata" => Some("managedFields"),
                    "status" => Some("images"),
                    _ => None,
                };
                for (key, value) in map {
                    if Some(&**key) == dropped && (value.is_object() || value.is_array()) {
                        *value = Value::Null;
                    } else {
                        parsed_and_slimmed(value, key);
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| parsed_and_slimmed(value, "")),
            _ => {}
        }
    }

    fn text() -> impl Strategy<Value = String> {
        const KNOWN: &[&str] =
            &["metadata", "managedFields", "status", "images", "labels", "managedFields2", "a key of many bytes"];
        prop_oneof![
            4 => prop::sample::select(KNOWN).prop_map(str::to_owned),
            1 => r#"["\\{}\[\],:a\u{e9}\n]{0,4}"#,
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            text().prop_map(Value::from),
            any::<i32>().prop_map(Value::from)
        ];
        leaf.prop_recursive(6, 64, 5, |inner| {
            prop_oneof![
                1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                4 => prop::collection::btree_map(text(), inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2048, ..ProptestConfig::default() })]

        #[test]
        fn leaves_out_what_a_parser_would(mut value in value(), pretty in any::<bool>(), ends in prop::collection::vec(any::<Index>(), 0..8)) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let mut ends: Vec<usize> = ends.iter().map(|end| end.index(text.len())).collect();
            ends.sort_unstable();
            let slimmed: Value = serde_json::from_str(&slim(&text, &ends)).unwrap();
            parsed_and_slimmed(&mut value, "");
            prop_assert_eq!(slimmed, value);
        }

        #[test]
        fn what_is_no_json_is_no_reason_to_panic(text in r#"["\\{}\[\],:a]{0,30}"#, end in any::<Index>()) {
            slim(&text, &[end.index(text.len().max(1)).min(text.len())]);
        }
    }

    #[test]
    fn a_node_loses_what_makes_it_large_and_nothing_else() {
        let node = json!({
            "metadata": {"name": "a", "managedFields": [{"fieldsV1": {"f:status": {"f:images": {}}}}], "labels": {"images": "]}"}},
            "status": {"images": [{"names": ["quoted \" and \\"], "sizeBytes": 1}], "addresses": [{"address": "10.0.0.1"}]},
            "images": [1], "spec": {"images": [2], "metadata": {"managedFields": "kept"}},
        });
        let slimmed: Value = serde_json::from_str(&slim(&node.to_string(), &[])).unwrap();
        let expected = json!({
            "metadata": {"name": "a", "managedFields": null, "labels": {"images": "]}"}},
            "status": {"images": null, "addresses": [{"address": "10.0.0.1"}]},
            "images": [1], "spec": {"images": [2], "metadata": {"managedFields": "kept"}},
        });
        assert_eq!(slimmed, expected);
    }
}
