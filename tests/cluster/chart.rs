//! The chart as packaged, on a real API server, and the controller as its pod.

mod admission;
mod missing;
mod permissions;
mod stranger;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use libtest_mimic::Trial;
use serde_json::json;

use crate::fixture::{Cluster, Installation, RELEASE, SOON, alone, shared};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::helm::{Helm, chart, path};
use crate::harness::requests::{Request, SIGNER};
use crate::harness::{account, binary, crd, kubectl, wait};

pub fn trials() -> Vec<Trial> {
    vec![
        shared("chart::its_account_approves_for_no_other_signer", other_signers),
        alone("chart::grants_what_is_used_and_nothing_else", permissions::exact),
        alone("chart::grants_nothing_but_reading_in_audit_mode", permissions::audit_mode),
        alone("chart::every_set_of_values_is_taken_by_the_api_server", taken),
        alone("chart::an_edit_of_the_policy_is_picked_up_without_a_restart", policy_edit),
        alone("chart::an_admission_policy_binds_its_account_whatever_it_may", admission::own_account),
        alone("chart::an_admission_policy_leaves_addresses_to_the_cloud_controller", admission::node_addresses),
        alone("chart::a_config_map_that_is_missing_is_told_of", missing::config_map),
        alone("chart::a_lease_that_a_stranger_holds_is_left_to_it", stranger::holds_the_lease),
        alone("chart::upgrades_to_everything_and_back", everything_and_back),
    ]
}

/// The files of values that the chart is tested with.
fn values_files() -> Result<Vec<PathBuf>> {
    let mut files =
        std::fs::read_dir(chart().join("ci"))?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// Makes the API server know the kinds of Prometheus Operator, with their own schemas.
async fn install_monitoring(admin: &Client) -> Result<()> {
    let (_, folder) = binary::monitoring_crds().located()?;
    for kind in ["servicemonitors", "podmonitors", "prometheusrules"] {
        crd::install_file(admin, &folder.join(format!("monitoring.coreos.com_{kind}.yaml"))).await?;
    }
    Ok(())
}

/// The right to approve is that of one signer, whatever the program might be brought to do.
async fn other_signers(cluster: &Cluster) -> Result<()> {
    let account = account::client_of(&cluster.control_plane, account::NAMESPACE, RELEASE).await?;
    let requests: Api<CertificateSigningRequest> = Api::all(account);
    for signer in
        ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kube-apiserver-client", "example.com/x"]
    {
        let mut request = Request::of_node("signers-1").dns("signers-1")?;
        request.signer = signer.to_owned();
        request.usages = vec!["digital signature".to_owned(), "client auth".to_owned()];
        let name = request.submit(&cluster.admin()).await?.name_any();
        let condition = json!({"type": "Approved", "status": "True", "reason": "Test", "message": "must not be"});
        let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        let refused = requests.patch_subresource("approval", &name, &PatchParams::default(), &patch).await;
        let said = refused.map(drop).err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(said.contains("not permitted to approve requests with signerName"), "{signer}: {said:?}");
        cluster.ensure_pending(&name).await?;
    }
    ensure!(SIGNER == "kubernetes.io/kubelet-serving", "the tests are about another signer");
    Ok(())
}

/// The API server decodes, defaults and validates every object, and refuses fields that it does not know.
async fn taken() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    install_monitoring(&control_plane.client()).await?;
    let kubeconfig = control_plane.kubeconfig();
    let helm = Helm::of(&kubeconfig)?;
    kubectl::run(&kubeconfig, &["create", "namespace", account::NAMESPACE])?;
    let chart = chart();
    for values in std::iter::once(None).chain(values_files()?.into_iter().map(Some)) {
        let mut arguments = vec!["template", RELEASE, path(&chart)?, "--namespace", account::NAMESPACE];
        if let Some(values) = &values {
            arguments.extend(["--values", path(values)?]);
        }
        let rendered = control_plane.directory().join("rendered.yaml");
        std::fs::write(&rendered, helm.run(&arguments)?)?;
        let apply = ["apply", "--dry-run=server", "--validate=strict", "--filename", path(&rendered)?];
        let said = kubectl::run(&kubeconfig, &apply).with_context(|| format!("values of {values:?}"))?;
        ensure!(said.lines().count() >= 10, "values of {values:?}: {said}");
    }
    // What Prometheus Operator does not know is refused as well.
    let values = r#"metrics.serviceMonitor.relabelings=[{"sourceLabel": ["a"]}]"#;
    let arguments = ["--set", "metrics.serviceMonitor.enabled=true", "--set-json", values];
    let rendered = control_plane.directory().join("misspelt.yaml");
    std::fs::write(&rendered, helm.run(&[&["template", RELEASE, path(&chart)?][..], &arguments].concat())?)?;
    let apply = ["apply", "--dry-run=server", "--validate=strict", "--filename", path(&rendered)?];
    let said = kubectl::run(&kubeconfig, &apply).err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(said.contains("relabelings[0].sourceLabel"), "a misspelt field: {said:?}");
    Ok(())
}

