//! The structure of a request: values of DER (X.690), one after another and within one another.
//!
//! A request is little but structure. Its leaves are left to the decoders of `der`; these few bytes of tag and length are
//! read here in one step each.

use std::fmt;

use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{self, Decode};

use super::pkcs10::MalformedRequest;

/// The identifier octets of what a request is made of (X.690 section 8.1.2).
pub(super) const BOOLEAN: u8 = 0x01;
const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// One value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    /// Its identifier octet: class, form and number.
    pub(super) tag: u8,
    /// What is in it.
    pub(super) content: &'a [u8],
    /// All of it, with its tag and length.
    pub(super) whole: &'a [u8],
}

impl<'a> Value<'a> {
    /// The first value of `bytes`, and what comes behind it.
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), &'static str> {
        let [tag, first, after @ ..] = bytes else { return Err("it ends within a value") };
        // Such tags go on in the next bytes (X.690 section 8.1.2.4); nothing in a request has one.
        if tag & 0x1f == 0x1f {
            return Err("a tag has a number above 30");
        }
        // The shortest form that can say it (X.690 section 10.1). What needs more bytes is longer than a request may be.
        let (length, after) = match (first, after) {
            (0..0x80, _) => (usize::from(*first), after),
            (0x81, [length @ 0x80..=0xff, after @ ..]) => (usize::from(*length), after),
            (0x82, [high @ 1..=0xff, low, after @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), after),
            (0x80..=0xff, _) => return Err("a length is not in the shortest form, or longer than a request may be"),
        };
        let Some((content, rest)) = after.split_at_checked(length) else { return Err("it ends within a value") };
        let (whole, _) = bytes.split_at(bytes.len() - rest.len());
        Ok((Self { tag: *tag, content, whole }, rest))
    }

    /// The values within it, if it has this tag.
    pub(super) fn values(self, part: &'static str, tag: u8) -> Result<Values<'a>, MalformedRequest> {
        let values = Values { rest: self.content, part };
        if self.tag == tag {
            Ok(values)
        } else {
            Err(values.not_der(format_args!("a value has the tag {:#04x} in place of {tag:#04x}", self.tag)))
        }
    }
}

/// Values that stand one after another.
pub(super) struct Values<'a> {
    rest: &'a [u8],
    /// What they are part of, for messages.
    part: &'static str,
}

impl<'a> Values<'a> {
    /// Those within the one value that `bytes` are, and that has this tag.
    pub(super) fn only(bytes: &'a [u8], part: &'static str, tag: u8) -> Result<Self, MalformedRequest> {
        let mut outer = Self { rest: bytes, part };
        let inner = outer.within(tag)?;
        outer.finish()?;
        Ok(inner)
    }

