//! The API objects that decisions rest on, trimmed: only the fields that decide are read, straight from the
//! API server's JSON or a dump's YAML, and the rest (managedFields, images, annotations) is never stored.

/// Implements what the client library has to know of a kind.
macro_rules! resource {
    ($type:ty, $scope:ty, $group:literal, $version:literal, $kind:literal, $plural:literal) => {
        impl kube_core::Resource for $type {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
use resource;

mod csr;
mod machine;
mod node;
mod surroundings;

pub use csr::{CertificateSigningRequest, Condition, KUBELET_SERVING, MAX_CSR_NAME, RequestBytes, Spec as RequestSpec};
pub use machine::Machine;
pub use node::Node;
pub use surroundings::{ConfigMap, EndpointSlice, Service, ServiceCidr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

use kube_core::ObjectMeta;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// What stands in an object in place of a text that was too long to be kept. It is no base64, no name and no address, so
/// that it is not taken for a text that somebody wrote; where any text would do, it is read as none.
pub const TOO_LONG: &str = "<too long>";

/// A text that may be any, and none where it was too long.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|text| text != TOO_LONG))
}

/// Reads the fields of metadata that are used, of some only whether they are there: those are empty then.
fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", expecting = "the metadata of an object")]
    struct Metadata {
        #[serde(default, deserialize_with = "text")]
        name: Option<String>,
        generate_name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        labels: Option<BTreeMap<String, String>>,
        annotations: Option<IgnoredAny>,
        owner_references: Option<IgnoredAny>,
        finalizers: Option<IgnoredAny>,
    }
    let read = Metadata::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: read.name,
        generate_name: read.generate_name,
        namespace: read.namespace,
        uid: read.uid,
        resource_version: read.resource_version,
        creation_timestamp: read.creation_timestamp,
        deletion_timestamp: read.deletion_timestamp,
        labels: read.labels,
        annotations: read.annotations.map(|_| BTreeMap::new()),
        owner_references: read.owner_references.map(|_| Vec::new()),
        finalizers: read.finalizers.map(|_| Vec::new()),
        ..ObjectMeta::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_a_provider_id_that_was_too_long_is_none() {
        let node = |text| {
            let node = serde_json::json!({"metadata": {"name": text}, "spec": {"providerID": text}});
            let node: Node = serde_json::from_value(node.clone()).unwrap();
            (node.metadata.name, node.spec.provider_id)
        };
        assert_eq!(node("a"), (Some("a".to_owned()), Some("a".to_owned())));
        assert_eq!(node(TOO_LONG), (None, None));
        let machine = serde_json::json!({"metadata": {}, "spec": {"providerID": TOO_LONG}});
        assert_eq!(serde_json::from_value::<Machine>(machine).unwrap().spec.provider_id, None);
    }

    #[test]
    fn keeps_what_tells_objects_apart_and_skips_what_is_large() {
        let service = serde_json::json!({
            "metadata": {
                "name": "a-1", "generateName": "a-", "namespace": "b", "uid": "c", "resourceVersion": "1",
                "labels": {"d": "e"},
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
                "annotations": {"f": "g"}, "ownerReferences": [{"name": "h"}], "finalizers": ["i"],
                "managedFields": [{"manager": "j"}],
            },
        });
        let metadata = serde_json::from_value::<Service>(service).unwrap().metadata;
        let names = [metadata.name, metadata.generate_name, metadata.namespace];
        assert_eq!(names.map(Option::unwrap), ["a-1", "a-", "b"]);
        assert_eq!((metadata.uid.as_deref(), metadata.resource_version.as_deref()), (Some("c"), Some("1")));
        let times = [metadata.creation_timestamp, metadata.deletion_timestamp].map(|time| time.unwrap().0);
        assert_eq!(times.map(|time| time.to_string()), ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]);
        assert_eq!(metadata.labels.map(|labels| labels.len()), Some(1));
        let others = [
            metadata.annotations.map(|annotations| annotations.len()),
            metadata.owner_references.map(|owners| owners.len()),
            metadata.finalizers.map(|finalizers| finalizers.len()),
        ];
        assert_eq!(others, [Some(0); 3]);
        assert!(metadata.managed_fields.is_none());
    }

    #[test]
    fn what_is_not_there_is_not_there_for_all_that() {
        let service = serde_json::json!({"metadata": {"annotations": null}});
        let metadata = serde_json::from_value::<Service>(service).unwrap().metadata;
        assert_eq!(metadata, ObjectMeta::default());
    }
}
