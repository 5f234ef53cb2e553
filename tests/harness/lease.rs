//! The controller's Lease, taken from it and given back.

use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::account::NAMESPACE;

/// Takes the Lease for a day, so that whoever asks for it stands by: it knows everything and answers nothing.
pub async fn hold(admin: &Client) -> Result<()> {
    set_holder(admin, "harness").await
}

/// Gives it up, so that another one takes over.
pub async fn release(admin: &Client) -> Result<()> {
    set_holder(admin, "").await
}

async fn set_holder(admin: &Client, holder: &str) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(admin.clone(), NAMESPACE);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "countersign"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 24 * 3600},
    });
    let params = PatchParams::apply("harness").force();
    leases.patch("countersign", &params, &Patch::Apply(lease)).await?;
    Ok(())
}
