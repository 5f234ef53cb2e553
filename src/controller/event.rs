//! Kubernetes Events: what `kubectl describe csr` and `kubectl describe node` show. Best effort, and never in the way.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::core::ObjectMeta;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::api::{ApiError, Cluster};
use crate::metrics::Metrics;
use crate::san::NodeName;

/// The name under which Events are reported.
const REPORTER: &str = "countersign";
/// How many Events may wait to be sent.
const WAITING: usize = 128;
/// The shortest time between two Events. During a storm the conditions themselves tell what was decided, and the
/// API server has better things to do.
const PACE: Duration = Duration::from_millis(50);

/// What happened, to be told.
#[derive(Debug)]
pub(super) struct Occurrence {
    pub(super) regarding: Regarding,
    /// Something that an operator may want to look into.
    pub(super) warning: bool,
    pub(super) action: &'static str,
    pub(super) reason: &'static str,
    pub(super) note: String,
}

/// The object that an Event is about.
#[derive(Debug)]
pub(super) enum Regarding {
    Request {
        name: Arc<str>,
        uid: String,
    },
    Node {
        name: NodeName,
        uid: String,
    },
    /// The Lease that says who leads.
    Lease {
        namespace: String,
        name: String,
        uid: String,
    },
    /// The pod that this program runs in.
    Pod {
        namespace: String,
        name: String,
    },
}

impl super::Controller {
    /// Tells of operator's files that cannot be used, with the pod, where there is one.
    pub(crate) fn record_reload_failure(&self, note: &str) {
        if let (Ok(namespace), Ok(name)) = (std::env::var("POD_NAMESPACE"), std::env::var("POD_NAME")) {
            let regarding = Regarding::Pod { namespace, name };
            let note = note.chars().take(500).collect();
            self.events.record(Occurrence { regarding, warning: true, action: "Reload", reason: "ReloadFailed", note });
        }
    }
}

/// Takes Events to be sent in the background.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    sender: mpsc::Sender<Occurrence>,
    instance: Arc<str>,
    metrics: Arc<Metrics>,
}

impl Recorder {
    /// A recorder, and what sends its Events until every clone of the recorder is gone. `instance` is what this instance
    /// calls itself.
    pub(super) fn new(cluster: Cluster, instance: String, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let recorder = Self { sender, instance: instance.into(), metrics: metrics.clone() };
        let send = send(cluster, recorder.instance.clone(), metrics, receiver);
        (recorder, send)
    }

    /// What this instance calls itself.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// Takes one, or drops it where too many wait.
    pub(super) fn record(&self, occurrence: Occurrence) {
        if self.sender.try_send(occurrence).is_err() {
            self.metrics.events_dropped.inc();
        }
    }
}

async fn send(cluster: Cluster, instance: Arc<str>, metrics: Arc<Metrics>, mut receiver: mpsc::Receiver<Occurrence>) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(occurrence) = receiver.recv().await {
        pace.tick().await;
        // Every instance speaks for its own pod, and only the leader for the cluster.
        let own = matches!(occurrence.regarding, Regarding::Pod { .. });
        let event = event(occurrence, &instance, Timestamp::now());
        let sent = if own { cluster.create_own_event(&event).await } else { cluster.create_event(&event).await };
        match sent {
            Ok(()) => {}
            Err(ApiError::NotLeading { .. }) => metrics.events_dropped.inc(),
            Err(error) => tracing::warn!(%error, "an Event was not sent"),
        }
    }
}

fn event(occurrence: Occurrence, instance: &str, now: Timestamp) -> Event {
    let mut namespace = None;
    let (kind, api_version, name, uid) = match occurrence.regarding {
        Regarding::Request { name, uid } => {
            ("CertificateSigningRequest", "certificates.k8s.io/v1", name.to_string(), uid)
        }
        Regarding::Node { name, uid } => ("Node", "v1", name.to_string(), uid),
        Regarding::Lease { namespace: own, name, uid } => {
            namespace = Some(own);
            ("Lease", "coordination.k8s.io/v1", name, uid)
        }
        Regarding::Pod { namespace: own, name } => {
            namespace = Some(own);
            ("Pod", "v1", name, String::new())
        }
    };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", object_name(&name), now.as_nanosecond())),
            namespace: Some(namespace.clone().unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        action: Some(occurrence.action.to_owned()),
        reason: Some(occurrence.reason.to_owned()),
        note: Some(occurrence.note),
        type_: Some(if occurrence.warning { "Warning" } else { "Normal" }.to_owned()),
        regarding: Some(ObjectReference {
            kind: Some(kind.to_owned()),
            api_version: Some(api_version.to_owned()),
            name: Some(name),
            uid: Some(uid).filter(|uid| !uid.is_empty()),
            namespace,
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

/// The first part of an Event's name. The API server takes nearly any text for the name of a
/// CertificateSigningRequest, but only an RFC 1123 subdomain for that of an Event.
fn object_name(name: &str) -> String {
    const LONGEST: usize = 200;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let plain: String = name.chars().take(LONGEST).map(|c| if fits(c) { c } else { '-' }).collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { REPORTER.to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_after_any_object_and_valid() {
        assert_eq!(object_name("csr-x7k2p"), "csr-x7k2p");
        assert_eq!(object_name("A?b c.ä/d-"), "b-c---d");
        assert_eq!(object_name("???"), "countersign");
        assert_eq!(object_name(&"a".repeat(300)).len(), 200);
    }

    #[test]
    fn an_event_about_a_request_finds_its_way_into_describe() {
        let regarding = Regarding::Request { name: "csr-1".into(), uid: "u-1".into() };
        let occurrence =
            Occurrence { regarding, warning: true, action: "Deny", reason: "ProtectedName", note: "no".into() };
        let event = event(occurrence, "pod-1", Timestamp::UNIX_EPOCH);
        let regarding = event.regarding.unwrap();
        assert_eq!((regarding.name.as_deref(), regarding.uid.as_deref()), (Some("csr-1"), Some("u-1")));
        assert_eq!((event.type_.as_deref(), event.reason.as_deref()), (Some("Warning"), Some("ProtectedName")));
    }
}
