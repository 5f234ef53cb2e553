//! Waiting for conditions: never for a time in the hope that it is long enough.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

const PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` until it has an answer. `what` completes the sentence "timed out waiting for …".
pub async fn until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        // A probe that hangs, as against a stopped process, must not outlive the limit.
        let left = limit.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, probe()).await {
            Ok(answer) => {
                if let Some(found) = answer.with_context(|| format!("waiting for {what}"))? {
                    return Ok(found);
                }
            }
            Err(_) => bail!("timed out after {limit:?} waiting for {what}"),
        }
        // A probe that answers at once is never interrupted.
        ensure!(started.elapsed() < limit, "timed out after {limit:?} waiting for {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The first object, present or future, that `wanted` accepts: by watch.
pub async fn for_object<K>(
    what: &str,
    limit: Duration,
    api: Api<K>,
    config: watcher::Config,
    mut wanted: impl FnMut(&K) -> bool,
) -> Result<K>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    // The API server may be down for a moment: that is what some tests are about.
    let stream = watcher(api, config).default_backoff().applied_objects().filter_map(async |object| object.ok());
    let mut stream = std::pin::pin!(stream.filter(|object| std::future::ready(wanted(object))).map(anyhow::Ok));
    match tokio::time::timeout(limit, stream.try_next()).await {
        Ok(Ok(Some(object))) => Ok(object),
        Ok(Ok(None)) => bail!("the watch ended before {what}"),
        Ok(Err(error)) => Err(error),
        Err(_) => bail!("timed out after {limit:?} waiting for {what}"),
    }
}
