//! One node floods, or one request cannot be answered, and no other node waits for that.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use libtest_mimic::Trial;

use crate::fixture::{Answer, Cluster, SOON, alone};
use crate::harness::audit::{self, Entry};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::proxy::Proxy;
use crate::harness::requests::{Request, submit_as_node};
use crate::harness::{approval, wait};

pub fn trials() -> Vec<Trial> {
    vec![
        alone("fairness::no_node_waits_for_the_flood_of_another", flood),
        alone("fairness::a_request_that_cannot_be_answered_delays_no_other", unanswerable),
    ]
}

/// How many requests the flooder files.
const FLOOD: usize = 2000;
/// How many honest nodes file one each before the controller starts, and as many again while it works on the flood.
const HONEST: u16 = 100;
/// How many of the flooder's requests may be answered while an honest one waits. In turn with others it is one at a
/// time; the rest is what happens until a request is brought by the watch.
const OVERTAKEN: usize = 20;
/// What the default policy lets a node have at once, and after how many seconds it has one more.
const BURST: usize = 60;
const REFILL_SECONDS: u64 = 30;
/// How many requests are filed at the same time.
const AT_ONCE: usize = 16;
/// By how many bytes the flood may make the program grow: 8 KiB a request, many times what is kept of each.
const MOST_MEMORY: f64 = 2000.0 * 8192.0;

async fn flood() -> Result<()> {
    let begun = std::time::Instant::now();
    let mut cluster = Cluster::start(Options { audit: true, ..Options::default() }).await?;
    let early = create_nodes(&cluster, "early", 1).await?;
    let late = create_nodes(&cluster, "late", 2).await?;
    cluster.node("flooder", &["flooder", "10.40.0.1"]).await?;

    let memory_before = cluster.controller.resident_memory().await?;
    // What there is when it starts is a backlog for certain.
    cluster.controller.process().terminate(SOON).await?;
    let flood = file_flood(&cluster).await?;
    file(&cluster.admin(), &early).await?;
    cluster.controller.process().restart()?;
    wait_approved(&cluster.admin(), &early).await?;
    file(&cluster.admin(), &late).await?;
    wait_approved(&cluster.admin(), &late).await?;
    let settled = wait_superseded(&cluster.admin(), &flood).await?;
    let memory = cluster.controller.resident_memory().await? - memory_before;
    ensure!(memory < MOST_MEMORY, "{memory} bytes more than before the flood");

    let entries = audit::read(&cluster.control_plane.audit_log())?;
    audit::ensure_answered_once(&entries)?;
    let answers = audit::answers(&entries);
    let answers_to = |names: &mut dyn Iterator<Item = &String>| -> Vec<&Entry> {
        names.filter_map(|name| answers.get(name.as_str())?.first().copied()).collect()
    };
    let to_flooder = answers_to(&mut flood.keys());
    let to_early = answers_to(&mut early.keys());
    let last = to_early.iter().map(|entry| entry.answered).max().context("no answer to an honest node")?;
    let before = to_flooder.iter().filter(|entry| entry.answered < last).count();
    ensure!(before <= OVERTAKEN, "{before} requests of the flooder were answered before the last of the honest ones");

    let mut most = 0;
    for (created, answered) in lives(&entries, late.keys())? {
        let meanwhile = |entry: &&&Entry| created.received < entry.answered && entry.answered < answered.answered;
        most = most.max(to_flooder.iter().filter(meanwhile).count());
    }
    ensure!(most <= OVERTAKEN, "{most} requests of the flooder were answered while one of an honest node waited");
    let after = lives(&entries, late.keys())?.iter().map(|(created, _)| created.received).max();
    let backlog = to_flooder.iter().filter(|entry| Some(entry.answered) > after).count();
    ensure!(backlog > 0, "there was no flood any more when the last of the honest nodes filed");

    let allowed = BURST + usize::try_from(begun.elapsed().as_secs() / REFILL_SECONDS)? + 1;
    let approved = settled.values().filter(|answer| answer.type_ == "Approved").count();
    ensure!((1..=allowed).contains(&approved), "{approved} requests of the flooder were approved");
    println!(
        "fairness: {before} of {FLOOD} answered before the last of {HONEST} nodes that waited with them; {most} at most while \
         one of {HONEST} that came later waited, {backlog} after the last of those; {approved} approved"
    );
    Ok(())
}

