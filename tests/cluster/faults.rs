//! Something stops, and nothing is lost.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use libtest_mimic::Trial;

use crate::fixture::{Cluster, SOON, alone};
use crate::harness::control_plane::Options;
use crate::harness::requests::Request;
use crate::harness::{plain_http, wait};

pub fn trials() -> Vec<Trial> {
    vec![
        alone("faults::a_controller_that_was_killed_answers_what_came_meanwhile", controller_killed),
        alone("faults::an_api_server_restart_is_survived", api_server_restarted),
        alone("faults::sigterm_ends_it_cleanly", terminated),
    ]
}

async fn controller_killed() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.node("killed-1", &["killed-1", "10.12.1.1"]).await?;
    let request = Request::of_node("killed-1").dns("killed-1")?.ip([10, 12, 1, 1]);
    cluster.answer_to("killed-1", &request).await?.ensure_approved()?;

    // Created while it is stopped, so that it is killed with the request unanswered for certain.
    cluster.controller.process().pause()?;
    let honest = cluster.file_as_node("killed-1", &request).await?.name_any();
    let hostile = cluster.file_as_node("killed-1", &request.clone().dns("kubernetes.default.svc")?).await?.name_any();
    cluster.controller.process().kill()?;
    cluster.ensure_pending(&honest).await?;
    cluster.controller.process().restart()?;
    cluster.answer(&honest).await?.ensure_approved()?;
    cluster.answer(&hostile).await?.ensure_denied("ProtectedName", "kubernetes.default.svc")
}

async fn api_server_restarted() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.node("survivor-1", &["survivor-1", "10.12.2.1"]).await?;
    let request = Request::of_node("survivor-1").dns("survivor-1")?.ip([10, 12, 2, 1]);
    cluster.answer_to("survivor-1", &request).await?.ensure_approved()?;

    cluster.control_plane.api_server().kill()?;
    let admin = cluster.controller.admin_address();
    // The watches notice one after another.
    wait::until("/readyz to tell of every broken watch", SOON, async || {
        let (status, text) = plain_http::get(admin, "/readyz").await?;
        let broken = ["nodes", "certificatesigningrequests", "servicecidrs", "endpointslices", "configmaps"]
            .iter()
            .all(|kind| text.contains(&format!("[-] {kind} not followed: ")));
        Ok((status == 503 && broken).then_some(()))
    })
    .await?;
    let (alive, _) = plain_http::get(admin, "/healthz").await?;
    ensure!(alive == 200, "/healthz says {alive}");

    cluster.control_plane.restart_api_server().await?;
    cluster.controller.wait_until_ready().await?;
    let honest = cluster.file_as_node("survivor-1", &request).await?.name_any();
    cluster.answer(&honest).await?.ensure_approved()
}

async fn terminated() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let status = cluster.controller.process().terminate(SOON).await?;
    ensure!(status.success(), "it ended with {status}");
    let log = std::fs::read_to_string(cluster.controller.process().log())?;
    log.lines().last().filter(|line| line.contains("stopped")).context(log.clone()).map(drop)
}
