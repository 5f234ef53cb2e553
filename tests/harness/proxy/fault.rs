//! What can go wrong with a request, and what is to go wrong next.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use http::{Method, Uri};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before the request is forwarded.
    Refused,
    /// It is done, and the connection breaks in place of the answer.
    AnswerLost,
    /// Both connections break while the API server works on it.
    Cut,
    /// It comes late.
    Late(Duration),
    /// It is done, and the answer comes late.
    AnswerLate(Duration),
    /// It is not done, and this status comes back; 429 with Retry-After.
    Status(u16),
    /// It is done, and this status comes back.
    DoneButStatus(u16),
    /// It is not done, and nothing ever comes back.
    Hung,
    /// It is done, and nothing ever comes back.
    DoneButHung,
    /// The answer comes in small pieces with pauses.
    Slow,
    /// The first half of the answer comes, and the connection breaks.
    Truncated,
}

/// What happens to a watch that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// The connection breaks.
    Cut,
    /// It ends as if complete, in the middle of an event.
    Truncated,
    /// The API server says that the resourceVersion is too old.
    Expired,
    /// Nothing comes for a while; nothing is lost.
    Stalled(Duration),
    /// It ends as it does after its time.
    Ended,
}

/// Which requests a fault can happen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Any but others.
    Any,
    /// The start of a watch.
    Watch,
    /// A list.
    List,
    /// An object read by name.
    Get,
    /// An answer to a CertificateSigningRequest.
    Approval,
    /// What concerns the Lease.
    Lease,
    /// An Event.
    Event,
    /// What concerns the ConfigMap of contested claims.
    Claims,
    /// Anything else: what a start asks for, mostly.
    Other,
}

impl Target {
    /// What a request is.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let last = path.rsplit('/').next().unwrap_or_default();
        let collections = [
            "nodes",
            "certificatesigningrequests",
            "servicecidrs",
            "endpointslices",
            "configmaps",
            "services",
            "machines",
        ];
        if query.split('&').any(|pair| pair == "watch=true") {
            Self::Watch
        } else if last == "approval" {
            Self::Approval
        } else if path.contains("/leases") {
            Self::Lease
        } else if path.contains("/events") {
            Self::Event
        } else if *method == Method::GET && collections.contains(&last) {
            Self::List
        } else if path.contains("/configmaps") {
            Self::Claims
        } else if *method == Method::GET {
            Self::Get
        } else {
            Self::Other
        }
    }
}

/// How many faults wait for a request at most. Without a limit, a client that asks for little would
/// meet one at every request, and get nothing done.
const MOST_ARMED: usize = 6;

/// What is to go wrong, and what has.
#[derive(Default)]
pub struct Faults {
    armed: Mutex<VecDeque<(Target, Fault)>>,
    unanswerable: Mutex<Option<String>>,
    /// The open watches, each with the path of what it watches.
    streams: Mutex<Vec<(String, mpsc::UnboundedSender<StreamFault>)>>,
    suffered: Mutex<BTreeMap<String, usize>>,
}

impl Faults {
    /// The next request of this kind suffers this. The oldest of many that wait is given up.
    pub fn arm(&self, target: Target, fault: Fault) {
        let mut armed = self.armed.lock();
        armed.push_back((target, fault));
        if armed.len() > MOST_ARMED {
            armed.pop_front();
        }
    }

    /// Whoever answers this CertificateSigningRequest gets a 500, every time.
    pub fn fail_answers_to(&self, request: &str) {
        *self.unanswerable.lock() = Some(request.to_owned());
    }

    /// Nothing goes wrong any more.
    pub fn disarm(&self) {
        self.armed.lock().clear();
        self.unanswerable.lock().take();
    }

    /// One of the open watches suffers this, if there is one.
    pub fn strike_stream(&self, chosen: usize, fault: StreamFault) {
        let mut streams = self.streams.lock();
        streams.retain(|(_, stream)| !stream.is_closed());
        let count = streams.len().max(1);
        let struck = streams.get(chosen % count).is_some_and(|(_, stream)| stream.send(fault).is_ok());
        drop(streams);
        if struck {
            self.note(&format!("open watch {}", name_of(&fault)));
        }
    }

    /// Every open watch of this kind of object suffers this. Returns how many there are.
    pub fn strike_watches_of(&self, plural: &str, fault: StreamFault) -> usize {
        let streams = self.streams.lock();
        let of_kind = streams.iter().filter(|(path, _)| path.ends_with(&format!("/{plural}")));
        of_kind.filter(|(_, stream)| stream.send(fault).is_ok()).count()
    }

    /// How often what has gone wrong.
    pub fn suffered(&self) -> BTreeMap<String, usize> {
        self.suffered.lock().clone()
    }

    /// How much has gone wrong.
    pub fn count(&self) -> usize {
        self.suffered.lock().values().sum()
    }

    /// Notes that something has gone wrong.
    pub fn note(&self, what: &str) {
        *self.suffered.lock().entry(what.to_owned()).or_default() += 1;
    }

    pub(super) fn take(&self, target: Target, path: &str) -> Option<Fault> {
        let fault = if target == Target::Approval && self.is_unanswerable(path) {
            Fault::Status(500)
        } else {
            let mut armed = self.armed.lock();
            let fits = |wanted| wanted == target || (wanted == Target::Any && target != Target::Other);
            let position = armed.iter().position(|(wanted, _)| fits(*wanted))?;
            armed.remove(position)?.1
        };
        self.note(&format!("{target:?} {}", name_of(&fault)));
        Some(fault)
    }

    fn is_unanswerable(&self, path: &str) -> bool {
        self.unanswerable.lock().as_ref().is_some_and(|request| path.ends_with(&format!("/{request}/approval")))
    }

    pub(super) fn open_stream(&self, path: String) -> mpsc::UnboundedReceiver<StreamFault> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.streams.lock().push((path, sender));
        receiver
    }
}

/// Without times, which are many.
fn name_of(fault: &impl std::fmt::Debug) -> String {
    let text = format!("{fault:?}");
    if text.contains("Status(") { text } else { text.split('(').next().unwrap_or_default().to_owned() }
}
