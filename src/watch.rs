//! Following the cluster: one watch for each kind of object, and whether it is alive.

use std::fmt::Debug;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, watcher::Config};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::client::describe_watch;

/// How long the server keeps one watch open, in seconds. A connection that died in silence is noticed 5 s after it
/// should have ended.
const WATCH_SECONDS: u32 = 60;

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
#[derive(Clone, Debug)]
pub struct Watched {
    name: &'static str,
    health: watch::Sender<Health>,
}

impl Watched {
    /// `name` is the plural of the kind, for messages.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, health: watch::Sender::new(Health::Syncing) }
    }

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

    /// Waits until it is live.
    pub async fn until_live(&self) {
        // The sender is part of `self`, so that waiting cannot end for want of one.
        let _ = self.health.subscribe().wait_for(|health| *health == Health::Live).await;
    }

    /// Waits for the next time that it comes (back) to life.
    pub async fn alive(&self) {
        let mut health = self.health.subscribe();
        health.mark_unchanged();
        while health.changed().await.is_ok() {
            if *health.borrow_and_update() == Health::Live {
                return;
            }
        }
    }

    /// The server has accepted a watch again from where the last one ended. The watcher itself does not tell.
    pub fn resumed(&self) {
        self.health.send_if_modified(|health| match health {
            Health::Down(_) => {
                tracing::info!(objects = self.name, "watch restored");
                *health = Health::Live;
                true
            }
            Health::Syncing | Health::Live => false,
        });
    }

    fn set(&self, new: Health) {
        self.health.send_if_modified(|health| {
            let changed = *health != new;
            *health = new;
            changed
        });
    }
}

/// Follows the objects of one kind for ever, through every error, and hands each event to `sink`.
pub async fn follow<K>(api: Api<K>, fields: Option<&str>, watched: Watched, mut sink: impl FnMut(Event<K>))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut config = Config::default().timeout(WATCH_SECONDS);
    if let Some(fields) = fields {
        config = config.fields(fields);
    }
    let mut events = watcher(api, config).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let health = match &event {
                    Event::Init => Some(Health::Syncing),
                    Event::InitDone => Some(Health::Live),
                    Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => None,
                };
                sink(event);
                if let Some(health) = health {
                    watched.set(health);
                }
            }
            Err(error) => watched.failed(&error),
        }
    }
}

impl Watched {
    fn failed(&self, error: &watcher::Error) {
        // An expired resourceVersion is the API server's ordinary way to ask for a new list.
        if let watcher::Error::WatchError(status) = error
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
