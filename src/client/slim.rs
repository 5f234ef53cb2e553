//! Answers without what nothing here reads.
//!
//! Nine tenths of a Node of a large cluster are its managedFields and its images. They are dropped as they come, so that
//! a page takes a tenth of the memory, and is parsed in a tenth of the time. That also keeps what is in memory small
//! where somebody stores objects as large as they may be.

use std::mem;

use memchr::memchr2;

use super::kept::Kept;
use crate::api::TOO_LONG;

/// A JSON text that comes in parts, in which lists and objects that nothing reads become empty, and texts that are too
/// long become [`TOO_LONG`]. What is left is text: bytes that are no UTF-8 become U+FFFD. All else stays as it is, to the
/// byte; of what is no JSON, what comes out is none either.
pub(super) struct Slim {
    what: &'static Kept,
    kept: Vec<u8>,
    /// The objects and arrays around this place, but for those that are left out.
    around: Vec<Place>,
    /// What stands before the next value, or will be the next key.
    key: Key,
    /// The string that this place is in.
    string: Option<Text>,
    /// How deep this place is in a value that is left out.
    dropped: usize,
    /// How many addresses the Node has so far.
    addresses: usize,
}

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Metadata,
    Spec,
    Status,
    Addresses,
    OtherObject,
    OtherArray,
}

/// A string that has begun.
#[derive(Clone, Copy)]
struct Text {
    is_key: bool,
    /// Whether its next byte is escaped.
    escaped: bool,
    /// Where it begins in what is kept.
    start: usize,
    length: usize,
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
    pub(super) fn new(what: &'static Kept) -> Self {
        Self { what, kept: Vec::new(), around: Vec::new(), key: Key::default(), string: None, dropped: 0, addresses: 0 }
    }

    /// Takes in the next part.
    pub(super) fn push(&mut self, part: &[u8]) {
        let mut rest = part;
        // What is kept is copied when something is not, or at the end.
        let mut kept = part;
        while let Some((&byte, after)) = rest.split_first() {
            if let Some(text) = self.string {
                let (was_cut, before) = (self.is_cut(text), rest);
                rest = self.within_string(text, rest);
                let ends = self.string.is_none();
                let length = text.length + before.len() - rest.len() - usize::from(ends);
                let is_cut = self.dropped == 0 && length > self.what.longest;
                if is_cut && !was_cut {
                    self.keep(kept, rest.len() + usize::from(ends));
                    self.kept.truncate(text.start);
                    self.kept.extend_from_slice(TOO_LONG.as_bytes());
                }
                if is_cut && ends {
                    kept = before.split_at(before.len() - rest.len() - 1).1;
                }
                continue;
            }
            let (before, start) = (self.dropped, self.kept.len() + kept.len() - after.len());
            self.between_strings(byte, start);
            if before == 0 && self.dropped > 0 {
                // The bracket stays. The comma goes: what comes after it is too much.
                self.keep(kept, after.len() + usize::from(byte == b','));
            }
            if before > 0 && self.dropped == 0 {
                kept = rest;
            }
            rest = after;
        }
        if self.dropped == 0 && !self.string.is_some_and(|text| self.is_cut(text)) {
            self.keep(kept, 0);
        }
    }

