//! Following the cluster: one watch for each kind of object, and whether it is alive.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::client::{describe, describe_watch, is_served};

/// How long the server keeps one watch open, in seconds. A connection that died in silence is noticed 5 s after it
/// should have ended.
const WATCH_SECONDS: u32 = 60;
/// How long to wait before asking again for what the server has, and something on the way does not find.
const NOT_FOUND: Duration = Duration::from_secs(1);
/// How long to wait before asking again for a kind of object that the server does not know.
const UNKNOWN_KIND: Duration = Duration::from_mins(5);

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
        if *self.health.borrow() != new {
            self.health.send_replace(new);
            self.any.send_replace(());
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
            Arc::new(Watched { name, health: watch::Sender::new(Health::Syncing), any: any.clone() })
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
            tracing::info!(objects = name, "watch restored");
            watched.set(Health::Live);
        }
    }
}

/// Follows the objects of one kind for ever, through every error, and hands each event to `sink`.
pub async fn follow_known<K>(api: Api<K>, config: Config, watched: Arc<Watched>, mut sink: impl FnMut(Event<K>))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let client = api.clone().into_client();
    loop {
        follow(api.clone(), config.clone(), watched.clone(), &mut sink).await;
        // It may be something on the way that does not find them.
        match is_served::<K>(&client).await {
            Ok(false) => {
                // A server that does not know the kind has no such objects; it may learn of it later.
                tracing::info!(objects = watched.name, "the API server does not have this kind of object");
                watched.set(Health::Live);
                sleep(UNKNOWN_KIND).await;
            }
            Ok(true) => sleep(NOT_FOUND).await,
            Err(error) => {
                watched.set(Health::Down(describe(&error)));
                sleep(NOT_FOUND).await;
            }
        }
    }
}

/// Follows the objects of one kind through every error, and hands each event to `sink`. Returns, with the watch down, when
/// they are not found.
pub async fn follow<K>(api: Api<K>, config: Config, watched: Arc<Watched>, mut sink: impl FnMut(Event<K>))
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = config.timeout(WATCH_SECONDS);
    let begin = || watcher(api.clone(), config.clone()).default_backoff().boxed();
    let mut events = begin();
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
            Err(error) => {
                watched.failed(&error);
                match &error {
                    watcher::Error::InitialListFailed(kube::Error::Api(status))
                    | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => match status.code {
                        404 => return,
                        // The library lists anew when an open watch says so, but not when one cannot be opened.
                        410 => events = begin(),
                        _ => {}
                    },
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use parking_lot::Mutex;
    use tower::BoxError;

    use super::*;
    use crate::api::Node;

    /// What the API server answers to lists, watches and questions for its kinds, in turn; then nothing.
    struct Script(Mutex<[Vec<(u16, &'static str)>; 3]>);

    const LIST: &str = r#"{"kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": []}"#;
    const EXPIRED: &str =
        r#"{"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "old"}"#;
    const KINDS: &str = r#"{"kind": "APIResourceList", "groupVersion": "v1",
        "resources": [{"name": "nodes", "singularName": "node", "namespaced": false, "kind": "Node", "verbs": []}]}"#;

    impl Script {
        fn new(mut answers: [Vec<(u16, &'static str)>; 3]) -> Arc<Self> {
            for answers in &mut answers {
                answers.reverse();
            }
            Arc::new(Self(Mutex::new(answers)))
        }

        /// Whether everything was asked for.
        fn is_over(&self) -> bool {
            self.0.lock().iter().all(Vec::is_empty)
        }

        fn client(self: &Arc<Self>) -> Client {
            let script = self.clone();
            let service = move |request: Request<Body>| {
                let kind = match (request.uri().path(), request.uri().query()) {
                    ("/api/v1/nodes", Some(query)) if query.contains("watch=true") => 1,
                    ("/api/v1/nodes", _) => 0,
                    _ => 2,
                };
                let answer = script.0.lock()[kind].pop();
                async move {
                    let Some((status, body)) = answer else { return std::future::pending().await };
                    let body = Body::from(body.as_bytes().to_vec());
                    Ok::<_, BoxError>(Response::builder().status(status).body(body)?)
                }
            };
            Client::new(tower::service_fn(service), "default")
        }
    }

    /// Follows Nodes by a script, and says through which states that goes.
    async fn states(script: &Arc<Script>) -> Vec<Health> {
        let client = script.client();
        let watched = Watches::new(&["nodes"]).get("nodes").unwrap().clone();
        let mut health = watched.health.subscribe();
        let mut states = vec![watched.health()];
        let following = follow_known(Api::<Node>::all(client), Config::default(), watched, |_| {});
        let watching = async {
            while health.changed().await.is_ok() {
                states.push(health.borrow_and_update().clone());
            }
        };
        // Paused, the time of the tests goes on when nothing else does.
        let end = tokio::time::timeout(Duration::from_mins(1), async { tokio::join!(watching, following) }).await;
        assert!(end.is_err());
        states
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_refused_as_expired_is_listed_anew() {
        let script = Script::new([vec![(200, LIST), (200, LIST)], vec![(410, EXPIRED)], vec![]]);
        assert_eq!(states(&script).await.last(), Some(&Health::Live));
        assert!(script.is_over(), "it was not listed again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_404_of_something_on_the_way_does_not_make_a_kind_unknown() {
        let lists = vec![(404, "no such backend"), (200, LIST)];
        let states = states(&Script::new([lists, vec![], vec![(200, KINDS)]])).await;
        let down = Health::Down("no such backend (404 Not Found)".to_owned());
        assert_eq!(states, [Health::Syncing, down, Health::Syncing, Health::Live]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_the_api_server_does_not_have_has_no_objects() {
        let none = r#"{"kind": "APIResourceList", "groupVersion": "v1", "resources": []}"#;
        let states = states(&Script::new([vec![(404, "404 page not found")], vec![], vec![(200, none)]])).await;
        assert_eq!(states.last(), Some(&Health::Live));
    }
}
