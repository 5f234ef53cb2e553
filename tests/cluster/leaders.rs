//! Two instances, of which one answers: whatever becomes of it, the other goes on, and never do both write.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client, ResourceExt};
use libtest_mimic::Trial;

use crate::fixture::{Cluster, Installation, RELEASE, SOON, alone};
use crate::harness::control_plane::Options;
use crate::harness::controller::Controller;
use crate::harness::kubeconfig::{self, Credentials};
use crate::harness::requests::Request;
use crate::harness::{account, approval, audit, plain_http, wait};

pub fn trials() -> Vec<Trial> {
    vec![
        alone("leaders::when_the_leader_is_killed_the_other_answers_within_20_s", killed),
        alone("leaders::when_the_leader_is_told_to_stop_the_other_answers_within_2_s", terminated),
        alone("leaders::two_pods_of_the_chart_take_over_from_each_other", pods),
        alone("leaders::stopped_and_resumed_they_never_both_write", paused),
    ]
}

/// How long the protocol allows after a leader's sudden end is 15 s, a look and a request: less than 20 s. This machine
/// may be busy.
const AFTER_KILL: Duration = Duration::from_secs(25);
/// After a leader that has given up the Lease: a look and a request, less than 2 s. This machine may be busy.
const AFTER_STOP: Duration = Duration::from_secs(5);

fn audited() -> Options {
    Options { audit: true, ..Options::default() }
}

/// Two instances, the first of which leads; what their tokens are called; and Nodes with their clients.
struct Pair {
    cluster: Cluster,
    second: Controller,
    tokens: Vec<String>,
    nodes: Vec<(Request, Client)>,
}

impl Pair {
    async fn start(nodes: u8) -> Result<Self> {
        let cluster = Cluster::start(audited()).await?;
        cluster.controller.wait_until_leading(true).await?;
        let kubeconfig = cluster.another_kubeconfig("second").await?;
        let second = cluster.another_instance_as(&kubeconfig, "second").await?;
        let first = audit::credential_in(&cluster.options.kubeconfig).await?;
        let tokens = vec![first, audit::credential_in(&kubeconfig).await?];
        Self::of(cluster, second, tokens, nodes).await
    }

    /// Two pods of the chart as it is, with the rights that it grants.
    async fn of_chart(nodes: u8) -> Result<Self> {
        let installation = Installation::start(audited(), &[]).await?;
        installation.cluster.controller.wait_until_leading(true).await?;
        let (pod, second) = installation.another_pod().await?;
        let Installation { cluster, pod: first, .. } = installation;
        let mut tokens = Vec::new();
        for pod in [first, pod] {
            let kubeconfig = cluster.control_plane.kubeconfig_for(Credentials::Token(pod.token()?));
            tokens.push(audit::credential_of(kubeconfig::client(&kubeconfig).await?).await?);
        }
        Self::of(cluster, second, tokens, nodes).await
    }

    async fn of(cluster: Cluster, second: Controller, tokens: Vec<String>, nodes: u8) -> Result<Self> {
        cluster.wait_event("Lease", "countersign", "LeaderElection").await?;
        let mut pair = Self { cluster, second, tokens, nodes: Vec::new() };
        for number in 1..=nodes {
            let name = format!("node-{number}");
            pair.cluster.node(&name, &[&name, &format!("10.24.0.{number}")]).await?;
            let client = pair.cluster.control_plane.client_of_node(&name).await?;
            pair.nodes.push((Request::of_node(&name).dns(&name)?.ip([10, 24, 0, number]), client));
        }
        // The standby says that it is ready, and answers nothing.
        pair.second.wait_until_leading(false).await?;
        let (status, text) = plain_http::get(pair.second.admin_address(), "/readyz").await?;
        ensure!(status == 200, "the standby is not ready: {text}");
        for name in pair.file().await? {
            pair.cluster.answer(&name).await?.ensure_approved()?;
        }
        let told = pair.second.metrics().await?.lines().any(|line| line.starts_with("countersign_decisions_total"));
        ensure!(!told, "the standby has decided something");
        Ok(pair)
    }

    /// Each node files a request.
    async fn file(&self) -> Result<Vec<String>> {
        let filed = self.nodes.iter().map(|(request, client)| request.submit(client));
        Ok(try_join_all(filed).await?.into_iter().map(|request| request.name_any()).collect())
    }

    /// How many requests the second instance has read.
    async fn read_by_standby(&self) -> Result<f64> {
        let read = self.second.metric("countersign_evaluation_seconds_count").await?;
        read.context("the standby does not tell how many requests it has read")
    }

    /// Each node files a request, and all are approved.
    async fn file_and_wait(&self) -> Result<()> {
        for name in self.file().await? {
            self.cluster.answer(&name).await?.ensure_approved()?;
        }
        Ok(())
    }