async fn generation(admin: &Client) -> Result<Option<i64>> {
    let deployment = Api::<Deployment>::namespaced(admin.clone(), account::NAMESPACE).get(RELEASE).await?;
    Ok(deployment.metadata.generation)
}

async fn policy_edit() -> Result<()> {
    let installation = Installation::start(Options::default(), &[]).await?;
    let cluster = &installation.cluster;
    let before = generation(&cluster.admin()).await?;
    cluster.node("edited-1", &["edited-1", "10.30.0.1"]).await?;
    let request = Request::of_node("edited-1").dns("edited-1")?;
    cluster.answer_to("edited-1", &request).await?.ensure_approved()?;
    let patterns = r#"policy.rules=[{"name": "named", "dnsNames": {"patterns": ["{node}.example.com"]}}]"#;
    installation.upgrade(&["--set-json", patterns]).await?;
    wait::until("the new policy to be in force", SOON, async || {
        let answer = cluster.answer_to("edited-1", &request).await?;
        Ok((answer.type_ == "Denied").then_some(()))
    })
    .await?;
    ensure!(before == generation(&cluster.admin()).await?, "the upgrade changed the Deployment");
    let bad = r#"policy.rules=[{"name": "a"}, {"name": "a"}]"#;
    installation.upgrade(&["--set-json", bad]).await?;
    // What the schema cannot see is told by the program, which keeps the last good policy.
    cluster.wait_event("Pod", "countersign-0", "ReloadFailed").await?;
    let answer = cluster.answer_to("edited-1", &request).await?;
    answer.ensure_denied("NameOutsidePattern", "edited-1")
}

/// What Helm says that a release consists of.
fn objects(helm: &Helm) -> Result<BTreeSet<String>> {
    let manifest = helm.run(&["get", "manifest", RELEASE, "--namespace", account::NAMESPACE])?;
    let mut objects = BTreeSet::new();
    for document in manifest.split("\n---") {
        let field = |name: &str| document.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if let (Some(kind), Some(name)) = (field("kind:"), field("  name:")) {
            let namespace = field("  namespace:").unwrap_or_default();
            objects.insert(format!("{kind} {namespace} {name}"));
        }
    }
    Ok(objects)
}

fn exists(kubeconfig: &std::path::Path, object: &str) -> Result<bool> {
    let mut parts = object.split(' ');
    let (kind, namespace, name) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
    let mut arguments =
        vec!["get", kind.context("no kind")?, name.context("no name")?, "--ignore-not-found", "--output=name"];
    if !namespace.is_empty() {
        arguments.extend(["--namespace", namespace]);
    }
    Ok(!kubectl::run(kubeconfig, &arguments)?.trim().is_empty())
}

async fn everything_and_back() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    install_monitoring(&control_plane.client()).await?;
    let installation = Installation::start_in(control_plane, &[]).await?;
    let kubeconfig = installation.cluster.control_plane.kubeconfig();
    let few = objects(&installation.helm)?;
    for object in &few {
        ensure!(exists(&kubeconfig, object)?, "{object} was not created");
    }
    let everything = chart().join("ci/everything-values.yaml");
    // The selector of a Deployment never changes, and so neither may the name that it holds.
    let more = ["--values", path(&everything)?, "--set", "nameOverride="];
    installation.upgrade(&more).await?;
    let all = objects(&installation.helm)?;
    ensure!(all.len() >= few.len() + 6, "everything is {all:?}");
    for object in &all {
        ensure!(exists(&kubeconfig, object)?, "{object} was not created");
    }
    installation.upgrade(&["--reset-values"]).await?;
    ensure!(objects(&installation.helm)? == few, "not what there was before");
    for object in all.difference(&few) {
        ensure!(!exists(&kubeconfig, object)?, "{object} was left behind");
    }
    installation.helm.run(&["uninstall", RELEASE, "--namespace", account::NAMESPACE])?;
    for object in &few {
        ensure!(!exists(&kubeconfig, object)?, "{object} was left behind");
    }
    Ok(())
}
