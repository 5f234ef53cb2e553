//! The operator edits the policy and the inventory while requests are pending.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use libtest_mimic::Trial;
use serde_json::json;

use crate::fixture::{Cluster, SOON, alone};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::mount::Mount;
use crate::harness::requests::Request;
use crate::harness::wait;

pub fn trials() -> Vec<Trial> {
    vec![
        alone("reloads::every_request_ends_as_the_last_good_policy_says", under_load),
        alone("reloads::an_inventory_is_reloaded_too", inventory),
        alone("reloads::audit_mode_writes_nothing", audit),
        alone("reloads::load_balancers_are_protected_from_when_the_policy_says_so", load_balancers),
    ]
}

const HEAD: &str = "apiVersion: countersign/v1\nkind: ServingPolicy\n";
/// How many requests are pending while the policy is edited.
const PENDING: usize = 500;

async fn reloaded(cluster: &Cluster, what: &str, good: bool) -> Result<()> {
    wait::until(what, SOON, async || {
        let success = cluster.controller.metric("countersign_policy_reload_success").await?;
        Ok((success == Some(f64::from(u8::from(good)))).then_some(()))
    })
    .await
}

async fn policy_hash(cluster: &Cluster) -> Result<String> {
    let metrics = cluster.controller.metrics().await?;
    let line = metrics.lines().find(|line| line.starts_with("countersign_policy_info{")).context("no policy_info")?;
    Ok(line.to_owned())
}

async fn under_load() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let folder = control_plane.directory().join("config");
    let mount = Mount::new(folder.clone())?;
    let nobody = format!("{HEAD}rules: [{{name: nobody, match: {{nodeNames: [nobody]}}}}]\n");
    mount.swap([("policy.yaml", &nobody)])?;
    let cluster = Cluster::start_in(control_plane, &folder.join("policy.yaml"), &[]).await?;

    let mut names = Vec::new();
    for number in 0..PENDING {
        let node = format!("load-{number}");
        cluster.node(&node, &[&node]).await?;
        let client = cluster.control_plane.client_of_node(&node).await?;
        names.push(Request::of_node(&node).dns(&node)?.submit(&client).await?.name_any());
    }
    wait::until("all to be left pending", SOON, async || {
        let pending = cluster.controller.metric(r#"countersign_pending_requests{reason="NoRuleMatched"}"#).await?;
        Ok((pending >= Some(500.0)).then_some(()))
    })
    .await?;

    let edits = [
        format!("{HEAD}rules: [{{name: still-nobody, match: {{nodeNames: [no-*]}}}}]\n"),
        format!("{HEAD}mode: audit\nrules: [{{name: all}}]\n"),
        "rules: [broken".to_owned(),
        format!("{HEAD}rules: [{{name: others, match: {{nodeNames: [other-*]}}}}]\n"),
        format!(
            "{HEAD}rules: [{{name: nines, match: {{nodeNames: [load-*9]}}, dnsNames: {{patterns: [none]}}}}, {{name: all}}]\n"
        ),
    ];
    let mut before = policy_hash(&cluster).await?;
    for (version, text) in (2..).zip(&edits) {
        mount.swap([("policy.yaml", text)])?;
        let good = !text.contains("broken");
        reloaded(&cluster, &format!("edit {version} to be seen"), good).await?;
        if good {
            wait::until("the new policy", SOON, async || Ok((policy_hash(&cluster).await? != before).then_some(())))
                .await?;
        } else {
            ensure!(policy_hash(&cluster).await? == before, "the last good policy is not in force");
        }
        before = policy_hash(&cluster).await?;
    }
    for (number, name) in names.iter().enumerate() {
        let answer = cluster.answer(name).await?;
        if number % 10 == 9 {
            answer.ensure_denied("NameOutsidePattern", "none")?;
        } else {
            answer.ensure_approved()?;
        }
    }
    Ok(())
}

