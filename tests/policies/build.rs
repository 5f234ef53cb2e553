//! Requests as kubelets make them, really built and signed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{LazyLock, Mutex};

use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use serde::Deserialize;

use crate::common::csr::Csr;

/// A CertificateSigningRequest in short. What is not said is as an honest kubelet has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The name of the node that asks.
    node: String,
    /// Who files it, where that is not the node's own user.
    requestor: Option<Requestor>,
    /// The subject's attributes in order, such as `O=system:nodes`.
    subject: Option<Vec<String>>,
    #[serde(default)]
    pub dns: Vec<String>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requestor {
    username: Option<String>,
    groups: Option<Vec<String>>,
}

/// The key of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Key {
    #[default]
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Ed25519,
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

/// One key of each kind, made when it is first asked for: RSA's take long.
static KEYS: LazyLock<Mutex<HashMap<Key, &'static KeyPair>>> = LazyLock::new(Mutex::default);

impl Key {
    fn pair(self) -> &'static KeyPair {
        KEYS.lock().unwrap().entry(self).or_insert_with(|| Box::leak(Box::new(self.generate())))
    }

    fn generate(self) -> KeyPair {
        let pair = match self {
            Self::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Self::EcdsaP521 => KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512),
            Self::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            Self::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        };
        pair.unwrap()
    }
}

impl Request {
    /// The CertificateSigningRequest, or why there can be none.
    pub fn build(&self) -> Result<Csr, String> {
        let username = format!("system:node:{}", self.node);
        let text = match &self.pem {
            Some(text) => text.clone(),
            None => self.sign(&username)?,
        };
        let mut csr = Csr { username, conditions: self.conditions.clone(), ..Csr::with_request(text) };
        if let Some(requestor) = &self.requestor {
            csr.username = requestor.username.clone().unwrap_or(csr.username);
            csr.groups = requestor.groups.clone().unwrap_or(csr.groups);
        }
        csr.usages = self.usages.clone().unwrap_or(csr.usages);
        csr.expiration_seconds = self.expiration_seconds;
        csr.signer_name = self.signer_name.clone().unwrap_or(csr.signer_name);
        Ok(csr)
    }

    fn sign(&self, username: &str) -> Result<String, String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = match &self.subject {
            Some(attributes) => subject(attributes.iter().map(String::as_str))?,
            None => subject(["O=system:nodes", &format!("CN={username}")].into_iter())?,
        };
        params.subject_alt_names = self.names()?;
        let request = params.serialize_request(self.key.pair()).map_err(|error| error.to_string())?;
        // One encoding of PEM is taken; this crate's lines end in CRLF on some systems.
        Ok(crate::common::csr::pem(request.der()))
    }

    fn names(&self) -> Result<Vec<SanType>, String> {
        let text = |text: &String| Ia5String::try_from(text.as_str()).map_err(|error| format!("{text:?}: {error}"));
        let mut names = Vec::new();
        for name in &self.dns {
            names.push(SanType::DnsName(text(name)?));
        }
        for name in &self.email {
            names.push(SanType::Rfc822Name(text(name)?));
        }
        names.extend(self.ip.iter().copied().map(SanType::IpAddress));
        for name in &self.uri {
            names.push(SanType::URI(text(name)?));
        }
        Ok(names)
    }
}

fn subject<'a>(attributes: impl Iterator<Item = &'a str>) -> Result<DistinguishedName, String> {
    let mut name = DistinguishedName::new();
    for attribute in attributes {
        let kind = match attribute.split_once('=') {
            Some(("O", _)) => DnType::OrganizationName,
            Some(("CN", _)) => DnType::CommonName,
            Some(("OU", _)) => DnType::OrganizationalUnitName,
            Some(("C", _)) => DnType::CountryName,
            Some(_) | None => return Err(format!("{attribute:?} is not O=, CN=, OU= or C=")),
        };
        if name.get(&kind).is_some() {
            return Err(format!("{attribute:?}: one attribute of each kind can be built"));
        }
        name.push(kind, attribute.split_once('=').map_or("", |(_, value)| value));
    }
    Ok(name)
}
