//! How fast the program answers a backlog, beside the ceiling, and what that takes.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::sleep;

use crate::ceiling::{self, Setup, rate};
use crate::cluster::{Cluster, is_of_controller};
use crate::connection::Form;
use crate::harness::audit::Entry;
use crate::harness::controller::Controller;
use crate::population::Population;
use crate::usage::{Usage, until_calm};

/// In how many rounds what memory is left afterwards is looked at, which takes longer.
const ROUNDS_WITH_REST: usize = 3;
/// Longer than the program keeps connections that it does not use, and waits until it gives memory back after that.
const CALM_AGAIN: Duration = Duration::from_secs(22);

/// A backlog each for the bare workers, in either form, and for the program.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// Approvals a second, by the bare workers.
    pub ceiling: f64,
    /// The same with the program's own form of write.
    pub ceiling_of_whole: f64,
    /// What became of the program's.
    pub drain: Drain,
}

/// A backlog that the program answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Approvals a second.
    pub rate: f64,
    /// Before there is any request.
    pub idle: Usage,
    /// With the backlog, of which nothing is answered yet.
    pub waiting: Usage,
    /// As soon as all of it is approved.
    pub drained: Usage,
    /// What becomes of its memory afterwards, where that is looked at.
    pub rest: Option<Rest>,
    /// What it asked for during the drain.
    pub asked: Asked,
}

/// After a drain.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rest {
    /// When the Events are sent, too, the connections of the drain are closed, and free memory is given back.
    pub answered: Usage,
    /// When the requests are gone, and what they took is given back.
    pub cleared: Usage,
}

/// What the program asked the API server for.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Approvals that were written.
    pub approvals: usize,
    /// Writes of approvals, successful or not.
    pub writes: usize,
    /// Objects read, and lists.
    pub reads: usize,
    /// Events sent.
    pub events: usize,
    /// All else: the Lease, watches.
    pub others: usize,
}

impl Asked {
    /// Counts more.
    pub fn add<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) {
        for entry in entries.into_iter().filter(|entry| is_of_controller(entry)) {
            self.approvals += usize::from(entry.is_answer());
            let counter = match (entry.verb.as_str(), entry.object_ref.resource.as_str()) {
                _ if entry.is_about("certificatesigningrequests", "approval") => &mut self.writes,
                (_, "events") => &mut self.events,
                (_, "leases") => &mut self.others,
                ("get" | "list", _) => &mut self.reads,
                _ => &mut self.others,
            };
            *counter += 1;
        }
    }
}

impl Round {
    /// Measures all three, in turns which of them is first, and in the first rounds what memory is left, too.
    pub async fn measure(
        cluster: &mut Cluster,
        population: &mut Population,
        setup: Setup,
        number: usize,
    ) -> Result<Self> {
        let (mut ceilings, mut drained) = ([0.0; 2], None);
        for turn in 0..3 {
            match (number + turn) % 3 {
                0 => ceilings[0] = ceiling(cluster, population, setup, Form::Patch).await?,
                1 => ceilings[1] = ceiling(cluster, population, setup, Form::Whole).await?,
                _ => drained = Some(drain(cluster, population, number < ROUNDS_WITH_REST).await?),
            }
        }
        let [ceiling, ceiling_of_whole] = ceilings;
        Ok(Self { ceiling, ceiling_of_whole, drain: drained.context("no turn of the program's")? })
    }
}

impl Rest {
    async fn measure(cluster: &mut Cluster, population: &Population, controller: &mut Controller) -> Result<Self> {
        cluster.answered_until_quiet().await?;
        sleep(CALM_AGAIN).await;
        let answered = Usage::when_idle(controller).await?;
        population.clear().await?;
        sleep(CALM_AGAIN).await;
        Ok(Self { answered, cleared: Usage::when_idle(controller).await? })
    }
}

async fn ceiling(cluster: &mut Cluster, population: &mut Population, setup: Setup, form: Form) -> Result<f64> {
    let backlog = population.file(population.nodes()).await?;
    let ceiling = ceiling::measure(cluster, &backlog, setup.writers, form).await?;
    population.clear().await?;
    Ok(ceiling)
}

/// The program stands by while the backlog is filed, and then takes over: it starts with what it knows by then.
async fn drain(cluster: &mut Cluster, population: &mut Population, with_rest: bool) -> Result<Drain> {
    cluster.hold_lease().await?;
    let mut controller = cluster.start_controller()?;
    controller.wait_until_ready().await?;
    let idle = Usage::when_idle(&mut controller).await?;
    let backlog = population.file(population.nodes()).await?;
    until_calm(cluster).await?;
    let waiting = Usage::when_idle(&mut controller).await?;
    cluster.answered()?;
    cluster.release_lease().await?;
    let entries = cluster.answered_until(backlog.len(), |_| true).await?;
    let drained = Usage::of(&mut controller)?;
    let rest = if with_rest { Some(Rest::measure(cluster, population, &mut controller).await?) } else { None };
    cluster.stop(controller).await?;
    population.clear().await?;
    // Taking over takes a read of its own, which comes before.
    let first = entries.iter().filter(|entry| entry.is_answer()).map(|entry| entry.received).min();
    let mut asked = Asked::default();
    asked.add(entries.iter().filter(|entry| Some(entry.received) >= first));
    Ok(Drain { rate: rate(&entries)?, idle, waiting, drained, rest, asked })
}
