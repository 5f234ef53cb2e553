//! What the controller knows: Nodes and requests, as the watches brought them, as small as decisions allow.

mod nodes;
mod room;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::ObjectMeta;

use super::approval::Given;
use super::queue::Queue;
use crate::api::{CertificateSigningRequest, Condition, KUBELET_SERVING, RequestSpec};
use crate::gather::Surroundings;
use crate::identity::{MachineIndex, MachineRecord, Moment, NodeIndex, Resolutions};
use crate::policy::Budget;
use crate::request::{Reading, USER_PREFIX};
use crate::san::NodeName;
use crate::verdict::NonEmpty;
use room::{Room, Taken};

/// How long the first retry after an error waits; each further one waits twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// The longest that a retry waits.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// For how long what DNS said of a request's names holds.
const RESOLVED_FOR: Duration = Duration::from_secs(10);

/// How many budgets are kept before those that are full again are dropped.
const MIN_BUDGETS: usize = 256;

/// The reason under which a pending request is counted that was not looked at yet.
pub(crate) const QUEUED: &str = "Queued";

/// Everything the controller knows. Synchronous; the caller locks it and never holds the lock across an await.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) nodes: NodeIndex,
    pub(super) queue: Queue,
    pub(super) machines: MachineIndex,
    pub(super) surroundings: Surroundings,
    requests: HashMap<Arc<str>, Entry>,
    room: Room,
    budgets: HashMap<NodeName, Budget>,
    budgets_limit: usize,
    /// Whether requests that come up are left to another run.
    closed: bool,
    moment: Moment,
    /// What the list of Nodes that is under way has brought so far; none where there is none under way.
    listed: Option<HashSet<NodeName>>,
}

/// Which request. A node can have its own requests deleted whenever it likes, and file others of the same names.
#[derive(Clone, Debug)]
pub(super) struct RequestId {
    pub(super) name: Arc<str>,
    /// What another one of the same name does not share.
    pub(super) uid: Box<str>,
    pub(super) created: Timestamp,
}

impl RequestId {
    /// That of a request as the API server has it; none where it lacks a name or a uid, or the name is too long.
    pub(super) fn of(csr: &CertificateSigningRequest) -> Option<Self> {
        if csr.has_long_name() {
            return None;
        }
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Some(Self {
            name: text(&csr.metadata.name)?.into(),
            uid: text(&csr.metadata.uid)?.into(),
            created: csr.created(),
        })
    }
}

/// One request that exists.
#[derive(Debug)]
struct Entry {
    uid: Box<str>,
    created: Timestamp,
    phase: Phase,
}

/// How far a request has come. What is decided takes no more room than the name.
#[derive(Debug)]
enum Phase {
    Pending(Box<Pending>),
    Approved { issued: bool },
    Denied,
    Failed,
}

/// A request without an answer.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// The version that was seen last, which an answer has to name.
    pub(super) resource_version: String,
    /// What else an answer has to leave as it is.
    pub(super) given: Given,
    /// Conditions of foreign types, which an answer has to repeat.
    pub(super) conditions: Vec<Condition>,
    /// What it asks for.
    pub(super) body: Body,
    /// What that takes of the room there is; none where it is not kept, or only for its turn.
    room: Option<Taken>,
    /// When its creation was seen to happen; unknown for those that were there at the start.
    pub(super) seen: Option<Instant>,
    /// What was last told of it, so as to tell nothing twice.
    told: Option<NonEmpty<&'static str>>,
    /// Whether it was found to have to wait since [`Store::await_pending`].
    settled: bool,
    /// How often in a row the API failed for it.
    pub(super) failures: u32,
    /// What DNS said of its names, and when.
    resolved: Resolved,
}

/// How far the look-up of a request's names has come.
#[derive(Clone, Debug)]
enum Resolved {
    NotAsked,
    Asking,
    At(Instant, Arc<Resolutions>),
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// As it came. In a storm there are thousands of them: no more is kept than has to be read.
    Unread(Arc<RequestSpec>),
    /// As it was understood; the bytes are not kept.
    Read(Arc<Reading>),
    /// There was no room for it when it came: it is read afresh when its turn comes.
    Left,
}

/// What became of a request elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing of note.
    None,
    /// The signer gave up on an approved request.
    SignerFailed,
    /// Its name is so long that it is passed over; who filed it.
    NameTooLong(String),
}

impl Store {
    /// Knows nothing yet but what the operator says of the cluster.
    pub(super) fn new(surroundings: Surroundings) -> Self {
        Self {
            nodes: NodeIndex::default(),
            queue: Queue::default(),
            machines: MachineIndex::default(),
            surroundings,
            requests: HashMap::new(),
            room: Room::default(),
            budgets: HashMap::new(),
            budgets_limit: MIN_BUDGETS,
            closed: false,
            moment: 0,
            listed: None,
        }
    }

