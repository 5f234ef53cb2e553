//! Nodes and requests as kubectl prints them.

use anyhow::{Context as _, Result, anyhow};
use countersign::cases::Request;
use serde_json::{Value, json};

use crate::Format;
use crate::node::{address, name};

/// One object's text, into which what differs between objects is filled in.
pub struct Template(String);

impl Template {
    /// An item of a List, indented as kubectl does.
    pub fn of(object: &Value, format: Format) -> Result<Self> {
        let text = match format {
            Format::Json => {
                let mut text = Vec::new();
                let indented = serde_json::ser::PrettyFormatter::with_indent(b"    ");
                let mut serializer = serde_json::Serializer::with_formatter(&mut text, indented);
                serde::Serialize::serialize(object, &mut serializer)?;
                String::from_utf8(text)?.lines().map(|line| format!("        {line}")).collect::<Vec<_>>().join("\n")
            }
            Format::Yaml => format!("- {}\n", serde_yaml::to_string(object)?.trim_end().replace('\n', "\n  ")),
        };
        Ok(Self(text))
    }

    /// The text with these words in the place of others.
    pub fn fill(&self, words: &[(&str, String)]) -> String {
        words.iter().fold(self.0.clone(), |text, (from, to)| text.replace(from, to))
    }
}

/// A request that was approved and issued.
pub fn request() -> Value {
    json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {
            "creationTimestamp": "2026-01-02T00:00:00Z", "generateName": "csr-", "name": "CSRNAME",
            "resourceVersion": "123456789", "uid": "6f3e9d0a-7b53-4c1d-9d0e-0f5a3c2b1a90",
        },
        "spec": {
            "groups": ["system:nodes", "system:authenticated"], "request": "CSRBYTES",
            "signerName": "kubernetes.io/kubelet-serving", "usages": ["digital signature", "server auth"],
            "username": "system:node:NODENAME",
        },
        "status": {
            "certificate": "TEFSR0UK".repeat(180),
            "conditions": [{
                "lastTransitionTime": "2026-01-02T00:00:00Z", "lastUpdateTime": "2026-01-02T00:00:00Z",
                "message": "This CSR was approved by kubectl certificate approve.", "reason": "KubectlApprove",
                "status": "True", "type": "Approved",
            }],
        },
    })
}

/// What is filled into the template of a request. Each node has one or two; every hundredth asks for too much.
pub fn of_request(number: usize, nodes: usize) -> Result<Vec<(&'static str, String)>> {
    let node = number % nodes;
    let dns = if number % 100 == 99 { "kubernetes.default.svc".to_owned() } else { name(node) };
    let short = json!({"node": name(node), "dns": [dns], "ip": [address(node)]});
    let request: Request = serde_json::from_value(short)?;
    let object = request.object().map_err(|error| anyhow!(error))?;
    let bytes = object.pointer("/spec/request").and_then(Value::as_str).context("a request without a request")?;
    Ok(vec![("CSRNAME", format!("csr-{number:05}")), ("NODENAME", name(node)), ("CSRBYTES", bytes.to_owned())])
}
