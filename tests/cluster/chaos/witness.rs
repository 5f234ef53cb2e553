//! What has to be true after a run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;

use super::processes::Processes;
use super::requests::{Fate, Population};
use crate::fixture::Cluster;
use crate::harness::controller::Controller;
use crate::harness::proxy::Proxy;
use crate::harness::{audit, wait};

/// How much more memory an instance may have than when it began, in bytes: an allocator keeps some of what it had.
const MEMORY: f64 = 24.0 * 1024.0 * 1024.0;
/// How many connections two instances may have: watches, workers, Lease and Events of each.
const CONNECTIONS: usize = 2 * (8 + 16 + 4);
/// How many versions a request has: created, answered, signed.
const VERSIONS: usize = 3;

/// Which versions there have been of each request.
type Versions = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

/// How things were at the beginning, and what was seen since.
pub struct Witness {
    tokens: Vec<String>,
    memory: Vec<f64>,
    versions: Versions,
}

impl Witness {
    pub async fn begin(cluster: &Cluster, instances: [(&Controller, &PathBuf); 2]) -> Result<Self> {
        let (mut tokens, mut memory) = (Vec::new(), Vec::new());
        for (instance, kubeconfig) in instances {
            tokens.push(audit::credential_in(kubeconfig).await?);
            memory.push(instance.resident_memory().await?);
        }
        Ok(Self { tokens, memory, versions: follow(cluster.admin()) })
    }

    /// Checks everything.
    pub async fn judge(&self, population: &Population, processes: &mut Processes, proxy: &Proxy) -> Result<()> {
        processes.ensure_no_panic()?;
        for kind in
            ["ApiServer", "Etcd", "Leader", "Standby"].into_iter().flat_map(|who| [(who, "killed"), (who, "stopped")])
        {
            let struck = proxy.faults().suffered().contains_key(&format!("{} {}", kind.0, kind.1));
            ensure!(struck, "{kind:?} has not happened");
        }
        self.ensure_answered_once(population, processes.cluster())?;
        for (name, versions) in self.versions.lock().iter() {
            ensure!(versions.len() <= VERSIONS, "{name} was changed more often than needed: {versions:?}");
        }
        wait::until("the connections to be as few as ever", Duration::from_secs(30), async || {
            Ok((proxy.open_connections() <= CONNECTIONS).then_some(()))
        })
        .await
        .with_context(|| format!("{} connections are open", proxy.open_connections()))?;
        for (instance, before) in processes.instances().into_iter().zip(&self.memory) {
            let now = instance.resident_memory().await?;
            println!("chaos: {:.1} MiB before, {:.1} MiB after", before / 1_048_576.0, now / 1_048_576.0);
            ensure!(now < before + MEMORY, "{now} bytes of memory, {before} at the beginning");
        }
        Ok(())
    }

    fn ensure_answered_once(&self, population: &Population, cluster: &Cluster) -> Result<()> {
        let log = cluster.control_plane.audit_log();
        let entries = audit::read(&log)?;
        audit::ensure_answered_once(&entries)?;
        audit::ensure_one_writer(&entries, &self.tokens)?;
        let answers = audit::answers(&entries);
        // An API server that was killed may have done what it did not live to log; one whose client went away logs a
        // failure for what it has done.
        let uncertain: BTreeSet<String> = audit::unfinished(&log)?
            .into_iter()
            .chain(entries.iter().filter(|entry| entry.response_status.code >= 500).cloned())
            .filter(|entry| entry.is_about("certificatesigningrequests", "approval"))
            .map(|entry| entry.object_ref.name)
            .collect();
        let mut unlogged = 0;
        for (name, fate) in population.fates() {
            match (answers.contains_key(name), fate) {
                (answered, Fate::Pending) => ensure!(!answered, "{name} was to be left pending"),
                (true, _) => {}
                (false, _) => {
                    ensure!(uncertain.contains(name), "{name} is answered, and nobody did it");
                    unlogged += 1;
                }
            }
        }
        println!("chaos: {} answers logged, {unlogged} done by an API server that could not log them", answers.len());
        Ok(())
    }
}

/// Notes every version of every request that comes to be, as far as it can be seen.
fn follow(admin: Client) -> Versions {
    let versions = Versions::default();
    let seen = versions.clone();
    tokio::spawn(async move {
        let events = watcher(Api::<CertificateSigningRequest>::all(admin), watcher::Config::default());
        let mut objects = std::pin::pin!(events.default_backoff().applied_objects());
        while let Some(object) = objects.next().await {
            if let Ok(object) = object {
                let version = object.resource_version().unwrap_or_default();
                seen.lock().entry(object.name_any()).or_default().insert(version);
            }
        }
    });
    versions
}
