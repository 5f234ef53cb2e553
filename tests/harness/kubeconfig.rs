//! Kubeconfigs, and clients made from them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::pki::Identity;

/// How somebody proves who they are.
pub enum Credentials {
    /// By a client certificate.
    Certificate(Identity),
    /// By a bearer token.
    Token(String),
}

/// A kubeconfig for the server at `url`.
pub fn build(url: &str, ca_pem: &str, credentials: Credentials) -> Value {
    let encode = |text: String| ByteString(text.into_bytes());
    let user = match credentials {
        Credentials::Certificate(Identity { certificate, key }) => {
            json!({"client-certificate-data": encode(certificate), "client-key-data": encode(key)})
        }
        Credentials::Token(token) => json!({"token": token}),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": encode(ca_pem.to_owned())}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    })
}

/// Writes a kubeconfig: as JSON, which is YAML too.
pub fn write(kubeconfig: &Value, path: &Path) -> Result<()> {
    fs::write(path, kubeconfig.to_string()).with_context(|| format!("write {}", path.display()))
}

/// Has a kubeconfig reach its cluster by another URL.
pub fn set_server(path: &Path, url: &str) -> Result<()> {
    let mut kubeconfig: Value = serde_json::from_slice(&fs::read(path)?)?;
    *kubeconfig.pointer_mut("/clusters/0/cluster/server").context("a kubeconfig without a server")? = url.into();
    write(&kubeconfig, path)
}

/// A client that fails soon instead of trying again for minutes.
pub async fn client(kubeconfig: &Value) -> Result<Client> {
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig.clone())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(Client::try_from(config)?)
}
