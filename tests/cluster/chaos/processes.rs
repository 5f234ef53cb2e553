//! The processes that are killed and stopped.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Client;
use rustix::process::{Pid, Signal, kill_process};

use super::schedule::{What, Who};
use crate::fixture::Cluster;
use crate::harness::controller::Controller;
use crate::harness::process::Process;
use crate::harness::proxy::fault::Faults;
use crate::harness::{plain_http, wait};

/// A control plane and two instances.
pub struct Processes {
    cluster: Cluster,
    second: Controller,
}

impl Processes {
    pub fn new(cluster: Cluster, second: Controller) -> Self {
        Self { cluster, second }
    }

    pub fn admin(&self) -> Client {
        self.cluster.admin()
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn instances(&self) -> [&Controller; 2] {
        [&self.cluster.controller, &self.second]
    }

    /// Whoever is struck goes on later by itself.
    pub async fn strike(&mut self, who: Who, what: What, faults: &Faults) -> Result<()> {
        let second_leads = leads(&self.second).await;
        let process = match (who, second_leads) {
            (Who::ApiServer, _) => self.cluster.control_plane.api_server(),
            (Who::Etcd, _) => self.cluster.control_plane.etcd(),
            (Who::Leader, false) | (Who::Standby, true) => self.cluster.controller.process(),
            (Who::Leader, true) | (Who::Standby, false) => self.second.process(),
        };
        match what {
            What::Kill => process.restart()?,
            What::Stop(time) => stop(process, time)?,
        }
        faults.note(&match what {
            What::Kill => format!("{who:?} killed"),
            What::Stop(_) => format!("{who:?} stopped"),
        });
        Ok(())
    }

    /// Starts again what has ended by itself, as a kubelet does: an instance ends when it finds no API server at its
    /// start.
    pub fn revive(&mut self) -> Result<()> {
        for instance in [&mut self.cluster.controller, &mut self.second] {
            let process = instance.process();
            if let Some(status) = process.exit_status()? {
                ensure!(status.code() == Some(1), process.with_log(&anyhow::anyhow!("an instance ended: {status}")));
                process.restart()?;
            }
        }
        for component in self.cluster.control_plane.processes() {
            if component.exit_status()?.is_some() {
                component.restart()?;
            }
        }
        Ok(())
    }

    /// Waits until all run again, and one instance leads.
    pub async fn calm_down(&mut self) -> Result<()> {
        self.revive()?;
        for process in self.cluster.control_plane.processes() {
            process.resume()?;
        }
        self.cluster.controller.process().resume()?;
        self.second.process().resume()?;
        self.cluster.control_plane.wait_until_ready().await?;
        wait::until("both instances to be ready, and one to lead", Duration::from_mins(2), async || {
            self.revive()?;
            let mut leaders = 0;
            for instance in self.instances() {
                let ready = plain_http::get(instance.admin_address(), "/readyz").await;
                if !ready.is_ok_and(|(status, _)| status == 200) {
                    return Ok(None);
                }
                leaders += usize::from(leads(instance).await);
            }
            Ok((leaders == 1).then_some(()))
        })
        .await
    }

    /// Checks that none of the instances has ever panicked.
    pub fn ensure_no_panic(&mut self) -> Result<()> {
        for instance in [&mut self.cluster.controller, &mut self.second] {
            let path = instance.process().log().to_owned();
            let log = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let panicked = log.lines().find(|line| line.contains("panicked"));
            ensure!(panicked.is_none(), "{}: {panicked:?}", path.display());
        }
        Ok(())
    }
}

async fn leads(instance: &Controller) -> bool {
    // One that is stopped does not answer.
    let asked = tokio::time::timeout(Duration::from_millis(500), instance.metric("countersign_leader")).await;
    asked.is_ok_and(|leader| leader.is_ok_and(|leader| leader == Some(1.0)))
}

fn stop(process: &Process, time: Duration) -> Result<()> {
    process.pause()?;
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).context("no process number")?;
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        // It may have been killed meanwhile.
        let _ = kill_process(pid, Signal::CONT);
    });
    Ok(())
}
