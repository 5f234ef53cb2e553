//! Objects that tell what no node may have: where Services and the API server are.

use std::collections::BTreeMap;

use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube_core::ObjectMeta;
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

impl EndpointSlice {
    /// The namespace of the API server's own endpoints.
    pub const NAMESPACE: &str = "default";
    /// The label by which the API server's endpoints are selected.
    pub const OF_API_SERVER: &str = "kubernetes.io/service-name=kubernetes";

    /// Whether these are endpoints of the API server.
    #[must_use]
    pub fn is_of_api_server(&self) -> bool {
        let selected = |(key, value): (&String, &String)| format!("{key}={value}") == Self::OF_API_SERVER;
        let labels = self.metadata.labels.iter().flatten();
        self.metadata.namespace.as_deref() == Some(Self::NAMESPACE) && labels.into_iter().any(selected)
    }
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

impl ConfigMap {
    /// The namespace of what is told to everybody who wants to join.
    pub const NAMESPACE: &str = "kube-public";
    /// The name of the ConfigMap with the kubeconfig that nodes join with.
    pub const CLUSTER_INFO: &str = "cluster-info";

    /// Whether it is the one that nodes join with.
    #[must_use]
    pub fn is_cluster_info(&self) -> bool {
        let metadata = &self.metadata;
        metadata.namespace.as_deref() == Some(Self::NAMESPACE) && metadata.name.as_deref() == Some(Self::CLUSTER_INFO)
    }
}

super::resource!(ServiceCidr, ClusterResourceScope, "networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs");
super::resource!(EndpointSlice, NamespaceResourceScope, "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
super::resource!(Service, NamespaceResourceScope, "", "v1", "Service", "services");
super::resource!(ConfigMap, NamespaceResourceScope, "", "v1", "ConfigMap", "configmaps");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_api_servers_endpoints_are_those_of_one_service_in_one_namespace() {
        let is_of_api_server = |namespace: &str, label: &str, value: &str| {
            let slice = json!({"metadata": {"namespace": namespace, "labels": {"a": "b", label: value}}});
            serde_json::from_value::<EndpointSlice>(slice).unwrap().is_of_api_server()
        };
        assert!(is_of_api_server("default", "kubernetes.io/service-name", "kubernetes"));
        assert!(!is_of_api_server("team", "kubernetes.io/service-name", "kubernetes"));
        assert!(!is_of_api_server("default", "kubernetes.io/service-name", "vault"));
        assert!(!is_of_api_server("default", "service-name", "kubernetes"));
    }

    #[test]
    fn nodes_join_with_one_config_map_in_one_namespace() {
        let is_cluster_info = |namespace: &str, name: &str| {
            let map = json!({"metadata": {"namespace": namespace, "name": name}});
            serde_json::from_value::<ConfigMap>(map).unwrap().is_cluster_info()
        };
        assert!(is_cluster_info("kube-public", "cluster-info"));
        assert!(!is_cluster_info("team", "cluster-info"));
        assert!(!is_cluster_info("kube-public", "kube-root-ca.crt"));
    }
}
