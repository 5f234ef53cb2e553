//! Following the objects of one kind: its list, and then every change.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
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
/// How many objects are asked for at once. Two pages are in memory at a time, without what makes an object large.
const PAGE: u32 = 200;

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
    let config = config.timeout(WATCH_SECONDS).page_size(PAGE);
    let begin = || relisting(api.clone(), config.clone()).default_backoff().boxed();
    let mut events = begin();
    loop {
        let event = tokio::select! {
            // What is there is read first: until then it is not followed.
            biased;
            event = events.next() => event,
            () = watched.settled() => continue,
        };
        let Some(event) = event else { return };
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

/// The library's watcher, which goes on from the last event that it could read. After one that it cannot read it would
/// ask for the same again, or leave that out; so what there is is listed anew.
fn relisting<K>(api: Api<K>, config: Config) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    stream::unfold(None, move |events| {
        let mut events = events.unwrap_or_else(|| watcher(api.clone(), config.clone()).boxed());
        async move {
            let event = events.next().await?;
            let is_followed = !event.as_ref().is_err_and(is_unreadable);
            Some((event, is_followed.then_some(events)))
        }
    })
}

/// Whether something came that is no event, or the server says that it cannot go on. That a connection was lost is none
/// of it: all instances would list everything when an API server restarts.
fn is_unreadable(error: &watcher::Error) -> bool {
    match error {
        // What is no UTF-8 is an I/O error too, and of a kind that none of a connection has: the library wraps those.
        watcher::Error::WatchFailed(kube::Error::ReadEvents(error)) => error.kind() == io::ErrorKind::InvalidData,
        // An event that is no JSON, not of its kind, or a Status.
        watcher::Error::WatchFailed(_) | watcher::Error::WatchError(_) => true,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Request, Response};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use kube::Client;
    use kube::client::Body;
    use parking_lot::Mutex;
    use tower::BoxError;

    use super::*;
    use crate::api::Node;
    use crate::watch::Watches;

    /// A status and a body.
    type Answer = (u16, Vec<u8>);

    /// What the API server answers to lists, watches and questions for its kinds, in turn; then nothing. Each line of an
    /// answer comes [`LATE`].
    struct Script(Mutex<[Vec<Answer>; 3]>);

    const LATE: Duration = Duration::from_millis(200);
    const LIST: &str = r#"{"kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": []}"#;
    const PAGE: &str = r#"{"kind": "NodeList", "apiVersion": "v1", "metadata": {"continue": "more"}, "items": []}"#;
    const EXPIRED: &str =
        r#"{"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "old"}"#;
    const KINDS: &str = r#"{"kind": "APIResourceList", "groupVersion": "v1",
        "resources": [{"name": "nodes", "singularName": "node", "namespaced": false, "kind": "Node", "verbs": []}]}"#;

    impl Script {
        fn new(answers: [Vec<(u16, &str)>; 3]) -> Arc<Self> {
            let of_bytes = |(status, text): (u16, &str)| (status, text.as_bytes().to_vec());
            Arc::new(Self(Mutex::new(answers.map(|answers| answers.into_iter().rev().map(of_bytes).collect()))))
        }

        /// Whether everything was asked for.
        fn is_over(&self) -> bool {
            self.0.lock().iter().all(Vec::is_empty)
        }

        fn client(self: &Arc<Self>, watches: Watches) -> Client {
            let script = self.clone();
            let service = move |request: Request<Body>| {
                let kind = match (request.uri().path(), request.uri().query()) {
                    ("/api/v1/nodes", Some(query)) if query.contains("watch=true") => 1,
                    ("/api/v1/nodes", _) => 0,
                    _ => 2,
                };
                let answer = script.0.lock()[kind].pop();
                let watches = watches.clone();
                async move {
                    let Some((status, body)) = answer else { return std::future::pending().await };
                    if kind == 1 && status == 200 {
                        watches.resumed("nodes");
                    }
                    let lines: Vec<Vec<u8>> = body.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                    let body = StreamBody::new(stream::iter(lines).then(async |line| {
                        sleep(LATE).await;
                        Ok::<_, BoxError>(Frame::data(line.into()))
                    }));
                    Ok::<_, BoxError>(Response::builder().status(status).body(body)?)
                }
            };
            Client::new(tower::service_fn(service), "default")
        }
    }

    /// Follows Nodes by a script, and says through which states that goes.
    async fn states(script: &Arc<Script>) -> Vec<Health> {
        let all = Watches::new(&["nodes"]);
        let watched = all.get("nodes").unwrap().clone();
        let client = script.client(all);
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
    async fn a_list_that_expires_between_two_pages_begins_anew() {
        let script = Script::new([vec![(200, PAGE), (410, EXPIRED), (200, LIST)], vec![], vec![]]);
        assert_eq!(states(&script).await.last(), Some(&Health::Live));
        assert!(script.is_over(), "it was not listed again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_refused_as_expired_is_listed_anew() {
        let script = Script::new([vec![(200, LIST), (200, LIST)], vec![(410, EXPIRED)], vec![]]);
        assert_eq!(states(&script).await.last(), Some(&Health::Live));
        assert!(script.is_over(), "it was not listed again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_was_down_is_followed_again_when_what_was_missed_has_come() {
        let refused = || Health::Down("no (500 Internal Server Error)".to_owned());
        let missed = r#"{"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "9"}}}"#;
        let expired = format!("{missed}\n{}\n", format_args!(r#"{{"type": "ERROR", "object": {EXPIRED}}}"#));

        let script = Script::new([vec![(200, LIST)], vec![(500, "no"), (200, missed)], vec![]]);
        assert_eq!(states(&script).await, [Health::Syncing, Health::Live, refused(), Health::Live]);

        let script = Script::new([vec![(200, LIST), (200, LIST)], vec![(500, "no"), (200, &expired)], vec![]]);
        let states = states(&script).await;
        assert_eq!(states, [Health::Syncing, Health::Live, refused(), Health::Syncing, Health::Live]);
        assert!(script.is_over(), "it was not listed again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_ends_and_is_opened_again_is_followed_all_the_while() {
        let script = Script::new([vec![(200, LIST)], vec![(200, ""), (200, "")], vec![]]);
        assert_eq!(states(&script).await, [Health::Syncing, Health::Live]);
        assert!(script.is_over(), "it was not opened again");
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_event_that_cannot_be_read_everything_is_listed_anew() {
        let no_node = r#"{"type": "ADDED", "object": {"metadata": {"name": 1}}}"#;
        let failed =
            r#"{"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 500, "message": "no"}}"#;
        let next = r#"{"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "9"}}}"#;
        let events = |first: &[u8]| [first, b"\n", next.as_bytes(), b"\n"].concat();
        for first in [no_node.as_bytes(), failed.as_bytes(), b"\"\xff\"", b"{]", EXPIRED.as_bytes()] {
            let script = Script::new([vec![(200, LIST), (200, LIST)], vec![], vec![]]);
            script.0.lock()[1].push((200, events(first)));
            let states = states(&script).await;
            assert!(script.is_over(), "it was not listed again after {}", String::from_utf8_lossy(first));
            let (last, before) = states.split_last().unwrap();
            assert!(
                *last == Health::Live && matches!(before.last(), Some(Health::Down(_) | Health::Syncing)),
                "{states:?}"
            );
            let told = states.iter().find_map(|it| if let Health::Down(why) = it { Some(why) } else { None });
            assert!(told.is_some_and(|why| why.len() > 3), "{states:?}");
        }
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
