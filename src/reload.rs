//! The operator's files: read at the start, and again whenever they change.
//!
//! A mounted ConfigMap changes by a swap of symbolic links, an edited file in place or by a rename. Asking once a second
//! what the path leads to sees all of them alike, on every file system.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use std::os::unix::fs::MetadataExt as _;
use tokio::time::sleep;

use crate::controller::{Controller, Orders};
use crate::identity::Inventory;
use crate::metrics::Metrics;
use crate::policy::{FileError, Policy};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Reads the operator's files for the first time.
///
/// # Errors
/// When one of them cannot be read or used.
pub fn first(policy: &Path, inventory: Option<&Path>) -> anyhow::Result<Orders> {
    let policy = read(policy, "policy", Policy::load)?;
    let inventory = inventory.map(|path| read(path, "inventory", Inventory::load)).transpose()?;
    Ok(Orders { policy: Arc::new(policy), inventory: inventory.map(Arc::new) })
}

/// Reads one of the operator's files; `what` is what it is called where that fails.
pub(crate) fn read<T>(path: &Path, what: &str, parse: fn(&[u8]) -> Result<T, FileError>) -> anyhow::Result<T> {
    load(path, parse).with_context(|| format!("cannot use the {what} {}", path.display()))
}

fn load<T>(path: &Path, parse: fn(&[u8]) -> Result<T, FileError>) -> anyhow::Result<T> {
    let bytes = std::fs::read(path)?;
    Ok(parse(&bytes)?)
}

/// Follows the files for ever. A bad edit is told, and the last good state stays in force.
pub async fn follow(controller: Arc<Controller>, metrics: Arc<Metrics>, policy: PathBuf, inventory: Option<PathBuf>) {
    let mut policy = File::new(policy, "policy");
    let mut inventory = inventory.map(|path| File::new(path, "inventory"));
    loop {
        sleep(EVERY).await;
        if let Some(changed) = policy.changed(Policy::load) {
            let loaded = changed.map(|new| {
                metrics.policy_loaded(&new);
                tracing::info!(sha256 = new.sha256(), "policy reloaded; everything pending is judged again");
                controller.order(|orders| orders.policy = Arc::new(new));
            });
            reported(&controller, loaded, &mut policy);
        }
        if let Some(file) = &mut inventory
            && let Some(changed) = file.changed(Inventory::load)
        {
            let loaded = changed.map(|new| {
                tracing::info!("inventory reloaded; everything pending is judged again");
                controller.order(|orders| orders.inventory = Some(Arc::new(new)));
            });
            reported(&controller, loaded, file);
        }
        let good = policy.good && inventory.as_ref().is_none_or(|file| file.good);
        metrics.policy_reload_success.set(i64::from(good));
    }
}

fn reported(controller: &Controller, loaded: anyhow::Result<()>, file: &mut File) {
    file.good = loaded.is_ok();
    match loaded {
        Ok(()) => controller.note_reload(),
        Err(error) => {
            let path = file.path.display();
            tracing::error!("the {} {path} cannot be used; the last good one stays in force: {error:#}", file.what);
            controller.record_reload_failure(&format!("the {} cannot be used: {error:#}", file.what));
        }
    }
}

/// A file, and what its path led to when it was last looked at.
struct File {
    path: PathBuf,
    what: &'static str,
    seen: Option<Stamp>,
    /// Whether what was last seen could be used.
    good: bool,
}

/// What tells one content of a path from another.
type Stamp = (u64, u64, u64, Option<SystemTime>);

impl File {
    fn new(path: PathBuf, what: &'static str) -> Self {
        let seen = stamp(&path);
        Self { path, what, seen, good: true }
    }

    /// The new content, where there is one since the last look.
    fn changed<T>(&mut self, parse: fn(&[u8]) -> Result<T, FileError>) -> Option<anyhow::Result<T>> {
        let now = stamp(&self.path);
        if now == self.seen {
            return None;
        }
        self.seen = now;
        Some(load(&self.path, parse))
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.modified().ok()))
}
