//! What is not right yet stays pending, and is approved as soon as it is right.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::ResourceExt;
use libtest_mimic::Trial;

use crate::fixture::{Cluster, shared};
use crate::harness::requests::Request;

pub fn trials() -> Vec<Trial> {
    vec![
        shared("deferrals::a_request_before_its_node_waits_for_it", before_its_node),
        shared("deferrals::a_request_before_its_address_waits_for_it", before_its_address),
        shared("deferrals::a_request_before_its_name_waits_for_it", before_its_name),
        shared("deferrals::a_request_right_after_the_status_is_never_told_to_wait", overtakes_the_watch),
        shared("deferrals::counts_what_is_pending_and_why", counts_pending),
    ]
}

/// How soon an answer follows the fact it waited for. A contract with the kubelet, not a benchmark: the answer takes
/// milliseconds, and a periodic look would take minutes.
const PROMPTLY: Duration = Duration::from_secs(1);

async fn before_its_node(cluster: &Cluster) -> Result<()> {
    let request = Request::of_node("late-1").dns("late-1")?.ip([10, 11, 1, 1]);
    let name = cluster.file_as_node("late-1", &request).await?.name_any();
    cluster.wait_deferred(&name, "NodeNotFound").await?;
    cluster.node("late-1", &["late-1", "10.11.1.1"]).await?;
    approved_promptly(cluster, &name, Instant::now()).await
}

async fn before_its_address(cluster: &Cluster) -> Result<()> {
    cluster.node("late-2", &["late-2"]).await?;
    let request = Request::of_node("late-2").dns("late-2")?.ip([10, 11, 2, 1]);
    let name = cluster.file_as_node("late-2", &request).await?.name_any();
    cluster.wait_deferred(&name, "AddressNotOwned").await?;
    cluster.set_addresses("late-2", &["late-2", "10.11.2.1"]).await?;
    approved_promptly(cluster, &name, Instant::now()).await
}

async fn before_its_name(cluster: &Cluster) -> Result<()> {
    cluster.node("late-3", &["10.11.3.1"]).await?;
    let request = Request::of_node("late-3").dns("late-3.example.com")?.ip([10, 11, 3, 1]);
    let name = cluster.file_as_node("late-3", &request).await?.name_any();
    cluster.wait_deferred(&name, "NameNotOwned").await?;
    cluster.ensure_pending(&name).await?;
    cluster.set_addresses("late-3", &["late-3.example.com", "10.11.3.1"]).await?;
    approved_promptly(cluster, &name, Instant::now()).await
}

async fn approved_promptly(cluster: &Cluster, name: &str, since: Instant) -> Result<()> {
    cluster.answer(name).await?.ensure_approved()?;
    ensure!(since.elapsed() < PROMPTLY, "the answer took {:?}", since.elapsed());
    Ok(())
}

/// A kubelet files its request right after writing its status; the two reach the controller by different watches.
async fn overtakes_the_watch(cluster: &Cluster) -> Result<()> {
    for round in 0..20 {
        let node = format!("racer-{round}");
        let address = format!("10.11.4.{}", round + 1);
        cluster.node(&node, &[&node, &address]).await?;
        let request = Request::of_node(&node).dns(&node)?.ip(address.parse::<std::net::IpAddr>()?);
        cluster.answer_to(&node, &request).await?.ensure_approved()?;
    }
    Ok(())
}

async fn counts_pending(cluster: &Cluster) -> Result<()> {
    let request = Request::of_node("never-1").dns("never-1")?;
    let name = cluster.file_as_node("never-1", &request).await?.name_any();
    cluster.wait_deferred(&name, "NodeNotFound").await?;
    let pending = cluster.controller.metric(r#"countersign_pending_requests{reason="NodeNotFound"}"#).await?;
    ensure!(pending.is_some_and(|count| count >= 1.0), "pending: {pending:?}");
    let oldest = cluster.controller.metric("countersign_oldest_pending_seconds").await?;
    ensure!(oldest.is_some_and(|age| age > 0.0), "oldest: {oldest:?}");
    Ok(())
}
