//! A ConfigMap of the operator's that is not there, or lacks what the pod needs: told by Helm, and by a real kubelet.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{from_value, json};

use crate::fixture::{RELEASE, SOON};
use crate::harness::control_plane::{ControlPlane, Options, PATIENCE};
use crate::harness::helm::{Helm, path};
use crate::harness::kubelet::Kubelet;
use crate::harness::{account, wait};

pub async fn config_map() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let admin = control_plane.client();
    let helm = Helm::of(&control_plane.kubeconfig())?;
    let archive = helm.package()?;
    let said = helm.run(&[
        "install",
        RELEASE,
        path(&archive)?,
        "--namespace",
        account::NAMESPACE,
        "--create-namespace",
        "--set=existingConfigMap=mine",
    ])?;
    ensure!(said.contains("THERE IS NO SUCH CONFIGMAP"), "{said}");

    let _kubelet = Kubelet::start(&control_plane, "kubelet-1")?;
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(admin.clone());
    wait::until("the kubelet to register", PATIENCE, async || Ok(nodes.get_opt("kubelet-1").await?.map(|_| ())))
        .await?;
    let deployment: Deployment = Api::namespaced(admin.clone(), account::NAMESPACE).get(RELEASE).await?;
    let template = deployment.spec.context("a Deployment without a spec")?.template;
    let mut spec = template.spec.context("a Deployment without a pod")?;
    spec.node_name = Some("kubelet-1".to_owned());
    let pods: Api<Pod> = Api::namespaced(admin.clone(), account::NAMESPACE);
    let events: Api<Event> = Api::namespaced(admin.clone(), account::NAMESPACE);
    let told = async |pod: &str, text: &str| {
        let metadata = json!({"name": pod, "labels": {"app.kubernetes.io/name": RELEASE}});
        let object: Pod = from_value(json!({"metadata": metadata, "spec": spec}))?;
        pods.create(&PostParams::default(), &object).await?;
        let about = ListParams::default().fields(&format!("involvedObject.name={pod}"));
        wait::until(&format!("the kubelet to tell of {pod}: {text}"), SOON, async || {
            let all = events.list(&about).await?.items;
            Ok(all.iter().any(|event| event.message.as_deref().is_some_and(|it| it.contains(text))).then_some(()))
        })
        .await?;
        pods.delete(pod, &DeleteParams::default().grace_period(0)).await?;
        anyhow::Ok(())
    };
    told("without-a-map", "configmap \"mine\" not found").await?;
    let map: ConfigMap = from_value(json!({"metadata": {"name": "mine"}, "data": {"policy.yml": "rules: []"}}))?;
    Api::namespaced(admin.clone(), account::NAMESPACE).create(&PostParams::default(), &map).await?;
    told("without-the-key", "references non-existent config key: policy.yaml").await
}