async fn inventory() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let folder = control_plane.directory().join("config");
    std::fs::create_dir(&folder)?;
    let policy = format!("{HEAD}rules: [{{name: all, identity: {{sources: [inventory]}}}}]\n");
    let (policy_path, path) = (folder.join("policy.yaml"), folder.join("inventory.yaml"));
    let nodes = |nodes: &str| format!("apiVersion: countersign/v1\nkind: NodeInventory\nnodes: {nodes}\n");
    std::fs::write(&policy_path, policy)?;
    std::fs::write(&path, nodes("[]"))?;
    let flag = format!("--inventory={}", path.display());
    let cluster = Cluster::start_in(control_plane, &policy_path, &[&flag]).await?;

    cluster.node("listed-1", &["listed-1", "10.22.0.1"]).await?;
    let request = Request::of_node("listed-1").ip([10, 22, 0, 1]);
    let name = cluster.file_as_node("listed-1", &request).await?.name_any();
    cluster.wait_deferred(&name, "AddressNotOwned").await?;
    std::fs::write(&path, nodes("[{name: listed-1, addresses: [10.22.0.0/16, nonsense]}]"))?;
    reloaded(&cluster, "the bad inventory to be seen", false).await?;
    cluster.ensure_pending(&name).await?;
    std::fs::write(&path, nodes("[{name: listed-1, addresses: [10.22.0.0/16]}]"))?;
    cluster.answer(&name).await?.ensure_approved()
}

async fn audit() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let path = control_plane.directory().join("audit.yaml");
    std::fs::write(&path, format!("{HEAD}mode: audit\nrules: [{{name: all}}]\n"))?;
    let cluster = Cluster::start_in(control_plane, &path, &[]).await?;
    cluster.node("audited-1", &["audited-1"]).await?;
    let good = cluster.file_as_node("audited-1", &Request::of_node("audited-1").dns("audited-1")?).await?.name_any();
    cluster.wait_deferred(&good, "AutoApproved").await?;
    cluster.node("audited-2", &["audited-2"]).await?;
    let bad = cluster.file_as_node("audited-2", &Request::of_node("audited-2").dns("localhost")?).await?.name_any();
    cluster.wait_deferred(&bad, "ProtectedName").await?;
    cluster.ensure_pending(&good).await?;
    cluster.ensure_pending(&bad).await?;
    let would = cluster
        .controller
        .metric(r#"countersign_decisions_total{decision="would_deny",reason="ProtectedName"}"#)
        .await?;
    ensure!(would == Some(1.0), "would_deny: {would:?}");
    // Enforced, what was only told is done.
    std::fs::write(&path, format!("{HEAD}rules: [{{name: all}}]\n"))?;
    cluster.answer(&good).await?.ensure_approved()?;
    cluster.answer(&bad).await?.ensure_denied("ProtectedName", "localhost")
}

async fn load_balancers() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let path = control_plane.directory().join("policy.yaml");
    let policy = |protected: bool| format!("{HEAD}protected: {{loadBalancers: {protected}}}\nrules: [{{name: all}}]\n");
    std::fs::write(&path, policy(false))?;
    let cluster = Cluster::start_in(control_plane, &path, &[]).await?;
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "balanced"},
        "spec": {"ports": [{"port": 80}], "externalIPs": ["10.27.0.1"]},
    }))?;
    Api::<Service>::namespaced(cluster.admin(), "default").create(&PostParams::default(), &service).await?;
    cluster.node("balancer-1", &["balancer-1", "10.27.0.1"]).await?;
    let request = Request::of_node("balancer-1").ip([10, 27, 0, 1]);
    cluster.answer_to("balancer-1", &request).await?.ensure_approved()?;
    for protected in [true, false, true] {
        let before = policy_hash(&cluster).await?;
        std::fs::write(&path, policy(protected))?;
        wait::until("the new policy", SOON, async || Ok((policy_hash(&cluster).await? != before).then_some(())))
            .await?;
        let answer = cluster.answer_to("balancer-1", &request).await?;
        if protected {
            answer.ensure_denied("ProtectedAddress", "load balancer")?;
        } else {
            answer.ensure_approved()?;
        }
    }
    Ok(())
}