    /// Keeps no request that comes from now on.
    #[cfg(test)]
    pub(super) fn fill(&mut self) {
        self.room = Room::new(0);
    }

    /// Takes in a request as it is now. `seen` is the time when the watch brought it anew, and `None` when a list did.
    pub(super) fn apply_request(&mut self, csr: CertificateSigningRequest, seen: Option<Instant>) -> Change {
        if csr.spec.signer_name != KUBELET_SERVING {
            return Change::None;
        }
        if csr.has_long_name() {
            return Change::NameTooLong(csr.spec.username);
        }
        // An answer has to name both the uid and the version.
        let (Some(RequestId { name, uid, created }), Some(version)) = (RequestId::of(&csr), version(&csr)) else {
            return Change::None;
        };
        if self.requests.get(&name).is_some_and(|entry| entry.uid != uid) {
            self.forget(&name);
        }
        let (before, known) = match self.requests.get_mut(&name) {
            Some(entry) => (Some(&mut entry.phase), true),
            None => (None, false),
        };
        if !known {
            self.queue.know(&Arc::from(csr.spec.username.as_str()), created, &name);
            if self.closed {
                return Change::None;
            }
        }
        let was_approved = matches!(before, Some(Phase::Approved { .. }));
        let was_pending = matches!(before, Some(Phase::Pending(_)));
        let phase = match Phase::decided(&csr) {
            Some(decided) => decided,
            None => match before {
                // An answer cannot be taken back: this is an older state that arrives late.
                Some(Phase::Approved { .. } | Phase::Denied | Phase::Failed) => return Change::None,
                Some(Phase::Pending(pending)) => {
                    pending.renew(version, &csr.metadata, csr.status.conditions);
                    self.queue.push(&name);
                    return Change::None;
                }
                None => {
                    let room = self.room.take(&csr.spec);
                    Phase::Pending(Box::new(Pending::new(csr, version, seen, room)))
                }
            },
        };
        let change = if was_approved && matches!(phase, Phase::Failed) { Change::SignerFailed } else { Change::None };
        match phase {
            Phase::Pending(_) => self.queue.push(&name),
            Phase::Approved { .. } | Phase::Denied | Phase::Failed if was_pending => self.queue.withdraw(&name),
            Phase::Approved { .. } | Phase::Denied | Phase::Failed => {}
        }
        self.requests.insert(name, Entry { uid, created, phase });
        change
    }

    /// Takes in a request as it was read afresh in place of this one, unless something else is known of it by now.
    pub(super) fn replace_request(&mut self, old: &RequestId, csr: CertificateSigningRequest) -> Change {
        match self.entry(old) {
            Some(_) => self.apply_request(csr, Some(Instant::now())),
            None => Change::None,
        }
    }

    /// Takes in what a request asks for that was left, while it has its turn: room or not, for one request of each
    /// requestor has its turn at a time.
    pub(super) fn keep_for_its_turn(&mut self, request: &RequestId, csr: CertificateSigningRequest) -> Change {
        let is_same = csr.metadata.uid.as_deref() == Some(&*request.uid) && !csr.is_decided();
        match (self.pending_mut(request), version(&csr)) {
            (Some(pending), Some(version)) if is_same => {
                pending.renew(version, &csr.metadata, csr.status.conditions);
                pending.body = Body::unread(csr.spec);
                Change::None
            }
            (Some(_) | None, Some(_) | None) => self.replace_request(request, csr),
        }
    }

    /// Whether there was no room for a pending request when it came.
    pub(super) fn is_left(&self, request: &RequestId) -> bool {
        self.pending(request).is_some_and(|pending| matches!(pending.body, Body::Left))
    }

    /// Gives up what was kept of a request for its turn, and is still pending after that.
    pub(super) fn leave(&mut self, request: &RequestId) {
        if let Some(pending) = self.pending_mut(request)
            && pending.room.is_none()
        {
            pending.body = Body::Left;
        }
    }

    /// Forgets a request that no longer exists.
    pub(super) fn remove_request(&mut self, request: &RequestId) {
        if self.entry(request).is_some() {
            self.forget(&request.name);
        }
    }

    fn forget(&mut self, name: &Arc<str>) {
        self.queue.forget(name);
        self.requests.remove(name);
    }

