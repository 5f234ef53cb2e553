//! Requests as kubelets make them, really built and signed.

use std::net::IpAddr;

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Ia5String, ObjectIdentifier, OctetString, PrintableStringRef, SetOfVec, Utf8StringRef};
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::der::oid::db::rfc4519::{COMMON_NAME, COUNTRY_NAME, ORGANIZATION_NAME, ORGANIZATIONAL_UNIT_NAME};
use x509_cert::der::{self, Any, Decode as _, Encode as _};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::request::{CertReqInfo, ExtensionReq, Version};

use super::sign::Key;
use crate::api::KUBELET_SERVING;

/// A CertificateSigningRequest in short. What is not said is as an honest kubelet has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The name of the node that asks.
    node: String,
    /// Who files it, where that is not the node's own user.
    requestor: Option<Requestor>,
    /// The subject's attributes in order, such as `O=system:nodes`.
    subject: Option<Vec<String>>,
    #[serde(default)]
    dns: Vec<String>,
    #[serde(default)]
    ip: Vec<IpAddr>,
    #[serde(default)]
    email: Vec<String>,
    #[serde(default)]
    uri: Vec<String>,
    usages: Option<Vec<String>>,
    #[serde(default)]
    key: Key,
    /// The text of `spec.request`, instead of all this.
    pem: Option<String>,
    signer_name: Option<String>,
    /// The lifetime asked for.
    expiration_seconds: Option<u32>,
    /// The types of the conditions that the request already has.
    #[serde(default)]
    conditions: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Requestor {
    username: Option<String>,
    groups: Option<Vec<String>>,
}

impl Request {
    /// The names that it asks for.
    pub(super) fn dns_names(&self) -> &[String] {
        &self.dns
    }

    /// The object as the API server's JSON gives it.
    ///
    /// # Errors
    /// Why there can be no such request, in a sentence.
    pub fn object(&self) -> Result<Value, String> {
        let own = format!("system:node:{}", self.node);
        let text = match &self.pem {
            Some(text) => text.clone(),
            None => self.sign(&own)?,
        };
        let texts = |given: Option<&Vec<String>>, usual: &[&str]| {
            given.cloned().unwrap_or_else(|| usual.iter().map(|text| (*text).to_owned()).collect())
        };
        let requestor = self.requestor.as_ref();
        let groups = requestor.and_then(|it| it.groups.as_ref());
        let conditions: Vec<_> = self.conditions.iter().map(|type_| json!({"type": type_, "status": "True"})).collect();
        Ok(json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": format!("csr-of-{}", self.node), "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "request": ByteString(text.into_bytes()),
                "signerName": self.signer_name.as_deref().unwrap_or(KUBELET_SERVING),
                "username": requestor.and_then(|it| it.username.as_ref()).unwrap_or(&own),
                "groups": texts(groups, &["system:nodes", "system:authenticated"]),
                "usages": texts(self.usages.as_ref(), &["digital signature", "server auth"]),
                "expirationSeconds": self.expiration_seconds,
            },
            "status": {"conditions": conditions},
        }))
    }

    fn sign(&self, username: &str) -> Result<String, String> {
        let subject = match &self.subject {
            Some(attributes) => name(attributes.iter().map(String::as_str))?,
            None => name(["O=system:nodes", &format!("CN={username}")].into_iter())?,
        };
        let names = self.names()?;
        let attributes =
            if names.is_empty() { SetOfVec::new() } else { requested(names).map_err(|it| it.to_string())? };
        self.key.sign(CertReqInfo { version: Version::V1, subject, public_key: self.key.public()?, attributes })
    }

    fn names(&self) -> Result<Vec<GeneralName>, String> {
        let text = |text: &String| Ia5String::new(text).map_err(|error| format!("{text:?}: {error}"));
        let mut names = Vec::new();
        for name in &self.dns {
            names.push(GeneralName::DnsName(text(name)?));
        }
        for name in &self.email {
            names.push(GeneralName::Rfc822Name(text(name)?));
        }
        for address in &self.ip {
            let bytes = match address {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            names.push(GeneralName::IpAddress(OctetString::new(bytes).map_err(|error| error.to_string())?));
        }
        for name in &self.uri {
            names.push(GeneralName::UniformResourceIdentifier(text(name)?));
        }
        Ok(names)
    }
}

/// The one attribute of a request: the extensions that it asks for, of which there is one.
fn requested(names: Vec<GeneralName>) -> der::Result<SetOfVec<x509_cert::attr::Attribute>> {
    let extension = Extension {
        extn_id: SubjectAltName::OID,
        critical: false,
        extn_value: OctetString::new(SubjectAltName(names).to_der()?)?,
    };
    SetOfVec::try_from(vec![ExtensionReq(vec![extension]).try_into()?])
}

/// A name of these attributes, each of which stands by itself.
fn name<'a>(attributes: impl Iterator<Item = &'a str>) -> Result<Name, String> {
    let mut parts = Vec::new();
    for attribute in attributes {
        let (oid, value) = match attribute.split_once('=') {
            Some(("O", value)) => (ORGANIZATION_NAME, value),
            Some(("CN", value)) => (COMMON_NAME, value),
            Some(("OU", value)) => (ORGANIZATIONAL_UNIT_NAME, value),
            Some(("C", value)) => (COUNTRY_NAME, value),
            Some(_) | None => return Err(format!("{attribute:?} is not O=, CN=, OU= or C=")),
        };
        parts.push(part(oid, value).map_err(|error| format!("{attribute:?}: {error}"))?);
    }
    let der = RdnSequence::from(parts).to_der().map_err(|error| error.to_string())?;
    Name::from_der(&der).map_err(|error| error.to_string())
}

/// Go writes a PrintableString wherever the text is one, and so do kubelets.
fn part(oid: ObjectIdentifier, text: &str) -> der::Result<RelativeDistinguishedName> {
    let value = match PrintableStringRef::new(text) {
        Ok(text) => Any::encode_from(&text)?,
        Err(_) => Any::encode_from(&Utf8StringRef::new(text)?)?,
    };
    RelativeDistinguishedName::try_from(vec![AttributeTypeAndValue { oid, value }])
}
