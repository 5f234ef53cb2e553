//! CertificateSigningRequests as a node files them, and as a node should not.

use std::net::IpAddr;

use anyhow::Result;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::PostParams;
use kube::{Api, Client};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize, SanType,
};
use serde_json::{from_value, json};

use super::pki::distinguished_name;

/// The signer of kubelets' serving certificates.
pub const SIGNER: &str = "kubernetes.io/kubelet-serving";

/// The kind of key in a request.
#[derive(Clone, Copy)]
pub enum Key {
    /// ECDSA on P-256, as kubelets do.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

/// A request under construction: a kubelet's, until changed.
#[derive(Clone)]
pub struct Request {
    /// The object's name; none has the API server make one up.
    pub name: Option<String>,
    /// The signer asked.
    pub signer: String,
    /// The subject's CN.
    pub common_name: String,
    /// The subject's O values, at most two.
    pub organizations: Vec<String>,
    /// Subject alternative names.
    pub sans: Vec<SanType>,
    /// The key.
    pub key: Key,
    /// Key usages, in Kubernetes' spelling.
    pub usages: Vec<String>,
    /// The lifetime asked for.
    pub expiration_seconds: Option<i32>,
}

impl Request {
    /// What the kubelet of this node would ask for, without names and addresses yet.
    pub fn of_node(node: &str) -> Self {
        Self {
            name: None,
            signer: SIGNER.to_owned(),
            common_name: format!("system:node:{node}"),
            organizations: vec!["system:nodes".to_owned()],
            sans: Vec::new(),
            key: Key::EcdsaP256,
            usages: vec!["digital signature".to_owned(), "server auth".to_owned()],
            expiration_seconds: None,
        }
    }

    /// Adds a dNSName.
    pub fn dns(mut self, name: &str) -> Result<Self> {
        self.sans.push(SanType::DnsName(name.try_into()?));
        Ok(self)
    }

    /// Adds an iPAddress.
    pub fn ip(mut self, address: impl Into<IpAddr>) -> Self {
        self.sans.push(SanType::IpAddress(address.into()));
        self
    }

    /// Chooses another kind of key.
    pub fn key(mut self, key: Key) -> Self {
        self.key = key;
        self
    }

    /// The PKCS#10 request, PEM, signed by a new key.
    pub fn pem(&self) -> Result<String> {
        let organizations: Vec<&str> = self.organizations.iter().map(String::as_str).collect();
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(&self.common_name, &organizations)?;
        params.subject_alt_names.clone_from(&self.sans);
        Ok(params.serialize_request(&generate(self.key)?)?.pem()?)
    }

    /// The object to be created.
    pub fn object(&self) -> Result<CertificateSigningRequest> {
        self.object_around(self.pem()?.into_bytes())
    }

    /// The object to be created around a PKCS#10 request made elsewhere.
    pub fn object_around(&self, pem: Vec<u8>) -> Result<CertificateSigningRequest> {
        let metadata = match &self.name {
            Some(name) => json!({"name": name}),
            None => json!({"generateName": "csr-"}),
        };
        Ok(from_value(json!({
            "metadata": metadata,
            "spec": {
                "request": ByteString(pem),
                "signerName": self.signer,
                "usages": self.usages,
                "expirationSeconds": self.expiration_seconds,
            },
        }))?)
    }

    /// Files the request, as whoever the client is.
    pub async fn submit(&self, client: &Client) -> Result<CertificateSigningRequest> {
        Ok(Api::all(client.clone()).create(&PostParams::default(), &self.object()?).await?)
    }
}

/// Files a request as a node, by an administrator's client: many nodes over few connections. To the API server it is the
/// node's.
pub async fn submit_as_node(
    admin: &Client,
    node: &str,
    object: &CertificateSigningRequest,
) -> kube::Result<CertificateSigningRequest> {
    let request = http::Request::post("/apis/certificates.k8s.io/v1/certificatesigningrequests")
        .header("Content-Type", "application/json")
        .header("Impersonate-User", format!("system:node:{node}"))
        .header("Impersonate-Group", "system:nodes")
        .header("Impersonate-Group", "system:authenticated");
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    admin.request(request.body(body).map_err(kube::Error::HttpError)?).await
}

fn generate(key: Key) -> Result<KeyPair> {
    Ok(match key {
        Key::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        Key::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?,
        Key::Ed25519 => KeyPair::generate_for(&PKCS_ED25519)?,
        Key::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        Key::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072)?,
        Key::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096)?,
    })
}
