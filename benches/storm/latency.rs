//! How soon requests are approved that come at an even pace, by the program and by a bare worker.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cluster::{Cluster, OTHER_SIGNER};
use crate::connection::{Approval, Connection, Form, until_ended};
use crate::drain::Asked;
use crate::harness::audit::{self, Entry};
use crate::harness::controller::Controller;
use crate::harness::requests::SIGNER;
use crate::population::{Population, Ready};
use crate::statistics::{median, percentile, seconds};
use crate::usage::{Usage, until_calm};

/// Requests a second.
const CALM: u32 = 20;
const BUSY: u32 = 200;
/// How long each side has its turn, and how often.
const TURN: Duration = Duration::from_secs(6);
const CALM_TURNS: usize = 8;
const BUSY_TURNS: usize = 4;
/// What one node files beside others that ask at the lower pace, and how fast, so that both take the same time.
const FLOOD: usize = 2_000;
const FLOOD_RATE: u32 = 200;
const HONEST: usize = 200;
const FLOOD_TURNS: usize = 3;
/// How many bare workers there are at the higher pace: so many that a slow answer makes none of them late.
const BARE_WORKERS: usize = 64;

/// All of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// At 20 requests a second.
    pub calm: Pace,
    /// At 200.
    pub busy: Pace,
    /// At 20, with and without another node that files 2,000 in the same time.
    pub flood: Flood,
}

/// The program at the lower pace.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Flood {
    /// Without the flood.
    pub without: Series,
    /// With it.
    pub with: Series,
    /// A bare worker with it, whom the program does not know: how much slower the API server is for everybody.
    pub bare: Series,
    /// What is resident after all of it, in bytes.
    pub resident: u64,
}

/// Both sides at one pace.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    /// Bare workers that write as soon as a request is taken: one at the lower pace.
    pub bare: Series,
    /// The write alone of the same.
    pub bare_write: Series,
    /// The program.
    pub program: Series,
    /// What it asked the API server for.
    pub asked: Asked,
    /// How long it had a processor.
    #[serde(serialize_with = "seconds")]
    pub processor: Duration,
}

/// The percentiles of each turn, in milliseconds.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    count: usize,
    p50: Vec<f64>,
    p99: Vec<f64>,
    max: Vec<f64>,
}

impl Series {
    fn add(&mut self, seconds: &[f64]) {
        let at = |share| percentile(seconds, share) * 1000.0;
        self.count += seconds.len();
        self.p50.push(at(0.5));
        self.p99.push(at(0.99));
        self.max.push(at(1.0));
    }

    /// The median of the turns: what else the machine does for a moment spoils one of them.
    pub fn p50(&self) -> f64 {
        median(self.p50.iter().copied())
    }

    /// Likewise.
    pub fn p99(&self) -> f64 {
        median(self.p99.iter().copied())
    }
}

/// Measures all of it, in turns.
pub async fn measure(cluster: &mut Cluster, population: &mut Population) -> Result<Latency> {
    cluster.release_lease().await?;
    let mut controller = cluster.start_controller()?;
    controller.wait_until_ready().await?;
    controller.wait_until_leading(true).await?;
    let calm = at(CALM, CALM_TURNS, 1, cluster, population, &mut controller).await?;
    let busy = at(BUSY, BUSY_TURNS, BARE_WORKERS, cluster, population, &mut controller).await?;
    let flood = flood(cluster, population, &mut controller).await?;
    cluster.stop(controller).await?;
    population.clear().await?;
    Ok(Latency { calm, busy, flood })
}

/// One node floods, and others ask at the lower pace.
async fn flood(cluster: &mut Cluster, population: &mut Population, controller: &mut Controller) -> Result<Flood> {
    let mut flood = Flood::default();
    let turn = async |cluster: &mut Cluster, population: &mut Population, flood: Vec<Ready>, signer: &str| {
        cluster.answered_until_quiet().await?;
        until_calm(cluster).await?;
        let honest = population.prepare(HONEST, signer)?;
        let names: HashSet<String> = honest.iter().map(|ready| ready.name().to_owned()).collect();
        let filing = tokio::spawn(file_evenly(population.client(), flood, FLOOD_RATE));
        if signer == SIGNER {
            file_evenly(population.client(), honest, CALM).await?;
        } else {
            file_and_approve(cluster, population, honest, CALM, 1).await?;
        }
        let mut entries = cluster.answered_until(names.len(), |entry| names.contains(&entry.object_ref.name)).await?;
        filing.await??;
        entries.retain(|entry| names.contains(&entry.object_ref.name));
        latencies(&entries)
    };
    for _ in 0..FLOOD_TURNS {
        flood.without.add(&turn(cluster, population, Vec::new(), SIGNER).await?);
        for (series, signer) in [(&mut flood.with, SIGNER), (&mut flood.bare, OTHER_SIGNER)] {
            let of_one_node = population.prepare_of_one_node(FLOOD)?;
            series.add(&turn(cluster, population, of_one_node, signer).await?);
        }
    }
    flood.resident = Usage::when_idle(controller).await?.resident;
    Ok(flood)
}

