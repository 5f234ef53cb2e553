//! PKCS#10 requests (RFC 2986), each piece of which can be replaced.

use super::der::{Tlv, bit_string, integer, octet_string, oid, printable, sequence, set};
use super::key::Key;

pub const COMMON_NAME: &str = "2.5.4.3";
pub const ORGANIZATION: &str = "2.5.4.10";
pub const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";
pub const SUBJECT_ALT_NAME: &str = "2.5.29.17";

/// Where the pieces of [`honest`]'s CertificationRequestInfo are, for [`Tlv::at`].
pub mod at {
    pub const VERSION: &[usize] = &[0];
    pub const SUBJECT: &[usize] = &[1];
    pub const PUBLIC_KEY: &[usize] = &[2];
    pub const ATTRIBUTES: &[usize] = &[3];
    pub const ATTRIBUTE: &[usize] = &[3, 0];
    pub const VALUES: &[usize] = &[3, 0, 1];
    pub const EXTENSIONS: &[usize] = &[3, 0, 1, 0];
    pub const EXTENSION: &[usize] = &[3, 0, 1, 0, 0];
    pub const EXTENSION_VALUE: &[usize] = &[3, 0, 1, 0, 0, 1];
    pub const SANS: &[usize] = &[3, 0, 1, 0, 0, 1, 0];
}

/// A CertificationRequestInfo like a kubelet's, of the node `worker-1`.
pub fn honest(key: &Key) -> Tlv {
    let sans = vec![dns("worker-1"), dns("worker-1.example.com"), ip(&[10, 0, 0, 1])];
    info(subject("worker-1"), key.public.clone(), vec![extension_request(vec![extensions(vec![san(sans)])])])
}

/// [`honest`] with other SANs.
pub fn with_sans(key: &Key, sans: Vec<Tlv>) -> Tlv {
    let mut info = honest(key);
    info.at(at::SANS).children = sans;
    info
}

/// A CertificationRequestInfo of version 0.
pub fn info(subject: Tlv, public_key: Tlv, attributes: Vec<Tlv>) -> Tlv {
    sequence(vec![integer(&[0]), subject, public_key, Tlv::constructed(0xa0, attributes)])
}

/// The CertificationRequest for `info`, signed as it stands.
pub fn sign(info: &Tlv, key: &Key) -> Tlv {
    let signature = key.sign(&info.bytes());
    sequence(vec![info.clone(), key.algorithm.clone(), bit_string(&signature)])
}

/// A subject the way a kubelet writes it.
pub fn subject(node: &str) -> Tlv {
    let username = format!("system:node:{node}");
    sequence(vec![rdn(ORGANIZATION, printable("system:nodes")), rdn(COMMON_NAME, printable(&username))])
}

/// A relative distinguished name of one attribute.
pub fn rdn(kind: &str, value: Tlv) -> Tlv {
    set(vec![attribute_value(kind, value)])
}

/// An AttributeTypeAndValue.
pub fn attribute_value(kind: &str, value: Tlv) -> Tlv {
    sequence(vec![oid(kind), value])
}

/// An extensionRequest attribute with these values (RFC 2985 section 5.4.2).
pub fn extension_request(values: Vec<Tlv>) -> Tlv {
    attribute(EXTENSION_REQUEST, values)
}

/// Any attribute.
pub fn attribute(kind: &str, values: Vec<Tlv>) -> Tlv {
    sequence(vec![oid(kind), set(values)])
}

/// Extensions: the value of an extensionRequest.
pub fn extensions(extensions: Vec<Tlv>) -> Tlv {
    sequence(extensions)
}

/// An extension that is not critical.
pub fn extension(kind: &str, value: Tlv) -> Tlv {
    sequence(vec![oid(kind), octet_string(value)])
}

/// A subjectAltName extension.
pub fn san(names: Vec<Tlv>) -> Tlv {
    extension(SUBJECT_ALT_NAME, sequence(names))
}

/// A dNSName.
pub fn dns(name: impl AsRef<[u8]>) -> Tlv {
    Tlv::primitive(0x82, name.as_ref())
}

/// An iPAddress.
pub fn ip(bytes: &[u8]) -> Tlv {
    Tlv::primitive(0x87, bytes)
}
