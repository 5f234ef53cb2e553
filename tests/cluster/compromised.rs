//! A compromised node: it acts with its own client certificate, may write its own Node, and never gets what is not its
//! own, nor delays anybody by claiming it.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use libtest_mimic::Trial;
use serde_json::json;

use crate::fixture::{Cluster, SOON, alone, shared};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::proxy::Proxy;
use crate::harness::proxy::fault::{Fault, StreamFault, Target};
use crate::harness::requests::Request;
use crate::harness::{approval, wait};

pub fn trials() -> Vec<Trial> {
    vec![
        shared("compromised::never_gets_what_is_not_its_own", never_gets),
        shared("compromised::may_create_its_node_as_it_likes_and_gets_nothing_by_it", creates_its_node),
        shared("compromised::an_heir_is_served_when_the_other_node_goes", heir),
        alone("compromised::gets_nothing_ahead_of_its_victim_where_there_is_an_inventory", ahead_of_the_victim),
        alone("compromised::gets_nothing_by_replacing_a_request_while_it_is_judged", replaces_its_request),
        alone("compromised::gets_nothing_ahead_of_the_watch", ahead_of_the_watch),
        alone("compromised::delays_nobody_by_claiming_everything", delays_nobody),
        alone("compromised::conflicts_survive_a_restart", survives_restart),
        alone("compromised::conflicts_survive_changes_of_leader", survives_changes_of_leader),
    ]
}

/// What a node can do with its own credentials.
struct Thief {
    client: Client,
    name: String,
}

impl Thief {
    async fn take_over(cluster: &Cluster, name: &str) -> Result<Self> {
        Ok(Self { client: cluster.control_plane.client_of_node(name).await?, name: name.to_owned() })
    }

    /// Creates its own Node, with whatever it likes in it.
    async fn create_node(&self, spec: serde_json::Value) -> Result<()> {
        let node = serde_json::from_value(json!({"metadata": {"name": self.name}, "spec": spec}))?;
        Api::<Node>::all(self.client.clone()).create(&PostParams::default(), &node).await?;
        Ok(())
    }

