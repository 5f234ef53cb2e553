//! What there is at the start comes in pages, the next of which is asked for ahead.

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use libtest_mimic::Trial;

use crate::fixture::{Cluster, alone, series};
use crate::harness::control_plane::Options;
use crate::harness::requests::Request;

pub fn trials() -> Vec<Trial> {
    vec![alone("lists::come_in_pages_of_which_each_is_asked_for_once", in_pages)]
}

/// More than a page.
const NODES: u8 = 250;
/// At the start: two pages of Nodes, and one of requests, ServiceCIDRs, EndpointSlices and ConfigMaps each.
const LISTS: f64 = 6.0;

async fn in_pages() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let name = |number: u8| format!("listed-{number:03}");
    stream::iter(0..NODES)
        .map(async |number| cluster.node(&name(number), &[&name(number), &format!("10.42.0.{number}")]).await)
        .buffer_unordered(16)
        .try_collect::<()>()
        .await?;
    cluster.controller.process().restart()?;
    cluster.controller.wait_until_ready().await?;
    let listed = lists(&cluster).await?;
    ensure!(listed == LISTS, "{listed} lists were asked for, not {LISTS}");
    for number in [0, 199, 200, NODES - 1] {
        let request = Request::of_node(&name(number)).dns(&name(number))?.ip([10, 42, 0, number]);
        cluster.answer_to(&name(number), &request).await?.ensure_approved()?;
    }
    Ok(())
}

async fn lists(cluster: &Cluster) -> Result<f64> {
    let requests = series(&cluster.controller.metrics().await?, "countersign_api_requests_total");
    Ok(requests.iter().filter(|(labels, _)| labels.contains("operation=\"list\"")).map(|(_, count)| count).sum())
}
