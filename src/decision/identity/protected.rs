use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::san::{DnsName, NodeName, San, SanError};

/// The DNS domain of the cluster's Services, `cluster.local` unless the operator says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDomain(DnsName);

impl FromStr for ClusterDomain {
    type Err = SanError;

    fn from_str(text: &str) -> Result<Self, SanError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ClusterDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names and addresses that no node may have, because clients reach something else under them.
#[derive(Clone, Debug)]
pub struct Protected {
    domain: ClusterDomain,
    /// Ranges of Service addresses: given by the operator, and by the cluster's ServiceCIDR objects.
    pub service_ranges: Vec<IpNet>,
    /// Load balancer and external addresses of Services; protected where the policy says so.
    pub load_balancers: HashSet<IpAddr>,
    /// How clients reach the API server.
    pub api_server: ApiServer,
}

/// Where the API server is: reserved for the Nodes of the control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiServer {
    /// Addresses of its endpoints.
    pub addresses: HashSet<IpAddr>,
    /// The host by which nodes join, where the cluster tells it.
    pub host: Option<San>,
}

impl ApiServer {
    /// Whether clients reach the API server under this name or address.
    #[must_use]
    pub fn is_at(&self, san: &San) -> bool {
        self.host.as_ref() == Some(san) || san.as_ip().is_some_and(|address| self.addresses.contains(&address))
    }
}

/// What a policy protects beside the built-in set.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    names: Vec<ProtectedName>,
    ranges: Vec<IpNet>,
}

impl Additions {
    /// Names and ranges.
    #[must_use]
    pub fn new(names: Vec<ProtectedName>, ranges: Vec<IpNet>) -> Self {
        Self { names, ranges }
    }

    /// Why the policy protects the name or address, if it does.
    #[must_use]
    pub fn protect(&self, san: &San) -> Option<Protection> {
        let entry = match san {
            San::Dns(name) => self.names.iter().find(|entry| entry.covers(name)).map(ToString::to_string),
            San::Ip(address) => self.ranges.iter().find(|range| range.contains(address)).map(ToString::to_string),
        };
        entry.map(Protection::Policy)
    }
}

/// A name, or with `*.` in front every name below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedName {
    name: DnsName,
    below: bool,
}

impl ProtectedName {
    fn covers(&self, name: &DnsName) -> bool {
        if self.below { *name != self.name && within(name.as_str(), self.name.as_str()) } else { *name == self.name }
    }
}

impl FromStr for ProtectedName {
    type Err = SanError;

    fn from_str(text: &str) -> Result<Self, SanError> {
        let below = text.strip_prefix("*.");
        Ok(Self { name: below.unwrap_or(text).parse()?, below: below.is_some() })
    }
}

impl fmt::Display for ProtectedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.below {
            f.write_str("*.")?;
        }
        self.name.fmt(f)
    }
}

/// Why a name or an address is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// `localhost` and names within it (RFC 6761 section 6.3).
    LocalHost,
    /// The API server's Service.
    ApiServer,
    /// A Service's name in the cluster: `*.svc`, `*.svc.*`.
    Service,
    /// The cluster domain or a name within it.
    ClusterDomain(ClusterDomain),
    /// 127.0.0.0/8, ::1.
    Loopback,
    /// 0.0.0.0/8, ::.
    Unspecified,
    /// 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// 224.0.0.0/4, ff00::/8.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// Within a range of the cluster's Services.
    ServiceRange(IpNet),
    /// The load balancer or external address of a Service.
    LoadBalancer,
    /// Within a Node's range of pods.
    PodRange(IpNet, NodeName),
    /// By this entry of the policy.
    Policy(String),
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalHost => f.write_str("it names the local host"),
            Self::ApiServer => f.write_str("it names the Kubernetes API server"),
            Self::Service => f.write_str("it is in the form of a Service's name"),
            Self::ClusterDomain(domain) => write!(f, "it is within the cluster domain {domain}"),
            Self::Loopback => f.write_str("it is a loopback address"),
            Self::Unspecified => f.write_str("it is the unspecified address"),
            Self::LinkLocal => f.write_str("it is a link-local address"),
            Self::Multicast => f.write_str("it is a multicast address"),
            Self::Broadcast => f.write_str("it is the broadcast address"),
            Self::ServiceRange(range) => write!(f, "it is within the Services' range {range}"),
            Self::LoadBalancer => f.write_str("it is the load balancer or external address of a Service"),
            Self::PodRange(range, node) => write!(f, "it is within the range {range} of the pods of node {node}"),
            Self::Policy(entry) => write!(f, "the policy protects {entry}"),
        }
    }
}

impl Protected {
    /// The built-in set, with the cluster's domain and the ranges of its Services.
    #[must_use]
    pub fn new(domain: ClusterDomain, service_ranges: Vec<IpNet>) -> Self {
        Self { domain, service_ranges, load_balancers: HashSet::new(), api_server: ApiServer::default() }
    }