    /// Writes addresses into its own status, as NodeRestriction lets it.
    async fn plant(&self, addresses: &[String]) -> Result<()> {
        let kind = |text: &str| if text.parse::<IpAddr>().is_ok() { "InternalIP" } else { "InternalDNS" };
        let list: Vec<_> = addresses.iter().map(|text| json!({"type": kind(text), "address": text})).collect();
        let patch = Patch::Merge(json!({"status": {"addresses": list}}));
        Api::<Node>::all(self.client.clone()).patch_status(&self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn ask(&self, wanted: &str) -> Result<String> {
        let request = Request::of_node(&self.name);
        let request = match wanted.parse::<IpAddr>() {
            Ok(address) => request.ip(address),
            Err(_) => request.dns(wanted)?,
        };
        Ok(request.submit(&self.client).await?.name_any())
    }
}

/// Waits until the controller has answered a request or said why it waits; fails if it is approved.
async fn ensure_refused(cluster: &Cluster, name: &str, what: &str) -> Result<()> {
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(cluster.admin(), "default");
    wait::until(&format!("an answer to {name}, which asks for {what}"), SOON, async || {
        let request = cluster.request(name).await?;
        ensure!(approval::condition(&request, "Approved").is_none(), "{what} was approved: {:?}", request.status);
        if approval::decision(&request).is_some() {
            return Ok(Some(()));
        }
        let params = kube::api::ListParams::default();
        let told = events.list(&params).await?.items.into_iter().any(|event| {
            let about = event.regarding.and_then(|it| it.name);
            about.as_deref() == Some(name) && event.action.as_deref() == Some("Defer")
        });
        Ok(told.then_some(()))
    })
    .await?;
    let request = cluster.request(name).await?;
    ensure!(approval::condition(&request, "Approved").is_none(), "{what} was approved: {:?}", request.status);
    Ok(())
}

async fn never_gets(cluster: &Cluster) -> Result<()> {
    cluster.node("prey-1", &["prey-1", "prey-1.example.com", "10.20.1.1", "fd00:20::1"]).await?;
    cluster.node("rogue-1", &["rogue-1", "10.20.1.99"]).await?;
    let thief = Thief::take_over(cluster, "rogue-1").await?;
    let api_server = cluster.control_plane.address().to_string();
    let wanted = [
        "prey-1",
        "PREY-1",
        "prey-1.example.com",
        "10.20.1.1",
        "fd00:20::1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "webhook.team.svc",
        "localhost",
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "169.254.169.254",
        "fe80::1",
        "10.96.0.1",
        "10.96.255.254",
        &api_server,
    ];
    for what in wanted {
        let name = thief.ask(what).await?;
        ensure_refused(cluster, &name, what).await?;
    }
    // The same with all of it planted in its own status first.
    thief.plant(&wanted.map(str::to_owned)).await?;
    for what in wanted {
        let name = thief.ask(what).await?;
        ensure_refused(cluster, &name, &format!("{what}, planted")).await?;
    }
    // Its own it still gets, and so does the prey.
    thief.plant(&["rogue-1".to_owned(), "10.20.1.99".to_owned(), "10.20.1.1".to_owned()]).await?;
    let own = thief.ask("10.20.1.99").await?;
    cluster.answer(&own).await?.ensure_approved()?;
    let prey = Request::of_node("prey-1").dns("prey-1.example.com")?.ip([10, 20, 1, 1]);
    cluster.answer_to("prey-1", &prey).await?.ensure_approved()
}

/// At the creation of its Node a kubelet may set nearly everything: ranges of pods over others' addresses, for example.
async fn creates_its_node(cluster: &Cluster) -> Result<()> {
    cluster.node("prey-2", &["prey-2", "10.20.2.1"]).await?;
    let settled = Request::of_node("prey-2").dns("prey-2")?.ip([10, 20, 2, 1]);
    cluster.answer_to("prey-2", &settled).await?.ensure_approved()?;
    let thief = Thief::take_over(cluster, "rogue-2").await?;
    // The claim is planted before the Node of the next prey exists.
    thief.create_node(json!({"podCIDRs": ["10.20.2.0/24"]})).await?;
    thief.plant(&["rogue-2".to_owned(), "10.20.2.1".to_owned(), "prey-3".to_owned()]).await?;
    let name = thief.ask("10.20.2.1").await?;
    ensure_refused(cluster, &name, "the address of prey-2").await?;
    cluster.node("prey-3", &["prey-3"]).await?;
    let name = thief.ask("prey-3").await?;
    ensure_refused(cluster, &name, "the name of prey-3").await?;
    cluster.answer_to("prey-2", &settled).await?.ensure_approved()
}

async fn heir(cluster: &Cluster) -> Result<()> {
    cluster.node("old-1", &["old-1", "10.20.4.1"]).await?;
    cluster.node("heir-1", &["heir-1", "10.20.4.1"]).await?;
    let request = Request::of_node("heir-1").dns("heir-1")?.ip([10, 20, 4, 1]);
    let name = cluster.file_as_node("heir-1", &request).await?.name_any();
    cluster.wait_deferred(&name, "ClaimedByAnotherNode").await?;
    cluster.wait_event("Node", "old-1", "ClaimedByAnotherNode").await?;
    cluster.wait_event("Node", "heir-1", "ClaimedByAnotherNode").await?;
    Api::<Node>::all(cluster.admin()).delete("old-1", &DeleteParams::default()).await?;
    cluster.answer(&name).await?.ensure_approved()
}

/// The word of a node is only contradicted once another Node says the same. The operator's word is there before.
async fn ahead_of_the_victim() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let policy = control_plane.directory().join("policy.yaml");
    let inventory = control_plane.directory().join("inventory.yaml");
    std::fs::write(
        &policy,
        "{apiVersion: countersign/v1, kind: ServingPolicy, rules: [{name: all, identity: {sources: [inventory, node]}}]}",
    )?;
    std::fs::write(
        &inventory,
        "{apiVersion: countersign/v1, kind: NodeInventory, nodes: [{name: coming, addresses: [10.23.0.1], \
         dnsNames: [coming]}, {name: rogue, addresses: [10.23.0.9]}]}",
    )?;
    let flag = format!("--inventory={}", inventory.display());
    let cluster = Cluster::start_in(control_plane, &policy, &[&flag]).await?;
    cluster.node("rogue", &["rogue", "10.23.0.9"]).await?;
    let thief = Thief::take_over(&cluster, "rogue").await?;
    thief.plant(&["coming", "10.23.0.1", "10.23.0.9"].map(str::to_owned)).await?;
    for what in ["coming", "10.23.0.1"] {
        let name = thief.ask(what).await?;
        ensure_refused(&cluster, &name, what).await?;
    }
    cluster.node("coming", &["coming", "10.23.0.1"]).await?;
    let request = Request::of_node("coming").dns("coming")?.ip([10, 23, 0, 1]);
    cluster.answer_to("coming", &request).await?.ensure_approved()?;
    for what in ["coming", "10.23.0.1"] {
        let name = thief.ask(what).await?;
        ensure_refused(&cluster, &name, what).await?;
    }
    let own = thief.ask("10.23.0.9").await?;
    cluster.answer(&own).await?.ensure_approved()
}

const VICTIMS: usize = 20;

fn victim(number: usize) -> (String, String) {
    (format!("victim-{number}"), format!("10.21.0.{number}"))
}

/// Nodes, and a compromised one that puts all their addresses and names into its own status.
async fn with_everything_claimed() -> Result<Cluster> {
    let cluster = Cluster::start(Options::default()).await?;
    let mut claimed = vec!["rogue".to_owned()];
    for number in 1..=VICTIMS {
        let (name, address) = victim(number);
        cluster.node(&name, &[&name, &format!("{name}.example.com"), &address]).await?;
        claimed.extend([name.clone(), format!("{name}.example.com"), address]);
    }
    renew_all(&cluster).await?;
    cluster.node("rogue", &["rogue"]).await?;
    Thief::take_over(&cluster, "rogue").await?.plant(&claimed).await?;
    Ok(cluster)
}

async fn renew_all(cluster: &Cluster) -> Result<()> {
    for number in 1..=VICTIMS {
        let (name, address) = victim(number);
        let request = Request::of_node(&name).dns(&name)?.dns(&format!("{name}.example.com"))?;
        let request = request.ip(address.parse::<IpAddr>()?);
        cluster.answer_to(&name, &request).await?.ensure_approved().with_context(|| format!("renewal of {name}"))?;
    }
    Ok(())
}

async fn delays_nobody() -> Result<()> {
    let cluster = with_everything_claimed().await?;
    renew_all(&cluster).await
}

/// The controller has seen all conflicts, and kept them.
async fn wait_until_kept(cluster: &Cluster) -> Result<()> {
    let kept: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(cluster.admin(), "countersign");
    wait::until("all conflicts to be kept", SOON, async || {
        let map = kept.get_opt("countersign-claims").await?;
        let lines = map.and_then(|it| it.data).and_then(|it| it.get("order").map(|text| text.lines().count()));
        Ok((lines >= Some(2 * VICTIMS)).then_some(()))
    })
    .await
}

async fn survives_restart() -> Result<()> {
    let mut cluster = with_everything_claimed().await?;
    wait_until_kept(&cluster).await?;
    cluster.controller.process().kill()?;
    cluster.controller.process().restart()?;
    cluster.controller.wait_until_ready().await?;
    renew_all(&cluster).await?;
    let thief = Thief::take_over(&cluster, "rogue").await?;
    let name = thief.ask("10.21.0.1").await?;
    ensure_refused(&cluster, &name, "a victim's address after a restart").await
}

/// The second instance has not seen the claims come, the third not even the first instance.
async fn survives_changes_of_leader() -> Result<()> {
    let mut cluster = with_everything_claimed().await?;
    wait_until_kept(&cluster).await?;
    let thief = Thief::take_over(&cluster, "rogue").await?;
    let mut second = cluster.another_instance("second").await?;
    cluster.controller.process().terminate(SOON).await?;
    second.wait_until_leading(true).await?;
    let third = cluster.another_instance("third").await?;
    for _ in 0..2 {
        renew_all(&cluster).await?;
        let name = thief.ask("10.21.0.1").await?;
        ensure_refused(&cluster, &name, "a victim's address after a change of leader").await?;
        if second.process().exit_status()?.is_none() {
            second.process().terminate(SOON).await?;
            third.wait_until_leading(true).await?;
        }
    }
    Ok(())
}

/// How long its Node is being read while the request is replaced: long enough for a busy machine.
const READ_SLOWLY: Duration = Duration::from_secs(3);

/// Requests are removed by hand, by the controller manager after a day, and by the garbage collector where they name an
/// owner that is gone, which a node may do at the creation. It may file another one of the same name while the first is
/// judged, which its Node's state, read afresh, makes right just then.
async fn replaces_its_request() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let proxy = Proxy::start(&control_plane).await?;
    let cluster = Cluster::start_behind(&proxy, control_plane).await?;
    cluster.node("prey-7", &["prey-7", "10.20.7.1"]).await?;
    cluster.node("rogue-7", &["rogue-7"]).await?;
    let thief = Thief::take_over(&cluster, "rogue-7").await?;
    let named = Request { name: Some("replaced".to_owned()), ..Request::of_node("rogue-7") };
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.admin());

    proxy.faults().arm(Target::Get, Fault::Late(READ_SLOWLY));
    named.clone().ip([10, 20, 7, 99]).submit(&thief.client).await?;
    let read = || proxy.faults().suffered().contains_key("Get Late");
    wait::until("its Node to be read", SOON, async || Ok(read().then_some(()))).await?;
    requests.delete("replaced", &DeleteParams::default()).await?;
    named.dns("prey-7")?.submit(&thief.client).await?;
    thief.plant(&["rogue-7".to_owned(), "10.20.7.99".to_owned()]).await?;
    cluster.answer("replaced").await?.ensure_denied("NameOfAnotherNode", "prey-7")
}

