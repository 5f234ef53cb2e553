//! What the cluster says of its Services and its API server, which no node may pass itself off as.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use kube::config::Kubeconfig;

use crate::api::{ConfigMap, EndpointSlice, Service, ServiceCidr};
use crate::identity::{ApiServer, ClusterDomain, Protected};
use crate::san::San;

/// The protected set, and what each object adds to it.
#[derive(Debug)]
pub(crate) struct Surroundings {
    protected: Protected,
    given_ranges: Vec<IpNet>,
    pieces: BTreeMap<(Kind, String), Piece>,
}

/// The kinds of object that add to the protected set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ServiceCidr,
    EndpointSlice,
    Service,
    ConfigMap,
}

/// What one object adds to the protected set.
#[derive(Debug)]
pub(crate) enum Piece {
    ServiceRanges(Vec<IpNet>),
    Endpoints(Vec<IpAddr>),
    LoadBalancers(Vec<IpAddr>),
    Host(Option<San>),
}

/// An object that adds to the protected set.
pub(crate) trait Protecting {
    /// Its kind.
    const KIND: Kind;

    /// What it adds.
    fn piece(&self) -> Piece;
}

impl Protecting for ServiceCidr {
    const KIND: Kind = Kind::ServiceCidr;

    fn piece(&self) -> Piece {
        Piece::ServiceRanges(self.spec.cidrs.iter().filter_map(|text| text.parse().ok()).collect())
    }
}

impl Protecting for EndpointSlice {
    const KIND: Kind = Kind::EndpointSlice;

    fn piece(&self) -> Piece {
        Piece::Endpoints(self.endpoints.iter().flat_map(|it| &it.addresses).filter_map(|text| address(text)).collect())
    }
}

impl Protecting for Service {
    const KIND: Kind = Kind::Service;

    fn piece(&self) -> Piece {
        let ingress = self.status.load_balancer.ingress.iter().filter_map(|it| it.ip.as_ref());
        Piece::LoadBalancers(self.spec.external_ips.iter().chain(ingress).filter_map(|text| address(text)).collect())
    }
}

/// kube-public/cluster-info holds the kubeconfig that nodes join with (kubeadm's discovery by token).
impl Protecting for ConfigMap {
    const KIND: Kind = Kind::ConfigMap;

    fn piece(&self) -> Piece {
        let kubeconfig = self.data.get("kubeconfig").and_then(|text| Kubeconfig::from_yaml(text).ok());
        let server = kubeconfig.and_then(|it| it.clusters.into_iter().find_map(|named| named.cluster?.server));
        let host = server.and_then(|url| url.parse::<http::Uri>().ok()).and_then(|uri| uri.host().map(str::to_owned));
        let host = host.as_deref().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        Piece::Host(host.and_then(|host| San::from_node_address(host).ok()))
    }
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

impl Surroundings {
    /// With what the operator says of the cluster: its DNS domain, and ranges of Service addresses.
    pub(crate) fn new(domain: ClusterDomain, given_ranges: Vec<IpNet>) -> Self {
        Self { protected: Protected::new(domain, given_ranges.clone()), given_ranges, pieces: BTreeMap::new() }
    }

    /// The protected set as it is now.
    pub(crate) fn protected(&self) -> &Protected {
        &self.protected
    }

    /// Takes in an object as it is now.
    pub(crate) fn apply<T: Protecting>(&mut self, name: String, object: &T) {
        self.insert(name, object);
        self.rebuild();
    }

    /// Takes in an object of a list; [`Surroundings::rebuild`] has to be called when all of them are in.
    pub(crate) fn insert<T: Protecting>(&mut self, name: String, object: &T) {
        self.pieces.insert((T::KIND, name), object.piece());
    }

    /// Forgets an object.
    pub(crate) fn remove(&mut self, kind: Kind, name: String) {
        self.pieces.remove(&(kind, name));
        self.rebuild();
    }

    /// Forgets every object of a kind but these, which are all that exist.
    pub(crate) fn retain(&mut self, kind: Kind, names: &HashSet<String>) {
        self.pieces.retain(|(known, name), _| *known != kind || names.contains(name));
        self.rebuild();
    }

    /// Brings the protected set up to date.
    pub(crate) fn rebuild(&mut self) {
        let mut ranges = self.given_ranges.clone();
        let mut load_balancers = HashSet::new();
        let mut api_server = ApiServer::default();
        for piece in self.pieces.values() {
            match piece {
                Piece::ServiceRanges(more) => ranges.extend(more),
                Piece::Endpoints(addresses) => api_server.addresses.extend(addresses),
                Piece::LoadBalancers(addresses) => load_balancers.extend(addresses),
                Piece::Host(host) => api_server.host.clone_from(host),
            }
        }
        self.protected.service_ranges = ranges;
        self.protected.load_balancers = load_balancers;
        self.protected.api_server = api_server;
    }
}
