use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::{ByteString, ClusterResourceScope};
use kube_core::ObjectMeta;
use serde::de::{self, IntoDeserializer as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::TOO_LONG;

/// The signer whose requests this program answers.
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

/// The longest name of a request that is answered, in bytes. A kubelet's has 9. The API server takes any length, and
/// keeps the request for as long as who filed it likes; but a name has to fit into a URL and an Event, and is kept.
pub const MAX_CSR_NAME: usize = 1024;

/// A `certificates.k8s.io/v1` CertificateSigningRequest, trimmed.
#[derive(Clone, Debug, Deserialize)]
pub struct CertificateSigningRequest {
    /// Name, uid, resourceVersion and timestamps.
    #[serde(deserialize_with = "super::metadata")]
    pub metadata: ObjectMeta,
    /// What is asked for and by whom; immutable once created.
    pub spec: Spec,
    /// What was answered.
    #[serde(default)]
    pub status: Status,
}

/// `spec` of a CertificateSigningRequest. All but `request`, `usages`, `signerName` and `expirationSeconds` is
/// written by the API server from the requestor's authentication.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "the spec of a CertificateSigningRequest")]
pub struct Spec {
    /// The PEM-encoded PKCS#10 request.
    pub request: RequestBytes,
    /// Who is asked to sign.
    pub signer_name: String,
    /// The authenticated user.
    #[serde(default)]
    pub username: String,
    /// The authenticated user's groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Requested key usages.
    #[serde(default)]
    pub usages: Vec<String>,
    /// Requested lifetime in seconds.
    pub expiration_seconds: Option<u32>,
}

impl Spec {
    /// Gives back the memory that was taken in reading it, and is not used.
    pub fn shrink(&mut self) {
        if let RequestBytes::Pem(pem) = &mut self.request {
            pem.shrink_to_fit();
        }
        for texts in [&mut self.groups, &mut self.usages] {
            texts.shrink_to_fit();
            texts.iter_mut().for_each(String::shrink_to_fit);
        }
        self.username.shrink_to_fit();
        self.signer_name.shrink_to_fit();
    }
}

/// The bytes of `spec.request`, unless there are more than any kubelet sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestBytes {
    /// At most [`RequestBytes::MAX`] bytes.
    Pem(Vec<u8>),
    /// More, which were not kept.
    TooLong,
}

impl RequestBytes {
    /// The longest request that is looked into, in bytes of PEM. A kubelet's has less than 2 KiB.
    pub const MAX: usize = 16 * 1024;
}

impl From<Vec<u8>> for RequestBytes {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() > Self::MAX { Self::TooLong } else { Self::Pem(bytes) }
    }
}

impl<'de> Deserialize<'de> for RequestBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(InBase64)
    }
}

struct InBase64;

impl<'de> Visitor<'de> for InBase64 {
    type Value = RequestBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a base64-encoded string")
    }

    fn visit_none<E: de::Error>(self) -> Result<RequestBytes, E> {
        Ok(Vec::new().into())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RequestBytes, D::Error> {
        deserializer.deserialize_str(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RequestBytes, E> {
        if text == TOO_LONG {
            return Ok(RequestBytes::TooLong);
        }
        ByteString::deserialize(text.into_deserializer()).map(|ByteString(bytes)| bytes.into())
    }
}

/// `status` of a CertificateSigningRequest.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    /// Approved, Denied, Failed, or another's own kind.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Whether a certificate was issued.
    #[serde(default, deserialize_with = "present", rename = "certificate")]
    pub issued: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    // The signer writes the certificate in one go; how it reads does not matter here.
    Option::<Cow<'de, str>>::deserialize(deserializer).map(|text| text.is_some_and(|text| !text.is_empty()))
}

/// One condition of a CertificateSigningRequest, whole, since an answer has to send back those that exist.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Approved`, `Denied`, `Failed`, or another's own type.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`; the API server refuses other values for the three known types.
    pub status: String,
    /// CamelCase, for machines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Set by the API server where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<String>,
    /// Set by the API server where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

impl CertificateSigningRequest {
    /// Whether there is a condition of this type, whatever its status.
    #[must_use]
    pub fn has_condition(&self, type_: &str) -> bool {
        self.status.conditions.iter().any(|condition| condition.type_ == type_)
    }

    /// Whether it is Approved, Denied or Failed, none of which can be taken back.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        ["Approved", "Denied", "Failed"].into_iter().any(|type_| self.has_condition(type_))
    }

    /// Whether its name is longer than [`MAX_CSR_NAME`], so that it is left alone.
    #[must_use]
    pub fn has_long_name(&self) -> bool {
        self.metadata.name.as_ref().is_some_and(|name| name.len() > MAX_CSR_NAME)
    }

    /// When the API server created it, in whole seconds; the epoch where a dump does not say.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default()
    }
}

