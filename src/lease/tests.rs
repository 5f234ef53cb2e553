//! Candidates against an API server in memory, on a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};
use tower::BoxError;

use super::{Candidate, LEASE_DURATION, Leadership, LeaseName, RENEW_DEADLINE, RETRY_PERIOD};

/// One Lease, with optimistic locking.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lease: Option<Value>,
    version: u64,
    /// The candidates whose requests are never answered.
    cut_off: Vec<&'static str>,
    /// The candidates whose writes are done, and never answered.
    unheard: Vec<&'static str>,
}

impl Server {
    fn client(&self, of: &'static str) -> Client {
        let server = self.clone();
        let service = move |request: Request<Body>| {
            let server = server.clone();
            async move {
                if server.0.lock().cut_off.contains(&of) {
                    return std::future::pending().await;
                }
                let method = request.method().clone();
                let body = request.into_body().collect_bytes().await?;
                let answer = server.0.lock().answer(&method, serde_json::from_slice(&body).ok());
                if method != Method::GET && server.0.lock().unheard.contains(&of) {
                    return std::future::pending().await;
                }
                Ok::<_, BoxError>(answer)
            }
        };
        Client::new(tower::service_fn(service), "test")
    }

    fn lease(&self) -> Lease {
        serde_json::from_value(self.0.lock().lease.clone().unwrap()).unwrap()
    }

    fn holder(&self) -> String {
        self.lease().spec.unwrap().holder_identity.unwrap()
    }

    /// Somebody else writes the Lease.
    fn write(&self, spec: &Value) {
        let mut state = self.0.lock();
        state.store(json!({"metadata": {"name": "countersign", "namespace": "test"}, "spec": spec}));
    }

    fn stranger(&self, renewed: &str) {
        self.write(&json!({"holderIdentity": "stranger", "leaseDurationSeconds": 15, "renewTime": renewed}));
    }
}

impl State {
    fn store(&mut self, mut lease: Value) -> Value {
        self.version += 1;
        lease["metadata"]["resourceVersion"] = self.version.to_string().into();
        lease["metadata"]["uid"] = "u-1".into();
        self.lease = Some(lease.clone());
        lease
    }

    fn answer(&mut self, method: &Method, body: Option<Value>) -> Response<Body> {
        let current = self.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        let answer = match (method.as_str(), current) {
            ("GET", Some(_)) => Ok(self.lease.clone().unwrap()),
            ("POST", None) => Ok(self.store(body.unwrap())),
            ("PUT", Some(version)) if body.as_ref().unwrap()["metadata"]["resourceVersion"] == version => {
                Ok(self.store(body.unwrap()))
            }
            ("GET", None) => Err((404, "NotFound")),
            ("POST" | "PUT", _) => Err((409, "Conflict")),
            (other, _) => panic!("{other}"),
        };
        let (code, body) = match answer {
            Ok(lease) => (200, lease),
            Err((code, reason)) => (code, json!({"kind": "Status", "code": code, "reason": reason, "message": reason})),
        };
        let body = Body::from(body.to_string().into_bytes());
        Response::builder().status(StatusCode::from_u16(code).unwrap()).body(body).unwrap()
    }
}

struct Instance {
    leadership: Leadership,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Instance {
    fn start(server: &Server, name: &'static str) -> Self {
        let lease = LeaseName::default_in("test");
        let (candidate, leadership) = Candidate::new(server.client(name), lease, name.to_owned());
        let (stop, stopped) = watch::channel(false);
        Self { leadership, stop, task: tokio::spawn(candidate.run(stopped)) }
    }

    fn leads(&self) -> bool {
        self.leadership.leads()
    }
}

const STEP: Duration = Duration::from_millis(20);

/// Lets time pass until something is the case; says how long that took.
async fn until(limit: Duration, condition: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    loop {
        // Each step of a request is a task's turn or two.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        if condition() {
            return started.elapsed();
        }
        assert!(started.elapsed() < limit, "not within {limit:?}");
        advance(STEP).await;
    }
}

async fn pass(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        until(STEP, || true).await;
        advance((STEP * 10).min(end - Instant::now())).await;
    }
    until(STEP, || true).await;
}

