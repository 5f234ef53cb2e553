//! Honest and hostile nodes, what they file and when, and what has to become of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{from_value, json};
use tokio::time::{Instant, sleep_until};

use crate::fixture::{Cluster, SOON};
use crate::harness::random::Random;
use crate::harness::requests::Request;
use crate::harness::{account, approval, requests, wait};

/// What has to become of a request in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Approved,
    /// The node has filed a newer one: it is too late for the older, or was not.
    ApprovedOrSuperseded,
    Denied(&'static str),
    /// Nobody is to answer it.
    Pending,
}

/// A request that is to be filed.
#[derive(Clone)]
struct Case {
    name: String,
    node: String,
    request: Request,
    at: Duration,
    /// When its Node is created, where that comes after it.
    node_at: Option<Duration>,
    address: String,
    fate: Fate,
}

/// All that is filed in a run.
#[derive(Clone)]
pub struct Population(Vec<Case>);

impl Population {
    /// Makes the Nodes, and the requests of a run that is to see so many faults.
    pub async fn create(cluster: &Cluster, random: &mut Random, faults: usize) -> Result<Self> {
        let faults = u32::try_from(faults)?;
        // A fault comes about each fifth of a second.
        let length = Duration::from_millis(180) * faults;
        let mut cases = Vec::new();
        for number in 0..faults * 6 / 5 {
            let (node, address) = (format!("node-{number}"), address_of(number));
            let at = random.between(Duration::ZERO, length);
            let (request, fate) = wish(number, &node, &address)?;
            let late = number % 12 == 0;
            let node_at = late.then(|| at + random.between(Duration::from_millis(100), Duration::from_secs(5)));
            let case = Case { name: format!("{node}-a"), node, request, at, node_at, address, fate };
            if fate == Fate::Approved && number % 5 == 1 {
                let (name, at) = (format!("{}-b", case.node), random.between(at, length + Duration::from_secs(5)));
                cases.push(Case { name, at, ..case.clone() });
                cases.push(Case { fate: Fate::ApprovedOrSuperseded, ..case });
            } else {
                cases.push(case);
            }
        }
        let population = Self(cases);
        population.create_nodes(cluster).await?;
        Ok(population)
    }

    /// The Nodes that are there from the beginning; and the compromised ones claim the addresses of others, which have to
    /// be seen in this order before anything fails.
    async fn create_nodes(&self, cluster: &Cluster) -> Result<()> {
        let there = |case: &&Case| case.node_at.is_none() && !case.name.ends_with("-b");
        for chunk in self.0.iter().filter(there).collect::<Vec<_>>().chunks(16) {
            let create = async |case: &Case| cluster.node(&case.node, &[&case.node, &case.address]).await;
            try_join_all(chunk.iter().map(|case| create(case))).await?;
        }
        let thieves = self.0.iter().filter(|case| is_planting(&case.node)).collect::<Vec<_>>();
        for thief in &thieves {
            cluster.set_addresses(&thief.node, &[&thief.node, &thief.address, &victim_of(&thief.node)]).await?;
        }
        let kept: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(cluster.admin(), account::NAMESPACE);
        wait::until("all conflicts to be kept", SOON, async || {
            let map = kept.get_opt("countersign-claims").await?;
            let lines = map.and_then(|it| it.data).and_then(|it| it.get("order").map(|text| text.lines().count()));
            Ok((lines >= Some(thieves.len())).then_some(()))
        })
        .await
    }

    /// Files all, each when its time has come; an API server that is away is tried again.
    pub async fn file(&self, admin: Client) -> Result<()> {
        let begun = Instant::now();
        try_join_all(self.0.iter().map(|case| case.file(&admin, begun))).await?;
        Ok(())
    }

    /// Whether each request is what it has to be in the end.
    pub async fn is_answered(&self, admin: &Client) -> Result<Option<()>> {
        // The API server may have just come back.
        let Ok(requests) = all(admin).await else { return Ok(None) };
        Ok(self.0.iter().all(|case| case.is_as_it_should(requests.get(&case.name))).then_some(()))
    }

    /// Those that are not what they have to be, for people.
    pub async fn unanswered(&self, admin: &Client) -> Result<String> {
        let requests = all(admin).await?;
        let mut text = String::new();
        for case in self.0.iter().filter(|case| !case.is_as_it_should(requests.get(&case.name))) {
            let status = requests.get(&case.name).map(|request| &request.status);
            writeln!(text, "{} was to be {:?}, and is {status:?}", case.name, case.fate)?;
        }
        Ok(text)
    }