super::resource!(
    CertificateSigningRequest,
    ClusterResourceScope,
    "certificates.k8s.io",
    "v1",
    "CertificateSigningRequest",
    "certificatesigningrequests"
);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn csr(request: Vec<u8>, status: &Value) -> CertificateSigningRequest {
        let csr = json!({
            "metadata": {"name": "a", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"request": ByteString(request), "signerName": KUBELET_SERVING},
            "status": status,
        });
        serde_json::from_value(csr).unwrap()
    }

    #[test]
    fn a_request_is_kept_up_to_sixteen_kibibytes() {
        let request = |length| csr(vec![0; length], &json!({})).spec.request;
        assert_eq!(request(16_384), RequestBytes::Pem(vec![0; 16_384]));
        assert_eq!(request(16_385), RequestBytes::TooLong);
    }

    #[test]
    fn a_request_that_was_too_long_to_be_kept_is_no_other_request() {
        let read = |text: &str| serde_json::from_value::<RequestBytes>(text.into());
        assert_eq!(read(TOO_LONG).unwrap(), RequestBytes::TooLong);
        assert_eq!(read("YQ==").unwrap(), RequestBytes::Pem(b"a".to_vec()));
        assert_eq!(serde_json::from_str::<RequestBytes>("null").unwrap(), RequestBytes::Pem(Vec::new()));
        assert!(read("<too longer>").is_err() && read("YQ").is_err());
    }

    #[test]
    fn a_request_that_is_no_text_is_told_what_it_should_be() {
        let error = serde_json::from_str::<RequestBytes>("1").unwrap_err();
        assert!(error.to_string().contains("integer `1`, expected a base64-encoded string"), "{error}");
    }

    #[test]
    fn only_three_conditions_decide_whatever_their_status() {
        for (type_, decides) in [("Approved", true), ("Denied", true), ("Failed", true), ("Expiring", false)] {
            let csr = csr(Vec::new(), &json!({"conditions": [{"type": type_, "status": "False"}]}));
            assert_eq!((csr.has_condition(type_), csr.is_decided()), (true, decides), "{type_}");
        }
        assert!(!csr(Vec::new(), &json!({})).is_decided());
    }

    #[test]
    fn a_certificate_is_issued_where_there_is_any_text() {
        let issued = |status| csr(Vec::new(), &status).status.issued;
        assert!(issued(json!({"certificate": "LS0t"})));
        for status in [json!({"certificate": ""}), json!({"certificate": null}), json!({})] {
            assert!(!issued(status));
        }
    }

    #[test]
    fn tells_when_it_was_created() {
        assert_eq!(csr(Vec::new(), &json!({})).created(), "2026-01-02T03:04:05Z".parse().unwrap());
    }

    #[test]
    fn a_spec_takes_no_more_memory_than_it_needs() {
        let roomy = || String::with_capacity(100);
        let list = || {
            let mut list = Vec::with_capacity(100);
            list.push(roomy());
            list
        };
        let mut spec = Spec {
            request: RequestBytes::Pem(Vec::with_capacity(100)),
            signer_name: roomy(),
            username: roomy(),
            groups: list(),
            usages: list(),
            expiration_seconds: None,
        };
        spec.shrink();
        let RequestBytes::Pem(pem) = &spec.request else { panic!("{:?}", spec.request) };
        let texts = [&spec.signer_name, &spec.username, &spec.groups[0], &spec.usages[0]];
        assert_eq!((pem.capacity(), texts.map(String::capacity)), (0, [0; 4]));
        assert_eq!((spec.groups.capacity(), spec.usages.capacity()), (1, 1));
    }
}
