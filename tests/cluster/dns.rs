//! DNS confirms names, or makes them wait; it never denies, and nobody else waits for it.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use libtest_mimic::Trial;

use crate::fixture::{Cluster, SOON, alone};
use crate::harness::approval;
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::dns::DnsServer;
use crate::harness::requests::Request;
use crate::{once, reviewed};

pub fn trials() -> Vec<Trial> {
    vec![alone("dns::confirms_names_or_makes_them_wait", confirms)]
}

/// DNS is asked again every half a minute.
const ASKED_AGAIN: Duration = Duration::from_mins(2);

const POLICY: &str = "
apiVersion: countersign/v1
kind: ServingPolicy
rules:
- {name: confirmed, match: {nodeNames: [\"named-*\"]}, identity: {sources: [node, dns]}}
- {name: others}
";

async fn confirms() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let dns = DnsServer::start(control_plane.directory(), "example.com").await?;
    let policy = control_plane.directory().join("policy.yaml");
    std::fs::write(&policy, POLICY)?;
    let mut cluster = Cluster::start_in(control_plane, &policy, &[]).await?;
    let address = |number: u8| IpAddr::from([10, 26, 0, number]);
    for number in 1..=4 {
        let (node, address) = (format!("named-{number}"), address(number).to_string());
        cluster.node(&node, &[&node, &format!("{node}.example.com"), &address]).await?;
    }
    cluster.node("plain-1", &["plain-1", "10.26.1.1"]).await?;
    let request = |number: u8| -> Result<Request> {
        let node = format!("named-{number}");
        Ok(Request::of_node(&node).dns(&node)?.dns(&format!("{node}.example.com"))?.ip(address(number)))
    };

    // The short name goes through the search list.
    dns.set("named-1.example.com", &["10.26.0.1"])?;
    let answer = cluster.answer_to("named-1", &request(1)?).await?;
    answer.ensure_approved()?;
    ensure!(answer.message.contains("listed in status.addresses of Node named-1 and DNS"), "{answer:?}");

    dns.set("named-2.example.com", &["10.26.0.2", "10.26.9.9"])?;
    let elsewhere = cluster.file_as_node("named-2", &request(2)?).await?.name_any();
    cluster.wait_deferred(&elsewhere, "NameNotOwned").await?;

    // What is not the node's anyway is not looked up.
    let foreign = request(3)?.dns("vault.example.com")?;
    let foreign = cluster.file_as_node("named-3", &foreign).await?.name_any();
    cluster.wait_deferred(&foreign, "NameNotOwned").await?;
    ensure!(!dns.was_asked("vault.example.com") && !dns.was_asked("named-3.example.com"));

    // A person's review asks DNS too, and comes to the same.
    let reviewed = reviewed::live(&cluster.control_plane, &policy, &elsewhere)?;
    ensure!(reviewed.verdict == "defer" && reviewed.reason == "NameNotOwned", "{reviewed:?}");
    ensure!(reviewed.message.contains("10.26.9.9"), "{reviewed:?}");

    dns.set_silent(true);
    let silent = cluster.file_as_node("named-4", &request(4)?).await?.name_any();
    cluster.answer_to("plain-1", &Request::of_node("plain-1").dns("plain-1")?).await?.ensure_approved()?;
    cluster.ensure_pending(&silent).await?;
    cluster.wait_deferred(&silent, "SourceUnavailable").await?;

    dns.set("named-2.example.com", &["10.26.0.2"])?;
    dns.set("named-4.example.com", &["10.26.0.4"])?;
    let reviewed = reviewed::live(&cluster.control_plane, &policy, &silent)?;
    ensure!(reviewed.reason == "SourceUnavailable" && reviewed.message.contains("cannot be looked up"), "{reviewed:?}");
    dns.set_silent(false);
    for name in [&elsewhere, &silent] {
        let decided = approval::wait_decided(&cluster.admin(), name, ASKED_AGAIN).await?;
        ensure!(approval::decision(&decided).is_some_and(|it| it.type_ == "Approved"), "{:?}", decided.status);
        let reviewed = reviewed::live(&cluster.control_plane, &policy, name)?;
        ensure!(reviewed.verdict == "approve" && !reviewed.differs, "{reviewed:?}");
    }
    cluster.ensure_pending(&foreign).await?;

    // A run that is to end does not wait for an answer that does not come, and neither does anybody else in it.
    cluster.controller.process().terminate(SOON).await?;
    dns.set_silent(true);
    let silent = cluster.file_as_node("named-4", &request(4)?).await?.name_any();
    let plain = cluster.file_as_node("plain-1", &Request::of_node("plain-1").dns("plain-1")?).await?.name_any();
    let run = once::run(&cluster, &policy.display().to_string(), &["--no-lease"]).await?;
    let names = ["named-4,", "named-4.example.com,", "10.26.0.4"];
    run.ensure_row(&[&[silent.as_str(), "named-4", "defer", "-", "SourceUnavailable"], &names[..]].concat())?;
    run.ensure_row(&[&plain, "plain-1", "approve", "Approved", "-", "plain-1"])?;
    run.ensure_failed("not everything could be asked, for 1 of the requests: named-4")
}