#[tokio::test(start_paused = true)]
async fn takes_a_lease_that_is_not_there_and_renews_it() {
    let server = Server::default();
    let a = Instance::start(&server, "a");
    assert!(until(RETRY_PERIOD, || a.leads()).await < STEP);
    let first = server.lease().spec.unwrap();
    assert_eq!(
        (first.holder_identity.as_deref(), first.lease_duration_seconds, first.lease_transitions),
        (Some("a"), Some(15), Some(0))
    );
    pass(Duration::from_mins(1)).await;
    assert!(a.leads());
    let last = server.lease().spec.unwrap();
    assert_eq!((&last.acquire_time, last.lease_transitions), (&first.acquire_time, Some(0)));
    assert!(last.renew_time.unwrap().0 > first.renew_time.unwrap().0);
    // Once at the start, and every two seconds after.
    assert!((29..=31).contains(&server.0.lock().version), "{} writes", server.0.lock().version);
}

#[tokio::test(start_paused = true)]
async fn another_waits_and_takes_it_when_the_holder_is_silent() {
    let server = Server::default();
    let a = Instance::start(&server, "a");
    until(STEP, || a.leads()).await;
    let b = Instance::start(&server, "b");
    pass(Duration::from_mins(1)).await;
    assert!(a.leads() && !b.leads());
    a.task.abort();
    let after = until(Duration::from_secs(20), || b.leads()).await;
    // The last renewal was at most a retry period before the end, and seen at most one after.
    assert!(after + RETRY_PERIOD > LEASE_DURATION && after < LEASE_DURATION + RETRY_PERIOD, "{after:?}");
    assert_eq!(server.lease().spec.unwrap().lease_transitions, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_stops_before_another_starts() {
    for unheard in [false, true] {
        let server = Server::default();
        let a = Instance::start(&server, "a");
        until(STEP, || a.leads()).await;
        let b = Instance::start(&server, "b");
        pass(Duration::from_secs(7)).await;
        if unheard {
            server.0.lock().unheard.push("a");
        } else {
            server.0.lock().cut_off.push("a");
        }
        let stopped = until(RENEW_DEADLINE, || !a.leads()).await;
        assert!(stopped + RETRY_PERIOD + STEP > RENEW_DEADLINE, "{stopped:?}");
        assert!(!b.leads());
        if unheard {
            // Its renewals arrive, so that it holds the Lease without knowing. Nobody leads; nobody leads wrongly.
            pass(Duration::from_mins(1)).await;
            assert!(!a.leads() && !b.leads() && server.holder() == "a");
            server.0.lock().unheard.clear();
            until(RETRY_PERIOD * 3, || a.leads()).await;
            assert_eq!(a.leadership.term(), Some(2));
        } else {
            let silent = until(LEASE_DURATION, || b.leads()).await;
            assert!(silent + RENEW_DEADLINE + STEP > LEASE_DURATION, "{silent:?}");
            server.0.lock().cut_off.clear();
            pass(Duration::from_secs(30)).await;
            assert!(b.leads() && !a.leads());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn never_do_two_lead_whatever_the_network_does() {
    let server = Server::default();
    let all = ["a", "b", "c"].map(|name| (name, Instance::start(&server, name)));
    let mut led = std::collections::HashSet::new();
    let mut random: u32 = 1;
    for _ in 0..150 {
        // Now and then everybody is connected, cut off or unheard anew.
        let mut one_of_three = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) % 3
        };
        let fates = all.each_ref().map(|(name, _)| (*name, one_of_three()));
        let with = |fate: u32| fates.iter().filter(|it| it.1 == fate).map(|it| it.0).collect();
        {
            let mut state = server.0.lock();
            (state.cut_off, state.unheard) = (with(0), with(1));
        }
        let time = Duration::from_secs(u64::from(one_of_three()) * 7 + 1);
        let end = Instant::now() + time;
        while Instant::now() < end {
            pass(STEP * 3).await;
            let leaders: Vec<_> = all.iter().filter(|(_, it)| it.leads()).map(|(name, _)| *name).collect();
            assert!(leaders.len() < 2, "{leaders:?}");
            led.extend(leaders);
        }
    }
    assert_eq!(led.len(), 3, "the schedule has let only {led:?} lead");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_up_is_taken_within_two_seconds() {
    let server = Server::default();
    let a = Instance::start(&server, "a");
    until(STEP, || a.leads()).await;
    let b = Instance::start(&server, "b");
    pass(Duration::from_secs(31)).await;
    a.stop.send_replace(true);
    until(STEP, || a.task.is_finished()).await;
    let spec = server.lease().spec.unwrap();
    assert!(!a.leads());
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_duration_seconds), (Some(""), Some(1)));
    let after = until(RETRY_PERIOD, || b.leads()).await;
    assert!(after < RETRY_PERIOD, "{after:?}");
    let spec = server.lease().spec.unwrap();
    assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(1), Some(15)));
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_hold_it_gives_nothing_up() {
    let server = Server::default();
    server.stranger("2026-01-01T00:00:00.000000Z");
    let a = Instance::start(&server, "a");
    pass(RETRY_PERIOD).await;
    a.stop.send_replace(true);
    until(STEP, || a.task.is_finished()).await;
    assert_eq!(server.holder(), "stranger");
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_by_years_change_nothing() {
    for renewed in ["1970-01-01T00:00:00.000000Z", "2200-01-01T00:00:00.000000Z"] {
        let server = Server::default();
        server.stranger(renewed);
        let a = Instance::start(&server, "a");
        // As long as the stranger writes something new, whatever its clock says, it holds the Lease.
        for second in 0..30 {
            pass(Duration::from_secs(2)).await;
            assert!(!a.leads());
            server.stranger(&renewed.replace("00:00.", &format!("00:{second:02}.")));
        }
        let after = until(Duration::from_secs(20), || a.leads()).await;
        assert!(after >= LEASE_DURATION && after < LEASE_DURATION + RETRY_PERIOD, "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn labels_and_annotations_are_no_sign_of_life() {
    let server = Server::default();
    server.stranger("2026-01-01T00:00:00.000000Z");
    let a = Instance::start(&server, "a");
    for _ in 0..14 {
        pass(Duration::from_secs(1)).await;
        let mut state = server.0.lock();
        let lease = state.lease.clone().unwrap();
        state.store(lease);
    }
    assert!(!a.leads());
    assert!(until(Duration::from_secs(3), || a.leads()).await > Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_a_stranger_takes_is_left_to_it() {
    let server = Server::default();
    let a = Instance::start(&server, "a");
    pass(Duration::from_secs(5)).await;
    server.stranger("2026-01-01T00:00:00.000000Z");
    assert!(until(RETRY_PERIOD + STEP, || !a.leads()).await <= RETRY_PERIOD);
    let after = until(Duration::from_secs(20), || a.leads()).await;
    assert!(after + STEP >= LEASE_DURATION, "{after:?}");
    assert_eq!(a.leadership.term(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_asks_for_five_minutes_has_them() {
    let server = Server::default();
    server.write(&json!({"holderIdentity": "stranger", "leaseDurationSeconds": 300}));
    let a = Instance::start(&server, "a");
    pass(Duration::from_secs(298)).await;
    assert!(!a.leads());
    until(Duration::from_mins(2), || a.leads()).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_holder_or_duration_is_free() {
    for spec in [json!({}), json!({"holderIdentity": "", "leaseDurationSeconds": 15, "leaseTransitions": 7})] {
        let server = Server::default();
        server.write(&spec);
        let a = Instance::start(&server, "a");
        until(STEP, || a.leads()).await;
        let transitions = spec["leaseTransitions"].as_i64().unwrap_or_default() + 1;
        assert_eq!(server.lease().spec.unwrap().lease_transitions.map(i64::from), Some(transitions));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_is_made_anew_by_its_holder_and_not_stolen_by_another() {
    let server = Server::default();
    let a = Instance::start(&server, "a");
    until(STEP, || a.leads()).await;
    let b = Instance::start(&server, "b");
    for _ in 0..20 {
        pass(Duration::from_millis(1_700)).await;
        server.0.lock().lease = None;
        for _ in 0..200 {
            pass(STEP).await;
            assert!(!b.leads());
        }
        assert!(a.leads() && server.holder() == "a");
    }
    // Deleted together with its holder, it is taken when it would have run out.
    a.task.abort();
    server.0.lock().lease = None;
    let after = until(Duration::from_secs(20), || b.leads()).await;
    assert!(after + RETRY_PERIOD + STEP * 20 > LEASE_DURATION, "{after:?}");
}
