//! CertificateSigningRequests as the API server gives them, and what becomes of them.

use countersign::api::{CertificateSigningRequest, KUBELET_SERVING};
use countersign::identity::{Inventory, MachineIndex, NodeIndex, NodeRecord, Nodes, Protected, Resolutions};
use countersign::policy::{Budget, Evaluation, Facts, Policy, evaluate};
use countersign::request::Reading;
use countersign::verdict::{DeferReason, DenyReason, Unavailable, Verdict};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde_json::json;
use x509_cert::der::pem::{LineEnding, encode_string};

use super::der::Tlv;

/// A CertificateSigningRequest that only lacks being written down.
#[derive(Clone, Debug)]
pub struct Csr {
    pub signer_name: String,
    pub request: Vec<u8>,
    pub username: String,
    pub groups: Vec<String>,
    pub usages: Vec<String>,
    pub conditions: Vec<String>,
    pub expiration_seconds: Option<u32>,
}

impl Csr {
    /// What the kubelet of `worker-1` files, with these bytes for `spec.request`.
    pub fn with_request(request: impl Into<Vec<u8>>) -> Self {
        Self {
            signer_name: KUBELET_SERVING.to_owned(),
            request: request.into(),
            username: "system:node:worker-1".to_owned(),
            groups: owned(&["system:nodes", "system:authenticated"]),
            usages: owned(&["digital signature", "server auth"]),
            conditions: Vec::new(),
            expiration_seconds: None,
        }
    }

    /// The same with this DER for a request.
    pub fn with_der(der: &[u8]) -> Self {
        Self::with_request(pem(der))
    }

    /// The same with this CertificationRequest.
    pub fn of(request: &Tlv) -> Self {
        Self::with_der(&request.bytes())
    }

    /// The object as the API server's JSON gives it.
    pub fn object(&self) -> CertificateSigningRequest {
        let conditions: Vec<_> = self.conditions.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "csr-x7k2p", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "request": ByteString(self.request.clone()),
                "signerName": self.signer_name,
                "username": self.username,
                "groups": self.groups,
                "usages": self.usages,
                "expirationSeconds": self.expiration_seconds,
            },
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    /// What the request turns out to be.
    pub fn read(&self) -> Reading {
        Reading::of(&self.object())
    }

    /// What becomes of it in a [`Cluster`].
    pub fn judge<'c>(&self, cluster: &'c Cluster) -> Evaluation<'c> {
        evaluate(&self.read(), &cluster.facts(), &cluster.policy)
    }
}

/// All that a verdict rests on beside the request.
pub struct Cluster {
    pub nodes: NodeIndex,
    pub unavailable: Vec<Unavailable>,
    pub machines: MachineIndex,
    pub inventory: Option<Inventory>,
    pub budget: Option<Budget>,
    pub dns: Resolutions,
    pub protected: Protected,
    pub superseded: bool,
    pub policy: Policy,
}

impl Cluster {
    /// What a decision sees of it.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            now: Timestamp::UNIX_EPOCH,
            nodes: Nodes::new(&self.nodes, &[]),
            unavailable: &self.unavailable,
            machines: &self.machines,
            machines_unavailable: &[],
            inventory: self.inventory.as_ref(),
            dns: &self.dns,
            protected: &self.protected,
            superseded: self.superseded,
            budget: self.budget.as_ref(),
        }
    }
}

impl Default for Cluster {
    /// Two nodes, the Services' usual range and the shortest policy there is.
    fn default() -> Self {
        let mut nodes = NodeIndex::default();
        nodes.apply(node("worker-1", &["worker-1", "worker-1.example.com", "10.0.0.1", "fd00::1"], false), 0);
        nodes.apply(node("worker-2", &["worker-2", "10.0.0.2"], false), 0);
        Self {
            nodes,
            unavailable: Vec::new(),
            machines: MachineIndex::default(),
            inventory: None,
            budget: None,
            dns: Resolutions::default(),
            protected: Protected::new("cluster.local".parse().unwrap(), vec!["10.96.0.0/12".parse().unwrap()]),
            superseded: false,
            policy: Policy::load(b"apiVersion: countersign/v1\nkind: ServingPolicy\nrules: [{name: all}]\n").unwrap(),
        }
    }
}

/// A Node with these `status.addresses`.
pub fn node(name: &str, addresses: &[&str], deleting: bool) -> NodeRecord {
    let addresses: Vec<_> = addresses.iter().map(|a| json!({"type": "InternalIP", "address": a})).collect();
    let deletion = deleting.then_some("2026-01-01T00:00:00Z");
    let node = json!({
        "metadata": {"name": name, "uid": format!("uid-of-{name}"), "deletionTimestamp": deletion},
        "status": {"addresses": addresses},
    });
    NodeRecord::read(&serde_json::from_value(node).unwrap()).unwrap()
}

/// The one PEM encoding of a request that is taken.
pub fn pem(der: &[u8]) -> String {
    encode_string("CERTIFICATE REQUEST", LineEnding::LF, der).unwrap()
}

/// The name of the verdict, the names of its reasons, and the sentence that people read.
pub fn describe(evaluation: &Evaluation<'_>) -> (&'static str, Vec<&'static str>, String) {
    match &evaluation.verdict {
        Verdict::Approve(approval) => ("approve", vec![], approval.to_string()),
        Verdict::Deny(reasons) => ("deny", reasons.iter().map(DenyReason::as_str).collect(), reasons.to_string()),
        Verdict::Defer(reasons) => ("defer", reasons.iter().map(DeferReason::as_str).collect(), reasons.to_string()),
        Verdict::Ignore(reason) => ("ignore", vec![], format!("{reason:?}")),
    }
}

pub fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
