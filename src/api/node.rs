use std::borrow::Cow;

use k8s_openapi::ClusterResourceScope;
use kube::core::{ObjectMeta, Resource};
use serde::Deserialize;

/// A `v1` Node, trimmed.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Name, uid, resourceVersion and timestamps.
    #[serde(deserialize_with = "super::metadata")]
    pub metadata: ObjectMeta,
    /// What the kubelet, or a cloud controller, says of the node.
    #[serde(default)]
    pub status: Status,
}

/// `status` of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    /// Host names and addresses.
    #[serde(default)]
    pub addresses: Vec<Address>,
}

/// One of a Node's `status.addresses`. Its type (Hostname, InternalIP, …) is not read: a kubelet asks for them all alike.
#[derive(Clone, Debug, Deserialize)]
pub struct Address {
    /// A host name or an IP address.
    pub address: String,
}

impl Resource for Node {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Node".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "nodes".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
