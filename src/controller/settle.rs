//! Answering what is pending and no more: when that is done, and when it cannot be.

use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::time::{sleep, timeout};

use super::Controller;
use crate::policy::Source;
use crate::watch::{Health, Watches};

/// How long the first lists may take.
const SYNC: Duration = Duration::from_secs(30);
/// How long the Lease is waited for: a holder that was killed keeps it from others for 15 s.
const LEAD: Duration = Duration::from_secs(30);
/// For how long nothing at all may get settled.
const STALLED: Duration = Duration::from_secs(30);
/// How often that is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// Why what is pending was not all answered.
#[derive(Debug, Error)]
pub enum Unsettled {
    /// The API server did not bring everything that decisions rest on.
    #[error("the cluster could not be read within {seconds} s: {0}", seconds = SYNC.as_secs())]
    NotRead(String),
    /// Another instance answers.
    #[error("another instance holds the Lease and answers; nothing was done")]
    HeldByAnother,
    /// The Lease could not be had for another reason, which the log tells.
    #[error("the Lease could not be had within {} s; nothing was done", LEAD.as_secs())]
    NoLease,
    /// So many requests are left, and none of them got settled for a while.
    #[error("{0} of the requests could not be settled: nothing came of them for {seconds} s", seconds = STALLED.as_secs())]
    Stalled(usize),
    /// It was told to stop.
    #[error("stopped before everything was answered")]
    Stopped,
}

impl Controller {
    /// Waits until every request that is pending when it begins has its answer, or is known to have to wait. What is
    /// filed meanwhile is left to another run.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn until_settled(&self) -> Result<(), Unsettled> {
        let read = timeout(SYNC, self.watched.until_live()).await;
        read.map_err(|_| Unsettled::NotRead(describe(&self.watched)))?;
        // Machines may be in another cluster. Those who need them wait, with that for a reason.
        if self.orders().policy.asks(Source::Machine) && timeout(SYNC, self.machine_watches.until_live()).await.is_err()
        {
            tracing::warn!(
                "Machines could not be read within {} s: {}",
                SYNC.as_secs(),
                describe(&self.machine_watches)
            );
        }
        self.until_taken_over().await?;
        let mut left = {
            let mut store = self.store.lock();
            let awaited = store.await_pending();
            self.wake_workers(&store);
            awaited
        };
        let (mut before, mut since) = (left.len(), Instant::now());
        loop {
            {
                let store = self.store.lock();
                left.retain(|request| !store.is_settled(request));
            }
            if left.is_empty() {
                return Ok(());
            }
            if left.len() != before {
                (before, since) = (left.len(), Instant::now());
            }
            if since.elapsed() > STALLED {
                return Err(Unsettled::Stalled(left.len()));
            }
            sleep(PAUSE).await;
        }
    }

    async fn until_taken_over(&self) -> Result<(), Unsettled> {
        let mut took_over = self.took_over.subscribe();
        let mut leadership = self.leadership.clone();
        let led = async {
            loop {
                if *took_over.borrow_and_update() {
                    return Ok(());
                }
                // Once may be what a holder has left; twice is a holder that renews.
                if !self.leadership.leads() && self.leadership.signs_of_others() > 1 {
                    return Err(Unsettled::HeldByAnother);
                }
                tokio::select! {
                    // The sender is part of `self`, so that waiting cannot end for want of one.
                    _ = took_over.changed() => {}
                    () = leadership.changed() => {}
                }
            }
        };
        timeout(LEAD, led).await.unwrap_or(Err(Unsettled::NoLease))
    }
}

/// What is not followed, and why.
fn describe(watches: &Watches) -> String {
    let not_live = watches.iter().filter_map(|watched| match watched.health() {
        Health::Live => None,
        Health::Syncing => Some(format!("{} are still being listed", watched.name())),
        Health::Down(why) => Some(format!("{}: {why}", watched.name())),
    });
    not_live.collect::<Vec<_>>().join("; ")
}
