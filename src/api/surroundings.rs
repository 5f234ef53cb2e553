//! Objects that tell what no node may have: where Services and the API server are.

use std::collections::BTreeMap;

use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::core::ObjectMeta;
use serde::Deserialize;

/// A `networking.k8s.io/v1` ServiceCIDR, trimmed.
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceCidr {
    /// Name, uid, resourceVersion and timestamps.
    #[serde(deserialize_with = "super::metadata")]
    pub metadata: ObjectMeta,
    /// The ranges.
    #[serde(default)]
    pub spec: ServiceCidrSpec,
}

/// `spec` of a ServiceCIDR.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ServiceCidrSpec {
    /// Ranges of Service addresses, in CIDR notation.
    #[serde(default)]
    pub cidrs: Vec<String>,
}

/// A `discovery.k8s.io/v1` EndpointSlice, trimmed.
#[derive(Clone, Debug, Deserialize)]
pub struct EndpointSlice {
    /// Name, uid, resourceVersion and timestamps.
    #[serde(deserialize_with = "super::metadata")]
    pub metadata: ObjectMeta,
    /// The endpoints.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

/// One of an EndpointSlice's endpoints.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoint {
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// A `v1` Service, trimmed.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    /// Name, uid, resourceVersion and timestamps.
    #[serde(deserialize_with = "super::metadata")]
    pub metadata: ObjectMeta,
    /// What is asked for.
    #[serde(default)]
    pub spec: ServiceSpec,
    /// What was given.
    #[serde(default)]
    pub status: ServiceStatus,
}

/// `spec` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ServiceSpec {
    /// Addresses outside of the cluster's management that lead to the Service.
    #[serde(default, rename = "externalIPs")]
    pub external_ips: Vec<String>,
}

/// `status` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ServiceStatus {
    /// What a load balancer gave.
    #[serde(default, rename = "loadBalancer")]
    pub load_balancer: LoadBalancer,
}

/// `status.loadBalancer` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct LoadBalancer {
    /// Where it is reached.
    #[serde(default)]
    pub ingress: Vec<Ingress>,
}

/// One point of a load balancer.
#[derive(Clone, Debug, Deserialize)]
pub struct Ingress {
    /// Its address, where it has one.
    pub ip: Option<String>,
}

/// A `v1` ConfigMap.
#[derive(Clone, Debug, Deserialize)]
pub struct ConfigMap {
    /// Name, uid, resourceVersion and timestamps.
    #[serde(deserialize_with = "super::metadata")]
    pub metadata: ObjectMeta,
    /// Its texts.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
}

super::resource!(ServiceCidr, ClusterResourceScope, "networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs");
super::resource!(EndpointSlice, NamespaceResourceScope, "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
super::resource!(Service, NamespaceResourceScope, "", "v1", "Service", "services");
super::resource!(ConfigMap, NamespaceResourceScope, "", "v1", "ConfigMap", "configmaps");
