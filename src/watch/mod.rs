//! Following the cluster: one watch for each kind of object, and whether it is alive.

mod follow;

pub use follow::{follow, follow_known};

use std::sync::Arc;

use kube::runtime::watcher;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use crate::client::describe_watch;

/// How long a watch that was down has to go without an error before it counts as followed. What was missed meanwhile
/// comes after the server has accepted the watch, and so does the word that it cannot be had any more; where nothing
/// was missed, nothing comes.
const SETTLES: Duration = Duration::from_millis(500);

/// Whether what a watch brought is what the cluster holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The first list is not complete.
    Syncing,
    /// Complete, and followed.
    Live,
    /// The watch broke and is not restored so far: why, in a sentence.
    Down(String),
}

/// One kind of object that is followed, and how that goes.
#[derive(Debug)]
pub struct Watched {
    name: &'static str,
    health: watch::Sender<Health>,
    /// When the server has accepted the watch again; none unless it is down.
    resumed: watch::Sender<Option<Instant>>,
    any: watch::Sender<()>,
}

impl Watched {
    /// The plural of the kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How it goes at the moment.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.borrow().clone()
    }

    /// Whether what is known is what the cluster holds.
    #[must_use]
    pub fn is_live(&self) -> bool {
        *self.health.borrow() == Health::Live
    }

    /// Notes how it goes now.
    pub fn set(&self, new: Health) {
        self.resumed.send_replace(None);
        if *self.health.borrow() != new {
            self.health.send_replace(new);
            self.any.send_replace(());
        }
    }

    /// Waits until a watch that was down may count as followed again. That is to be begun anew after each event.
    async fn settled(&self) {
        // The sender is part of `self`, so that waiting cannot end for want of one.
        let resumed = self.resumed.subscribe().wait_for(Option::is_some).await.ok().and_then(|it| *it);
        sleep_until(resumed.unwrap_or_else(Instant::now) + SETTLES).await;
        // Somebody else may have set another state meanwhile.
        if self.resumed.borrow().is_some() {
            tracing::info!(objects = self.name, "watch restored");
            self.set(Health::Live);
        }
    }

    fn failed(&self, error: &watcher::Error) {
        // An expired resourceVersion is the API server's ordinary way to ask for a new list.
        if let watcher::Error::WatchError(status) | watcher::Error::WatchStartFailed(kube::Error::Api(status)) = error
            && status.code == 410
        {
            self.set(Health::Syncing);
            return;
        }
        let why = describe_watch(error);
        if !matches!(self.health(), Health::Down(_)) {
            tracing::warn!(objects = self.name, error = why, "watch broken; retrying");
        }
        self.set(Health::Down(why));
    }
}

/// Every kind of object that is followed.
#[derive(Clone, Debug)]
pub struct Watches {
    all: Arc<[Arc<Watched>]>,
    any: watch::Sender<()>,
}

impl Watches {
    /// Named by the plurals of their kinds.
    #[must_use]
    pub fn new(names: &[&'static str]) -> Self {
        let any = watch::Sender::new(());
        let watched = |name: &&'static str| {
            let (health, resumed) = (watch::Sender::new(Health::Syncing), watch::Sender::new(None));
            Arc::new(Watched { name, health, resumed, any: any.clone() })
        };
        Self { all: names.iter().map(watched).collect(), any }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Watched>> {
        self.all.iter()
    }

    /// The one of this kind, if it is followed.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Watched>> {
        self.all.iter().find(|watched| watched.name == name)
    }

    /// Notes how it goes with one of them now.
    pub fn set(&self, name: &str, new: Health) {
        if let Some(watched) = self.get(name) {
            watched.set(new);
        }
    }

    /// The kinds of which what is known may not be what the cluster holds.
    #[must_use]
    pub fn not_live(&self) -> Vec<&'static str> {
        self.all.iter().filter(|watched| !watched.is_live()).map(|watched| watched.name).collect()
    }

    /// Waits until all are live.
    pub async fn until_live(&self) {
        self.until(|| self.all.iter().all(|watched| watched.is_live())).await;
    }

    /// Waits until one is not live.
    pub async fn until_not_live(&self) {
        self.until(|| self.all.iter().any(|watched| !watched.is_live())).await;
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        // The sender is part of `self`, so that waiting cannot end for want of one.
        let _ = self.any.subscribe().wait_for(|()| condition()).await;
    }

    /// The server has accepted a watch of this kind from where the last one ended. The watcher itself does not tell.
    pub fn resumed(&self, name: &str) {
        if let Some(watched) = self.get(name)
            && matches!(watched.health(), Health::Down(_))
        {
            watched.resumed.send_replace(Some(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_was_down_has_to_go_on_without_an_error_for_a_while() {
        let all = Watches::new(&["nodes"]);
        let watched = all.get("nodes").unwrap();
        let settles = async |after: Duration| timeout(after, watched.settled()).await.is_ok();
        watched.set(Health::Live);
        all.resumed("nodes");
        assert!(!settles(SETTLES * 9).await, "it was live all the while");

        watched.set(Health::Down("no".to_owned()));
        all.resumed("nodes");
        assert!(!settles(SETTLES * 3 / 4).await);
        watched.set(Health::Down("no".to_owned()));
        assert!(!settles(SETTLES * 9).await, "it broke again");
        all.resumed("nodes");
        assert!(!settles(SETTLES * 3 / 4).await && !watched.is_live());
        // An event does not begin it anew.
        assert!(settles(SETTLES / 3).await && watched.is_live());
    }
}
