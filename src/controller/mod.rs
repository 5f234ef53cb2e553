//! From what the watches bring to answers that are written.
//!
//! [`Controller::run`] keeps a few workers on a queue in which nodes take turns ([`queue`]). A worker reads the
//! request, asks the decision on what the [`store`] knows, reads a Node afresh where the answer rests on it, turns the
//! verdict into a [`plan`] and performs that. Everything else that happens only puts requests in line again.

mod api;
mod event;
mod plan;
mod queue;
mod reconcile;
mod store;

pub use plan::{Answer, Decision, Plan, Waiting, plan};

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::api::{CertificateSigningRequest, KUBELET_SERVING, Node};
use crate::identity::{NodeRecord, Protected};
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::san::NodeName;
use crate::watch::{Watched, follow};
use api::Cluster;
use event::Recorder;
use store::{Change, Store};

/// How long a request may wait before it is looked at again without cause. A kubelet gives up on one after 15 minutes.
const RELOOK: Duration = Duration::from_mins(3);
/// How long the shutdown waits for answers that are on their way.
const DRAIN: Duration = Duration::from_secs(15);

/// Answers requests until it is told to stop.
pub struct Controller {
    store: Mutex<Store>,
    wake: Notify,
    workers: usize,
    policy: Arc<Policy>,
    protected: Protected,
    cluster: Cluster,
    nodes: Watched,
    requests: Watched,
    events: Recorder,
    metrics: Arc<Metrics>,
}

/// What a controller works with.
pub struct Settings {
    /// The rules.
    pub policy: Arc<Policy>,
    /// What no node may have.
    pub protected: Protected,
    /// How many requests may be worked on at once.
    pub workers: usize,
}

impl Controller {
    /// Follows the cluster and answers requests, until `stop` turns true; then finishes what is on its way.
    pub async fn run(
        settings: Settings,
        client: Client,
        [nodes, requests]: [Watched; 2],
        metrics: Arc<Metrics>,
        mut stop: watch::Receiver<bool>,
        started: impl FnOnce(Arc<Self>),
    ) {
        let cluster = Cluster::new(client.clone());
        let (events, send_events) = Recorder::new(cluster.clone(), metrics.clone());
        let controller = Arc::new(Self {
            store: Mutex::default(),
            wake: Notify::new(),
            workers: settings.workers,
            policy: settings.policy,
            protected: settings.protected,
            cluster,
            nodes,
            requests,
            events,
            metrics,
        });
        started(controller.clone());

        let mut background = JoinSet::new();
        background.spawn(send_events);
        background.spawn(controller.clone().follow_nodes(client.clone()));
        background.spawn(controller.clone().follow_requests(client));
        background.spawn(controller.clone().push_all_when_nodes_return());

        let mut workers = JoinSet::new();
        for _ in 0..settings.workers {
            workers.spawn(controller.clone().work(stop.clone()));
        }
        // An error means that the sender is gone, which is as good a reason to stop.
        let _ = stop.wait_for(|stop| *stop).await;
        tracing::info!("stopping: finishing the answers that are on their way");
        if tokio::time::timeout(DRAIN, async { while workers.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("stopped with answers on their way; they are looked at again at the next start");
        }
    }

    async fn work(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        // Until both lists are complete, Nodes would seem missing and old requests the newest.
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = async { tokio::join!(self.nodes.until_live(), self.requests.until_live()); } => {}
        }
        loop {
            let next = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                next = self.next() => next,
            };
            let (requestor, name) = next;
            self.reconcile(&name).await;
            self.store.lock().queue.done(&requestor);
        }
    }

    /// Waits for a request to work on.
    async fn next(&self) -> (Arc<str>, Arc<str>) {
        loop {
            let woken = self.wake.notified();
            let due = {
                let mut store = self.store.lock();
                if let Some(next) = store.queue.pop(Instant::now()) {
                    return next;
                }
                store.queue.next_due()
            };
            match due {
                Some(due) => tokio::select! {
                    () = woken => {}
                    () = sleep_until(due.into()) => {}
                },
                None => woken.await,
            }
        }
    }

    async fn follow_nodes(self: Arc<Self>, client: Client) {
        let mut listed = HashSet::new();
        let controller = self.clone();
        follow(Api::<Node>::all(client), None, self.nodes.clone(), move |event| {
            let mut store = controller.store.lock();
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(node) => {
                    if let Some(record) = NodeRecord::read(&node) {
                        listed.insert(record.name().clone());
                        store.apply_node(record);
                    }
                }
                Event::Apply(node) => {
                    if let Some(record) = NodeRecord::read(&node) {
                        store.apply_node(record);
                    }
                }
                Event::Delete(node) => {
                    if let Some(name) = node.metadata.name.and_then(|name| name.parse::<NodeName>().ok()) {
                        store.remove_node(&name);
                    }
                }
                Event::InitDone => store.retain_nodes(&std::mem::take(&mut listed)),
            }
            controller.wake_workers(&store);
        })
        .await;
    }

    async fn follow_requests(self: Arc<Self>, client: Client) {
        let mut listed = HashSet::new();
        let controller = self.clone();
        let fields = format!("spec.signerName={KUBELET_SERVING}");
        let api = Api::<CertificateSigningRequest>::all(client);
        follow(api, Some(&fields), self.requests.clone(), move |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(csr) => {
                listed.extend(csr.metadata.name.as_deref().map(Arc::from));
                controller.apply_request(csr, None);
            }
            Event::Apply(csr) => controller.apply_request(csr, Some(Instant::now())),
            Event::Delete(csr) => {
                if let Some(name) = csr.metadata.name {
                    controller.store.lock().remove_request(&name.into());
                }
            }
            Event::InitDone => controller.store.lock().retain_requests(&std::mem::take(&mut listed)),
        })
        .await;
    }

    fn apply_request(&self, csr: CertificateSigningRequest, seen: Option<Instant>) {
        let mut store = self.store.lock();
        match store.apply_request(csr, seen) {
            Change::None => {}
            Change::SignerFailed => self.metrics.signer_failures.inc(),
        }
        self.wake_workers(&store);
    }

    /// A request that waits only because the Nodes could not be followed is looked at as soon as they can.
    async fn push_all_when_nodes_return(self: Arc<Self>) {
        loop {
            self.nodes.alive().await;
            let mut store = self.store.lock();
            store.push_all();
            self.wake_workers(&store);
        }
    }

    /// Wakes as many idle workers as there is work for.
    fn wake_workers(&self, store: &Store) {
        for _ in 0..store.queue.turns().min(self.workers) {
            self.wake.notify_one();
        }
    }

    /// Brings the gauges up to date, which are counted only when somebody looks.
    pub fn update_gauges(&self) {
        let store = self.store.lock();
        self.metrics.pending.reset();
        for (reason, count) in store.pending_by_reason() {
            self.metrics.pending.with_label_values(&[reason]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let age = store.oldest_pending().map_or(0.0, |created| Timestamp::now().duration_since(created).as_secs_f64());
        self.metrics.oldest_pending.set(age.max(0.0));
        self.metrics.unissued.set(i64::try_from(store.unissued()).unwrap_or(i64::MAX));
    }
}
