//! A dump once more: all of it in memory, and without regard to what is of use.

use std::fmt;

use serde::de::{Deserialize, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

/// Any value; numbers and truth values as text.
#[derive(Clone, Debug, PartialEq)]
pub enum Any {
    Null,
    Text(String),
    List(Vec<Any>),
    Map(Vec<(Any, Any)>),
}

/// An object of a dump.
#[derive(Debug)]
pub struct Object {
    pub group: String,
    pub kind: String,
    pub fields: Any,
}

/// Reads all objects of a dump that the product has read; none if there are values that are no more than too much for
/// this reader.
pub fn read(data: &[u8]) -> Option<Vec<Object>> {
    let text = String::from_utf8_lossy(data);
    let read = if text.trim_start().starts_with('{') { json(&text).or_else(|_| yaml(&text)) } else { yaml(&text) };
    match read {
        Ok(documents) => Some(documents.iter().flat_map(objects).collect()),
        Err(error) => {
            let beyond = [
                "recursion limit",
                "repetition limit",
                "number out of range",
                "in hex escape",
                "invalid value: string",
            ];
            assert!(beyond.iter().any(|limit| error.contains(limit)), "{error}: {text:?}");
            None
        }
    }
}

fn json(text: &str) -> Result<Vec<Any>, String> {
    serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn yaml(text: &str) -> Result<Vec<Any>, String> {
    let documents = serde_yaml::Deserializer::from_str(text);
    documents.map(Any::deserialize).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// The objects of a document: itself, or the items that it is a List of.
fn objects(document: &Any) -> Vec<Object> {
    let Any::Map(fields) = document else { return Vec::new() };
    let items = fields.iter().position(|(key, _)| key.text() == "items");
    let before = Any::Map(fields[..items.unwrap_or(fields.len())].to_vec());
    let (version, kind) = (before.first("apiVersion").text(), before.first("kind").text());
    let is_known = before.first("apiVersion") != &Any::Null && before.first("kind") != &Any::Null;
    let is_list = kind.ends_with("List");
    match items.map(|place| &fields[place].1) {
        Some(Any::List(items)) if is_list || !is_known => {
            // The items of a NodeList are Nodes, where they do not say what they are.
            let default = kind.strip_suffix("List").unwrap_or_default();
            items.iter().map(|item| object(item, if default.is_empty() { "" } else { version }, default)).collect()
        }
        Some(_) if is_list || !is_known => Vec::new(),
        Some(_) | None => vec![object(document, "", "")],
    }
}

fn object(fields: &Any, version: &str, kind: &str) -> Object {
    let or = |key: &str, default: &str| match fields.first(key) {
        Any::Text(text) => text.clone(),
        _ => default.to_owned(),
    };
    let version = or("apiVersion", version);
    let group = version.split_once('/').map_or("", |(group, _)| group).to_owned();
    Object { group, kind: or("kind", kind), fields: fields.clone() }
}

impl Any {
    /// The value of a field; of several, the last.
    pub fn get(&self, key: &str) -> &Self {
        self.values(key).last().unwrap_or(&Self::Null)
    }

    fn first(&self, key: &str) -> &Self {
        self.values(key).next().unwrap_or(&Self::Null)
    }

    fn values(&self, key: &str) -> impl Iterator<Item = &Self> {
        let fields = if let Self::Map(fields) = self { fields.as_slice() } else { &[] };
        fields.iter().filter(move |(name, _)| name.text() == key).map(|(_, value)| value)
    }

    /// The text; none if it is something else.
    pub fn text(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }

    /// What is in a list.
    pub fn list(&self) -> &[Self] {
        if let Self::List(list) = self { list } else { &[] }
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E: Error>(self) -> Result<Any, E> {
        Ok(Any::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Any, E> {
        Ok(Any::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Any, E> {
        Ok(Any::Text(value.to_string()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Any, E> {
        Ok(Any::Text(value.to_string()))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Any, E> {
        Ok(Any::Text(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Any, E> {
        Ok(Any::Text(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Any, E> {
        Ok(Any::Text(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Any, E> {
        Ok(Any::Text(value.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Any, E> {
        Ok(Any::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Any, A::Error> {
        std::iter::from_fn(|| list.next_element().transpose()).collect::<Result<_, _>>().map(Any::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
        std::iter::from_fn(|| map.next_entry().transpose()).collect::<Result<_, _>>().map(Any::Map)
    }

    /// A value with a tag of YAML, which says nothing here.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Any, A::Error> {
        let (_, value): (Any, _) = tagged.variant()?;
        value.newtype_variant()
    }
}
