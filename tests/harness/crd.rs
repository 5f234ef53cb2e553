//! Kinds of object that the API server does not have by itself.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use serde_json::{from_value, json};

use super::control_plane::PATIENCE;
use super::wait;

/// Installs a namespaced kind in these versions, the last of which is stored, and waits until it is served. Any content is taken.
pub async fn install(admin: &Client, group: &str, kind: &str, versions: &[&str]) -> Result<()> {
    let plural = format!("{}s", kind.to_lowercase());
    let versions: Vec<_> = versions
        .iter()
        .enumerate()
        .map(|(position, version)| {
            json!({
                "name": version, "served": true, "storage": position + 1 == versions.len(),
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            })
        })
        .collect();
    let crd: CustomResourceDefinition = from_value(json!({
        "metadata": {
            "name": format!("{plural}.{group}"),
            // Some groups are kept for Kubernetes' own, unless they name the review that allowed them.
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": group, "scope": "Namespaced", "versions": versions,
            "names": {
                "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List"),
            },
        },
    }))?;
    create(admin, &crd).await
}

/// Installs a kind as its makers publish it.
pub async fn install_file(admin: &Client, file: &Path) -> Result<()> {
    let text = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    create(admin, &serde_yaml::from_slice(&text)?).await
}

async fn create(admin: &Client, crd: &CustomResourceDefinition) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(admin.clone());
    crds.create(&PostParams::default(), crd).await?;
    let name = crd.name_any();
    wait::until(&format!("{name} to be served"), PATIENCE, async || {
        let conditions = crds.get_status(&name).await?.status.and_then(|status| status.conditions);
        let established = conditions.iter().flatten().any(|it| it.type_ == "Established" && it.status == "True");
        Ok(established.then_some(()))
    })
    .await
}