    /// Forgets every request but these, which are all that exist.
    pub(super) fn retain_requests(&mut self, names: &HashSet<Arc<str>>) {
        let gone: Vec<Arc<str>> = self.requests.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            self.forget(&name);
        }
    }

    /// Takes in a Machine as it is now.
    pub(super) fn apply_machine(&mut self, key: &str, record: Option<MachineRecord>) {
        for node in self.machines.apply(key, record) {
            self.push_requests_of(&node);
        }
    }

    /// What the node has spent of its approvals, where it has spent any.
    pub(super) fn budget(&self, node: &NodeName) -> Option<&Budget> {
        self.budgets.get(node)
    }

    /// Takes one approval out of the node's budget.
    pub(super) fn spend(&mut self, node: &NodeName, per_hour: u32, now: Timestamp) {
        if self.budgets.len() >= self.budgets_limit {
            self.budgets.retain(|_, budget| !budget.is_full(per_hour, now));
            self.budgets_limit = (self.budgets.len() * 2).max(MIN_BUDGETS);
        }
        self.budgets.entry(node.clone()).or_insert_with(|| Budget::full(now)).take(per_hour, now);
    }

    /// Puts every pending request in line.
    pub(super) fn push_all(&mut self) {
        let Self { requests, queue, .. } = self;
        for (name, entry) in requests {
            if matches!(entry.phase, Phase::Pending(_)) {
                queue.push(name);
            }
        }
    }

    fn push_requests_of(&mut self, node: &NodeName) {
        self.queue.push_all_of(&format!("{USER_PREFIX}{node}").into());
    }

    /// Which request has this name now.
    pub(super) fn named(&self, name: &Arc<str>) -> Option<RequestId> {
        let entry = self.requests.get(name)?;
        Some(RequestId { name: name.clone(), uid: entry.uid.clone(), created: entry.created })
    }

    fn entry(&self, request: &RequestId) -> Option<&Entry> {
        self.requests.get(&request.name).filter(|entry| entry.uid == request.uid)
    }

    fn entry_mut(&mut self, request: &RequestId) -> Option<&mut Entry> {
        self.requests.get_mut(&request.name).filter(|entry| entry.uid == request.uid)
    }

    /// What is known of a request, if it exists and is without an answer.
    pub(super) fn pending(&self, request: &RequestId) -> Option<&Pending> {
        match self.entry(request).map(|entry| &entry.phase) {
            Some(Phase::Pending(pending)) => Some(pending),
            Some(Phase::Approved { .. } | Phase::Denied | Phase::Failed) | None => None,
        }
    }

    fn pending_mut(&mut self, request: &RequestId) -> Option<&mut Pending> {
        match self.entry_mut(request).map(|entry| &mut entry.phase) {
            Some(Phase::Pending(pending)) => Some(pending),
            Some(Phase::Approved { .. } | Phase::Denied | Phase::Failed) | None => None,
        }
    }

    /// Has a pending request looked at again at this time, unless something happens before.
    pub(super) fn put_off(&mut self, request: &RequestId, until: Instant) {
        if self.pending(request).is_some() {
            self.queue.push_at(&request.name, until);
        }
    }

    /// Keeps what a request was understood as, and drops its bytes, if these are still the ones it came with.
    pub(super) fn set_reading(&mut self, request: &RequestId, spec: &Arc<RequestSpec>, reading: Reading) {
        if let Some(pending) = self.pending_mut(request)
            && matches!(&pending.body, Body::Unread(unread) if Arc::ptr_eq(unread, spec))
        {
            pending.body = Body::Read(Arc::new(reading));
        }
    }

    /// Notes that a request's names are being looked up; false where they are already.
    pub(super) fn start_resolving(&mut self, request: &RequestId) -> bool {
        let Some(pending) = self.pending_mut(request) else { return false };
        match std::mem::replace(&mut pending.resolved, Resolved::Asking) {
            Resolved::NotAsked | Resolved::At(..) => true,
            Resolved::Asking => false,
        }
    }

    /// Takes in what DNS said of a request's names, and puts the request in line.
    pub(super) fn set_resolved(&mut self, request: &RequestId, answers: Resolutions, now: Instant) {
        if let Some(pending) = self.pending_mut(request) {
            pending.resolved = Resolved::At(now, Arc::new(answers));
            self.queue.push(&request.name);
        }
    }

    /// Forgets what was told of every pending request, since it is judged by other rules now.
    pub(super) fn forget_told(&mut self) {
        for entry in self.requests.values_mut() {
            if let Phase::Pending(pending) = &mut entry.phase {
                pending.told = None;
            }
        }
    }

    /// Notes what is told of a pending request; false when that was told before.
    pub(super) fn tell(&mut self, request: &RequestId, reasons: &NonEmpty<&'static str>) -> bool {
        let Some(pending) = self.pending_mut(request) else { return false };
        pending.failures = 0;
        pending.settled = true;
        let news = pending.told.as_ref() != Some(reasons);
        pending.told = Some(reasons.clone());
        news
    }

    /// Notes that an answer was written to a request.
    pub(super) fn set_decided(&mut self, request: &RequestId, approved: bool) {
        if let Some(entry) = self.entry_mut(request)
            && matches!(entry.phase, Phase::Pending(_))
        {
            entry.phase = if approved { Phase::Approved { issued: false } } else { Phase::Denied };
            self.queue.withdraw(&request.name);
        }
    }

    /// Puts a request in line again after an error, later with each further one. Returns how many there were before.
    pub(super) fn retry(&mut self, request: &RequestId, now: Instant) -> u32 {
        let Some(pending) = self.pending_mut(request) else { return 0 };
        let before = pending.failures;
        pending.failures = before.saturating_add(1);
        let wait = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(before)).min(LAST_RETRY);
        self.queue.push_at(&request.name, now + wait);
        before
    }

    /// How many requests are pending, by the first reason why.
    pub(super) fn pending_by_reason(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for entry in self.requests.values() {
            if let Phase::Pending(pending) = &entry.phase {
                let reason = pending.told.as_ref().map_or(QUEUED, |told| *told.first());
                *counts.entry(reason).or_default() += 1;
            }
        }
        counts
    }

    /// Puts every pending request in line, for somebody who waits until [`Store::is_settled`] is true of each. What comes
    /// up from now on only supersedes: a node's newest request goes first, and it might file on without end.
    pub(super) fn await_pending(&mut self) -> Vec<RequestId> {
        self.closed = true;
        self.push_all();
        let mut awaited = Vec::new();
        for (name, entry) in &mut self.requests {
            if let Phase::Pending(pending) = &mut entry.phase {
                pending.settled = false;
                awaited.push(RequestId { name: name.clone(), uid: entry.uid.clone(), created: entry.created });
            }
        }
        awaited
    }

    /// Whether a request has its answer, is gone, or was found to have to wait.
    pub(super) fn is_settled(&self, request: &RequestId) -> bool {
        self.pending(request).is_none_or(|pending| pending.settled)
    }

    /// When the oldest request without an answer was created.
    pub(super) fn oldest_pending(&self) -> Option<Timestamp> {
        let pending = self.requests.values().filter(|entry| matches!(entry.phase, Phase::Pending(_)));
        pending.map(|entry| entry.created).min()
    }

    /// How many requests are approved, without a certificate so far.
    pub(super) fn unissued(&self) -> usize {
        self.requests.values().filter(|entry| matches!(entry.phase, Phase::Approved { issued: false })).count()
    }
}

