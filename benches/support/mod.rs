//! A cluster of any size, a policy of many rules, and a request that the last of them allows.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use countersign::api::CertificateSigningRequest;
use countersign::identity::{NodeIndex, NodeRecord};
use countersign::policy::Policy;
use serde_json::json;
use x509_cert::der::pem::decode_vec;

use crate::common::csr::{Cluster, Csr};
use crate::common::der::split;

/// The rules of [`policy`].
pub const RULES: usize = 50;

/// The node whose request is judged.
const NODE: usize = 7;

/// A cluster of this many Nodes with the names, addresses, ranges of pods and labels that Nodes of a cloud have.
pub fn cluster(nodes: usize) -> Cluster {
    let mut index = NodeIndex::default();
    for node in 0..nodes {
        index.apply(record(node), 0);
    }
    Cluster { nodes: index, policy: policy(), ..Cluster::default() }
}

/// A request of [`NODE`]'s kubelet, always the same one: keys and signatures made anew would make the counts differ.
///
/// Made with `openssl req -new -nodes -keyout /dev/null -sha256 -newkey <kind>
/// -subj /O=system:nodes/CN=system:node:worker-00007
/// -addext subjectAltName=DNS:worker-00007,DNS:worker-00007.example.com,IP:10.0.0.7,IP:fd00::7`.
pub struct Filed {
    pub csr: CertificateSigningRequest,
    algorithm: &'static dyn VerificationAlgorithm,
    der: Vec<u8>,
}

impl Filed {
    /// Of this kind of key: `ecdsa-p256` or `rsa-2048`.
    pub fn of(kind: &str) -> Self {
        let (pem, algorithm): (_, &dyn VerificationAlgorithm) = match kind {
            "rsa-2048" => (include_str!("rsa-2048.pem"), &RSA_PKCS1_2048_8192_SHA256),
            _ => (include_str!("ecdsa-p256.pem"), &ECDSA_P256_SHA256_ASN1),
        };
        let csr = Csr { username: format!("system:node:{}", name(NODE)), ..Csr::with_request(pem) }.object();
        let (_, der) = decode_vec(pem.as_bytes()).unwrap();
        Self { csr, algorithm, der }
    }

    /// What its signature is verified with, and does nothing else.
    pub fn verification(&self) -> impl Fn() {
        let content = |bytes| split(bytes).unwrap();
        let (_, request, _) = content(&self.der);
        let (_, whole_info, after_info) = content(request);
        let info = &request[..request.len() - after_info.len()];
        let (_, _, after_algorithm) = content(after_info);
        let (_, signature, _) = content(after_algorithm);
        // Behind the version and the subject.
        let (_, public_key, _) = content(content(content(whole_info).2).2);
        let (_, _, key) = content(public_key);
        let (_, key, _) = content(key);
        // Both are BIT STRINGs, which begin with the number of unused bits.
        let key = UnparsedPublicKey::new(self.algorithm, &key[1..]);
        move || key.verify(info, &signature[1..]).unwrap()
    }
}

fn name(node: usize) -> String {
    format!("worker-{node:05}")
}

fn address(node: usize) -> [u8; 4] {
    let [.., high, low] = node.to_be_bytes();
    [10, 0, high, low]
}

fn address6(node: usize) -> [u8; 16] {
    let [.., high, low] = node.to_be_bytes();
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low]
}

fn record(node: usize) -> NodeRecord {
    let (name, [.., high, low]) = (name(node), node.to_be_bytes());
    let addresses = [
        name.clone(),
        format!("{name}.example.com"),
        std::net::IpAddr::from(address(node)).to_string(),
        std::net::IpAddr::from(address6(node)).to_string(),
    ];
    let object = json!({
        "metadata": {"name": name, "uid": format!("00000000-0000-4000-8000-{node:012}"), "labels": labels(node)},
        "spec": {
            "podCIDRs": [format!("100.{}.{low}.0/24", 64 + usize::from(high)), format!("fd01:0:0:{node:x}::/64")],
            "providerID": format!("example:///zone-{}/{name}", node % 3),
        },
        "status": {"addresses": addresses.map(|address| json!({"type": "InternalIP", "address": address}))},
    });
    NodeRecord::read(&serde_json::from_value(object).unwrap()).unwrap()
}

fn labels(node: usize) -> serde_json::Value {
    json!({
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/instance-type": "standard-8",
        "beta.kubernetes.io/os": "linux",
        "failure-domain.beta.kubernetes.io/region": "region-1",
        "failure-domain.beta.kubernetes.io/zone": format!("zone-{}", node % 3),
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name(node),
        "kubernetes.io/os": "linux",
        "node-restriction.kubernetes.io/pool": "last",
        "node.kubernetes.io/instance-type": "standard-8",
        "topology.kubernetes.io/region": "region-1",
        "topology.kubernetes.io/zone": format!("zone-{}", node % 3),
    })
}

/// A policy of which only the last rule matches: half of the others are about nodes of other names, half about nodes with
/// other labels.
fn policy() -> Policy {
    let rules: Vec<_> = (1..=RULES)
        .map(|rule| {
            let pool = if rule == RULES { "last".to_owned() } else { format!("pool-{rule}") };
            let names = if rule % 2 == 0 { "worker-*".to_owned() } else { format!("{pool}-*.example.com") };
            json!({
                "name": pool,
                "match": {
                    "nodeNames": [names],
                    "nodeSelector": {"matchLabels": {"node-restriction.kubernetes.io/pool": pool}},
                },
                "dnsNames": {"patterns": ["{node}", "{node}.example.com"], "max": 4},
                "ipAddresses": {"ranges": ["10.0.0.0/16", "fd00::/64"], "max": 4},
            })
        })
        .collect();
    let policy = json!({"apiVersion": "countersign/v1", "kind": "ServingPolicy", "rules": rules});
    Policy::load(policy.to_string().as_bytes()).unwrap()
}