    /// What is left of what came so far, up to a string that may turn out to be too long.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let ready = match &mut self.string {
            Some(text) if self.dropped == 0 && text.length <= self.what.longest => mem::take(&mut text.start),
            Some(_) | None => self.kept.len(),
        };
        let after = self.kept.split_off(ready);
        as_text(mem::replace(&mut self.kept, after))
    }

    /// Begins anew after the end of a line, as if nothing had come before.
    pub(super) fn next_line(&mut self) {
        if self.dropped > 0 || self.string.is_some_and(|text| self.is_cut(text)) {
            self.kept.push(b'\n');
        }
        self.around.clear();
        (self.key, self.string, self.dropped) = (Key::default(), None, 0);
    }

    /// What is left of the end.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        as_text(mem::take(&mut self.kept))
    }

    /// Keeps all but so many bytes at the end.
    fn keep(&mut self, bytes: &[u8], but: usize) {
        let (kept, _) = bytes.split_at(bytes.len().saturating_sub(but));
        self.kept.extend_from_slice(kept);
    }

    fn is_cut(&self, text: Text) -> bool {
        self.dropped == 0 && text.length > self.what.longest
    }

    /// Goes on to the next byte of a string that may end it, and says what comes after that.
    fn within_string<'a>(&mut self, text: Text, rest: &'a [u8]) -> &'a [u8] {
        let length = if text.escaped { 1 } else { memchr2(b'"', b'\\', rest).map_or(rest.len(), |at| at + 1) };
        let (read, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        let ends = !text.escaped && read.last() == Some(&b'"');
        if text.is_key {
            self.key.push(if ends { read.split_last().map_or(read, |(_, key)| key) } else { read });
        }
        let escaped = !text.escaped && read.last() == Some(&b'\\');
        self.string = if ends { None } else { Some(Text { escaped, length: text.length + read.len(), ..text }) };
        after
    }

    fn between_strings(&mut self, byte: u8, start: usize) {
        match byte {
            b'"' => {
                let in_object = !matches!(self.around.last(), Some(Place::Addresses | Place::OtherArray) | None);
                let is_key = self.dropped == 0 && !self.key.of_next && in_object;
                if is_key {
                    self.key = Key::default();
                }
                self.string = Some(Text { is_key, escaped: false, start, length: 0 });
            }
            b'{' | b'[' if self.dropped > 0 => self.dropped += 1,
            b'}' | b']' if self.dropped > 0 => self.dropped -= 1,
            _ if self.dropped > 0 => {}
            b'{' | b'[' if self.is_dropped() => self.dropped = 1,
            b'{' => self.enter(self.object()),
            b'[' => self.enter(self.array()),
            b'}' | b']' => {
                self.around.pop();
            }
            b':' => self.key.of_next = true,
            b',' => {
                self.key.of_next = false;
                self.count();
            }
            _ => {}
        }
    }

    fn object(&self) -> Place {
        if self.key.is(b"metadata") {
            Place::Metadata
        } else if self.key.is(b"spec") {
            Place::Spec
        } else if self.key.is(b"status") {
            Place::Status
        } else {
            Place::OtherObject
        }
    }

    fn array(&self) -> Place {
        let in_status = self.around.last() == Some(&Place::Status);
        if in_status && self.key.is(b"addresses") { Place::Addresses } else { Place::OtherArray }
    }

    fn enter(&mut self, place: Place) {
        if place == Place::Addresses {
            self.addresses = 0;
        }
        self.around.push(place);
        self.key.of_next = false;
    }

    /// Counts what ends with a comma, and leaves out what comes after enough of it.
    fn count(&mut self) {
        if self.around.last() == Some(&Place::Addresses) {
            self.addresses += 1;
            if self.addresses == self.what.addresses {
                self.around.pop();
                self.dropped = 1;
            }
        }
    }

    fn is_dropped(&self) -> bool {
        let kept = match self.around.last() {
            Some(Place::Metadata) => self.what.metadata,
            Some(Place::Spec) => self.what.spec,
            Some(Place::Status) => self.what.status,
            Some(Place::Addresses | Place::OtherObject | Place::OtherArray) | None => return false,
        };
        self.key.of_next && !kept.iter().any(|name| self.key.is(name))
    }
}

