//! The chart's two ValidatingAdmissionPolicies: what they refuse, and that what is right goes on.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, from_value, json};

use crate::fixture::{Cluster, Installation, RELEASE, SOON};
use crate::harness::control_plane::{self, ControlPlane, PATIENCE};
use crate::harness::kubelet::{self, Kubelet};
use crate::harness::requests::Request;
use crate::harness::{account, wait};

const OWN_ACCOUNT: &[&str] = &["--set", "admissionPolicies.ownAccount.enabled=true"];
const NODE_ADDRESSES: &[&str] = &["--set", "admissionPolicies.nodeAddresses.enabled=true"];

/// A policy is in force a moment after it has been created: until then its offender gets through.
async fn refused<T>(what: &str, attempt: impl AsyncFn() -> kube::Result<T>, by: &str) -> Result<()> {
    wait::until(&format!("{what} to be refused with {by:?}"), SOON, async || match attempt().await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.message.contains("ValidatingAdmissionPolicy") => {
            ensure!(status.message.contains(by), "{what}: {}", status.message);
            Ok(Some(()))
        }
        Err(error) => Err(error).context(what.to_owned()),
    })
    .await
}

fn approval() -> Patch<Value> {
    let condition = json!({"type": "Approved", "status": "True", "reason": "Test", "message": "must not be"});
    Patch::Merge(json!({"status": {"conditions": [condition]}}))
}

/// Somebody has made the controller's account an administrator.
pub async fn own_account() -> Result<()> {
    let mut installation = Installation::start(control_plane::Options::default(), OWN_ACCOUNT).await?;
    let cluster = &installation.cluster;
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    let subject = json!({"kind": "ServiceAccount", "name": RELEASE, "namespace": account::NAMESPACE});
    let binding: k8s_openapi::api::rbac::v1::ClusterRoleBinding =
        from_value(json!({"metadata": {"name": "mistake"}, "roleRef": role, "subjects": [subject]}))?;
    Api::all(cluster.admin()).create(&PostParams::default(), &binding).await?;
    let client = account::client_of(&cluster.control_plane, account::NAMESPACE, RELEASE).await?;
    may_nothing_else(cluster, &client).await?;

    // What it is there for goes on: approvals, denials, Events, the order of contested claims.
    cluster.node("vap-1", &["vap-1", "10.32.0.1"]).await?;
    let request = Request::of_node("vap-1").dns("vap-1")?.ip([10, 32, 0, 1]);
    cluster.answer_to("vap-1", &request).await?.ensure_approved()?;
    let forged = cluster.file_as_node("vap-1", &request.clone().dns("localhost")?).await?.name_any();
    cluster.answer(&forged).await?.ensure_denied("ProtectedName", "localhost")?;
    cluster.wait_event("CertificateSigningRequest", &forged, "ProtectedName").await?;
    for round in 2..4 {
        let (first, second) = (format!("vap-{round}"), format!("vap-{round}-too"));
        let address = format!("10.32.0.{round}");
        cluster.node(&first, &[&address]).await?;
        cluster.node(&second, &[&address]).await?;
        let kept: Api<ConfigMap> = Api::namespaced(cluster.admin(), account::NAMESPACE);
        wait::until("the conflict to be kept", SOON, async || {
            let data = kept.get_opt("countersign-claims").await?.and_then(|map| map.data);
            Ok(data.and_then(|data| data.get("order").map(|text| text.contains(&address))).filter(|it| *it).map(|_| ()))
        })
        .await?;
    }

    // For the right signer, but of somebody who is not a node. The controller would deny it first.
    installation.cluster.controller.process().terminate(SOON).await?;
    let name = Request::of_node("vap-1").dns("vap-1")?.submit(&installation.cluster.admin()).await?.name_any();
    let requests: Api<CertificateSigningRequest> = Api::all(client);
    let attempt = async || requests.patch_subresource("approval", &name, &dry_run(), &approval()).await;
    refused("an approval of another's request", attempt, "countersign approves requests of nodes only").await
}

