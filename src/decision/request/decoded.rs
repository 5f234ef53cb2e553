use std::net::IpAddr;

use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::der::pem;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::request::{CertReq, ExtensionReq};

use super::key;
use super::pkcs10::Name;
use crate::api::RequestBytes;
use crate::san::{San, SanError};

/// What a request says, as far as it can be read, acceptable or not: for people to look at. Nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The subject, in the form of RFC 4514.
    pub subject: String,
    /// The public key's kind.
    pub key: String,
    /// The signature's algorithm.
    pub signature: String,
    /// The subject alternative names.
    pub names: Vec<RequestedName>,
    /// The object identifiers of everything else that is asked for.
    pub others: Vec<String>,
}

/// A subject alternative name as it was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedName {
    /// What it is, as RFC 5280 calls it: `dNSName`, `iPAddress` and so on.
    pub kind: &'static str,
    /// Its text, which is untrusted.
    pub text: String,
    /// What it is read as, or why it is one that nobody may have.
    pub san: Result<San, SanError>,
}

impl Decoded {
    /// Reads a request; none where it is not DER in PEM, or too long to be looked into.
    #[must_use]
    pub fn read(request: &RequestBytes) -> Option<Self> {
        let RequestBytes::Pem(text) = request else { return None };
        let (_, der) = pem::decode_vec(text).ok()?;
        let request = CertReq::from_der(&der).ok()?;
        let info = &request.info;
        let mut decoded = Self {
            subject: info.subject.to_string(),
            key: key::describe((&info.public_key.algorithm).into(), info.public_key.subject_public_key.raw_bytes()),
            signature: key::named(request.algorithm.oid),
            names: Vec::new(),
            others: Vec::new(),
        };
        for attribute in info.attributes.iter() {
            if attribute.oid != ExtensionReq::OID {
                decoded.others.push(format!("attribute {}", attribute.oid));
                continue;
            }
            for value in attribute.values.iter() {
                let Ok(ExtensionReq(extensions)) = value.decode_as() else { continue };
                for extension in extensions {
                    decoded.read_extension(extension.extn_id, extension.extn_value.as_bytes());
                }
            }
        }
        Some(decoded)
    }

    fn read_extension(&mut self, oid: ObjectIdentifier, value: &[u8]) {
        match SubjectAltName::from_der(value) {
            Ok(SubjectAltName(names)) if oid == SubjectAltName::OID => {
                self.names.extend(names.iter().map(RequestedName::read));
            }
            Ok(_) | Err(_) => self.others.push(format!("extension {oid}")),
        }
    }
}

impl RequestedName {
    fn read(name: &GeneralName) -> Self {
        let (name, text) = match name {
            GeneralName::DnsName(name) => (Name::Dns(name.as_str()), name.to_string()),
            GeneralName::IpAddress(bytes) => (Name::Ip(bytes.as_bytes()), address(bytes.as_bytes())),
            GeneralName::Rfc822Name(name) => (Name::Other("rfc822Name"), name.to_string()),
            GeneralName::UniformResourceIdentifier(name) => {
                (Name::Other("uniformResourceIdentifier"), name.to_string())
            }
            GeneralName::DirectoryName(name) => (Name::Other("directoryName"), name.to_string()),
            GeneralName::RegisteredId(oid) => (Name::Other("registeredID"), oid.to_string()),
            GeneralName::OtherName(name) => (Name::Other("otherName"), name.type_id.to_string()),
            GeneralName::EdiPartyName(_) => (Name::Other("ediPartyName"), String::new()),
        };
        let kind = match name {
            Name::Dns(_) => "dNSName",
            Name::Ip(_) => "iPAddress",
            Name::Other(kind) => kind,
        };
        Self { kind, text, san: super::san(name) }
    }
}

/// An address as it stands in the request, IPv4-mapped ones included; its length where it is none.
fn address(bytes: &[u8]) -> String {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.map_or_else(|_| format!("{} bytes", bytes.len()), |address| address.to_string())
}
