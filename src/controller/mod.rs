//! From what the watches bring to answers that are written.
//!
//! [`Controller::run`] keeps a few workers on a queue in which nodes take turns (`queue`). A worker reads the
//! request, asks the decision on what the `store` knows, reads a Node afresh where the answer rests on it, turns the
//! verdict into a `plan` and performs that, by an `approval` where there is an answer to write. Everything else that
//! happens (`follow`, `reload`) only puts requests in line again. Of several instances all follow the cluster and read
//! requests, and one decides and writes (`lead`).

#[cfg(test)]
mod any_order;
mod api;
mod approval;
mod dns;
mod event;
mod follow;
mod journal;
mod lead;
mod machines;
mod memory;
mod plan;
mod queue;
mod reconcile;
mod settle;
mod store;
mod turns;

pub(crate) use dns::{AT_ONCE as LOOKED_UP_AT_ONCE, Dns};
pub use journal::{Entry, Finding, Journal};
pub use plan::{Answer, Decision, Plan, Waiting, plan};
pub use settle::Unsettled;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use jiff::Timestamp;
use kube::Client;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep_until;

use crate::client::MachineCluster;
use crate::gather::Surroundings;
use crate::identity::{ClusterDomain, Inventory};
use crate::lease::{Leadership, LeaseName};
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::watch::{Health, Watches};
use api::Cluster;
use event::Recorder;
use memory::Memory;
use store::Store;

/// How long a request may wait before it is looked at again without cause. A kubelet gives up on one after 15 minutes.
const RELOOK: Duration = Duration::from_mins(3);
/// Of what time the gauges may take one part, however often somebody looks: the more requests there are, the longer it
/// takes to count them.
const GAUGES: u32 = 50;
/// How long the shutdown waits for answers that are on their way.
const DRAIN: Duration = Duration::from_secs(15);

/// Answers requests until it is told to stop.
pub struct Controller {
    store: Mutex<Store>,
    wake: Notify,
    contests: Notify,
    /// When the log last told of a request whose name is too long.
    long_name_told: Mutex<Option<Instant>>,
    /// Whether Services are to be followed, for the addresses of their load balancers.
    load_balancers: watch::Sender<bool>,
    workers: usize,
    orders: RwLock<Orders>,
    leadership: Leadership,
    lease: Option<LeaseName>,
    /// Whether this instance has taken over where the last leader ended.
    took_over: watch::Sender<bool>,
    cluster: Cluster,
    dns: Dns,
    memory: Memory,
    watched: Watches,
    machine_watches: Watches,
    events: Recorder,
    journal: Option<Arc<Journal>>,
    metrics: Arc<Metrics>,
    /// When the gauges were last brought up to date, and how long that took.
    gauged: Mutex<Option<(Instant, Duration)>>,
}

/// What the operator has ordered, and may order anew at any time.
#[derive(Clone)]
pub struct Orders {
    /// The rules.
    pub policy: Arc<Policy>,
    /// Which node has what, where the operator says so.
    pub inventory: Option<Arc<Inventory>>,
}

/// What a controller works with.
pub struct Settings {
    /// The operator's files.
    pub orders: Orders,
    /// The cluster's DNS domain.
    pub cluster_domain: ClusterDomain,
    /// Ranges of Service addresses beside those of the cluster's ServiceCIDR objects.
    pub service_ranges: Vec<IpNet>,
    /// How many requests may be worked on at once.
    pub workers: usize,
    /// Whether this instance is the one that writes.
    pub leadership: Leadership,
    /// The Lease that says so; none where there is one instance only.
    pub lease: Option<LeaseName>,
    /// What this instance calls itself, in Events.
    pub identity: String,
    /// Where to write down what was found of each request, for a run that ends.
    pub journal: Option<Arc<Journal>>,
}

impl Controller {
    /// Makes a controller that does nothing yet, and what sends its Events. What only the leader may do goes over the
    /// second of the clients.
    pub fn new(
        settings: Settings,
        [client, leaders_client]: [&Client; 2],
        [watched, machine_watches]: [Watches; 2],
        metrics: Arc<Metrics>,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + use<>) {
        let leadership = settings.leadership;
        let cluster = Cluster::new(client.clone(), leaders_client.clone(), leadership.clone());
        let (events, send_events) = Recorder::new(cluster.clone(), settings.identity, metrics.clone());
        let controller = Self {
            store: Mutex::new(Store::new(Surroundings::new(settings.cluster_domain, settings.service_ranges))),
            wake: Notify::new(),
            contests: Notify::new(),
            long_name_told: Mutex::new(None),
            load_balancers: watch::Sender::new(settings.orders.policy.protects_load_balancers()),
            workers: settings.workers,
            orders: RwLock::new(settings.orders),
            memory: Memory::new(client.clone(), leaders_client.clone(), leadership.clone()),
            leadership,
            lease: settings.lease,
            took_over: watch::Sender::new(false),
            cluster,
            dns: Dns::new(),
            watched,
            machine_watches,
            events,
            journal: settings.journal,
            metrics,
            gauged: Mutex::new(None),
        };
        (Arc::new(controller), send_events)
    }

