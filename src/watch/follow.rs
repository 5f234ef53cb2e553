//! Following the objects of one kind: its list, and then every change.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::{Health, Watched};
use crate::client::{describe, is_served};

/// How long the server keeps one watch open, in seconds. A connection that died in silence is noticed 5 s after it
/// should have ended.
const WATCH_SECONDS: u32 = 60;
/// How long to wait before asking again for what the server has, and something on the way does not find.
const NOT_FOUND: Duration = Duration::from_secs(1);
/// How long to wait before asking again for a kind of object that the server does not know.
const UNKNOWN_KIND: Duration = Duration::from_mins(5);
/// How many objects are asked for at once where the server does not stream lists. Nodes of large clusters have 16 KB and
/// more each.
const PAGE: u32 = 100;
/// How often a streamed list may end early before the list is asked for in pages.
const UNFINISHED: u32 = 2;

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
    let paged = config.timeout(WATCH_SECONDS).page_size(PAGE);
    let begin = |streamed: bool| {
        let config = if streamed { paged.clone().streaming_lists() } else { paged.clone() };
        watcher(api.clone(), config).default_backoff().boxed()
    };
    // Whether the list comes as the beginning of the watch, object by object: it never is in memory as a whole.
    let mut streamed = true;
    // How often the list has attempts since it was last complete.
    let mut attempts = 0;
    let mut events = begin(streamed);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let health = match &event {
                    Event::Init => {
                        attempts += 1;
                        Some(Health::Syncing)
                    }
                    Event::InitDone => {
                        attempts = 0;
                        Some(Health::Live)
                    }
                    Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => None,
                };
                sink(event);
                if let Some(health) = health {
                    watched.set(health);
                }
                // A watch has its time, which may be too short for a long list on a slow network.
                if streamed && attempts > UNFINISHED {
                    streamed = false;
                    events = begin(streamed);
                }
            }
            // The server's feature WatchList is off.
            Err(watcher::Error::WatchStartFailed(kube::Error::Api(status)))
                if streamed && matches!(status.code, 400 | 422) =>
            {
                streamed = false;
                events = begin(streamed);
            }
            Err(error) => {
                watched.failed(&error);
                match &error {
                    watcher::Error::InitialListFailed(kube::Error::Api(status))
                    | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => match status.code {
                        404 => return,
                        // The library lists anew when an open watch says so, but not when one cannot be opened.
                        410 => events = begin(streamed),
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
    use crate::watch::Watches;

    /// What the API server answers to streamed lists, lists, watches and questions for its kinds, in turn; then nothing.
    struct Script(Mutex<[Vec<(u16, &'static str)>; 4]>);

    const LIST: &str = r#"{"kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": []}"#;
    const NODE: &str = r#"{"type": "ADDED", "object": {"kind": "Node", "metadata": {"name": "n"}}}"#;
    const STREAM: &str = concat!(
        r#"{"type": "ADDED", "object": {"kind": "Node", "metadata": {"name": "n"}}}"#,
        "\n",
        r#"{"type": "BOOKMARK", "object": {"kind": "Node", "apiVersion": "v1", "metadata": "#,
        r#"{"resourceVersion": "7", "annotations": {"k8s.io/initial-events-end": "true"}}}}"#,
        "\n",
    );
    const REFUSED: &str = r#"{"kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid",
        "message": "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"}"#;
    const EXPIRED_EVENT: &str = concat!(
        r#"{"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "#,
        r#""message": "old"}}"#,
    );
    const EXPIRED: &str =
        r#"{"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "old"}"#;
    const KINDS: &str = r#"{"kind": "APIResourceList", "groupVersion": "v1",
        "resources": [{"name": "nodes", "singularName": "node", "namespaced": false, "kind": "Node", "verbs": []}]}"#;

    impl Script {
        fn new(mut answers: [Vec<(u16, &'static str)>; 4]) -> Arc<Self> {
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
                    ("/api/v1/nodes", Some(query)) if query.contains("sendInitialEvents=true") => 0,
                    ("/api/v1/nodes", Some(query)) if query.contains("watch=true") => 2,
                    ("/api/v1/nodes", _) => 1,
                    _ => 3,
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
    async fn a_list_comes_as_the_beginning_of_a_watch() {
        let script = Script::new([vec![(200, STREAM)], vec![], vec![], vec![]]);
        assert_eq!(states(&script).await, [Health::Syncing, Health::Live]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_lists_are_not_streamed_they_are_asked_for() {
        for (code, refusal) in [(422, REFUSED), (400, "no")] {
            let script = Script::new([vec![(code, refusal)], vec![(200, LIST)], vec![], vec![]]);
            assert_eq!(states(&script).await, [Health::Syncing, Health::Live]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lists_may_be_refused_after_one_has_begun() {
        let script = Script::new([vec![(200, NODE), (422, REFUSED)], vec![(200, LIST)], vec![], vec![]]);
        assert_eq!(states(&script).await.last(), Some(&Health::Live));
        assert!(script.is_over(), "it was not listed");
    }

    #[tokio::test(start_paused = true)]
    async fn where_streamed_lists_end_early_they_are_asked_for() {
        let script = Script::new([vec![(200, NODE); 3], vec![(200, LIST)], vec![], vec![]]);
        assert_eq!(states(&script).await.last(), Some(&Health::Live));
        assert!(script.is_over(), "it was not streamed three times and listed then");
    }

    #[tokio::test(start_paused = true)]
    async fn a_streamed_list_that_is_refused_as_expired_is_asked_for_anew() {
        let script = Script::new([vec![(410, EXPIRED), (200, EXPIRED_EVENT), (200, STREAM)], vec![], vec![], vec![]]);
        assert_eq!(states(&script).await.last(), Some(&Health::Live));
        assert!(script.is_over(), "it was not asked for again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_refused_as_expired_is_listed_anew() {
        let script = Script::new([vec![(200, STREAM), (200, STREAM)], vec![], vec![(410, EXPIRED)], vec![]]);
        assert_eq!(states(&script).await.last(), Some(&Health::Live));
        assert!(script.is_over(), "it was not listed again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_404_of_something_on_the_way_does_not_make_a_kind_unknown() {
        let streams = vec![(404, "no such backend"), (200, STREAM)];
        let states = states(&Script::new([streams, vec![], vec![], vec![(200, KINDS)]])).await;
        let down = Health::Down("no such backend (404 Not Found)".to_owned());
        assert_eq!(states, [Health::Syncing, down, Health::Live]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_the_api_server_does_not_have_has_no_objects() {
        let none = r#"{"kind": "APIResourceList", "groupVersion": "v1", "resources": []}"#;
        let streams = vec![(404, "404 page not found")];
        let states = states(&Script::new([streams, vec![], vec![], vec![(200, none)]])).await;
        assert_eq!(states.last(), Some(&Health::Live));
    }
}