/// JSON is UTF-8. The API server's is not where it gives out managedFields as somebody wrote them.
fn as_text(bytes: Vec<u8>) -> Vec<u8> {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()).into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::{Value, json};

    use super::*;

    /// Few enough for texts to be longer, and addresses to be more.
    const KEPT: Kept =
        Kept { metadata: &[b"labels"], spec: &[b"groups"], status: &[b"addresses"], longest: 18, addresses: 2 };

    /// By parts that end there. What is ready is taken after each of them.
    fn slim_bytes(what: &'static Kept, text: &[u8], ends: &[usize]) -> Vec<u8> {
        let mut slim = Slim::new(what);
        let (mut start, mut kept) = (0, Vec::new());
        for &end in ends.iter().chain(&[text.len()]) {
            slim.push(&text[start..end]);
            kept.extend(slim.take());
            start = end;
        }
        kept.extend(slim.finish());
        kept
    }

    fn slim(text: &str, ends: &[usize]) -> String {
        String::from_utf8(slim_bytes(&KEPT, text.as_bytes(), ends)).unwrap()
    }

    fn cut(text: &mut String) {
        if serde_json::to_string(text).unwrap().len() - 2 > KEPT.longest {
            TOO_LONG.clone_into(text);
        }
    }

    /// The same by a parser.
    fn parsed_and_slimmed(value: &mut Value, key: &str) {
        match value {
            Value::Object(map) => {
                let kept = match key {
                    "metadata" => Some(KEPT.metadata),
                    "spec" => Some(KEPT.spec),
                    "status" => Some(KEPT.status),
                    _ => None,
                };
                for (mut name, mut value) in std::mem::take(map) {
                    if kept.is_some_and(|kept| !kept.contains(&name.as_bytes())) && value.is_object() {
                        value = json!({});
                    } else if kept.is_some_and(|kept| !kept.contains(&name.as_bytes())) && value.is_array() {
                        value = json!([]);
                    } else {
                        if let (true, Some(addresses)) = (key == "status" && name == "addresses", value.as_array_mut())
                        {
                            addresses.truncate(KEPT.addresses);
                        }
                        parsed_and_slimmed(&mut value, &name);
                    }
                    cut(&mut name);
                    map.insert(name, value);
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| parsed_and_slimmed(value, "")),
            Value::String(text) => cut(text),
            _ => {}
        }
    }

    fn text() -> impl Strategy<Value = String> {
        const KNOWN: &[&str] = &[
            "metadata",
            "managedFields",
            "spec",
            "status",
            "addresses",
            "labels",
            "groups",
            "managedFields2",
            "a key of many bytes",
        ];
        prop_oneof![
            8 => prop::sample::select(KNOWN).prop_map(str::to_owned),
            2 => r#"["\\{}\[\],:a\u{e9}\n]{0,4}"#,
            1 => r#"["\\{}\[\],:a\u{e9}\n]{0,40}"#,
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
                1 => prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
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
            "images": [1], "spec": {"taints": [{"key": "a"}], "unschedulable": true},
        });
        let slimmed: Value = serde_json::from_str(&slim(&node.to_string(), &[])).unwrap();
        let expected = json!({
            "metadata": {"name": "a", "managedFields": [], "labels": {"images": "]}"}},
            "status": {"images": [], "addresses": [{"address": "10.0.0.1"}]},
            "images": [1], "spec": {"taints": [], "unschedulable": true},
        });
        assert_eq!(slimmed, expected);
    }

    #[test]
    fn a_text_is_too_long_by_one_byte_wherever_its_parts_end() {
        for length in 16..=20 {
            let text = json!({"spec": {"request": "x".repeat(length), "after": 1}}).to_string();
            let expected = if length > KEPT.longest { TOO_LONG.to_owned() } else { "x".repeat(length) };
            for end in 0..text.len() {
                let slimmed: Value = serde_json::from_str(&slim(&text, &[end])).unwrap();
                assert_eq!(slimmed, json!({"spec": {"request": expected, "after": 1}}), "{end}");
            }
        }
    }

    #[test]
    fn no_more_is_held_back_than_a_text_may_have() {
        let mut slim = Slim::new(&KEPT);
        slim.push(br#"{"spec": {"request": ""#);
        assert_eq!(slim.take(), br#"{"spec": {"request": ""#);
        for _ in 0..100 {
            slim.push(b"xxxxxxxxxxxxxxxx");
            slim.take();
            assert!(slim.kept.len() <= KEPT.longest);
        }
        slim.push(br#""}}"#);
        assert_eq!(slim.take(), br#""}}"#);
    }

    #[test]
    fn what_is_no_text_is_left_out_or_told_to_be_so() {
        let object = b"{\"metadata\": {\"managedFields\": [{\"f:\xff\": {}}], \"name\": \"\xff\xc3\xa9\xc3\"}}";
        for end in 0..object.len() {
            let slimmed = String::from_utf8(slim_bytes(&KEPT, object, &[end])).unwrap();
            assert_eq!(slimmed, "{\"metadata\": {\"managedFields\": [], \"name\": \"\u{fffd}\u{e9}\u{fffd}\"}}");
        }
    }

    #[test]
    fn a_line_that_does_not_end_spoils_no_other() {
        for broken in [
            r#"{"metadata": {"managedFields": ["#,
            r#"{"metadata": {"name": "a"#,
            r#"{"metadata": {"a": "a long text of a line"#,
        ] {
            let mut slim = Slim::new(&KEPT);
            slim.push(broken.as_bytes());
            slim.push(b"\n");
            slim.next_line();
            assert!(slim.take().ends_with(b"\n"));
            slim.push(br#"{"metadata": {"managedFields": [1], "name": "b"}}"#);
            assert_eq!(slim.take(), br#"{"metadata": {"managedFields": [], "name": "b"}}"#);
        }
    }
}
