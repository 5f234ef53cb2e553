//! One request from the queue: facts, verdict, plan, and the plan performed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use thiserror::Error;

use super::api::ApiError;
use super::approval::Approval;
use super::event::{Occurrence, Regarding};
use super::journal::Journal;
use super::plan::{Answer, Decision, Plan, Waiting, plan};
use super::store::{Body, Pending, RequestId};
use super::{Controller, RELOOK};
use crate::api::CertificateSigningRequest;
use crate::identity::{NodeRecord, Nodes};
use crate::policy::{Facts, Rule, evaluate};
use crate::quote::Quoted;
use crate::request::Reading;
use crate::san::{DnsName, NodeName};
use crate::verdict::{DenyReason, Unavailable};
use crate::watch::Watches;

/// How many Nodes are read afresh for one decision, before it is put off.
const MAX_FRESH: usize = 4;
/// When an approval that waits for the watch of Nodes is looked at again, should the watch not bring what it waits for.
const WATCH_LAG: Duration = Duration::from_secs(1);

/// Why a request could not be settled this time.
#[derive(Debug, Error)]
enum ReconcileError {
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Every Node that was read afresh turned out to be other than it was known.
    #[error("the Nodes change faster than they can be read")]
    Unsettled,
}

/// A decision, with all that is needed to carry it out.
struct Decided {
    plan: Plan,
    per_hour: Option<u32>,
    pending: Pending,
    node: Option<(NodeName, String)>,
}

/// What a decision lacks.
enum Missing {
    /// It may stand.
    Nothing,
    /// This Node has to be read afresh.
    Node(NodeName),
    /// The watch has to bring what was read afresh.
    Watch,
    /// These names have to be looked up.
    Names(Vec<DnsName>),
}

impl Missing {
    fn of_names(names: Vec<DnsName>) -> Self {
        if names.is_empty() { Self::Nothing } else { Self::Names(names) }
    }
}

impl Controller {
    /// Works on one request. Whatever fails is tried again later; nothing here ends the program.
    ///
    /// While another instance leads, the request is only read, so that less is left to do for who takes over: then, all
    /// are judged.
    pub(super) async fn reconcile(self: &Arc<Self>, name: &Arc<str>) {
        let Some(request) = self.store.lock().named(name) else { return };
        if !self.leads() {
            // A run that ends tells of what it has judged, and reads nothing else.
            if self.journal.is_none() {
                self.read(&request);
            }
            return;
        }
        if let Err(error) = self.settle(&request).await {
            let before = self.store.lock().retry(&request, Instant::now());
            self.note(|journal| journal.failed(name, error.to_string()));
            self.wake.notify_one();
            // The first error of a request and, should it last, every tenth: not a line for each attempt.
            if before.is_multiple_of(10) {
                tracing::warn!(request = %Quoted(name), %error, attempts = before + 1, "not settled; trying again");
            }
        }
    }

    async fn settle(self: &Arc<Self>, request: &RequestId) -> Result<(), ReconcileError> {
        if !self.store.lock().is_left(request) {
            return self.settle_kept(request).await;
        }
        // There was no room for it when it came.
        if let Some(csr) = self.read_afresh(request).await? {
            let mut store = self.store.lock();
            let change = store.keep_for_its_turn(request, csr);
            self.request_changed(&store, change);
        }
        let settled = self.settle_kept(request).await;
        self.store.lock().leave(request);
        settled
    }

    async fn settle_kept(self: &Arc<Self>, request: &RequestId) -> Result<(), ReconcileError> {
        self.read(request);
        let mut fresh: Vec<(NodeName, Option<NodeRecord>)> = Vec::new();
        let decided = loop {
            let Some((decided, missing)) = self.decide(request, &fresh) else { return Ok(()) };
            match missing {
                Missing::Nothing => break decided,
                // What the watch brings puts the request in line, within milliseconds: there is nothing to tell.
                Missing::Watch => {
                    self.store.lock().put_off(request, Instant::now() + WATCH_LAG);
                    self.wake.notify_one();
                    return Ok(());
                }
                Missing::Names(names) => {
                    self.resolve_later(request, decided.node_name(), names);
                    return Ok(());
                }
                Missing::Node(_) if fresh.len() >= MAX_FRESH => return Err(ReconcileError::Unsettled),
                Missing::Node(node) => {
                    let record = self.cluster.node(&node).await?;
                    fresh.push((node, record));
                }
            }
        };
        match &decided.plan {
            Plan::Nothing => {}
            Plan::Write(answer) => self.write(request, &decided, answer).await?,
            Plan::Tell(answer) => self.tell_answer(request, &decided, answer),
            Plan::Wait(waiting) => self.tell_waiting(request, &decided, waiting),
        }
        Ok(())
    }