    /// Each node files a request, and all are approved within this time since something happened to the leader.
    async fn ensure_taken_over(&self, what: &str, since: Instant, limit: Duration) -> Result<()> {
        self.file_and_wait().await?;
        let took = since.elapsed();
        println!("leaders: {what}, the other answers after {took:.1?}");
        ensure!(took < limit, "the answer took {took:?}");
        Ok(())
    }

    /// Checks with the API server's own log that each request was answered once, and by whoever held the Lease.
    fn ensure_one_writer(&self) -> Result<()> {
        let entries = audit::read(&self.cluster.control_plane.audit_log())?;
        audit::ensure_answered_once(&entries)?;
        audit::ensure_one_writer(&entries, &self.tokens)
    }
}

async fn killed() -> Result<()> {
    let mut pair = Pair::start(1).await?;
    pair.cluster.controller.process().kill()?;
    let since = Instant::now();
    let read = pair.read_by_standby().await?;
    let filed = pair.file().await?;
    wait::until("the standby to read what it will have to answer", SOON, async || {
        Ok((pair.read_by_standby().await? > read).then_some(()))
    })
    .await?;
    for name in filed {
        let waiting = pair.cluster.request(&name).await?;
        ensure!(approval::decision(&waiting).is_none(), "{name} was answered while nobody led");
    }
    pair.ensure_taken_over("the leader killed", since, AFTER_KILL).await?;
    pair.ensure_one_writer()
}

async fn terminated() -> Result<()> {
    let mut pair = Pair::start(1).await?;
    // A request that comes after the signal; it may still be the first instance that answers it, on its way out.
    let process = pair.cluster.controller.process();
    let since = Instant::now();
    process.terminate(SOON).await?;
    let stopped = since.elapsed();
    pair.ensure_taken_over(&format!("the leader told to stop, gone after {stopped:.1?}"), since, AFTER_STOP).await?;
    pair.second.wait_until_leading(true).await?;
    pair.ensure_one_writer()
}

async fn pods() -> Result<()> {
    let mut pair = Pair::of_chart(2).await?;
    let deployments: Api<Deployment> = Api::namespaced(pair.cluster.admin(), account::NAMESPACE);
    let replicas = deployments.get(RELEASE).await?.spec.and_then(|spec| spec.replicas);
    ensure!(replicas == Some(2), "the chart asks for {replicas:?} pods, not two");

    // The first is killed. Started anew, as by a kubelet, it finds the second leading, and follows.
    pair.cluster.controller.process().kill()?;
    let since = Instant::now();
    pair.ensure_taken_over("the leading pod killed", since, AFTER_KILL).await?;
    pair.cluster.controller.process().restart()?;
    pair.cluster.controller.wait_until_ready().await?;
    pair.cluster.controller.wait_until_leading(false).await?;

    // The second is told to stop, as in a rollout.
    let since = Instant::now();
    pair.second.process().terminate(SOON).await?;
    pair.ensure_taken_over("the leading pod told to stop", since, AFTER_STOP).await?;
    audit::ensure_permitted(&audit::read(&pair.cluster.control_plane.audit_log())?, &pair.tokens)?;
    pair.ensure_one_writer()
}

async fn paused() -> Result<()> {
    let mut pair = Pair::start(40).await?;
    let mut names = Vec::new();
    // The leader is stopped in the midst of its work; the other takes over.
    names.extend(pair.file().await?);
    pair.cluster.controller.process().pause()?;
    pair.second.wait_until_leading(true).await?;
    names.extend(pair.file().await?);
    pair.cluster.controller.process().resume()?;
    names.extend(pair.file().await?);
    pair.cluster.controller.wait_until_leading(false).await?;

    // Both are stopped in the midst of work, for longer than the Lease is good, and resumed at once.
    names.extend(pair.file().await?);
    pair.second.process().pause()?;
    pair.cluster.controller.process().pause()?;
    names.extend(pair.file().await?);
    wait_out_the_lease().await?;
    pair.second.process().resume()?;
    pair.cluster.controller.process().resume()?;
    names.extend(pair.file().await?);

    for name in &names {
        let answer = pair.cluster.answer(name).await?;
        let superseded = answer.ensure_denied("Superseded", "newer").is_ok();
        ensure!(superseded || answer.ensure_approved().is_ok(), "{name}: {answer:?}");
    }
    pair.file_and_wait().await?;
    pair.ensure_one_writer()
}

/// Waits until the Lease would be free, and the time for writes of its holder long over.
async fn wait_out_the_lease() -> Result<()> {
    let (since, time) = (Instant::now(), Duration::from_secs(18));
    wait::until("the Lease to run out", time * 2, async || Ok((since.elapsed() > time).then_some(()))).await
}
