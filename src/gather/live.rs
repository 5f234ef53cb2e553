//! The cluster as its API server lists it.

use std::fmt::Debug;
use std::time::Instant;

use kube::api::ListParams;
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use super::contested;
use super::dump::Object;
use super::snapshot::{Gathering, Snapshot};
use crate::api::{CertificateSigningRequest, ConfigMap, EndpointSlice, KUBELET_SERVING, Machine, Node, ServiceCidr};
use crate::client::{ApiError, MACHINES, call, discover, get_opt, is_served};
use crate::policy::{Policy, Source};

/// How many objects one answer of the API server may have.
const PAGE: u32 = 500;

/// Lists all that decisions under these policies rest on. Requests come first, so that each is judged by Nodes that are
/// no older than itself. The order of contested claims is read where the client's namespace has it. `progress` is told
/// how many objects there are so far.
///
/// # Errors
/// Whatever the API server does not give.
pub(crate) async fn gather(
    client: &Client,
    gathering: Gathering,
    policies: &[&Policy],
    progress: &dyn Fn(usize),
) -> Result<Snapshot, ApiError> {
    let mut lister = Lister { gathering, count: 0, progress };
    let all = ListParams::default;
    let serving = all().fields(&format!("spec.signerName={KUBELET_SERVING}"));
    let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
    lister.list("listing certificatesigningrequests", requests, serving, |it| Object::Request(Box::new(it))).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    lister.list("listing nodes", nodes, all(), |it| Object::Node(Box::new(it))).await?;
    let ranges: Api<ServiceCidr> = Api::all(client.clone());
    match lister.list("listing servicecidrs", ranges, all(), Object::ServiceCidr).await {
        Ok(()) => {}
        // A server that does not know the kind has no such objects. It may be something on the way that does not find them.
        Err(error) if error.code() == Some(404) => {
            if call("looking for servicecidrs", is_served::<ServiceCidr>(client)).await? {
                return Err(error);
            }
        }
        Err(error) => return Err(error),
    }
    let endpoints: Api<EndpointSlice> = Api::namespaced(client.clone(), EndpointSlice::NAMESPACE);
    let of_api_server = all().labels(EndpointSlice::OF_API_SERVER);
    lister.list("listing endpointslices", endpoints, of_api_server, Object::EndpointSlice).await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), ConfigMap::NAMESPACE);
    let cluster_info = all().fields(&format!("metadata.name={}", ConfigMap::CLUSTER_INFO));
    lister.list("listing configmaps", maps, cluster_info, Object::ConfigMap).await?;
    if policies.iter().any(|policy| policy.protects_load_balancers()) {
        lister.list("listing services", Api::all(client.clone()), all(), |it| Object::Service(Box::new(it))).await?;
    }
    if policies.iter().any(|policy| policy.asks(Source::Machine)) {
        for kind in MACHINES {
            if let Some(resource) = discover(client, kind).await? {
                let machines: Api<Machine> = Api::all_with(client.clone(), &resource);
                let object = |it| Object::Machine(kind.group, Box::new(it));
                lister.list("listing machines", machines, all(), object).await?;
            }
        }
    }
    let own: Api<ConfigMap> = Api::default_namespaced(client.clone());
    match call("reading the ConfigMap of contested claims", get_opt(&own, contested::NAME)).await {
        Ok(Some(map)) => lister.gathering.add(Object::ConfigMap(map)),
        // Who may not look there does without.
        Ok(None) => {}
        Err(error) if error.code() == Some(403) => {}
        Err(error) => return Err(error),
    }
    Ok(lister.gathering.finish_live())
}

struct Lister<'p> {
    gathering: Gathering,
    count: usize,
    progress: &'p dyn Fn(usize),
}

impl Lister<'_> {
    async fn list<K>(
        &mut self,
        what: &'static str,
        api: Api<K>,
        params: ListParams,
        object: impl Fn(K) -> Object,
    ) -> Result<(), ApiError>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        let mut params = params.limit(PAGE);
        let (started, before) = (Instant::now(), self.count);
        loop {
            let page = call(what, api.list(&params)).await?;
            self.count += page.items.len();
            (self.progress)(self.count);
            page.items.into_iter().for_each(|item| self.gathering.add(object(item)));
            let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
                let milliseconds = started.elapsed().as_millis();
                tracing::info!(objects = self.count - before, milliseconds, "{what}");
                return Ok(());
            };
            params.continue_token = Some(token);
        }
    }
}
