//! Machines vouch for nodes: of Cluster API in both versions, OpenShift and kubermatic, present at the start or later.

use anyhow::{Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, ResourceExt};
use libtest_mimic::Trial;
use serde_json::json;

use crate::fixture::{Cluster, SOON, alone};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::requests::Request;
use crate::harness::{account, crd, plain_http, wait};

pub fn trials() -> Vec<Trial> {
    vec![
        alone("machines::of_every_kind_vouch_for_their_nodes_and_no_others", of_every_kind),
        alone("machines::a_kind_that_appears_or_vanishes_is_noticed", appear_and_vanish),
        alone("machines::of_a_management_cluster_count_in_its_namespace", management_cluster),
    ]
}

const KINDS: [(&str, &str); 4] = [
    ("cluster.x-k8s.io", "v1beta2"),
    ("cluster.x-k8s.io", "v1beta1"),
    ("machine.openshift.io", "v1beta1"),
    ("cluster.k8s.io", "v1alpha1"),
];

/// The Machines of Cluster API in the namespace `default`.
pub fn api(control_plane: &ControlPlane) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", "Machine"));
    Api::namespaced_with(control_plane.client(), "default", &resource)
}

/// Installs a kind of Machine in these versions, the last of which is stored.
pub async fn install(control_plane: &ControlPlane, group: &str, versions: &[&str]) -> Result<()> {
    crd::install(&control_plane.client(), group, "Machine", versions).await
}

async fn machine(
    control_plane: &ControlPlane,
    (group, version): (&str, &str),
    node: &str,
    addresses: &[&str],
) -> Result<()> {
    machine_in("default", control_plane, (group, version), node, addresses).await
}

