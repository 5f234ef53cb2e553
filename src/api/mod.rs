//! The API objects that decisions rest on, trimmed: only the fields that decide are read, straight from the
//! API server's JSON or a dump's YAML, and the rest (managedFields, images, labels nobody asks for) is never stored.

mod csr;
mod node;

pub use csr::{CertificateSigningRequest, Condition, KUBELET_SERVING, RequestBytes};
pub use node::Node;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use serde::{Deserialize, Deserializer};

/// Reads the five fields of metadata that are used and skips the others.
fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        name: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
    }
    let read = Metadata::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: read.name,
        uid: read.uid,
        resource_version: read.resource_version,
        creation_timestamp: read.creation_timestamp,
        deletion_timestamp: read.deletion_timestamp,
        ..ObjectMeta::default()
    })
}