    /// Reads the request, once; its bytes are dropped afterwards.
    fn read(&self, request: &RequestId) {
        let spec = match self.store.lock().pending(request).map(|pending| &pending.body) {
            Some(Body::Unread(spec)) => spec.clone(),
            Some(Body::Read(_) | Body::Left) | None => return,
        };
        let started = Instant::now();
        let reading = Reading::of_spec(&spec);
        self.note(|journal| journal.begin(&request.name, request.created, &spec, &reading));
        self.metrics.evaluation_seconds.observe(started.elapsed().as_secs_f64());
        self.store.lock().set_reading(request, &spec, reading);
    }

    /// Decides on what is known, and says what has to be known before the decision may stand. There is none where the
    /// request is not pending any more.
    fn decide(&self, request: &RequestId, fresh: &[(NodeName, Option<NodeRecord>)]) -> Option<(Decided, Missing)> {
        let orders = self.orders();
        let down = |watches: &Watches| watches.not_live().into_iter().map(Unavailable::Watch).collect::<Vec<_>>();
        let (unavailable, machines_unavailable) = (down(&self.watched), down(&self.machine_watches));
        let store = self.store.lock();
        // INVARIANT: what is judged and the version that is answered are of the same object, taken at the same moment.
        let pending = store.pending(request)?.clone();
        let Body::Read(reading) = &pending.body else { return None };
        let facts = Facts {
            now: Timestamp::now(),
            nodes: Nodes::new(&store.nodes, fresh),
            unavailable: &unavailable,
            machines: &store.machines,
            machines_unavailable: &machines_unavailable,
            inventory: orders.inventory.as_deref(),
            dns: &pending.resolutions(Instant::now()),
            protected: store.surroundings.protected(),
            superseded: store.queue.is_superseded(&request.name),
            budget: reading.node().and_then(|node| store.budget(node)),
        };
        let evaluation = evaluate(reading, &facts, &orders.policy);
        let node = reading.node().and_then(|node| facts.nodes.get(node));
        let node = node.map(|record| (record.name().clone(), record.uid().to_owned()));
        let missing = match evaluation.rests_on(|node| fresh.iter().any(|(name, _)| name == node)) {
            Some(node) => Missing::Node(node.clone()),
            None if evaluation.is_ahead(&facts.nodes) => Missing::Watch,
            None => Missing::of_names(evaluation.to_resolve().cloned().collect()),
        };
        let plan = plan(&evaluation, &orders.policy);
        let per_hour = evaluation.rule.map(Rule::approvals_per_hour);
        Some((Decided { plan, per_hour, pending, node }, missing))
    }