async fn unanswerable() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let proxy = Proxy::start(&control_plane).await?;
    let cluster = Cluster::start_behind(&proxy, control_plane).await?;
    let nodes = create_nodes(&cluster, "honest", 1).await?;
    let (stuck, request) = nodes.iter().next().context("no nodes")?;
    proxy.faults().fail_answers_to(stuck);
    submit_as_node(&cluster.admin(), stuck, &request.object()?).await?;
    let failures = || proxy.faults().suffered().get("Approval Status(500)").copied().unwrap_or_default();
    wait::until("the first answer to fail", SOON, async || Ok((failures() > 0).then_some(()))).await?;

    let others = nodes.iter().skip(1).map(|(name, request)| (name.clone(), request.clone())).collect();
    file(&cluster.admin(), &others).await?;
    wait_approved(&cluster.admin(), &others).await?;
    wait::until("the answer to be tried again", SOON, async || Ok((failures() > 1).then_some(()))).await?;
    cluster.ensure_pending(stuck).await?;

    proxy.faults().disarm();
    cluster.answer(stuck).await?.ensure_approved()
}

/// Nodes, and what their kubelets ask for, in requests of the same names.
async fn create_nodes(cluster: &Cluster, kind: &str, net: u8) -> Result<BTreeMap<String, Request>> {
    let nodes = stream::iter(0..HONEST).map(async |number| {
        let name = format!("{kind}-{number}");
        let address = [10, 41, net, u8::try_from(number)?];
        cluster.node(&name, &[&name, &std::net::Ipv4Addr::from(address).to_string()]).await?;
        let request = Request::of_node(&name).dns(&name)?.ip(address);
        anyhow::Ok((name.clone(), Request { name: Some(name), ..request }))
    });
    nodes.buffer_unordered(AT_ONCE).try_collect().await
}

/// Files the requests of these nodes.
async fn file(admin: &Client, requests: &BTreeMap<String, Request>) -> Result<()> {
    let filed = stream::iter(requests)
        .map(async |(node, request)| anyhow::Ok(submit_as_node(admin, node, &request.object()?).await.map(drop)?));
    filed.buffer_unordered(AT_ONCE).try_collect().await
}

/// Files the flood with the node's own certificate, and returns when each request was created, by name.
async fn file_flood(cluster: &Cluster) -> Result<BTreeMap<String, Time>> {
    let api: Api<CertificateSigningRequest> = Api::all(cluster.control_plane.client_of_node("flooder").await?);
    let object = Request::of_node("flooder").dns("flooder")?.ip([10, 40, 0, 1]).object()?;
    let filed = stream::iter(0..FLOOD).map(async |_| {
        let filed = api.create(&PostParams::default(), &object).await?;
        let created = filed.creation_timestamp().context("a request without a creationTimestamp")?;
        anyhow::Ok((filed.name_any(), created))
    });
    filed.buffer_unordered(AT_ONCE).try_collect().await
}

/// The answers there are so far, by the names of the requests.
async fn answers(admin: &Client) -> Result<BTreeMap<String, Answer>> {
    let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
    let requests = api.list(&ListParams::default()).await?.items;
    Ok(requests.iter().filter_map(|it| Some((it.name_any(), Answer::of(approval::decision(it)?)))).collect())
}

async fn wait_approved(admin: &Client, requests: &BTreeMap<String, Request>) -> Result<()> {
    let answers = wait::until("every honest node to be answered", SOON, async || {
        let answers = answers(admin).await?;
        Ok(requests.keys().all(|name| answers.contains_key(name)).then_some(answers))
    })
    .await?;
    requests.keys().filter_map(|name| answers.get(name)).try_for_each(Answer::ensure_approved)
}

/// Waits until all of the flood is denied that has a newer request after it, and returns the flood's answers.
async fn wait_superseded(admin: &Client, flood: &BTreeMap<String, Time>) -> Result<BTreeMap<String, Answer>> {
    let newest = flood.values().max().context("no flood")?;
    let older: BTreeSet<&String> = flood.iter().filter(|(_, time)| *time < newest).map(|(name, _)| name).collect();
    ensure!(older.len() > FLOOD / 2, "the flood was filed within one second, which supersedes nothing");
    let mut answers = wait::until("what is superseded to be denied", SOON * 4, async || {
        let answers = answers(admin).await?;
        Ok(older.iter().all(|name| answers.contains_key(*name)).then_some(answers))
    })
    .await?;
    answers.retain(|name, _| flood.contains_key(name));
    for (name, answer) in &answers {
        if older.contains(name) {
            answer.ensure_denied("Superseded", "")?;
        } else {
            answer.ensure_approved()?;
        }
    }
    Ok(answers)
}

/// When each of these requests was filed, and when it was answered.
fn lives<'e>(entries: &'e [Entry], names: impl Iterator<Item = &'e String>) -> Result<Vec<(&'e Entry, &'e Entry)>> {
    let answers = audit::answers(entries);
    let filed = audit::filings(entries);
    names
        .map(|name| {
            let created = filed.get(name.as_str()).with_context(|| format!("nobody has filed {name}"))?;
            let answered = answers.get(name.as_str()).and_then(|all| all.first().copied());
            Ok((*created, answered.with_context(|| format!("nobody has answered {name}"))?))
        })
        .collect()
}
