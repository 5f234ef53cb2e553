//! What the watches bring, put into the store.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::Controller;
use super::store::{Change, RequestId, Store};
use crate::api::{
    CertificateSigningRequest, ConfigMap, EndpointSlice, KUBELET_SERVING, MAX_CSR_NAME, Node, Service, ServiceCidr,
};
use crate::gather::{Kind, Protecting};
use crate::quote::Quoted;
use crate::watch::{Health, Watches, follow_known};

/// How often, at the most, the log tells of a request whose name is too long.
const LONG_NAMES: Duration = Duration::from_mins(1);

impl Controller {
    /// Follows everything that decisions rest on.
    pub(super) fn follow_all(self: &Arc<Self>, client: &Client, tasks: &mut JoinSet<()>) {
        let all = Config::default;
        tasks.spawn(self.clone().follow_nodes(client.clone()));
        tasks.spawn(self.clone().follow_requests(client.clone()));
        tasks.spawn(self.clone().follow_protecting(Api::<ServiceCidr>::all(client.clone()), all(), "servicecidrs"));
        let endpoints = all().labels(EndpointSlice::OF_API_SERVER);
        let api = Api::<EndpointSlice>::namespaced(client.clone(), EndpointSlice::NAMESPACE);
        tasks.spawn(self.clone().follow_protecting(api, endpoints, "endpointslices"));
        let cluster_info = all().fields(&format!("metadata.name={}", ConfigMap::CLUSTER_INFO));
        let api = Api::<ConfigMap>::namespaced(client.clone(), ConfigMap::NAMESPACE);
        tasks.spawn(self.clone().follow_protecting(api, cluster_info, "configmaps"));
        tasks.spawn(self.clone().follow_services(client.clone()));
        tasks.spawn(self.clone().push_all_when_live(self.watched.clone()));
        tasks.spawn(self.clone().push_all_when_live(self.machine_watches.clone()));
    }

    async fn follow_nodes(self: Arc<Self>, client: Client) {
        let Some(watched) = self.watched.get("nodes").cloned() else { return };
        follow_known(Api::<Node>::all(client), Config::default(), watched, move |event| {
            let mut store = self.store.lock();
            store.follow_node(event);
            self.contests.notify_one();
            self.wake_workers(&store);
        })
        .await;
    }

    async fn follow_requests(self: Arc<Self>, client: Client) {
        let Some(watched) = self.watched.get("certificatesigningrequests").cloned() else { return };
        let mut listed = HashSet::new();
        let config = Config::default().fields(&format!("spec.signerName={KUBELET_SERVING}"));
        follow_known(Api::<CertificateSigningRequest>::all(client), config, watched, move |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(csr) => {
                listed.extend(RequestId::of(&csr).map(|request| request.name));
                self.apply_request(csr, None);
            }
            Event::Apply(csr) => self.apply_request(csr, Some(Instant::now())),
            Event::Delete(csr) => {
                if let Some(request) = RequestId::of(&csr) {
                    self.store.lock().remove_request(&request);
                }
            }
            Event::InitDone => self.store.lock().retain_requests(&std::mem::take(&mut listed)),
        })
        .await;
    }

    /// Takes in a request as it is now.
    pub(super) fn apply_request(&self, csr: CertificateSigningRequest, seen: Option<Instant>) {
        let mut store = self.store.lock();
        let change = store.apply_request(csr, seen);
        self.request_changed(&store, change);
    }

    /// Does what follows from a change of a request.
    pub(super) fn request_changed(&self, store: &Store, change: Change) {
        match change {
            Change::SignerFailed if self.leads() => self.metrics.signer_failures.inc(),
            Change::SignerFailed | Change::None => {}
            Change::NameTooLong(requestor) => self.tell_of_long_name(&requestor),
        }
        self.wake_workers(store);
    }

    /// Nothing is kept of such a request, not even that it was told of.
    fn tell_of_long_name(&self, requestor: &str) {
        let mut told = self.long_name_told.lock();
        if told.is_none_or(|then| then.elapsed() >= LONG_NAMES) {
            *told = Some(Instant::now());
            let requestor = Quoted(requestor);
            tracing::warn!(%requestor, "a request is left alone: its name is longer than {MAX_CSR_NAME} bytes");
        }
    }

    async fn follow_protecting<K>(self: Arc<Self>, api: Api<K>, config: Config, name: &'static str)
    where
        K: Resource<DynamicType = ()> + Protecting + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let Some(watched) = self.watched.get(name).cloned() else { return };
        let key = |object: &K| format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
        let mut listed = HashSet::new();
        follow_known(api, config, watched, move |event| {
            let surroundings = &mut self.store.lock().surroundings;
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(object) => {
                    listed.insert(key(&object));
                    surroundings.insert(key(&object), &object);
                }
                Event::Apply(object) => surroundings.apply(key(&object), &object),
                Event::Delete(object) => surroundings.remove(K::KIND, key(&object)),
                Event::InitDone => surroundings.retain(K::KIND, &std::mem::take(&mut listed)),
            }
        })
        .await;
    }

    /// Follows Services as long as the policy protects the addresses of their load balancers.
    async fn follow_services(self: Arc<Self>, client: Client) {
        let mut switch = self.load_balancers.subscribe();
        loop {
            let asked = {
                // Keeps other orders out until the health fits these.
                let _orders = self.orders.read();
                let asked = *switch.borrow_and_update();
                self.watched.set("services", if asked { Health::Syncing } else { Health::Live });
                self.store.lock().surroundings.retain(Kind::Service, &HashSet::new());
                asked
            };
            let follow = async {
                if asked {
                    self.clone()
                        .follow_protecting(Api::<Service>::all(client.clone()), Config::default(), "services")
                        .await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = follow => {}
                switched = switch.changed() => if switched.is_err() { return },
            }
        }
    }

    /// Puts every pending request in line.
    pub(super) fn push_all(&self) {
        let mut store = self.store.lock();
        store.push_all();
        self.wake_workers(&store);
    }

    /// A request that waits only because something could not be followed is looked at as soon as it can.
    async fn push_all_when_live(self: Arc<Self>, watches: Watches) {
        loop {
            watches.until_live().await;
            self.push_all();
            watches.until_not_live().await;
        }
    }
}