    /// Every request by name.
    pub fn fates(&self) -> impl Iterator<Item = (&str, Fate)> {
        self.0.iter().map(|case| (case.name.as_str(), case.fate))
    }
}

/// What a node asks for, and what has to become of it. Every third is hostile in one way or another.
fn wish(number: u32, node: &str, address: &str) -> Result<(Request, Fate)> {
    let own = Request::of_node(node).dns(node)?.ip(address.parse::<std::net::IpAddr>()?);
    if number % 3 != 2 {
        return Ok((own, Fate::Approved));
    }
    Ok(match number / 3 % 7 {
        0 => (own.dns("kubernetes.default.svc")?, Fate::Denied("ProtectedName")),
        1 => (own.ip([10, 96, 0, 1]), Fate::Denied("ProtectedAddress")),
        2 => (own.dns("node-1")?, Fate::Denied("NameOfAnotherNode")),
        3 => (own.dns("*.example.com")?, Fate::Denied("ForbiddenSan")),
        4 => {
            let usages = ["digital signature", "server auth", "client auth"].map(str::to_owned).to_vec();
            (Request { usages, ..own }, Fate::Denied("UsageNotAllowed"))
        }
        5 => (own.ip(victim_of(node).parse::<std::net::IpAddr>()?), Fate::Pending),
        _ => (own.ip([10, 31, 0, 1]), Fate::Pending),
    })
}

/// Whether the node puts the address of another into its own status.
fn is_planting(node: &str) -> bool {
    number_of(node).is_some_and(|number| number % 3 == 2 && number / 3 % 7 == 5)
}

/// The address of the honest node before it.
fn victim_of(node: &str) -> String {
    address_of(number_of(node).unwrap_or_default().saturating_sub(1))
}

fn address_of(number: u32) -> String {
    format!("10.30.{}.{}", number / 250, number % 250 + 1)
}

fn number_of(node: &str) -> Option<u32> {
    node.strip_prefix("node-")?.parse().ok()
}

async fn all(admin: &Client) -> Result<BTreeMap<String, CertificateSigningRequest>> {
    let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
    let list = api.list(&ListParams::default()).await?;
    Ok(list.items.into_iter().map(|request| (request.name_any(), request)).collect())
}

impl Case {
    async fn file(&self, admin: &Client, begun: Instant) -> Result<()> {
        sleep_until(begun + self.at).await;
        let object = Request { name: Some(self.name.clone()), ..self.request.clone() }.object()?;
        wait::until(&format!("{} to be filed", self.name), Duration::from_mins(5), async || {
            Ok(done(requests::submit_as_node(admin, &self.node, &object).await))
        })
        .await?;
        if let Some(at) = self.node_at {
            sleep_until(begun + at).await;
            let node: Node = from_value(json!({"metadata": {"name": self.node}}))?;
            let nodes: Api<Node> = Api::all(admin.clone());
            let addresses = [("Hostname", &self.node), ("InternalIP", &self.address)]
                .map(|(kind, address)| json!({"type": kind, "address": address}));
            let status = Patch::Merge(json!({"status": {"addresses": addresses}}));
            wait::until(&format!("{} to be created", self.node), Duration::from_mins(5), async || {
                if done(nodes.create(&PostParams::default(), &node).await).is_none() {
                    return Ok(None);
                }
                Ok(done(nodes.patch_status(&self.node, &PatchParams::default(), &status).await))
            })
            .await?;
        }
        Ok(())
    }

    fn is_as_it_should(&self, request: Option<&CertificateSigningRequest>) -> bool {
        let Some(request) = request else { return false };
        let condition = approval::decision(request);
        let is = |type_: &str, reason: &str| {
            condition.is_some_and(|it| it.type_ == type_ && it.reason.as_deref() == Some(reason))
        };
        match self.fate {
            Fate::Approved => is("Approved", "AutoApproved"),
            Fate::ApprovedOrSuperseded => is("Approved", "AutoApproved") || is("Denied", "Superseded"),
            Fate::Denied(reason) => is("Denied", reason),
            Fate::Pending => condition.is_none(),
        }
    }
}

/// Whether something is there now, by this request or an earlier one whose answer was lost.
fn done<T>(result: kube::Result<T>) -> Option<()> {
    match result {
        Ok(_) => Some(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Some(()),
        Err(_) => None,
    }
}
