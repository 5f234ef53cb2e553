//! What outlives the program: in what order Nodes have claimed what several of them claim, in a small ConfigMap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::time::sleep;

use super::Controller;
use super::api::{ApiError, call};
use crate::identity::Order;
use crate::san::San;

/// The ConfigMap's name, in the namespace that the program runs in.
pub(crate) const NAME: &str = "countersign-claims";
/// The key under which the orders are kept: one contested name or address a line, and the Nodes that claim it.
const KEY: &str = "order";
/// The most that is kept, in bytes: a ConfigMap takes 1 MiB.
const MAX_BYTES: usize = 900 * 1024;
/// How long to gather changes before they are written, and to wait after an error.
const PAUSE: Duration = Duration::from_millis(200);
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// Reads and writes the ConfigMap.
#[derive(Clone)]
pub(super) struct Memory {
    api: Api<ConfigMap>,
}

impl Memory {
    pub(super) fn new(client: Client) -> Self {
        Self { api: Api::default_namespaced(client) }
    }

    /// What an earlier run has left.
    async fn recall(&self) -> Result<Vec<(San, Order)>, ApiError> {
        let kept = call("reading the ConfigMap of contested claims", self.api.get_opt(NAME)).await?;
        let text = kept.and_then(|it| it.data).and_then(|mut data| data.remove(KEY)).unwrap_or_default();
        Ok(parse(&text))
    }

    async fn keep(&self, contested: &BTreeMap<San, Order>) -> Result<(), ApiError> {
        let what = "writing the ConfigMap of contested claims";
        let data = BTreeMap::from([(KEY.to_owned(), format(contested))]);
        let patch = Patch::Merge(serde_json::json!({ "data": data }));
        match call(what, self.api.patch(NAME, &PatchParams::default(), &patch)).await {
            Err(error) if error.code() == Some(404) => {
                let map = ConfigMap {
                    metadata: kube::core::ObjectMeta { name: Some(NAME.to_owned()), ..Default::default() },
                    data: Some(data),
                    ..ConfigMap::default()
                };
                call(what, self.api.create(&PostParams::default(), &map)).await.map(drop)
            }
            result => result.map(drop),
        }
    }
}

impl Controller {
    /// Takes in what an earlier run has left, before the first Node is seen; tries until it can be read.
    pub(super) async fn recall_contested(&self) -> BTreeMap<San, Order> {
        loop {
            match self.memory.recall().await {
                Ok(orders) => {
                    if !orders.is_empty() {
                        tracing::info!(count = orders.len(), "names and addresses were contested at the last run");
                    }
                    self.store.lock().nodes.remember(orders.clone());
                    return orders.into_iter().collect();
                }
                Err(error) => {
                    tracing::warn!(%error, "trying again");
                    sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    /// Writes what is contested whenever that changes. `kept` is what is written down at the start.
    pub(super) async fn keep_contested(self: Arc<Self>, mut kept: BTreeMap<San, Order>) {
        loop {
            self.contests.notified().await;
            sleep(PAUSE).await;
            let contested = self.store.lock().nodes.claims().contested().clone();
            if contested == kept || !self.watched.get("nodes").is_some_and(|nodes| nodes.is_live()) {
                continue;
            }
            match self.memory.keep(&contested).await {
                Ok(()) => kept = contested,
                Err(error) => {
                    tracing::warn!(%error, "trying again");
                    sleep(AFTER_ERROR).await;
                    self.contests.notify_one();
                }
            }
        }
    }
}

fn format(contested: &BTreeMap<San, Order>) -> String {
    let mut text = String::new();
    for (san, order) in contested {
        let line = format!("{san} {order}\n");
        if text.len() + line.len() > MAX_BYTES {
            break;
        }
        text.push_str(&line);
    }
    text
}

fn parse(text: &str) -> Vec<(San, Order)> {
    let line = |line: &str| {
        let (san, order) = line.split_once(' ')?;
        Some((San::from_node_address(san).ok()?, order.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_has_written() {
        let of = |san: &str, order: &str| (San::from_node_address(san).unwrap(), order.parse().unwrap());
        let conflicts =
            BTreeMap::from([of("a.example.com", "a b"), of("10.0.0.1", "b,10.0.0.0/24~a c"), of("fd00::1", "c d")]);
        assert_eq!(BTreeMap::from_iter(parse(&format(&conflicts))), conflicts);
        assert_eq!(parse("nonsense\n10.0.0.1 Not_A_Node\n"), []);
    }
}
