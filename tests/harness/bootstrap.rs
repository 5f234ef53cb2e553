//! What kubeadm sets up so that nodes can join by TLS bootstrap.

use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{from_value, json};

const TOKEN_ID: &str = "joinme";
const TOKEN_SECRET: &str = "0123456789abcdef";
const JOINING_NODES: &str = "system:bootstrappers:kubeadm:default-node-token";
const APPROVABLE: &str = "system:certificates.k8s.io:certificatesigningrequests";

/// Makes a bootstrap token, and lets whoever has it obtain a node's client certificate.
pub async fn allow_nodes_to_join(admin: &Client) -> Result<String> {
    let first = format!("{APPROVABLE}:nodeclient");
    let renewal = format!("{APPROVABLE}:selfnodeclient");
    let bindings = [
        ("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", JOINING_NODES),
        ("kubeadm:node-autoapprove-bootstrap", first.as_str(), JOINING_NODES),
        ("kubeadm:node-autoapprove-certificate-rotation", renewal.as_str(), "system:nodes"),
    ];
    try_join_all(bindings.map(|(name, role, group)| bind(admin, name, role, group))).await?;
    let secret: Secret = from_value(json!({
        "metadata": {"name": format!("bootstrap-token-{TOKEN_ID}")},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": TOKEN_ID,
            "token-secret": TOKEN_SECRET,
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": JOINING_NODES,
        },
    }))?;
    Api::namespaced(admin.clone(), "kube-system").create(&PostParams::default(), &secret).await?;
    Ok(format!("{TOKEN_ID}.{TOKEN_SECRET}"))
}

async fn bind(admin: &Client, name: &str, role: &str, group: &str) -> Result<()> {
    let binding: ClusterRoleBinding = from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    }))?;
    Api::all(admin.clone()).create(&PostParams::default(), &binding).await?;
    Ok(())
}