    /// The next value.
    pub(super) fn next(&mut self) -> Result<Value<'a>, MalformedRequest> {
        let (value, rest) = Value::split(self.rest).map_err(|problem| self.not_der(problem))?;
        self.rest = rest;
        Ok(value)
    }

    /// Those within the next value, which has this tag.
    pub(super) fn within(&mut self, tag: u8) -> Result<Self, MalformedRequest> {
        self.next()?.values(self.part, tag)
    }

    /// The next value, decoded.
    pub(super) fn decode<T: Decode<'a, Error = der::Error>>(&mut self) -> Result<T, MalformedRequest> {
        let value = self.next()?;
        T::from_der(value.whole).map_err(|error| self.not_der(error))
    }

    /// Takes this identifier; an error made of what stands there instead.
    pub(super) fn expect(
        &mut self,
        oid: ObjectIdentifier,
        error: fn(String) -> MalformedRequest,
    ) -> Result<(), MalformedRequest> {
        let value = self.next()?;
        if value.tag == OBJECT_IDENTIFIER && value.content == oid.as_bytes() {
            return Ok(());
        }
        let other: ObjectIdentifier = Decode::from_der(value.whole).map_err(|problem| self.not_der(problem))?;
        Err(error(other.to_string()))
    }

    /// The only value; an error made of their number where there are others.
    pub(super) fn one(mut self, error: fn(usize) -> MalformedRequest) -> Result<Value<'a>, MalformedRequest> {
        let (mut count, mut only) = (0, None);
        while !self.is_finished() {
            (count, only) = (count + 1, Some(self.next()?));
        }
        only.filter(|_| count == 1).ok_or_else(|| error(count))
    }

    /// Whether the next value has this tag.
    pub(super) fn next_is(&self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }

    /// Whether there is no next value.
    pub(super) fn is_finished(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may follow.
    pub(super) fn finish(self) -> Result<(), MalformedRequest> {
        if self.is_finished() { Ok(()) } else { Err(self.not_der("something follows that does not belong there")) }
    }

    #[cold]
    fn not_der(&self, problem: impl fmt::Display) -> MalformedRequest {
        MalformedRequest::Der { part: self.part, problem: problem.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x509_cert::der::asn1::AnyRef;
    use x509_cert::der::{Reader, SliceReader};

    use super::*;

    /// What the decoder of `der` finds: the first value, and how much is left.
    fn by_der(bytes: &[u8]) -> Option<(&[u8], &[u8], usize)> {
        let mut reader = SliceReader::new(bytes).ok()?;
        let whole = reader.tlv_bytes().ok()?;
        let content = AnyRef::from_der(whole).ok()?.value();
        Some((content, whole, bytes.len() - whole.len()))
    }

    /// A tag and a length, right or nearly so, and about as many bytes as it says.
    fn nearly_a_value() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![0..4_usize, 126..131_usize, 254..259_usize];
        let form = prop_oneof![4 => Just(None), 1 => (1..=4_usize).prop_map(Some), 1 => Just(Some(0))];
        (any::<u8>(), length, form, -1..=1_isize).prop_map(|(tag, length, form, beside)| {
            let big_endian = u32::try_from(length).unwrap().to_be_bytes();
            let shortest = match length {
                0..=0x7f => None,
                0x80..=0xff => Some(1),
                _ => Some(2),
            };
            let mut bytes = vec![tag];
            match form.or(shortest) {
                None => bytes.push(big_endian[3]),
                Some(octets) => {
                    bytes.push(0x80 | u8::try_from(octets).unwrap());
                    bytes.extend(&big_endian[4 - octets..]);
                }
            }
            bytes.resize(bytes.len() + length.saturating_add_signed(beside), 0xa5);
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn takes_nothing_that_another_decoder_does_not_read_the_same_way(
            bytes in prop_oneof![4 => nearly_a_value(), 1 => prop::collection::vec(any::<u8>(), 0..8)],
        ) {
            let ours = Value::split(&bytes).map(|(value, rest)| (value.tag, value.content, value.whole, rest.len()));
            // It knows fewer tags of the universal class, and more of the others.
            let known = bytes.first().is_some_and(|tag| matches!(tag, 0x01..=0x06 | 0x0a | 0x0c | 0x30 | 0x31 | 0x80..=0xbe));
            let is_long = bytes.first().is_some_and(|tag| tag & 0x1f == 0x1f);
            match (ours, by_der(&bytes)) {
                (Ok((tag, content, whole, rest)), Some(theirs)) => {
                    prop_assert_eq!(Some(&tag), bytes.first());
                    prop_assert_eq!((content, whole, rest), theirs);
                }
                (Ok(_), None) => prop_assert!(!known),
                (Err(_), None) => {}
                (Err(problem), Some(_)) => prop_assert!(is_long && problem.contains("above 30"), "{}", problem),
            }
        }
    }

    #[test]
    fn lengths_have_one_form() {
        let long = |header: &[u8], length: usize| [header, &vec![0; length]].concat();
        for (bytes, length) in [
            (long(&[4, 0], 0), Some(0)),
            (long(&[4, 0x7f], 0x7f), Some(0x7f)),
            (long(&[4, 0x81, 0x80], 0x80), Some(0x80)),
            (long(&[4, 0x81, 0xff], 0xff), Some(0xff)),
            (long(&[4, 0x82, 1, 0], 0x100), Some(0x100)),
            (long(&[4, 0x82, 0xff, 0xff], 0xffff), Some(0xffff)),
            (long(&[4, 0x81, 0x7f], 0x7f), None),
            (long(&[4, 0x82, 0, 0xff], 0xff), None),
            (long(&[4, 0x83, 1, 0, 0], 0x1_0000), None),
            (long(&[4, 0x80, 0, 0], 0), None),
            (long(&[4, 0xff], 0), None),
            (long(&[4, 2], 1), None),
            (long(&[4], 0), None),
            (long(&[0x1f, 1], 1), None),
            (long(&[0xbf, 0x1f, 0], 0), None),
        ] {
            let content = Value::split(&bytes).ok().map(|(value, _)| value.content.len());
            assert_eq!(content, length, "{:?}", bytes.get(..4));
        }
    }
}
