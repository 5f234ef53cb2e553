use k8s_openapi::ClusterResourceScope;
use kube_core::ObjectMeta;
use serde::Deserialize;

/// A `v1` Node, trimmed.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Name, uid, resourceVersion and timestamps.
    #[serde(deserialize_with = "super::metadata")]
    pub metadata: ObjectMeta,
    /// What was assigned to the node.
    #[serde(default)]
    pub spec: Spec,
    /// What the kubelet, or a cloud controller, says of the node.
    #[serde(default)]
    pub status: Status,
}

/// `spec` of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Spec {
    /// The ranges of the node's pods, in CIDR notation.
    #[serde(default, rename = "podCIDRs")]
    pub pod_cidrs: Vec<String>,
    /// What the infrastructure calls the machine that the node runs on.
    #[serde(default, rename = "providerID", deserialize_with = "super::text")]
    pub provider_id: Option<String>,
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

super::resource!(Node, ClusterResourceScope, "", "v1", "Node", "nodes");
