//! What outlives the program: who was first in the conflicts between Nodes that are open, in a small ConfigMap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::time::sleep;

use super::Controller;
use super::api::{ApiError, call};
use crate::san::{NodeName, San};

/// The ConfigMap's name, in the namespace that the program runs in.
const NAME: &str = "countersign-claims";
/// The key under which the conflicts are kept, one a line.
const KEY: &str = "first";
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
    async fn recall(&self) -> Result<Vec<(San, NodeName)>, ApiError> {
        let kept = call("reading the ConfigMap of open conflicts", self.api.get_opt(NAME)).await?;
        let text = kept.and_then(|it| it.data).and_then(|mut data| data.remove(KEY)).unwrap_or_default();
        Ok(parse(&text))
    }

    async fn keep(&self, conflicts: &BTreeMap<San, NodeName>) -> Result<(), ApiError> {
        let what = "writing the ConfigMap of open conflicts";
        let data = BTreeMap::from([(KEY.to_owned(), format(conflicts))]);
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
    pub(super) async fn recall_conflicts(&self) {
        loop {
            match self.memory.recall().await {
                Ok(first) => {
                    if !first.is_empty() {
                        tracing::info!(count = first.len(), "conflicts between Nodes were open at the last run");
                    }
                    self.store.lock().nodes.remember(first);
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "trying again");
                    sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    /// Writes the open conflicts whenever they change.
    pub(super) async fn keep_conflicts(self: Arc<Self>) {
        let mut kept = self.store.lock().nodes.claims().conflicts().clone();
        loop {
            self.conflicts.notified().await;
            sleep(PAUSE).await;
            let conflicts = self.store.lock().nodes.claims().conflicts().clone();
            if conflicts == kept || !self.watched.get("nodes").is_some_and(|nodes| nodes.is_live()) {
                continue;
            }
            match self.memory.keep(&conflicts).await {
                Ok(()) => kept = conflicts,
                Err(error) => {
                    tracing::warn!(%error, "trying again");
                    sleep(AFTER_ERROR).await;
                    self.conflicts.notify_one();
                }
            }
        }
    }
}

fn format(conflicts: &BTreeMap<San, NodeName>) -> String {
    let mut text = String::new();
    for (san, node) in conflicts {
        let line = format!("{san} {node}\n");
        if text.len() + line.len() > MAX_BYTES {
            break;
        }
        text.push_str(&line);
    }
    text
}

fn parse(text: &str) -> Vec<(San, NodeName)> {
    let line = |line: &str| {
        let (san, node) = line.split_once(' ')?;
        Some((San::from_node_address(san).ok()?, node.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_has_written() {
        let of = |san: &str, node: &str| (San::from_node_address(san).unwrap(), node.parse().unwrap());
        let conflicts = BTreeMap::from([of("a.example.com", "a"), of("10.0.0.1", "b"), of("fd00::1", "c")]);
        assert_eq!(BTreeMap::from_iter(parse(&format(&conflicts))), conflicts);
        assert_eq!(parse("nonsense\n10.0.0.1 Not_A_Node\n"), []);
    }
}
