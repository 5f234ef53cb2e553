//! Objects of whatever kind, read straight into the few fields that matter.
//!
//! What an object is stands in its fields `apiVersion` and `kind`, which nearly always come first; what comes before them
//! is kept until they are known. The objects of kinds that do not matter are skipped, not stored.

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;

use crate::api::{CertificateSigningRequest, ConfigMap, EndpointSlice, Machine, Node, Service, ServiceCidr};
use crate::client::MACHINES;

/// An object of a dump.
#[derive(Debug)]
pub(crate) enum Object {
    Request(Box<CertificateSigningRequest>),
    Node(Box<Node>),
    /// With its API group.
    Machine(&'static str, Box<Machine>),
    ServiceCidr(ServiceCidr),
    EndpointSlice(EndpointSlice),
    Service(Box<Service>),
    ConfigMap(ConfigMap),
    /// Of a kind that does not matter here.
    Other,
}

/// What an object is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kind {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
}

impl Kind {
    /// What the items of a list are, where the list's own kind says so.
    fn of_items(&self) -> Self {
        let kind = self.kind.as_deref().and_then(|kind| kind.strip_suffix("List")).filter(|kind| !kind.is_empty());
        Self { api_version: kind.and(self.api_version.clone()), kind: kind.map(str::to_owned) }
    }

    /// Whether it says that it is a list, or not what it is.
    pub(super) fn may_be_list(&self) -> bool {
        self.kind.is_none() || self.is_list()
    }

    fn is_list(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| kind.ends_with("List"))
    }

    fn group(&self) -> &str {
        self.api_version.as_deref().and_then(|it| it.split_once('/')).map_or("", |(group, _)| group)
    }
}

/// Takes objects as they are read, and remembers of what kind the one is that is being read.
pub(super) struct Sink<'s> {
    take: RefCell<&'s mut dyn FnMut(Object)>,
    reading: RefCell<Option<String>>,
}

impl<'s> Sink<'s> {
    pub(super) fn new(take: &'s mut dyn FnMut(Object)) -> Self {
        Self { take: RefCell::new(take), reading: RefCell::new(None) }
    }

    /// The kind of the object that was being read when an error came.
    pub(super) fn reading(&self) -> Option<String> {
        self.reading.borrow().clone()
    }

    fn begin(&self, kind: &str) {
        *self.reading.borrow_mut() = Some(kind.to_owned());
    }

    fn take(&self, object: Object) {
        *self.reading.borrow_mut() = None;
        (self.take.borrow_mut())(object);
    }
}

/// Reads one document: an object, or a list of objects. Gives what it says that it is.
pub(super) struct Document<'a, 's>(pub(super) &'a Sink<'s>);

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object or a List of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut head = Head::default();
        let mut is_list = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                if std::mem::replace(&mut is_list, true) {
                    return Err(A::Error::duplicate_field("items"));
                }
                map.next_value_seed(Items { sink: self.0, list: &head.kind })?;
                continue;
            }
            head.read(key, &mut map)?;
            if !is_list && head.is_known() && !head.kind.is_list() {
                let kind = head.kind.clone();
                head.rest_of_object(map, self.0)?;
                return Ok(kind);
            }
        }
        if is_list && !head.kind.may_be_list() {
            return Err(A::Error::custom("what has `items` is to be a List"));
        }
        if !is_list && !head.kind.is_list() {
            return Err(A::Error::custom("an object needs the fields `apiVersion` and `kind`"));
        }
        Ok(head.kind)
    }
}

/// Reads the items of a list.
pub(super) struct Items<'a, 's> {
    pub(super) sink: &'a Sink<'s>,
    /// What the list is.
    pub(super) list: &'a Kind,
}

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the items of a List")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let default = self.list.of_items();
        while items.next_element_seed(Item { sink: self.sink, default: &default })?.is_some() {}
        Ok(())
    }

    // An empty list may be written as null.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

struct Item<'a, 's> {
    sink: &'a Sink<'s>,
    default: &'a Kind,
}

impl<'de> DeserializeSeed<'de> for Item<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Item<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut head = Head::default();
        while !head.is_known() {
            match map.next_key::<String>()? {
                Some(key) => head.read(key, &mut map)?,
                // The items of a list as the API server gives it have no kind of their own.
                None if self.default.kind.is_some() => {
                    let Kind { api_version, kind } = self.default.clone();
                    head.kind.api_version = head.kind.api_version.or(api_version);
                    head.kind.kind = head.kind.kind.or(kind);
                    break;
                }
                None => return Err(A::Error::custom("an object needs the fields `apiVersion` and `kind`")),
            }
        }
        head.rest_of_object(map, self.sink)
    }
}

/// What was read of an object before it was clear what it is.
#[derive(Default)]
struct Head {
    kind: Kind,
    others: Vec<(String, Value)>,
}

impl Head {
    fn is_known(&self) -> bool {
        self.kind.kind.is_some() && self.kind.api_version.is_some()
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, key: String, map: &mut A) -> Result<(), A::Error> {
        match key.as_str() {
            "kind" if self.kind.kind.is_some() => return Err(A::Error::duplicate_field("kind")),
            "kind" => self.kind.kind = Some(map.next_value()?),
            "apiVersion" if self.kind.api_version.is_some() => return Err(A::Error::duplicate_field("apiVersion")),
            "apiVersion" => self.kind.api_version = Some(map.next_value()?),
            _ => self.others.push((key, map.next_value()?)),
        }
        Ok(())
    }

    /// Reads the rest into the type of the kind.
    fn rest_of_object<'de, A: MapAccess<'de>>(self, map: A, sink: &Sink<'_>) -> Result<(), A::Error> {
        let kind = self.kind.clone();
        let name = kind.kind.as_deref().unwrap_or_default();
        let machine = MACHINES.iter().find(|machine| machine.group == kind.group());
        sink.begin(name);
        let rest = MapAccessDeserializer::new(Rest { head: self.others.into_iter(), value: None, map });
        sink.take(match (kind.group(), name, machine) {
            ("certificates.k8s.io", "CertificateSigningRequest", _) => Object::Request(Deserialize::deserialize(rest)?),
            ("", "Node", _) => Object::Node(Deserialize::deserialize(rest)?),
            ("networking.k8s.io", "ServiceCIDR", _) => Object::ServiceCidr(Deserialize::deserialize(rest)?),
            ("discovery.k8s.io", "EndpointSlice", _) => Object::EndpointSlice(Deserialize::deserialize(rest)?),
            ("", "Service", _) => Object::Service(Deserialize::deserialize(rest)?),
            ("", "ConfigMap", _) => Object::ConfigMap(Deserialize::deserialize(rest)?),
            (_, "Machine", Some(machine)) => Object::Machine(machine.group, Deserialize::deserialize(rest)?),
            _ => {
                IgnoredAny::deserialize(rest)?;
                Object::Other
            }
        });
        Ok(())
    }
}

/// An object's fields: those that were kept, and those that follow.
struct Rest<A> {
    head: std::vec::IntoIter<(String, Value)>,
    value: Option<Value>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.head.next() {
            Some((key, value)) => {
                self.value = Some(value);
                let key: StringDeserializer<A::Error> = key.into_deserializer();
                seed.deserialize(key).map(Some)
            }
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(A::Error::custom),
            None => self.map.next_value_seed(seed),
        }
    }
}