/// The version of a request, as an answer has to name it.
fn version(csr: &CertificateSigningRequest) -> Option<String> {
    csr.metadata.resource_version.clone().filter(|version| !version.is_empty())
}

impl Phase {
    fn decided(csr: &CertificateSigningRequest) -> Option<Self> {
        if csr.has_condition("Failed") {
            Some(Self::Failed)
        } else if csr.has_condition("Denied") {
            Some(Self::Denied)
        } else if csr.has_condition("Approved") {
            Some(Self::Approved { issued: csr.status.issued })
        } else {
            None
        }
    }
}

impl Pending {
    /// What DNS said of its names, as long as that holds.
    pub(super) fn resolutions(&self, now: Instant) -> Arc<Resolutions> {
        match &self.resolved {
            Resolved::At(then, answers) if now.duration_since(*then) < RESOLVED_FOR => answers.clone(),
            Resolved::At(..) | Resolved::Asking | Resolved::NotAsked => Arc::default(),
        }
    }

    /// Takes in what may change while it is pending.
    fn renew(&mut self, resource_version: String, metadata: &ObjectMeta, conditions: Vec<Condition>) {
        self.resource_version = resource_version;
        self.given = Given::of(metadata);
        self.conditions = conditions;
    }

    pub(super) fn new(
        csr: CertificateSigningRequest,
        resource_version: String,
        seen: Option<Instant>,
        room: Option<Taken>,
    ) -> Self {
        let CertificateSigningRequest { metadata, spec, status } = csr;
        Self {
            resource_version,
            given: Given::of(&metadata),
            conditions: status.conditions,
            body: if room.is_some() { Body::unread(spec) } else { Body::Left },
            room,
            seen,
            told: None,
            settled: false,
            failures: 0,
            resolved: Resolved::NotAsked,
        }
    }
}

impl Body {
    fn unread(mut spec: RequestSpec) -> Self {
        spec.shrink();
        Self::Unread(Arc::new(spec))
    }
}

#[cfg(test)]
mod tests;
