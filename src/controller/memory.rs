//! What outlives the program: in what order Nodes have claimed what several of them claim, in a small ConfigMap.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::time::sleep;

use super::Controller;
use super::api::{ApiError, call, call_as_leader};
use crate::client::get_opt;
use crate::gather::contested::{self, KEY, NAME};
use crate::identity::{Moment, Order};
use crate::lease::Leadership;
use crate::san::San;

/// How long to gather changes before they are written.
const PAUSE: Duration = Duration::from_millis(200);
/// How long to wait after an error at most, and after the first one where everything waits for this.
const AFTER_ERROR: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Reads and writes the ConfigMap.
#[derive(Clone)]
pub(super) struct Memory {
    reader: Api<ConfigMap>,
    writer: Api<ConfigMap>,
    leadership: Leadership,
}

/// What is written down.
#[derive(Debug, Default)]
pub(super) struct Kept {
    orders: BTreeMap<San, Order>,
    /// The ConfigMap's resourceVersion; none where there is no ConfigMap.
    version: Option<String>,
    /// How many of the orders did not fit in.
    left_out: usize,
}

impl Memory {
    pub(super) fn new(client: Client, leaders_client: Client, leadership: Leadership) -> Self {
        let (reader, writer) = (Api::default_namespaced(client), Api::default_namespaced(leaders_client));
        Self { reader, writer, leadership }
    }

    /// What an earlier run, or another instance, has left.
    async fn recall(&self) -> Result<Kept, ApiError> {
        let map = call("reading the ConfigMap of contested claims", get_opt(&self.reader, NAME)).await?;
        let Some(map) = map else { return Ok(Kept::default()) };
        let text = map.data.and_then(|mut data| data.remove(KEY)).unwrap_or_default();
        let orders = contested::parse(&text).into_iter().collect();
        Ok(Kept { orders, version: map.metadata.resource_version, left_out: 0 })
    }

    /// Writes over the version that is known, and no other: a leader that has lost the Lease cannot overwrite the next.
    async fn keep(&self, contested: &BTreeMap<San, Order>, over: Option<&str>) -> Result<Kept, ApiError> {
        let what = "writing the ConfigMap of contested claims";
        let (text, left_out) = contested::format(contested);
        let data = BTreeMap::from([(KEY.to_owned(), text)]);
        let map = if let Some(version) = over {
            let patch = Patch::Merge(serde_json::json!({"metadata": {"resourceVersion": version}, "data": data}));
            call_as_leader(what, &self.leadership, self.writer.patch(NAME, &PatchParams::default(), &patch)).await?
        } else {
            let map = ConfigMap {
                metadata: kube::core::ObjectMeta { name: Some(NAME.to_owned()), ..Default::default() },
                data: Some(data),
                ..ConfigMap::default()
            };
            call_as_leader(what, &self.leadership, self.writer.create(&PostParams::default(), &map)).await?
        };
        Ok(Kept { orders: contested.clone(), version: map.metadata.resource_version, left_out })
    }
}

impl Controller {
    /// Takes in what an earlier run has left, before the first Node is seen; tries until it can be read.
    pub(super) async fn recall_contested(&self) {
        let kept = self.recall().await;
        if !kept.orders.is_empty() {
            tracing::info!(count = kept.orders.len(), "names and addresses were contested at the last run");
        }
        self.store.lock().nodes.remember(kept.orders, 0);
    }

    /// Takes in what the last leader has left, which had seen everything up to the moment `until`. `known` is what this
    /// instance itself has last read or written.
    pub(super) async fn take_over_contested(&self, known: &mut Kept, until: Moment) {
        let kept = self.recall().await;
        if kept.version.is_none() || kept.version != known.version {
            let mut store = self.store.lock();
            // Where the watch has a gap, what a list is bringing or will bring may have been there before, too.
            let live = self.watched.get("nodes").is_some_and(|nodes| nodes.is_live());
            let until = if live { until } else { store.moment_of_list() };
            store.nodes.remember(kept.orders.clone(), until);
        }
        *known = kept;
        self.contests.notify_one();
    }

    /// Tries soon and then ever later: a leader answers nothing before it has succeeded.
    async fn recall(&self) -> Kept {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.memory.recall().await {
                Ok(kept) => return kept,
                Err(error) => {
                    tracing::warn!(%error, "trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(AFTER_ERROR);
                }
            }
        }
    }

    /// Writes what is contested whenever that changes. `kept` is what is written down.
    pub(super) async fn keep_contested(&self, kept: &mut Kept) {
        loop {
            self.contests.notified().await;
            sleep(PAUSE).await;
            if let Err(error) = self.keep_contested_now(kept).await {
                tracing::warn!(%error, "trying again");
                sleep(AFTER_ERROR).await;
                self.contests.notify_one();
            }
        }
    }

    /// Writes what is contested, unless that is what is written down, or what is known is not what the cluster holds.
    pub(super) async fn keep_contested_now(&self, kept: &mut Kept) -> Result<(), ApiError> {
        let contested = self.store.lock().nodes.claims().contested().clone();
        if contested == kept.orders || !self.watched.get("nodes").is_some_and(|nodes| nodes.is_live()) {
            return Ok(());
        }
        let before = kept.left_out;
        match self.memory.keep(&contested, kept.version.as_deref()).await {
            // Changed or deleted by hand: written over, now that it is known.
            Err(error) if error.is_not_found() || error.is_conflict() => {
                kept.version = self.memory.recall().await?.version;
                *kept = self.memory.keep(&contested, kept.version.as_deref()).await?;
            }
            result => *kept = result?,
        }
        if kept.left_out > 0 && before == 0 {
            tracing::warn!(
                contested = contested.len(),
                left_out = kept.left_out,
                "not all that is contested fits into the ConfigMap; nobody will know later who was first with the rest"
            );
        }
        Ok(())
    }
}
