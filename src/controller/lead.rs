//! Taking over from another instance, and leaving it to another.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Controller;
use super::event::{Occurrence, Regarding};
use super::memory::Kept;
use crate::identity::Moment;

/// How long the last write of contested claims may take at the end.
const LAST_WRITE: Duration = Duration::from_secs(2);

impl Controller {
    /// Whether this instance leads, and has taken over where the last leader ended.
    pub(super) fn leads(&self) -> bool {
        *self.took_over.borrow() && self.leadership.leads()
    }

    /// Takes over whenever this instance is to lead, until `finish` turns true.
    pub(super) async fn lead(self: Arc<Self>, mut finish: watch::Receiver<bool>) {
        let mut leadership = self.leadership.clone();
        let mut kept = Kept::default();
        let mut until = 0;
        loop {
            let term = loop {
                if let Some(term) = leadership.term() {
                    break term;
                }
                // What the leader has seen up to its last sign of life, it has written down.
                until = self.store.lock().moment();
                tokio::select! {
                    () = leadership.changed() => {}
                    _ = finish.wait_for(|finish| *finish) => return,
                }
            };
            let finished = tokio::select! {
                () = self.reign(&mut kept, until) => false,
                () = leadership.until_over(term) => false,
                _ = finish.wait_for(|finish| *finish) => true,
            };
            if finished {
                return self.keep_at_the_end(&mut kept).await;
            }
            self.took_over.send_replace(false);
        }
    }

    /// Takes over, and keeps what the next leader has to know. Does not end by itself.
    async fn reign(&self, kept: &mut Kept, until: Moment) {
        self.take_over_contested(kept, until).await;
        self.took_over.send_replace(true);
        {
            let mut store = self.store.lock();
            store.forget_told();
            store.push_all();
            self.wake_workers(&store);
        }
        self.record_leadership();
        self.keep_contested(kept).await;
    }

    async fn keep_at_the_end(&self, kept: &mut Kept) {
        if !self.leads() {
            return;
        }
        match timeout(LAST_WRITE, self.keep_contested_now(kept)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the order of contested claims may be lost"),
            Err(_) => tracing::warn!("no time to write the order of contested claims; it may be lost"),
        }
    }

    /// Tells with the Lease who leads, as other components of Kubernetes do.
    fn record_leadership(&self) {
        if let Some(lease) = &self.lease {
            let regarding = Regarding::Lease {
                namespace: lease.namespace().to_owned(),
                name: lease.name().to_owned(),
                uid: self.leadership.lease_uid().unwrap_or_default(),
            };
            let note = format!("{} became leader", self.events.instance());
            self.events.record(Occurrence {
                regarding,
                warning: false,
                action: "Lead",
                reason: "LeaderElection",
                note,
            });
        }
    }
}
