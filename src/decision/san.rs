//! Subject alternative names and node names, as types that cannot hold a bad value.
//!
//! Every constructor parses; every field is private. Names are compared without regard to ASCII case
//! (RFC 4343) and are therefore kept in lower case; addresses are compared as addresses, never as text.

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::quote::Quoted;

/// Longest host name in its textual form without the trailing dot (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// Longest label of a host name (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// How many names and addresses of a request are looked at. A kubelet asks for those of its Node, fewer than twenty; a
/// request of the longest size has room for thousands.
pub const MAX_SANS: usize = 256;

/// Why a subject alternative name is not one that a kubelet-serving certificate may carry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SanError {
    /// The dNSName has no characters.
    #[error("a dNSName is empty")]
    EmptyName,
    /// The dNSName is longer than 253 characters.
    #[error("the dNSName {} has {length} characters; 253 are allowed", Quoted(.name))]
    NameTooLong {
        /// The name as requested.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// The dNSName holds a `*`. Kubelets never ask for wildcards.
    #[error("the dNSName {} is a wildcard", Quoted(.0))]
    Wildcard(String),
    /// The dNSName ends in a dot, which verifiers treat differently from one another.
    #[error("the dNSName {} ends in a dot", Quoted(.0))]
    TrailingDot(String),
    /// A label is empty, longer than 63 characters, has other characters than letters, digits and
    /// hyphens, or begins or ends with a hyphen (RFC 952, RFC 1123 section 2.1).
    #[error("the dNSName {} is not made of letters, digits and inner hyphens in labels of 1 to 63", Quoted(.0))]
    NotLdh(String),
    /// The dNSName is an address in disguise: some verifiers would match it as one.
    #[error("the dNSName {} reads as an IP address", Quoted(.0))]
    AddressAsName(String),
    /// The iPAddress is neither 4 nor 16 bytes long (RFC 5280 section 4.2.1.6).
    #[error("an iPAddress has {0} bytes; 4 and 16 are allowed")]
    AddressLength(usize),
    /// The iPAddress is an IPv4 address in an IPv6 coat, which the signer would issue as IPv4.
    #[error("the iPAddress {0} is IPv4-mapped; ask for the IPv4 address itself")]
    MappedAddress(IpAddr),
    /// A general name of another kind.
    #[error("a subject alternative name is of the kind {0}; only dNSName and iPAddress are allowed")]
    OtherKind(&'static str),
    /// The extension lists more names and addresses than [`MAX_SANS`].
    #[error("{0} names and addresses are requested, more than the {MAX_SANS} that are looked at")]
    TooMany(usize),
    /// The extension lists no name at all.
    #[error("no dNSName and no iPAddress is requested")]
    NoNames,
}

/// A host name as RFC 1123 knows it: letters, digits and inner hyphens, no wildcard, no trailing dot, not an address.
/// Copies share their text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<str>);

impl DnsName {
    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = SanError;

    fn from_str(name: &str) -> Result<Self, SanError> {
        if name.is_empty() {
            return Err(SanError::EmptyName);
        }
        if name.len() > MAX_NAME {
            return Err(SanError::NameTooLong { name: name.to_owned(), length: name.len() });
        }
        if name.contains('*') {
            return Err(SanError::Wildcard(name.to_owned()));
        }
        if name.ends_with('.') {
            return Err(SanError::TrailingDot(name.to_owned()));
        }
        // An IPv4 address ends in a number.
        if ends_in_number(name) || (name.contains(':') && name.parse::<IpAddr>().is_ok()) {
            return Err(SanError::AddressAsName(name.to_owned()));
        }
        if !name.split('.').all(is_ldh_label) {
            return Err(SanError::NotLdh(name.to_owned()));
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_ldh_label(label: &str) -> bool {
    label.len() <= MAX_LABEL
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && label.as_bytes().first().is_some_and(|&b| b != b'-')
        && label.as_bytes().last().is_some_and(|&b| b != b'-')
}

/// Whether URL parsers would take the name for IPv4 because its last label is a number
/// (WHATWG URL, "ends in a number"). A single label of digits stays a name: nodes are called that.
fn ends_in_number(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, last)| {
        let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
            || hexadecimal.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
    })
}

/// One subject alternative name of a kubelet-serving request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum San {
    /// A dNSName.
    Dns(DnsName),
    /// An iPAddress; never an IPv4-mapped IPv6 address.
    Ip(IpAddr),
}

impl San {
    /// Reads the text of a Node address the way a kubelet turns it into a SAN: an address where it
    /// parses as one, else a host name (upstream: `addressesToHostnamesAndIPs`).
    ///
    /// # Errors
    /// [`SanError`] when it is neither.
    pub fn from_node_address(text: &str) -> Result<Self, SanError> {
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Self::Ip(address.to_canonical())),
            Err(_) => text.parse().map(Self::Dns),
        }
    }

    /// The name, if it is one.
    #[must_use]
    pub fn as_dns(&self) -> Option<&DnsName> {
        match self {
            Self::Dns(name) => Some(name),
            Self::Ip(_) => None,
        }
    }

    /// The address, if it is one.
    #[must_use]
    pub fn as_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Dns(_) => None,
            Self::Ip(address) => Some(*address),
        }
    }

    /// Reads the bytes of an iPAddress general name (RFC 5280 section 4.2.1.6).
    ///
    /// # Errors
    /// [`SanError::AddressLength`] and [`SanError::MappedAddress`].
    pub fn from_address_bytes(bytes: &[u8]) -> Result<Self, SanError> {
        if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
            return Ok(Self::Ip(IpAddr::from(v4)));
        }
        let v6 = <[u8; 16]>::try_from(bytes).map_err(|_| SanError::AddressLength(bytes.len()))?;
        let address = IpAddr::from(v6);
        if address.to_canonical() != address {
            return Err(SanError::MappedAddress(address));
        }
        Ok(Self::Ip(address))
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => name.fmt(f),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// The name of a Node object: an RFC 1123 subdomain in lower case
/// (upstream: `apimachinery/pkg/util/validation.IsDNS1123Subdomain`). Copies share their text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