async fn machine_in(
    namespace: &str,
    control_plane: &ControlPlane,
    (group, version): (&str, &str),
    node: &str,
    addresses: &[&str],
) -> Result<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, "Machine"));
    let addresses: Vec<_> = addresses.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect();
    let machine: DynamicObject = serde_json::from_value(json!({
        "apiVersion": format!("{group}/{version}"), "kind": "Machine",
        "metadata": {"name": node, "namespace": namespace},
        "status": {"nodeRef": {"name": node}, "addresses": addresses},
    }))?;
    let machines: Api<DynamicObject> = Api::namespaced_with(control_plane.client(), namespace, &resource);
    wait::until(&format!("a Machine of {group} to be taken"), SOON, async || {
        // A kind is established a moment before every part of the API server knows it.
        match machines.create(&PostParams::default(), &machine).await {
            Ok(_) => Ok(Some(())),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

async fn start(control_plane: ControlPlane, flags: &[&str]) -> Result<Cluster> {
    let policy = control_plane.directory().join("policy.yaml");
    std::fs::write(
        &policy,
        "{apiVersion: countersign/v1, kind: ServingPolicy, rules: [{name: all, identity: {sources: [machine, node]}}]}",
    )?;
    Cluster::start_in(control_plane, &policy, flags).await
}

async fn of_every_kind() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    install(&control_plane, "cluster.x-k8s.io", &["v1beta1", "v1beta2"]).await?;
    install(&control_plane, "machine.openshift.io", &["v1beta1"]).await?;
    install(&control_plane, "cluster.k8s.io", &["v1alpha1"]).await?;
    let cluster = start(control_plane, &[]).await?;
    for (number, kind) in KINDS.into_iter().enumerate() {
        let (node, own, foreign) =
            (format!("of-kind-{number}"), format!("10.24.{number}.1"), format!("10.24.{number}.2"));
        cluster.node(&node, &[&node, &own, &foreign]).await?;
        machine(&cluster.control_plane, kind, &node, &[&own]).await?;
        let request = Request::of_node(&node).dns(&node)?;
        let honest = request.clone().ip(own.parse::<std::net::IpAddr>()?);
        let answer = cluster.answer_to(&node, &honest).await?;
        answer.ensure_approved()?;
        ensure!(answer.message.contains(&format!("status.addresses of node {node}'s Machine")), "{answer:?}");
        let planted = request.ip(foreign.parse::<std::net::IpAddr>()?);
        let name = cluster.file_as_node(&node, &planted).await?.name_any();
        cluster.wait_deferred(&name, "AddressNotOwned").await?;
        cluster.ensure_pending(&name).await?;
    }
    Ok(())
}

async fn appear_and_vanish() -> Result<()> {
    let cluster = start(ControlPlane::start(Options::default()).await?, &[]).await?;
    cluster.node("early-1", &["early-1", "10.25.0.1"]).await?;
    let request = Request::of_node("early-1").dns("early-1")?.ip([10, 25, 0, 1]);
    let name = cluster.file_as_node("early-1", &request).await?.name_any();
    cluster.wait_deferred(&name, "NameNotOwned").await?;

    install(&cluster.control_plane, "machine.openshift.io", &["v1beta1"]).await?;
    // A Machine without addresses vouches for none.
    machine(&cluster.control_plane, ("machine.openshift.io", "v1beta1"), "other-1", &[]).await?;
    machine(&cluster.control_plane, ("machine.openshift.io", "v1beta1"), "early-1", &["10.25.0.1"]).await?;
    cluster.answer(&name).await?.ensure_approved()?;

    let crds: Api<CustomResourceDefinition> = Api::all(cluster.admin());
    crds.delete("machines.machine.openshift.io", &DeleteParams::default()).await?;
    wait::until("the kind to be gone", SOON, async || {
        Ok(crds.get_opt("machines.machine.openshift.io").await?.is_none().then_some(()))
    })
    .await?;
    let name = wait::until("a request that nobody vouches for", SOON, async || {
        let name = cluster.file_as_node("early-1", &request).await?.name_any();
        let decided = wait::until("", SOON, async || {
            let approved = crate::harness::approval::decision(&cluster.request(&name).await?).is_some();
            let pending = cluster.controller.metric(r#"countersign_pending_requests{reason="NameNotOwned"}"#).await?;
            Ok(if approved { Some(None) } else { pending.filter(|count| *count > 0.0).map(|_| Some(name.clone())) })
        })
        .await?;
        Ok(decided)
    })
    .await?;
    cluster.ensure_pending(&name).await
}

async fn management_cluster() -> Result<()> {
    let kind = ("cluster.x-k8s.io", "v1beta2");
    let mut management = ControlPlane::start(Options::default()).await?;
    install(&management, kind.0, &[kind.1]).await?;
    let machines = account::rules(json!([
        {"apiGroups": ["cluster.x-k8s.io", "machine.openshift.io", "cluster.k8s.io"], "resources": ["machines"],
         "verbs": ["list", "watch"]},
    ]))?;
    // Its context names the account's namespace.
    let kubeconfig = account::create(&management, "fleet", Vec::new(), vec![(account::NAMESPACE, machines)]).await?;
    let flag = format!("--machine-kubeconfig={}", kubeconfig.display());
    let mut cluster = start(ControlPlane::start(Options::default()).await?, &[&flag]).await?;

    for (node, address) in [("managed-1", "10.28.0.1"), ("managed-2", "10.28.0.2")] {
        cluster.node(node, &[node, address]).await?;
    }
    machine_in(account::NAMESPACE, &management, kind, "managed-1", &["10.28.0.1"]).await?;
    machine_in("default", &management, kind, "managed-2", &["10.28.0.2"]).await?;
    let request = Request::of_node("managed-1").dns("managed-1")?.ip([10, 28, 0, 1]);
    cluster.answer_to("managed-1", &request).await?.ensure_approved()?;
    let other = Request::of_node("managed-2").dns("managed-2")?.ip([10, 28, 0, 2]);
    let other = cluster.file_as_node("managed-2", &other).await?.name_any();
    cluster.wait_deferred(&other, "NameNotOwned").await?;

    // Without the management cluster, what rests on its Machines waits; the program starts all the same.
    management.api_server().kill()?;
    let waits = cluster.file_as_node("managed-1", &request).await?.name_any();
    cluster.controller.process().kill()?;
    cluster.controller.process().restart()?;
    let admin = cluster.controller.admin_address();
    wait::until("/readyz", SOON, async || {
        Ok(plain_http::get(admin, "/readyz").await.ok().filter(|(status, _)| *status == 200).map(|_| ()))
    })
    .await?;
    cluster.wait_deferred(&waits, "SourceUnavailable").await?;
    cluster.ensure_pending(&waits).await?;
    management.restart_api_server().await?;
    cluster.answer(&waits).await?.ensure_approved()
}
