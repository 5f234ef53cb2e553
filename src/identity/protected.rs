use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::san::{DnsName, SanError};

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
    service_ranges: Vec<IpNet>,
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
        }
    }
}

impl Protected {
    /// The built-in set, with the cluster's domain and the ranges of its Services.
    #[must_use]
    pub fn new(domain: ClusterDomain, service_ranges: Vec<IpNet>) -> Self {
        Self { domain, service_ranges }
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
