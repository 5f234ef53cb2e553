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

#[cfg(test)]
mod tests {
    use x509_cert::attr::Attribute;
    use x509_cert::der::asn1::{Any, BitString, Ia5String, OctetString, SetOfVec};
    use x509_cert::der::pem::LineEnding;
    use x509_cert::der::{Encode as _, EncodePem as _};
    use x509_cert::ext::Extension;
    use x509_cert::request::{CertReqInfo, Version};
    use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

    use super::*;

    fn oid(text: &str) -> ObjectIdentifier {
        text.parse().unwrap()
    }

    fn extension(id: &str, value: &[u8]) -> Extension {
        Extension { extn_id: oid(id), critical: false, extn_value: OctetString::new(value).unwrap() }
    }

    /// A request with an Ed25519 key for these names, and with all else that nobody may ask for.
    fn request(names: Vec<GeneralName>) -> Vec<u8> {
        let names = SubjectAltName(names).to_der().unwrap();
        let extensions = vec![
            extension("2.5.29.17", &names),
            extension("2.5.29.17", b"junk"),
            // What reads like names, and goes by another name.
            extension("2.5.29.18", &names),
            extension("2.5.29.19", &[0x30, 0]),
        ];
        let password = Any::encode_from(&Ia5String::new("secret").unwrap()).unwrap();
        let challenge =
            Attribute { oid: oid("1.2.840.113549.1.9.7"), values: SetOfVec::try_from(vec![password]).unwrap() };
        let attributes = vec![ExtensionReq(extensions).try_into().unwrap(), challenge];
        let algorithm = |id| AlgorithmIdentifierOwned { oid: oid(id), parameters: None };
        let info = CertReqInfo {
            version: Version::V1,
            subject: "CN=system:node:a,O=system:nodes".parse().unwrap(),
            public_key: SubjectPublicKeyInfoOwned {
                algorithm: algorithm("1.3.101.112"),
                subject_public_key: BitString::from_bytes(&[1; 32]).unwrap(),
            },
            attributes: attributes.try_into().unwrap(),
        };
        let signature = BitString::from_bytes(&[0; 64]).unwrap();
        let request = CertReq { info, algorithm: algorithm("1.2.840.10045.4.3.2"), signature };
        request.to_pem(LineEnding::LF).unwrap().into_bytes()
    }

    fn address(bytes: &[u8]) -> GeneralName {
        GeneralName::IpAddress(OctetString::new(bytes).unwrap())
    }

    #[test]
    fn shows_what_is_asked_for_whether_anybody_may_have_it_or_not() {
        let ia5 = |text| Ia5String::new(text).unwrap();
        let names = vec![
            GeneralName::DnsName(ia5("a.example.com")),
            GeneralName::DnsName(ia5("*.example.com")),
            address(&[192, 0, 2, 1]),
            address(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]),
            address(&[1, 2, 3, 4, 5]),
            GeneralName::Rfc822Name(ia5("a@example.com")),
            GeneralName::UniformResourceIdentifier(ia5("spiffe://a")),
            GeneralName::DirectoryName("CN=a".parse().unwrap()),
            GeneralName::RegisteredId(oid("1.2.3")),
        ];
        let decoded = Decoded::read(&request(names).into()).unwrap();
        assert_eq!(decoded.subject, "CN=system:node:a,O=system:nodes");
        assert_eq!(
            (decoded.key.as_str(), decoded.signature.as_str()),
            ("ed25519", "ECDSA with SHA-256 (1.2.840.10045.4.3.2)")
        );
        assert_eq!(
            decoded.others,
            ["attribute 1.2.840.113549.1.9.7", "extension 2.5.29.17", "extension 2.5.29.18", "extension 2.5.29.19"]
        );
        let names = decoded.names.iter().map(|it| (it.kind, it.text.as_str(), it.san.is_ok()));
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                ("dNSName", "a.example.com", true),
                ("dNSName", "*.example.com", false),
                ("iPAddress", "192.0.2.1", true),
                ("iPAddress", "::ffff:192.0.2.1", false),
                ("iPAddress", "5 bytes", false),
                ("rfc822Name", "a@example.com", false),
                ("uniformResourceIdentifier", "spiffe://a", false),
                ("directoryName", "CN=a", false),
                ("registeredID", "1.2.3", false),
            ]
        );
    }

    #[test]
    fn shows_nothing_of_what_cannot_be_read() {
        assert_eq!(Decoded::read(&b"junk".to_vec().into()), None);
        assert_eq!(Decoded::read(&RequestBytes::TooLong), None);
    }
}
