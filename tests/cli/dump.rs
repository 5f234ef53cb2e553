//! Dumps of clusters that do not exist.

use countersign::cases::Request;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// What kubectl would print of a cluster.
#[derive(Clone, Default)]
pub struct Dump(Vec<Value>);

/// An answer that a request has.
pub struct Answer {
    pub type_: &'static str,
    pub reason: &'static str,
    /// How long ago.
    pub ago: SignedDuration,
}

/// So long ago that the age does not change while a test runs.
pub const AGO: SignedDuration = SignedDuration::from_secs(90 * 60 + 30);

/// A time as the API server writes it.
pub fn time(ago: SignedDuration) -> String {
    format!("{:.0}", Timestamp::now() - ago)
}

impl Dump {
    /// With a Node of these addresses.
    pub fn node(self, name: &str, addresses: &[&str]) -> Self {
        self.node_with(name, addresses, &json!({}))
    }

    /// With a Node of these addresses and labels.
    pub fn node_with(self, name: &str, addresses: &[&str], labels: &Value) -> Self {
        let addresses: Vec<_> = addresses.iter().map(|it| json!({"type": "InternalIP", "address": it})).collect();
        self.object(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "uid": format!("uid-of-{name}"), "labels": labels},
            "spec": {}, "status": {"addresses": addresses},
        }))
    }

    /// With a request, in the words of a case file, filed so long ago.
    pub fn request(self, name: &str, ago: SignedDuration, request: Value) -> Self {
        let request: Request = serde_json::from_value(request).unwrap();
        let mut object = request.object().unwrap();
        object["metadata"]["name"] = name.into();
        object["metadata"]["creationTimestamp"] = time(ago).into();
        self.object(object)
    }

    /// With a request that has an answer.
    pub fn answered(self, name: &str, ago: SignedDuration, request: Value, answer: &Answer) -> Self {
        let mut dump = self.request(name, ago, request);
        dump.0.last_mut().unwrap()["status"] = json!({
            "conditions": [{
                "type": answer.type_, "status": "True", "reason": answer.reason, "message": "by hand",
                "lastUpdateTime": time(answer.ago),
            }],
        });
        dump
    }

    /// With any object.
    pub fn object(mut self, object: Value) -> Self {
        self.0.push(object);
        self
    }

    /// With what tells where Services and the API server are.
    pub fn surroundings(self) -> Self {
        self.object(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": ["10.96.0.0/12"]},
        }))
        .object(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "endpoints": [{"addresses": ["10.0.0.100"]}],
        }))
        .object(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster-info", "namespace": "kube-public"},
            "data": {},
        }))
    }

    /// As `kubectl get … -o json` prints it.
    pub fn json(&self) -> String {
        json!({"apiVersion": "v1", "items": self.0, "kind": "List", "metadata": {"resourceVersion": ""}}).to_string()
    }

    /// As `kubectl get … -o yaml` prints it.
    pub fn yaml(&self) -> String {
        serde_yaml::to_string(&serde_json::from_str::<Value>(&self.json()).unwrap()).unwrap()
    }
}