/// For how long the watch of Nodes brings nothing.
const STALLED: Duration = Duration::from_secs(4);

/// The Node of who asks is read afresh, and the conflict would be known from the watch alone.
async fn ahead_of_the_watch() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let proxy = Proxy::start(&control_plane).await?;
    let cluster = Cluster::start_behind(&proxy, control_plane).await?;
    cluster.node("prey-8", &["prey-8"]).await?;
    cluster.node("rogue-8", &["rogue-8"]).await?;
    for node in ["prey-8", "rogue-8"] {
        cluster.answer_to(node, &Request::of_node(node).dns(node)?).await?.ensure_approved()?;
    }
    let thief = Thief::take_over(&cluster, "rogue-8").await?;

    ensure!(proxy.faults().strike_watches_of("nodes", StreamFault::Stalled(STALLED)) == 1, "no watch of Nodes");
    // The watch has to be told before anything comes on it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = std::time::Instant::now();
    cluster.set_addresses("prey-8", &["prey-8", "10.20.8.1"]).await?;
    thief.plant(&["rogue-8".to_owned(), "10.20.8.1".to_owned()]).await?;
    let name = thief.ask("10.20.8.1").await?;
    ensure!(begun.elapsed() < STALLED / 2, "too slow to ask while the watch stands still");
    ensure_refused(&cluster, &name, "the address of prey-8").await?;
    let renewal = Request::of_node("prey-8").dns("prey-8")?.ip([10, 20, 8, 1]);
    cluster.answer_to("prey-8", &renewal).await?.ensure_approved()
}
