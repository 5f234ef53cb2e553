//! What the program takes of the machine, as Linux counts it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Cluster;
use crate::harness::control_plane::PATIENCE;
use crate::harness::controller::Controller;
use crate::harness::process::Process;
use crate::proc;
use crate::statistics::seconds;

/// With nothing to do, a process uses no more of the processor than its allowance in this time.
const FOR: Duration = Duration::from_millis(500);
/// Of the program.
const IDLE: Duration = Duration::from_millis(10);
/// Of etcd and the API server, which are never quite idle.
const CALM: Duration = Duration::from_millis(40);

/// At one moment.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// How long it had a processor so far.
    #[serde(serialize_with = "seconds")]
    pub processor: Duration,
    /// What is resident, in bytes.
    pub resident: u64,
    /// The most that was.
    pub peak: u64,
}

impl Usage {
    /// Of now.
    pub fn of(controller: &mut Controller) -> Result<Self> {
        let id = controller.process().id();
        let (resident, peak) = (proc::bytes(id, "VmRSS")?, proc::bytes(id, "VmHWM")?);
        Ok(Self { processor: proc::time(id)?, resident, peak })
    }

    /// Of when it has nothing to do.
    pub async fn when_idle(controller: &mut Controller) -> Result<Self> {
        until_idle(controller.process(), IDLE).await?;
        Self::of(controller)
    }
}

/// Waits until the control plane has done with what was before, and has the API server collect the garbage of it. That
/// takes half a second of a processor whenever as much has come together again, and would else fall into the turn of
/// the one side or the other.
pub async fn until_calm(cluster: &mut Cluster) -> Result<()> {
    until_rested(cluster).await?;
    cluster.collect_garbage().await?;
    until_rested(cluster).await
}

async fn until_rested(cluster: &mut Cluster) -> Result<()> {
    until_idle(cluster.control_plane.api_server(), CALM).await?;
    until_idle(cluster.control_plane.etcd(), CALM).await
}

async fn until_idle(process: &mut Process, allowance: Duration) -> Result<()> {
    let id = process.id();
    let idle = async || {
        let (mut since, mut before) = (Instant::now(), proc::time(id)?);
        while since.elapsed() < FOR {
            sleep(FOR / 10).await;
            let now = proc::time(id)?;
            if now > before + allowance {
                (since, before) = (Instant::now(), now);
            }
        }
        Ok(())
    };
    process.while_running(async { timeout(PATIENCE, idle()).await.context("it is never idle")? }).await
}