    /// Why the name is protected, if it is.
    #[must_use]
    pub fn name(&self, name: &DnsName) -> Option<Protection> {
        let text = name.as_str();
        if within(text, "localhost") || within(text, "localhost.localdomain") {
            return Some(Protection::LocalHost);
        }
        if text == "kubernetes" || text == "kubernetes.default" || within(text, "kubernetes.default.svc") {
            return Some(Protection::ApiServer);
        }
        if within(text, self.domain.0.as_str()) {
            let api_server = format!("kubernetes.default.svc.{}", self.domain);
            return Some(if text == api_server {
                Protection::ApiServer
            } else {
                Protection::ClusterDomain(self.domain.clone())
            });
        }
        // `svc` as the last label but not the only one, or between two others.
        if text.split('.').skip(1).any(|label| label == "svc") {
            return Some(Protection::Service);
        }
        None
    }

    /// Why the address is protected, if it is.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<Protection> {
        let unspecified = match address {
            IpAddr::V4(v4) => v4.octets().first() == Some(&0),
            IpAddr::V6(v6) => v6.is_unspecified(),
        };
        let link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if unspecified {
            Some(Protection::Unspecified)
        } else if address.is_loopback() {
            Some(Protection::Loopback)
        } else if link_local {
            Some(Protection::LinkLocal)
        } else if address.is_multicast() {
            Some(Protection::Multicast)
        } else if address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
            Some(Protection::Broadcast)
        } else {
            self.service_ranges.iter().find(|range| range.contains(&address)).copied().map(Protection::ServiceRange)
        }
    }
}

/// Whether `name` is `domain` or a name below it.
fn within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protected() -> Protected {
        let ranges = ["10.96.0.0/12", "fd00:10:96::/112"].map(|range| range.parse().unwrap()).to_vec();
        Protected::new("cluster.local".parse().unwrap(), ranges)
    }

    #[test]
    fn protects_names_that_clients_reach_other_things_under() {
        let domain = Protection::ClusterDomain("cluster.local".parse().unwrap());
        let cases = [
            ("localhost", Some(Protection::LocalHost)),
            ("LocalHost", Some(Protection::LocalHost)),
            ("a.localhost", Some(Protection::LocalHost)),
            ("localhost.localdomain", Some(Protection::LocalHost)),
            ("kubernetes", Some(Protection::ApiServer)),
            ("kubernetes.default", Some(Protection::ApiServer)),
            ("kubernetes.default.svc", Some(Protection::ApiServer)),
            ("Kubernetes.Default.Svc.Cluster.Local", Some(Protection::ApiServer)),
            ("webhook.team.svc", Some(Protection::Service)),
            ("webhook.team.svc.example.com", Some(Protection::Service)),
            ("a.svc.b", Some(Protection::Service)),
            ("cluster.local", Some(domain.clone())),
            ("worker-1.cluster.local", Some(domain)),
            ("svc", None),
            ("svc.example.com", None),
            ("mysvc.example.com", None),
            ("kubernetes-1", None),
            ("kubernetes.example.com", None),
            ("notlocalhost", None),
            ("localhost.example.com", None),
            ("mycluster.local", None),
            ("worker-1.example.com", None),
        ];
        for (name, expected) in cases {
            assert_eq!(protected().name(&name.parse().unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn a_policy_adds_names_subtrees_and_ranges() {
        let names = ["vault.example.com", "*.db.example.com"].map(|name| name.parse().unwrap()).to_vec();
        let additions = Additions::new(names, vec!["10.20.0.0/16".parse().unwrap()]);
        for (text, entry) in [
            ("Vault.example.com", Some("vault.example.com")),
            ("a.vault.example.com", None),
            ("a.db.example.com", Some("*.db.example.com")),
            ("a.b.db.example.com", Some("*.db.example.com")),
            ("db.example.com", None),
            ("mydb.example.com", None),
            ("10.20.255.255", Some("10.20.0.0/16")),
            ("10.21.0.0", None),
        ] {
            let san = San::from_node_address(text).unwrap();
            assert_eq!(additions.protect(&san), entry.map(|entry| Protection::Policy(entry.to_owned())), "{text}");
        }
    }

    #[test]
    fn protects_addresses_that_are_not_a_host_or_are_services() {
        let cases = [
            ("127.0.0.1", Some(Protection::Loopback)),
            ("127.255.255.254", Some(Protection::Loopback)),
            ("::1", Some(Protection::Loopback)),
            ("0.0.0.0", Some(Protection::Unspecified)),
            ("0.1.2.3", Some(Protection::Unspecified)),
            ("::", Some(Protection::Unspecified)),
            ("169.254.169.254", Some(Protection::LinkLocal)),
            ("fe80::1", Some(Protection::LinkLocal)),
            ("febf::1", Some(Protection::LinkLocal)),
            ("224.0.0.1", Some(Protection::Multicast)),
            ("ff02::1", Some(Protection::Multicast)),
            ("255.255.255.255", Some(Protection::Broadcast)),
            ("10.96.0.1", Some(Protection::ServiceRange("10.96.0.0/12".parse().unwrap()))),
            ("10.111.255.255", Some(Protection::ServiceRange("10.96.0.0/12".parse().unwrap()))),
            ("fd00:10:96::a", Some(Protection::ServiceRange("fd00:10:96::/112".parse().unwrap()))),
            ("10.112.0.0", None),
            ("10.95.255.255", None),
            ("128.0.0.1", None),
            ("169.253.255.255", None),
            ("fec0::1", None),
            ("fd00:10:97::a", None),
            ("192.168.1.10", None),
        ];
        for (address, expected) in cases {
            assert_eq!(protected().address(address.parse().unwrap()), expected, "{address}");
        }
    }
}
