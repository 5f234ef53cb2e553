//! `countersign run --once`: the controller as ever, told to stop as soon as everything pending is settled.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cli::{self, Outcome};
use crate::controller::{Controller, Finding, Journal, Unsettled};
use crate::verdict::{DeferReason, Unavailable};

/// How long Events are waited for at the end.
const EVENTS: Duration = Duration::from_secs(10);

/// A run that ends by itself.
pub(crate) struct Once {
    journal: Arc<Journal>,
    settled: JoinHandle<Result<(), Unsettled>>,
    send_events: JoinHandle<()>,
}

impl Once {
    /// Begins to watch over a controller that is about to run. Gives what tells the controller to stop, which is also
    /// when `stop` turns true.
    pub(crate) fn begin(
        controller: Arc<Controller>,
        journal: Arc<Journal>,
        send_events: impl Future<Output = ()> + Send + 'static,
        mut stop: watch::Receiver<bool>,
    ) -> (Self, watch::Receiver<bool>) {
        let (sender, receiver) = watch::channel(false);
        let settled = tokio::spawn(async move {
            let result = tokio::select! {
                result = controller.until_settled() => result,
                _ = stop.wait_for(|stop| *stop) => Err(Unsettled::Stopped),
            };
            sender.send_replace(true);
            result
        });
        (Self { journal, settled, send_events: tokio::spawn(send_events) }, receiver)
    }

    /// Waits for the Events of a controller that has run, and of which there is no other handle any more.
    pub(crate) async fn send_events(&mut self) {
        if timeout(EVENTS, &mut self.send_events).await.is_err() {
            tracing::warn!("some Events were not sent");
        }
    }

    /// Prints what was found and written.
    ///
    /// # Errors
    /// When not everything is settled, or something that had to be asked could not be.
    pub(crate) async fn end(self) -> anyhow::Result<Outcome> {
        let entries = self.journal.entries();
        let summary = cli::print_once(&entries)?;
        match self.settled.await? {
            Ok(()) => {}
            Err(unsettled) => {
                let problem = entries.values().find_map(|entry| entry.problem.as_deref());
                let problem = problem.map(|problem| format!(": {problem}")).unwrap_or_default();
                anyhow::bail!("{unsettled}{problem}");
            }
        }
        let unavailable = DeferReason::SourceUnavailable(Unavailable::NoInventory).as_str();
        let findings = entries.values().filter_map(|entry| entry.finding.as_ref());
        let not_judged: Vec<&Finding> =
            findings.filter(|finding| finding.reasons.iter().any(|reason| *reason == unavailable)).collect();
        match not_judged.first() {
            None => Ok(if summary.denied > 0 { Outcome::Refused } else { Outcome::Good }),
            Some(first) => {
                anyhow::bail!(
                    "not everything could be asked, for {} of the requests: {}",
                    not_judged.len(),
                    first.message
                )
            }
        }
    }
}
