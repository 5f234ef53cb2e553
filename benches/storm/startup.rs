//! How long it takes from the start until the program is ready, beside a bare LIST of what it has to know for that.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use serde::Serialize;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::harness::plain_http;
use crate::harness::requests::SIGNER;
use crate::population::Population;
use crate::statistics::seconds;
use crate::usage::{Usage, until_calm};

const TURNS: usize = 5;
/// How often it is asked whether it is ready.
const PAUSE: Duration = Duration::from_millis(2);
/// As clients that page do.
const PAGE: usize = 500;

/// What the program lists before it is ready.
const LISTS: [&str; 5] = [
    "/api/v1/nodes?",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests?fieldSelector=spec.signerName%3DSIGNER&",
    "/apis/networking.k8s.io/v1/servicecidrs?",
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?\
     labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes&",
    "/api/v1/namespaces/kube-public/configmaps?fieldSelector=metadata.name%3Dcluster-info&",
];

/// One of each.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    #[serde(serialize_with = "seconds")]
    pub list: Duration,
    #[serde(serialize_with = "seconds")]
    pub ready: Duration,
    /// When it is ready.
    pub usage: Usage,
}

/// Measures both in turns, with a request of each Node that waits. The program stands by, so that they go on waiting.
pub async fn measure(cluster: &mut Cluster, population: &mut Population) -> Result<Vec<Turn>> {
    population.file(population.nodes()).await?;
    cluster.hold_lease().await?;
    // Whatever comes first warms the API server's caches, and is not counted.
    let mut turns = Vec::new();
    for _ in 0..=TURNS {
        until_calm(cluster).await?;
        let list = list(cluster).await?;
        until_calm(cluster).await?;
        let started = Instant::now();
        let mut controller = cluster.start_controller()?;
        let address = controller.admin_address();
        let ready = async || {
            while !plain_http::get(address, "/readyz").await.is_ok_and(|(status, _)| status == 200) {
                sleep(PAUSE).await;
            }
            Ok(started.elapsed())
        };
        let ready = controller.process().while_running(ready()).await?;
        turns.push(Turn { list, ready, usage: Usage::of(&mut controller)? });
        cluster.stop(controller).await?;
    }
    population.clear().await?;
    Ok(turns.split_off(1))
}

/// Lists everything by pages, each kind over a connection of its own and all at once, and looks at nothing.
async fn list(cluster: &Cluster) -> Result<Duration> {
    let started = Instant::now();
    try_join_all(LISTS.map(|path| list_one(cluster, path))).await.context("list everything")?;
    Ok(started.elapsed())
}

async fn list_one(cluster: &Cluster, path: &str) -> Result<()> {
    let path = path.replace("SIGNER", &SIGNER.replace('/', "%2F"));
    let mut connection = Connection::open(cluster).await?;
    let mut next = connection.page(&format!("{path}limit={PAGE}")).await?;
    while let Some(token) = next {
        next = connection.page(&format!("{path}limit={PAGE}&continue={token}")).await?;
    }
    Ok(())
}