    async fn write(&self, request: &RequestId, decided: &Decided, answer: &Answer) -> Result<(), ReconcileError> {
        match self.cluster.approve(&request.name, &Approval::new(answer, request, &decided.pending)).await {
            Ok(()) => self.written(request, decided, answer),
            Err(error) if error.is_not_found() => self.store.lock().remove_request(request),
            Err(error) if error.is_conflict() => self.look_again(request, decided, answer).await?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The request has changed since it was judged: it is read afresh and judged again. Where the change is our own
    /// answer, whose confirmation was lost on the way, it is told now.
    async fn look_again(&self, request: &RequestId, decided: &Decided, answer: &Answer) -> Result<(), ReconcileError> {
        let Some(csr) = self.read_afresh(request).await? else { return Ok(()) };
        let ours = csr.metadata.uid.as_deref() == Some(&*request.uid)
            && csr.status.conditions.iter().any(|condition| {
                condition.type_ == answer.decision.condition_type() && condition.message == answer.message
            });
        if ours {
            self.written(request, decided, answer);
        }
        let mut store = self.store.lock();
        let change = store.replace_request(request, csr);
        self.request_changed(&store, change);
        Ok(())
    }

    /// The request as it is now; where it is gone, it is forgotten.
    async fn read_afresh(&self, request: &RequestId) -> Result<Option<CertificateSigningRequest>, ReconcileError> {
        let csr = self.cluster.request(&request.name).await?;
        if csr.is_none() {
            self.store.lock().remove_request(request);
        }
        Ok(csr)
    }

    /// Writes down what was found, where somebody wants to know.
    fn note(&self, note: impl FnOnce(&Journal)) {
        if let Some(journal) = &self.journal {
            note(journal);
        }
    }

    /// Tells of an answer that is written.
    fn written(&self, request: &RequestId, decided: &Decided, answer: &Answer) {
        self.note(|journal| journal.answered(&request.name, answer, true));
        let approved = answer.decision == Decision::Approved;
        {
            let mut store = self.store.lock();
            store.set_decided(request, approved);
            if let (true, Some((node, _)), Some(per_hour)) = (approved, &decided.node, decided.per_hour) {
                store.spend(node, per_hour, Timestamp::now());
            }
        }
        let latency = latency(request, decided);
        self.metrics.decision_seconds.observe(latency.as_secs_f64());
        self.count(answer, if approved { "approved" } else { "denied" });
        tracing::info!(
            request = %Quoted(&request.name),
            node = decided.node_name(),
            reason = *answer.reasons.first(),
            milliseconds = latency.as_millis(),
            "{}: {}",
            if approved { "approved" } else { "denied" },
            answer.message
        );
        self.record(request, decided, answer);
    }

    /// Tells of an answer that would be written were it not for audit mode.
    fn tell_answer(&self, request: &RequestId, decided: &Decided, answer: &Answer) {
        self.note(|journal| journal.answered(&request.name, answer, false));
        if !self.store.lock().tell(request, &answer.reasons) {
            return;
        }
        let approved = answer.decision == Decision::Approved;
        self.count(answer, if approved { "would_approve" } else { "would_deny" });
        tracing::info!(
            request = %Quoted(&request.name),
            node = decided.node_name(),
            reason = *answer.reasons.first(),
            "audit, nothing written; would be {}: {}",
            if approved { "approved" } else { "denied" },
            answer.message
        );
        self.record(request, decided, answer);
    }

    /// Tells why a request is left pending, unless that was told before, and has it looked at again.
    fn tell_waiting(&self, request: &RequestId, decided: &Decided, waiting: &Waiting) {
        self.note(|journal| journal.left(&request.name, waiting));
        let news = {
            let mut store = self.store.lock();
            store.put_off(request, Instant::now() + waiting.again.unwrap_or(RELOOK).min(RELOOK));
            store.tell(request, &waiting.reasons)
        };
        self.wake.notify_one();
        if !news {
            return;
        }
        let reason = *waiting.reasons.first();
        tracing::info!(
            request = %Quoted(&request.name), node = decided.node_name(), reason, "left pending: {}", waiting.message
        );
        let regarding = Regarding::Request { name: request.name.clone(), uid: request.uid.to_string() };
        self.events.record(Occurrence {
            regarding,
            warning: true,
            action: "Defer",
            reason,
            note: waiting.message.clone(),
        });
        if waiting.others.is_empty() {
            return;
        }
        // Both nodes of a conflict have somebody who looks after them.
        let uids: Vec<(NodeName, String)> = {
            let store = self.store.lock();
            let nodes = waiting.others.iter().chain(decided.node.iter().map(|(node, _)| node));
            nodes.filter_map(|node| store.nodes.get(node)).map(|it| (it.name().clone(), it.uid().to_owned())).collect()
        };
        for (name, uid) in uids {
            let regarding = Regarding::Node { name, uid };
            self.events.record(Occurrence {
                regarding,
                warning: true,
                action: "Defer",
                reason,
                note: waiting.message.clone(),
            });
        }
    }

    fn count(&self, answer: &Answer, decision: &str) {
        self.metrics.decisions.with_label_values(&[decision, answer.reasons.first()]).inc();
        if answer.decision == Decision::Denied {
            for reason in answer.reasons.iter() {
                self.metrics.violations.with_label_values(&[reason]).inc();
            }
        }
    }

    fn record(&self, request: &RequestId, decided: &Decided, answer: &Answer) {
        let reason = *answer.reasons.first();
        let (warning, action) = match answer.decision {
            Decision::Approved => (false, "Approve"),
            Decision::Denied => (reason != DenyReason::Superseded.as_str(), "Deny"),
        };
        let regarding = Regarding::Request { name: request.name.clone(), uid: request.uid.to_string() };
        self.events.record(Occurrence { regarding, warning, action, reason, note: answer.message.clone() });
        if warning && let Some((node, uid)) = decided.node.clone() {
            let regarding = Regarding::Node { name: node, uid };
            self.events.record(Occurrence { regarding, warning, action, reason, note: answer.message.clone() });
        }
    }
}

impl Decided {
    fn node_name(&self) -> &str {
        self.node.as_ref().map_or("", |(name, _)| name.as_str())
    }
}

/// How long the answer took: from the moment the request was seen to come up, else from its creation, which is only
/// known to the second.
fn latency(request: &RequestId, decided: &Decided) -> Duration {
    match decided.pending.seen {
        Some(seen) => seen.elapsed(),
        None => Timestamp::now().duration_since(request.created).try_into().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
