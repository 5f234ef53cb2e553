//! A DER writer that can be told to break any rule of DER.

/// One tag-length-value, as it is to be written.
///
/// The content is `prefix`, then the children, then `suffix`: a primitive value has a prefix only; an OCTET STRING or
/// BIT STRING that wraps other values has both; bytes that do not belong there are a suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlv {
    pub tag: Vec<u8>,
    pub length: Length,
    pub prefix: Vec<u8>,
    pub children: Vec<Tlv>,
    pub suffix: Vec<u8>,
}

/// How a length is written (X.690 section 8.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// As DER asks for: in as few bytes as possible.
    Minimal,
    /// In the long form, with this many bytes more than are needed.
    Long(usize),
    /// In the indefinite form, closed by an end-of-contents.
    Indefinite,
    /// A lie: this many bytes more than there are.
    Beyond(usize),
}

impl Tlv {
    /// A primitive value.
    pub fn primitive(tag: u8, content: impl Into<Vec<u8>>) -> Self {
        Self { tag: vec![tag], length: Length::Minimal, prefix: content.into(), children: vec![], suffix: vec![] }
    }

    /// A value made of others.
    pub fn constructed(tag: u8, children: Vec<Tlv>) -> Self {
        Self { children, ..Self::primitive(tag, []) }
    }

    /// The same value with another tag.
    pub fn tagged(mut self, tag: impl Into<Vec<u8>>) -> Self {
        self.tag = tag.into();
        self
    }

    /// The same value with its length written otherwise.
    pub fn with_length(mut self, length: Length) -> Self {
        self.length = length;
        self
    }

    /// The same value with bytes before its first child.
    pub fn with_prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The same value with bytes behind its last child.
    pub fn with_suffix(mut self, suffix: impl Into<Vec<u8>>) -> Self {
        self.suffix = suffix.into();
        self
    }

    /// The value within this one that a path leads to; each step is the position of a child.
    pub fn at(&mut self, path: &[usize]) -> &mut Tlv {
        path.iter().fold(self, |tlv, &step| &mut tlv.children[step])
    }

    /// The paths to this value and to all within it.
    pub fn paths(&self) -> Vec<Vec<usize>> {
        let mut paths = vec![vec![]];
        for (step, child) in self.children.iter().enumerate() {
            paths.extend(child.paths().into_iter().map(|path| [vec![step], path].concat()));
        }
        paths
    }

    /// The value's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.tag.clone();
        let content = self.content();
        let mut end: &[u8] = &[];
        match self.length {
            Length::Minimal if content.len() < 128 => bytes.push(u8::try_from(content.len()).unwrap()),
            Length::Minimal => long_length(&mut bytes, content.len(), 0),
            Length::Long(padding) => long_length(&mut bytes, content.len(), padding),
            Length::Beyond(more) => long_length(&mut bytes, content.len() + more, 0),
            Length::Indefinite => {
                bytes.push(0x80);
                end = &[0, 0];
            }
        }
        [&bytes, &content, end].concat()
    }

    /// The value's bytes without tag and length.
    pub fn content(&self) -> Vec<u8> {
        let children: Vec<u8> = self.children.iter().flat_map(Tlv::bytes).collect();
        [&self.prefix[..], &children, &self.suffix].concat()
    }
}

fn long_length(bytes: &mut Vec<u8>, length: usize, padding: usize) {
    let digits = length.to_be_bytes();
    let leading = digits.iter().take_while(|&&byte| byte == 0).count().min(digits.len() - 1);
    let digits = [vec![0; padding], digits[leading..].to_vec()].concat();
    bytes.push(0x80 | u8::try_from(digits.len()).unwrap());
    bytes.extend(digits);
}

/// A SEQUENCE.
pub fn sequence(children: Vec<Tlv>) -> Tlv {
    Tlv::constructed(0x30, children)
}

/// A SET, with its children in the order given.
pub fn set(children: Vec<Tlv>) -> Tlv {
    Tlv::constructed(0x31, children)
}

/// An INTEGER with these content bytes.
pub fn integer(content: &[u8]) -> Tlv {
    Tlv::primitive(0x02, content)
}

/// A BOOLEAN with this content byte.
pub fn boolean(content: u8) -> Tlv {
    Tlv::primitive(0x01, [content])
}

/// The NULL.
pub fn null() -> Tlv {
    Tlv::primitive(0x05, [])
}

/// A BIT STRING that is a whole number of bytes.
pub fn bit_string(bytes: &[u8]) -> Tlv {
    Tlv::primitive(0x03, [&[0], bytes].concat())
}

/// An OCTET STRING that wraps a value.
pub fn octet_string(inner: Tlv) -> Tlv {
    Tlv { children: vec![inner], ..Tlv::primitive(0x04, []) }
}

/// A PrintableString.
pub fn printable(text: &str) -> Tlv {
    Tlv::primitive(0x13, text)
}

/// A UTF8String.
pub fn utf8(text: &str) -> Tlv {
    Tlv::primitive(0x0c, text)
}

/// An OBJECT IDENTIFIER in dotted form (X.690 section 8.19).
pub fn oid(dotted: &str) -> Tlv {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut content = Vec::new();
    for arc in [&[arcs[0] * 40 + arcs[1]], &arcs[2..]].concat() {
        let groups = (1..10).find(|&n| arc >> (7 * n) == 0).unwrap();
        for group in (0..groups).rev() {
            let more = if group == 0 { 0 } else { 0x80 };
            content.push(u8::try_from((arc >> (7 * group)) & 0x7f).unwrap() | more);
        }
    }
    Tlv::primitive(0x06, content)
}

/// Splits definite-length DER into the first value's tag, its content and what follows; checks nothing.
pub fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let digits = rest.get(..usize::from(first & 0x7f))?;
        let length = digits.iter().fold(0_usize, |length, &digit| length << 8 | usize::from(digit));
        (length, rest.get(digits.len()..)?)
    };
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}
