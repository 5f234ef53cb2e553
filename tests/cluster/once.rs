//! `run --once` answers what is pending, tells what it did, and ends: with a code that says how it went.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use libtest_mimic::Trial;
use tokio::process::Command;

use crate::fixture::{Cluster, SOON, alone, policies, program};
use crate::harness::account;
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::requests::{Request, submit_as_node};

pub fn trials() -> Vec<Trial> {
    vec![
        alone("once::answers_what_is_pending_and_ends", answers),
        alone("once::ends_while_a_node_goes_on_filing", flooded),
        alone("once::waits_for_the_lease_and_leaves_it_to_who_holds_it", lease),
        alone("once::ends_where_something_does_not_answer", unreachable),
    ]
}

/// More than any run may take, whatever does not answer.
const AT_MOST: Duration = Duration::from_secs(90);

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    /// The columns of the row of a request, without its age.
    fn row(&self, name: &str) -> Result<Vec<&str>> {
        let row = self.stdout.lines().find(|line| line.split_whitespace().next() == Some(name));
        let columns = row.with_context(|| format!("no row of {name}: {self:?}"))?.split_whitespace();
        Ok(columns.enumerate().filter(|(position, _)| *position != 1).map(|(_, column)| column).collect())
    }

    /// That there is this row, but for the age.
    pub fn ensure_row(&self, expected: &[&str]) -> Result<()> {
        let name = expected.first().context("a row without a name")?;
        let row = self.row(name)?;
        ensure!(row == expected, "{row:?} is not {expected:?}");
        Ok(())
    }

    /// That it failed, and said so in its last line.
    pub fn ensure_failed(&self, text: &str) -> Result<()> {
        let last = self.stderr.lines().last().unwrap_or_default();
        ensure!(self.code == Some(1), "{self:?}");
        ensure!(last.starts_with("countersign: ") && last.contains(text), "{text:?} is not in {last:?}; {self:?}");
        Ok(())
    }
}

/// Runs it with the rights of the cluster's controller.
pub async fn run(cluster: &Cluster, policy: &str, flags: &[&str]) -> Result<Run> {
    let mut command = Command::new(program());
    command.args(["run", "--once", "--kubeconfig"]).arg(&cluster.options.kubeconfig);
    command.arg("--policy").arg(policy).args(flags).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(AT_MOST, command.output()).await.context("it does not end")??;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok(Run { code: output.status.code(), stdout, stderr })
}

/// A cluster with a controller that has ended, and a policy for those that follow.
async fn without_controller(policy: &str) -> Result<(Cluster, String)> {
    without_controller_in(ControlPlane::start(Options::default()).await?, policy).await
}

async fn without_controller_in(control_plane: ControlPlane, policy: &str) -> Result<(Cluster, String)> {
    let path = control_plane.directory().join("once.yaml");
    std::fs::write(&path, policy)?;
    let mut cluster = Cluster::start_in(control_plane, &policies().join("default.yaml"), &[]).await?;
    cluster.controller.process().terminate(SOON).await?;
    Ok((cluster, path.display().to_string()))
}

const POLICY: &str = "{apiVersion: countersign/v1, kind: ServingPolicy, rules: [{name: every-node}]}";

async fn answers() -> Result<()> {
    let (cluster, policy) = without_controller(POLICY).await?;
    let none = run(&cluster, &policy, &[]).await?;
    ensure!(none.code == Some(0) && none.stdout.starts_with("no requests for kubelets'"), "{none:?}");

    for number in 1..=3 {
        cluster.node(&format!("once-{number}"), &[&format!("once-{number}"), &format!("10.27.0.{number}")]).await?;
    }
    let file = async |number: u8, request: Request| -> Result<String> {
        Ok(cluster.file_as_node(&format!("once-{number}"), &request).await?.name_any())
    };
    let honest = |number: u8| Request::of_node(&format!("once-{number}")).ip([10, 27, 0, number]);
    let good = file(1, honest(1)).await?;
    let evil = file(2, honest(2).dns("kubernetes.default.svc")?).await?;
    let late = file(3, honest(3).ip([10, 27, 0, 9])).await?;
    let rows = |written: [&'static str; 2]| -> [Vec<String>; 3] {
        [
            [&good, "once-1", "approve", written[0], "-", "10.27.0.1"].map(str::to_owned).to_vec(),
            [&evil, "once-2", "deny", written[1], "ProtectedName", "10.27.0.2,", "kubernetes.default.svc"]
                .map(str::to_owned)
                .to_vec(),
            [&late, "once-3", "defer", "-", "AddressNotOwned", "10.27.0.3,", "10.27.0.9"].map(str::to_owned).to_vec(),
        ]
    };
    let ensure_rows = |run: &Run, written| -> Result<()> {
        rows(written).iter().try_for_each(|row| run.ensure_row(&row.iter().map(String::as_str).collect::<Vec<_>>()))
    };

    let audit = policy.replace("once.yaml", "audit.yaml");
    std::fs::write(&audit, POLICY.replace("rules:", "mode: audit, rules:"))?;
    let told = run(&cluster, &audit, &[]).await?;
    ensure_rows(&told, ["-", "-"])?;
    ensure!(told.stdout.ends_with("\n3 requests: 1 approve, 1 deny, 1 defer; nothing written\n"), "{told:?}");
    ensure!(told.code == Some(2), "{told:?}");
    for name in [&good, &evil, &late] {
        cluster.ensure_pending(name).await?;
    }

    let done = run(&cluster, &policy, &["--no-lease"]).await?;
    ensure_rows(&done, ["Approved", "Denied"])?;
    ensure!(done.stdout.ends_with("\n3 requests: 1 approve, 1 deny, 1 defer; 2 answers written\n"), "{done:?}");
    ensure!(done.code == Some(2), "{done:?}");
    cluster.answer(&good).await?.ensure_approved()?;
    cluster.answer(&evil).await?.ensure_denied("ProtectedName", "kubernetes.default.svc")?;
    cluster.ensure_pending(&late).await?;
    // Its Events are there when it has ended.
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::all(cluster.admin());
    for (name, reason) in [(&good, "AutoApproved"), (&evil, "ProtectedName"), (&late, "AddressNotOwned")] {
        let found =
            events.list(&ListParams::default().fields(&format!("reason={reason},regarding.name={name}"))).await?;
        ensure!(!found.items.is_empty(), "no Event {reason} about {name}");
    }

    cluster.set_addresses("once-3", &["once-3", "10.27.0.3", "10.27.0.9"]).await?;
    let rest = run(&cluster, &policy, &[]).await?;
    rest.ensure_row(&[&late, "once-3", "approve", "Approved", "-", "10.27.0.3,", "10.27.0.9"])?;
    ensure!(rest.stdout.ends_with("\n1 request: 1 approve, 0 deny, 0 defer; 1 answer written\n"), "{rest:?}");
    ensure!(rest.code == Some(0), "{rest:?}");
    cluster.answer(&late).await?.ensure_approved()
}