async fn at(
    rate: u32,
    turns: usize,
    bare_workers: usize,
    cluster: &mut Cluster,
    population: &mut Population,
    controller: &mut Controller,
) -> Result<Pace> {
    let mut pace = Pace::default();
    for _ in 0..turns {
        cluster.answered_until_quiet().await?;
        until_calm(cluster).await?;
        let bare = of_bare_workers(cluster, population, rate, bare_workers).await?;
        pace.bare.add(&latencies(&bare)?);
        pace.bare_write.add(&writes(&bare));
        until_calm(cluster).await?;
        let before = Usage::of(controller)?;
        let entries = of_program(cluster, population, rate).await?;
        pace.processor += Usage::of(controller)?.processor.saturating_sub(before.processor);
        pace.program.add(&latencies(&entries)?);
        pace.asked.add(&entries);
    }
    Ok(pace)
}

/// How many requests come in one turn.
fn count(rate: u32) -> Result<usize> {
    Ok(usize::try_from(rate)? * usize::try_from(TURN.as_secs())?)
}

/// Requests are filed in turn by workers that approve each as soon as that is answered.
async fn of_bare_workers(
    cluster: &mut Cluster,
    population: &mut Population,
    rate: u32,
    workers: usize,
) -> Result<Vec<Entry>> {
    let ready = population.prepare(count(rate)?, OTHER_SIGNER)?;
    let expected = ready.len();
    file_and_approve(cluster, population, ready, rate, workers).await?;
    cluster.answered_until(expected, |_| true).await
}

async fn file_and_approve(
    cluster: &Cluster,
    population: &Population,
    ready: Vec<Ready>,
    rate: u32,
    workers: usize,
) -> Result<()> {
    let mut shares: Vec<Vec<(Instant, Ready)>> = std::iter::repeat_with(Vec::new).take(workers).collect();
    let connections = Connection::open_all(cluster, workers).await?;
    let mut due = Instant::now();
    for (number, ready) in ready.into_iter().enumerate() {
        shares.get_mut(number % workers).context("no workers")?.push((due, ready));
        due += Duration::from_secs(1) / rate;
    }
    let mut working = JoinSet::new();
    for (mut connection, share) in connections.into_iter().zip(shares) {
        let admin = population.client();
        working.spawn(async move {
            for (due, ready) in share {
                sleep_until(due).await;
                let filed = ready.file(&admin).await?;
                connection.approve(&Approval::of(&filed, Form::Patch)).await?;
            }
            anyhow::Ok(())
        });
    }
    until_ended(working).await
}

/// Requests are filed at a pace that waits for nobody, and the program approves them.
async fn of_program(cluster: &mut Cluster, population: &mut Population, rate: u32) -> Result<Vec<Entry>> {
    let ready = population.prepare(count(rate)?, SIGNER)?;
    let expected = ready.len();
    file_evenly(population.client(), ready, rate).await?;
    cluster.answered_until(expected, |_| true).await
}

async fn file_evenly(admin: Client, ready: Vec<Ready>, rate: u32) -> Result<()> {
    let mut filing = JoinSet::new();
    let mut due = Instant::now();
    for ready in ready {
        sleep_until(due).await;
        let admin = admin.clone();
        filing.spawn(async move { ready.file(&admin).await });
        due += Duration::from_secs(1) / rate;
    }
    until_ended(filing).await
}

/// The seconds from when a request was taken to when its approval was written.
fn latencies(entries: &[Entry]) -> Result<Vec<f64>> {
    let filed = audit::filings(entries);
    let latency = |entry: &Entry| {
        let filed = filed.get(entry.object_ref.name.as_str()).context("an approval of what nobody filed")?;
        Ok(entry.answered.duration_since(filed.answered).as_secs_f64())
    };
    entries.iter().filter(|entry| entry.is_answer()).map(latency).collect()
}

/// The seconds that the writes took by themselves.
fn writes(entries: &[Entry]) -> Vec<f64> {
    let seconds = |entry: &Entry| entry.answered.duration_since(entry.received).as_secs_f64();
    entries.iter().filter(|entry| entry.is_answer()).map(seconds).collect()
}