    /// Follows the cluster and answers requests, until `stop` turns true; then finishes what is on its way.
    pub async fn run(self: Arc<Self>, client: Client, machines: MachineCluster, mut stop: watch::Receiver<bool>) {
        let mut background = JoinSet::new();
        tokio::select! {
            () = self.recall_contested() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        self.follow_all(&client, &mut background);
        self.follow_all_machines(&machines, &mut background);
        let (finish, finished) = watch::channel(false);
        let mut leading = JoinSet::new();
        leading.spawn(self.clone().lead(finished));

        let mut workers = JoinSet::new();
        for _ in 0..self.workers {
            workers.spawn(self.clone().work(stop.clone()));
        }
        // An error means that the sender is gone, which is as good a reason to stop.
        let _ = stop.wait_for(|stop| *stop).await;
        tracing::info!("stopping: finishing the answers that are on their way");
        if tokio::time::timeout(DRAIN, async { while workers.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("stopped with answers on their way; they are looked at again at the next start");
        }
        finish.send_replace(true);
        while leading.join_next().await.is_some() {}
    }

    /// Takes new orders; everything pending is judged again by them.
    pub fn order(&self, change: impl FnOnce(&mut Orders)) {
        {
            let mut orders = self.orders.write();
            change(&mut orders);
            let asked = orders.policy.protects_load_balancers();
            if self.load_balancers.send_if_modified(|known| std::mem::replace(known, asked) != asked) && asked {
                // INVARIANT: whoever sees the new policy also sees that the Services are not known yet.
                self.watched.set("services", Health::Syncing);
            }
        }
        let mut store = self.store.lock();
        store.forget_told();
        store.push_all();
        self.wake_workers(&store);
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.orders.read().policy.clone()
    }

    /// Notes that new orders were taken in now.
    pub fn note_reload(&self) {
        self.metrics.policy_reload_timestamp.set(Timestamp::now().as_duration().as_secs_f64());
    }

    fn orders(&self) -> Orders {
        self.orders.read().clone()
    }

    async fn work(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        // Until the lists are complete, Nodes would seem missing and old requests the newest.
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = self.watched.until_live() => {}
        }
        loop {
            let (requestor, name) = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                next = self.next() => next,
            };
            self.reconcile(&name).await;
            self.store.lock().queue.done(&requestor);
            // What takes no waiting, such as reading while standing by, would keep the only thread until all is done.
            yield_now().await;
        }
    }

    /// Waits for a request to work on.
    async fn next(&self) -> (Arc<str>, Arc<str>) {
        loop {
            let woken = self.wake.notified();
            let due = {
                let mut store = self.store.lock();
                if let Some(next) = store.queue.pop(Instant::now()) {
                    // Notices do not add up: of two that come while nobody waits only one is kept. So one worker wakes
                    // the next, as long as there is work.
                    if store.queue.turns() > 0 {
                        self.wake.notify_one();
                    }
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

    /// Wakes as many idle workers as there is work for.
    fn wake_workers(&self, store: &Store) {
        for _ in 0..store.queue.turns().min(self.workers) {
            self.wake.notify_one();
        }
    }

    /// Brings the gauges up to date, which are counted only when somebody looks.
    pub fn update_gauges(&self) {
        self.metrics.leader.set(i64::from(self.leadership.leads()));
        if !self.leads() {
            // The leader tells of them.
            self.metrics.pending.reset();
            self.metrics.oldest_pending.set(0.0);
            self.metrics.unissued.set(0);
            return;
        }
        let mut gauged = self.gauged.lock();
        if gauged.is_some_and(|(at, took)| at.elapsed() < took * GAUGES) {
            return;
        }
        let begun = Instant::now();
        let store = self.store.lock();
        self.metrics.pending.reset();
        for (reason, count) in store.pending_by_reason() {
            self.metrics.pending.with_label_values(&[reason]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let age = store.oldest_pending().map_or(0.0, |created| Timestamp::now().duration_since(created).as_secs_f64());
        self.metrics.oldest_pending.set(age.max(0.0));
        self.metrics.unissued.set(i64::try_from(store.unissued()).unwrap_or(i64::MAX));
        *gauged = Some((Instant::now(), begun.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tower::BoxError;

    use super::*;
    use crate::api::KUBELET_SERVING;

    /// One that stands alone, and has not taken over so far.
    pub(super) fn alone(client: &Client, policy: Policy) -> Arc<Controller> {
        let settings = Settings {
            orders: Orders { policy: Arc::new(policy), inventory: None },
            cluster_domain: "cluster.local".parse().unwrap(),
            service_ranges: Vec::new(),
            workers: 1,
            leadership: Leadership::alone(),
            lease: None,
            identity: "a".to_owned(),
            journal: None,
        };
        let watches = [Watches::new(&["nodes"]), Watches::new(&["machines"])];
        Controller::new(settings, [client, client], watches, Arc::new(Metrics::new().unwrap())).0
    }

    #[tokio::test]
    async fn counting_requests_takes_a_part_of_the_time_only() {
        // No API server answers.
        let service = |_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>();
        let client = Client::new(tower::service_fn(service), "default");
        let controller = alone(&client, Policy::built_in().unwrap());
        controller.took_over.send_replace(true);
        let counted = || {
            controller.update_gauges();
            controller.metrics.pending.with_label_values(&[store::QUEUED]).get()
        };
        assert_eq!(counted(), 0);
        let csr = json!({
            "metadata": {"name": "csr-a", "uid": "1", "resourceVersion": "1"},
            "spec": {"request": "", "signerName": KUBELET_SERVING, "username": "system:node:a"},
        });
        controller.apply_request(serde_json::from_value(csr).unwrap(), None);
        let took = Duration::from_secs(1);
        *controller.gauged.lock() = Some((Instant::now(), took));
        assert_eq!(counted(), 0, "it is counted again at once");
        let long_ago = Instant::now().checked_sub(took * (GAUGES + 1)).unwrap();
        *controller.gauged.lock() = Some((long_ago, took));
        assert_eq!(counted(), 1);
    }
}
