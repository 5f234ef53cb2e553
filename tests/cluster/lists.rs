//! What there is at the start comes as the beginning of a watch where the API server does that, and else in pages.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::fixture::{Cluster, alone, series, shared};
use crate::harness::control_plane::Options;
use crate::harness::requests::Request;

pub fn trials() -> Vec<Trial> {
    vec![
        shared("lists::come_as_the_beginning_of_a_watch", streamed),
        alone("lists::are_asked_for_where_watches_do_not_begin_with_them", asked_for),
    ]
}

async fn streamed(cluster: &Cluster) -> Result<()> {
    let listed = lists(cluster).await?;
    ensure!(listed == 0.0, "{listed} lists were asked for");
    Ok(())
}

/// The controller is there before the Node, and starts again after it.
async fn asked_for() -> Result<()> {
    let api_server_flags = vec!["--feature-gates=WatchList=false".to_owned()];
    let mut cluster = Cluster::start(Options { api_server_flags, ..Options::default() }).await?;
    cluster.node("listed", &["listed", "10.42.0.1"]).await?;
    let request = Request::of_node("listed").dns("listed")?.ip([10, 42, 0, 1]);
    cluster.answer_to("listed", &request).await?.ensure_approved()?;
    cluster.controller.process().restart()?;
    cluster.controller.wait_until_ready().await?;
    cluster.answer_to("listed", &request).await?.ensure_approved()?;
    ensure!(lists(&cluster).await? > 0.0, "nothing was listed");
    Ok(())
}

async fn lists(cluster: &Cluster) -> Result<f64> {
    let requests = series(&cluster.controller.metrics().await?, "countersign_api_requests_total");
    Ok(requests.iter().filter(|(labels, _)| labels.contains("operation=\"list\"")).map(|(_, count)| count).sum())
}
