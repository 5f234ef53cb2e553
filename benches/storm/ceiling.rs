//! As fast as approvals can be written at all: by workers that do nothing else, and know everything beforehand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::connection::{Approval, Connection, Form, until_ended};
use crate::harness::audit::Entry;
use crate::population::{Filed, Population};
use crate::statistics::{float, median};
use crate::usage::until_calm;

/// How many workers are tried, each with a connection of its own, as HTTP/1.1 wants it.
const WRITERS: [usize; 4] = [8, 16, 32, 64];
/// How many requests each of them is tried with, and how often.
const TRIED: usize = 1000;
const TRIALS: usize = 3;

/// How many workers write fastest, and how fast each number of them is.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Setup {
    pub writers: usize,
    pub tried: [(usize, f64); WRITERS.len()],
}

/// Finds the number of workers that is best, in turns.
pub async fn best_setup(cluster: &mut Cluster, population: &mut Population) -> Result<Setup> {
    let mut rates = WRITERS.map(|writers| (writers, Vec::new()));
    for _ in 0..TRIALS {
        for (writers, rates) in &mut rates {
            let filed = population.file(TRIED).await?;
            rates.push(measure(cluster, &filed, *writers, Form::Patch).await?);
        }
        population.clear().await?;
    }
    let tried = rates.map(|(writers, rates)| (writers, median(rates)));
    let best = tried.iter().max_by(|one, other| one.1.total_cmp(&other.1)).context("nothing was tried")?;
    Ok(Setup { writers: best.0, tried })
}

/// Approves a backlog, and gives how many approvals a second that were.
pub async fn measure(cluster: &mut Cluster, backlog: &[Filed], writers: usize, form: Form) -> Result<f64> {
    until_calm(cluster).await?;
    cluster.answered()?;
    let approvals: Arc<[Approval]> = backlog.iter().map(|filed| Approval::of(filed, form)).collect();
    let next = Arc::new(AtomicUsize::new(0));
    let connections = Connection::open_all(cluster, writers).await?;
    let mut workers = JoinSet::new();
    for mut connection in connections {
        let (approvals, next) = (approvals.clone(), next.clone());
        workers.spawn(async move {
            while let Some(approval) = approvals.get(next.fetch_add(1, Ordering::Relaxed)) {
                connection.approve(approval).await?;
            }
            anyhow::Ok(())
        });
    }
    until_ended(workers).await?;
    rate(&cluster.answered_until(backlog.len(), |_| true).await?)
}

/// How many approvals a second there were, from when the first one came to when the last one was answered.
pub fn rate(entries: &[Entry]) -> Result<f64> {
    let approvals: Vec<&Entry> = entries.iter().filter(|entry| entry.is_answer()).collect();
    let first = approvals.iter().map(|entry| entry.received).min().context("no approvals")?;
    let last = approvals.iter().map(|entry| entry.answered).max().context("no approvals")?;
    Ok(float(approvals.len()) / last.duration_since(first).as_secs_f64())
}
