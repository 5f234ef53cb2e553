//! A Lease of the release's name that somebody else holds: nobody writes beside it, and the log says why.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{from_value, json};

use crate::fixture::{Installation, RELEASE, SOON};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::requests::Request;
use crate::harness::{account, kubectl, wait};

/// How often the stranger renews the Lease: well within what is seen as alive.
const RENEWAL: Duration = Duration::from_secs(2);

pub async fn holds_the_lease() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    kubectl::run(&control_plane.kubeconfig(), &["create", "namespace", account::NAMESPACE])?;
    let leases: Api<Lease> = Api::namespaced(control_plane.client(), account::NAMESPACE);
    let lease: Lease = from_value(json!({
        "metadata": {"name": RELEASE},
        "spec": {"holderIdentity": "stranger", "leaseDurationSeconds": 15},
    }))?;
    leases.create(&PostParams::default(), &lease).await?;
    let stranger = leases.clone();
    let renewing = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(RENEWAL);
        for round in 0_u64.. {
            ticks.tick().await;
            let time = format!("2026-01-01T00:{:02}:{:02}.000000Z", round / 60 % 60, round % 60);
            let renewal = Patch::Merge(json!({"spec": {"renewTime": time}}));
            // Without the Lease the test fails by itself.
            let _ = stranger.patch(RELEASE, &PatchParams::default(), &renewal).await;
        }
    });
    let mut installation = Installation::start_in(control_plane, &[]).await?;
    let cluster = &mut installation.cluster;
    cluster.controller.wait_until_leading(false).await?;
    let log = cluster.controller.process().log().to_owned();
    wait::until("the log to say who holds the Lease", SOON, async || {
        Ok(std::fs::read_to_string(&log)?.contains("standing by: stranger leads").then_some(()))
    })
    .await?;
    cluster.node("patient-1", &["patient-1"]).await?;
    let name = cluster.file_as_node("patient-1", &Request::of_node("patient-1").dns("patient-1")?).await?.name_any();
    // Time enough for an answer that must not be.
    let version = async || anyhow::Ok(leases.get(RELEASE).await?.metadata.resource_version);
    for _ in 0..2 {
        let before = version().await?;
        wait::until("the stranger to renew", SOON, async || Ok((version().await? != before).then_some(()))).await?;
    }
    ensure!(cluster.controller.process().exit_status()?.is_none(), "it has ended");
    cluster.ensure_pending(&name).await?;
    // The stranger is gone: what waited is answered.
    renewing.abort();
    cluster.answer(&name).await?.ensure_approved()
}
