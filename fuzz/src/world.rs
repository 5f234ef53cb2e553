//! A small cluster in which a hostile Node claims much, and the requests that its kubelet may file.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::LazyLock;

use countersign::api::{CertificateSigningRequest, KUBELET_SERVING};
use countersign::identity::{Inventory, MachineIndex, NodeIndex, NodeRecord, Nodes, Protected, Resolutions};
use countersign::policy::{Facts, Policy, evaluate};
use countersign::request::Reading;
use countersign::verdict::Verdict;
use serde_json::{Value, json};

use super::der::{COMMON_NAME, ORGANIZATION, information, pem, signed};

/// The Node that asks.
pub const ASKING: &str = "worker-1";
/// What is its own.
pub const OWN: [&str; 4] = ["worker-1", "worker-1.example.com", "10.0.0.1", "fd00::1"];
/// What it lists too: another Node's, seen there before, and what no node may have.
const CLAIMED: [&str; 13] = [
    "worker-2",
    "worker-2.example.com",
    "10.0.0.2",
    "10.244.2.9",
    "kubernetes.default.svc",
    "webhook.team.svc",
    "a.cluster.local",
    "localhost",
    "127.0.0.1",
    "10.96.0.1",
    "169.254.169.254",
    "fe80::1",
    "::1",
];
/// What the other Node lists.
pub const OTHERS: [&str; 3] = ["worker-2", "worker-2.example.com", "10.0.0.2"];
/// The range of the other Node's pods.
const PODS: &str = "10.244.2.0/24";

/// The policy that asks for nothing but what is always asked for.
pub static ANY: LazyLock<Policy> =
    LazyLock::new(|| Policy::load(b"apiVersion: countersign/v1\nkind: ServingPolicy\nrules: [{name: all}]\n").unwrap());

/// Requests of the asking Node's kubelet: everything that is its own, and each name and address by itself.
pub static REQUESTS: LazyLock<Vec<(BTreeSet<String>, Reading)>> = LazyLock::new(|| {
    let alone = OWN.iter().chain(&CLAIMED).map(|san| vec![*san]);
    std::iter::once(OWN.to_vec()).chain(alone).map(|sans| (texts(&sans), Reading::of(&honest(&sans)))).collect()
});

/// What decisions rest on.
pub struct World {
    nodes: NodeIndex,
    machines: MachineIndex,
    dns: Resolutions,
    protected: Protected,
    pub inventory: Option<Inventory>,
}

impl World {
    /// The other Node, and then the asking one.
    pub fn new() -> Self {
        let mut world = Self::without_the_asking_node();
        world.add(&node(ASKING, &[&OWN[..], &CLAIMED[..]].concat(), &[]));
        world
    }

    pub fn without_the_asking_node() -> Self {
        let protected = Protected::new("cluster.local".parse().unwrap(), vec!["10.96.0.0/12".parse().unwrap()]);
        let mut world = Self {
            nodes: NodeIndex::default(),
            machines: MachineIndex::default(),
            dns: Resolutions::default(),
            protected,
            inventory: None,
        };
        world.add(&node("worker-2", &OTHERS, &[PODS]));
        world
    }

    /// Sees a Node after all others.
    pub fn add(&mut self, node: &Value) {
        if let Ok(node) = serde_json::from_value(node.clone())
            && let Some(record) = NodeRecord::read(&node)
        {
            let moment = self.nodes.names().count() as u64;
            self.nodes.apply(record, moment);
        }
    }

    pub fn approves(&self, reading: &Reading, policy: &Policy) -> bool {
        let facts = Facts {
            now: jiff::Timestamp::UNIX_EPOCH,
            nodes: Nodes::new(&self.nodes, &[]),
            unavailable: &[],
            machines: &self.machines,
            machines_unavailable: &[],
            inventory: self.inventory.as_ref(),
            dns: &self.dns,
            protected: &self.protected,
            superseded: false,
            budget: None,
        };
        matches!(evaluate(reading, &facts, policy).verdict, Verdict::Approve(_))
    }
}

/// A request as the API server gives it.
pub fn csr(request: &[u8], username: &str, groups: &[String], usages: &[String]) -> CertificateSigningRequest {
    serde_json::from_value(json!({
        "metadata": {"name": "csr-x7k2p", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "request": k8s_openapi::ByteString(request.to_vec()),
            "signerName": KUBELET_SERVING,
            "username": username,
            "groups": groups,
            "usages": usages,
        },
    }))
    .unwrap()
}

/// What the kubelet files for these names and addresses.
fn honest(sans: &[&str]) -> CertificateSigningRequest {
    let names: Vec<(u8, Vec<u8>)> = sans
        .iter()
        .map(|san| match san.parse() {
            Ok(IpAddr::V4(v4)) => (0x87, v4.octets().to_vec()),
            Ok(IpAddr::V6(v6)) => (0x87, v6.octets().to_vec()),
            Err(_) => (0x82, san.as_bytes().to_vec()),
        })
        .collect();
    let names: Vec<(u8, &[u8])> = names.iter().map(|(tag, name)| (*tag, name.as_slice())).collect();
    let username = format!("system:node:{ASKING}");
    let subject = [(ORGANIZATION, 0x13, &b"system:nodes"[..]), (COMMON_NAME, 0x13, username.as_bytes())];
    let request = pem(&signed(&information(subject, false, &names)));
    csr(request.as_bytes(), &username, &texts_of(&["system:nodes"]), &texts_of(&["digital signature", "server auth"]))
}

fn node(name: &str, addresses: &[&str], pods: &[&str]) -> Value {
    let addresses: Vec<_> = addresses.iter().map(|it| json!({"type": "InternalIP", "address": it})).collect();
    json!({"metadata": {"name": name}, "spec": {"podCIDRs": pods}, "status": {"addresses": addresses}})
}

pub fn texts_of(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn texts(sans: &[&str]) -> BTreeSet<String> {
    sans.iter().map(|san| (*san).to_owned()).collect()
}