fn dry_run() -> PatchParams {
    PatchParams { dry_run: true, ..PatchParams::default() }
}

async fn may_nothing_else(cluster: &Cluster, client: &Client) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let map: ConfigMap = from_value(json!({"metadata": {"name": "anything"}}))?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    refused("a ConfigMap elsewhere", async || maps.create(&dry, &map).await, "does not CREATE configmaps").await?;

    cluster.node("vap-0", &["vap-0"]).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let label = Patch::Merge(json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}));
    let params = dry_run();
    refused("a label for a Node", async || nodes.patch("vap-0", &params, &label).await, "does not UPDATE nodes")
        .await?;

    let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
    let mut request = Request::of_node("vap-0").dns("vap-0")?;
    "kubernetes.io/kube-apiserver-client".clone_into(&mut request.signer);
    request.usages = vec!["client auth".to_owned()];
    let name = request.submit(&cluster.admin()).await?.name_any();
    let attempt = async || requests.patch_subresource("approval", &name, &params, &approval()).await;
    refused("an approval for another signer", attempt, "kubernetes.io/kubelet-serving only").await?;
    Ok(())
}

/// A kubelet that leaves its addresses to a cloud controller, which here is the test.
pub async fn node_addresses() -> Result<()> {
    let control_plane = ControlPlane::start(control_plane::Options::default()).await?;
    let installation = Installation::start_in(control_plane, NODE_ADDRESSES).await?;
    let cluster = &installation.cluster;
    // In force?
    let thief = cluster.control_plane.client_of_node("thief-1").await?;
    let nodes: Api<Node> = Api::all(thief);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let address = json!([{"type": "InternalIP", "address": "10.32.1.99"}]);
    let node: Node = from_value(json!({"metadata": {"name": "thief-1"}, "status": {"addresses": address}}))?;
    refused("a Node with an address", async || nodes.create(&dry, &node).await, "begin with their host name alone")
        .await?;

    let own = crate::harness::network::next_node();
    let options = kubelet::Options {
        addresses: vec![own],
        flags: vec!["--cloud-provider=external".to_owned(), "--node-ip=".to_owned()],
        ..kubelet::Options::default()
    };
    let mut kubelet = Kubelet::start_with(&cluster.control_plane, "cloud-1", options)?;
    let admin: Api<Node> = Api::all(cluster.admin());
    wait::until("the kubelet to register", PATIENCE, async || Ok(admin.get_opt("cloud-1").await?.map(|_| ()))).await?;
    cluster.set_addresses("cloud-1", &["cloud-1", &own.to_string()]).await?;
    kubelet.wait_for_certificate().await?;

    // With the kubelet's own credential.
    let nodes: Api<Node> = Api::all(cluster.control_plane.client_of_node("cloud-1").await?);
    let planted = json!([{"type": "InternalIP", "address": own}, {"type": "InternalIP", "address": "10.32.1.99"}]);
    let plant = Patch::Merge(json!({"status": {"addresses": planted}}));
    let attempt = async || nodes.patch_status("cloud-1", &PatchParams::default(), &plant).await;
    refused("a planted address", attempt, "nodes do not change their own addresses").await?;
    // The rest of its status stays its own: the kubelet reports that it is alive.
    let reported = |node: &Node| {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ready = conditions?.iter().find(|condition| condition.type_ == "Ready")?;
        ready.last_heartbeat_time.as_ref().map(|time| time.0)
    };
    let before = reported(&admin.get("cloud-1").await?);
    let condition = json!({"type": "Ready", "status": "False", "reason": "Test", "message": "as its kubelet says",
        "lastHeartbeatTime": "2030-01-01T00:00:00Z", "lastTransitionTime": "2030-01-01T00:00:00Z"});
    let change = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    let changed = nodes.patch_status("cloud-1", &PatchParams::default(), &change).await?;
    ensure!(reported(&changed) != before, "its status did not change");
    Ok(())
}