async fn flooded() -> Result<()> {
    let (cluster, policy) = without_controller(POLICY).await?;
    for (node, address) in [("flooder-1", "10.27.3.1"), ("waiting-1", "10.27.3.2")] {
        cluster.node(node, &[node, address]).await?;
    }
    let admin = cluster.admin();
    let object = Request::of_node("flooder-1").dns("flooder-1")?.object()?;
    let file = async || submit_as_node(&admin, "flooder-1", &object).await.map(drop);
    for _ in 0..300 {
        file().await?;
    }
    let waiting = cluster.file_as_node("waiting-1", &Request::of_node("waiting-1").dns("waiting-1")?).await?.name_any();
    let flood = async || -> kube::Result<()> {
        loop {
            file().await?;
        }
    };
    let floods = async { tokio::try_join!(flood(), flood(), flood(), flood()) };
    let done = tokio::select! {
        run = run(&cluster, &policy, &[]) => run?,
        broken = floods => bail!("the flood has ended: {broken:?}"),
    };
    done.ensure_row(&[&waiting, "waiting-1", "approve", "Approved", "-", "waiting-1"])?;
    ensure!(matches!(done.code, Some(0 | 2)), "{done:?}");
    Ok(())
}

async fn lease() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.controller.wait_until_leading(true).await?;
    let policy = policies().join("default.yaml").display().to_string();
    let refused = run(&cluster, &policy, &[]).await?;
    refused.ensure_failed("another instance holds the Lease")?;

    // A holder that was killed has left it, and nobody may take it for 15 s.
    cluster.controller.process().kill()?;
    cluster.node("once-1", &["once-1", "10.27.1.1"]).await?;
    let request = Request::of_node("once-1").dns("once-1")?.ip([10, 27, 1, 1]);
    let name = cluster.file_as_node("once-1", &request).await?.name_any();
    let after = run(&cluster, &policy, &[]).await?;
    after.ensure_row(&[&name, "once-1", "approve", "Approved", "-", "once-1,", "10.27.1.1"])?;
    ensure!(after.code == Some(0), "{after:?}");
    // It is given up at the end.
    let leases: Api<Lease> = Api::namespaced(cluster.admin(), account::NAMESPACE);
    let holder = leases.get("countersign").await?.spec.and_then(|spec| spec.holder_identity);
    ensure!(holder.as_deref().unwrap_or_default().is_empty(), "{holder:?} holds the Lease");
    Ok(())
}

async fn unreachable() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let rules =
        "rules: [{name: made, match: {nodeNames: [\"made-*\"]}, identity: {sources: [node, machine]}}, {name: others}]";
    let (mut cluster, policy) =
        without_controller_in(control_plane, &POLICY.replace("rules: [{name: every-node}]", rules)).await?;
    for (node, address) in [("made-1", "10.27.2.2"), ("plain-1", "10.27.2.3")] {
        cluster.node(node, &[node, address]).await?;
    }
    let file = async |node: &str| -> Result<String> {
        Ok(cluster.file_as_node(node, &Request::of_node(node).dns(node)?).await?.name_any())
    };

    // A management cluster that does not answer keeps nobody else from being answered.
    let nowhere = cluster.control_plane.directory().join("nowhere.conf");
    let server = r#"{"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}"#;
    std::fs::write(&nowhere, server.replace("\"users\": []", "\"users\": [{\"name\": \"u\", \"user\": {}}]"))?;
    let (made, plain) = (file("made-1").await?, file("plain-1").await?);
    let flag = format!("--machine-kubeconfig={}", nowhere.display());
    let alone = run(&cluster, &policy, &["--no-lease", &flag]).await?;
    alone.ensure_row(&[&made, "made-1", "defer", "-", "SourceUnavailable", "made-1"])?;
    alone.ensure_row(&[&plain, "plain-1", "approve", "Approved", "-", "plain-1"])?;
    alone.ensure_failed("not everything could be asked, for 1 of the requests")?;

    // An API server that hangs, and one that is gone.
    cluster.control_plane.api_server().pause()?;
    run(&cluster, &policy, &[]).await?.ensure_failed("no answer in time")?;
    cluster.control_plane.api_server().resume()?;
    cluster.control_plane.api_server().kill()?;
    run(&cluster, &policy, &[]).await?.ensure_failed("cannot talk to the API server")
}