/// A text that cannot be the name of a Node object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} is not a valid node name", Quoted(.0))]
pub struct NodeNameError(String);

impl NodeName {
    /// The name as the API server spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a requested host name spells this node's name, in whatever case.
    #[must_use]
    pub fn is(&self, name: &DnsName) -> bool {
        self.0 == name.0
    }

    /// The address that this name reads as, if it does.
    #[must_use]
    pub fn as_address(&self) -> Option<Ipv4Addr> {
        self.0.parse().ok()
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(name: &str) -> Result<Self, NodeNameError> {
        let label = |label: &str| {
            let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
            edge(label.as_bytes().first()) && edge(label.as_bytes().last())
        };
        let characters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        if name.len() <= MAX_NAME && characters && name.split('.').all(label) {
            Ok(Self(name.into()))
        } else {
            Err(NodeNameError(name.to_owned()))
        }
    }
}

/// Compared and hashed as its text.
impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Refusal = fn(String) -> SanError;

    #[test]
    fn reads_host_names_and_refuses_what_verifiers_disagree_on() {
        let long_label = "a".repeat(64);
        let longest_label = "a".repeat(63);
        let longest_name = format!("{l}.{l}.{l}.{}", "a".repeat(61), l = longest_label);
        let too_long = format!("{longest_name}a");
        let cases: &[(&str, Option<Refusal>)] = &[
            ("worker-1", None),
            ("WORKER-1.Example.COM", None),
            ("1001", None),
            ("10-0-0-1", None),
            ("a.b.c", None),
            ("xn--bcher-kva.example", None),
            (&longest_label, None),
            (&longest_name, None),
            (&long_label, Some(SanError::NotLdh)),
            (&too_long, Some(|name| SanError::NameTooLong { length: name.len(), name })),
            ("", Some(|_| SanError::EmptyName)),
            ("*.example.com", Some(SanError::Wildcard)),
            ("*", Some(SanError::Wildcard)),
            ("worker-1.", Some(SanError::TrailingDot)),
            (".", Some(SanError::TrailingDot)),
            (".worker-1", Some(SanError::NotLdh)),
            ("a..b", Some(SanError::NotLdh)),
            ("-a", Some(SanError::NotLdh)),
            ("a-", Some(SanError::NotLdh)),
            ("a_b", Some(SanError::NotLdh)),
            ("a b", Some(SanError::NotLdh)),
            ("worker-1\0.evil.com", Some(SanError::NotLdh)),
            ("b\u{fc}cher", Some(SanError::NotLdh)),
            ("10.0.0.1", Some(SanError::AddressAsName)),
            ("fe80::1", Some(SanError::AddressAsName)),
            ("127.1", Some(SanError::AddressAsName)),
            ("a.0x7f", Some(SanError::AddressAsName)),
            ("[::1]", Some(SanError::NotLdh)),
        ];
        for (name, expected) in cases {
            let expected = match expected {
                None => Ok(DnsName(name.to_ascii_lowercase().into())),
                Some(error) => Err(error((*name).to_owned())),
            };
            assert_eq!(name.parse::<DnsName>(), expected, "{name:?}");
        }
    }

    #[test]
    fn reads_addresses_of_4_and_16_bytes_only() {
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let v6: IpAddr = "fd00::1".parse().unwrap();
        let bytes = |address: IpAddr| match address {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        };
        assert_eq!(San::from_address_bytes(&[10, 0, 0, 1]), Ok(San::Ip("10.0.0.1".parse().unwrap())));
        assert_eq!(San::from_address_bytes(&bytes(v6)), Ok(San::Ip(v6)));
        assert_eq!(San::from_address_bytes(&bytes(mapped)), Err(SanError::MappedAddress(mapped)));
        for length in [0, 3, 5, 8, 15, 17, 32] {
            assert_eq!(San::from_address_bytes(&vec![1; length]), Err(SanError::AddressLength(length)));
        }
    }

    #[test]
    fn reads_node_addresses_as_the_kubelet_does() {
        let ip = |text: &str| San::Ip(text.parse().unwrap());
        assert_eq!(San::from_node_address("10.0.0.1"), Ok(ip("10.0.0.1")));
        assert_eq!(San::from_node_address("FD00:0:0::0:1"), Ok(ip("fd00::1")));
        assert_eq!(San::from_node_address("::ffff:10.0.0.1"), Ok(ip("10.0.0.1")));
        assert_eq!(San::from_node_address("Worker-1"), Ok(San::Dns(DnsName("worker-1".into()))));
        assert!(San::from_node_address("not a name").is_err());
    }

    #[test]
    fn reads_node_names_as_the_api_server_does() {
        for name in ["a", "worker-1", "worker-1.example.com", "10.0.0.1", "a--b", &"a".repeat(253)] {
            assert!(name.parse::<NodeName>().is_ok(), "{name}");
        }
        for name in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "a b", "a/b", "a\0", "\u{e4}", &"a".repeat(254)] {
            assert!(name.parse::<NodeName>().is_err(), "{name:?}");
        }
    }
}
