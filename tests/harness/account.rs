//! Service accounts with precisely the rights a test gives them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, from_value, json};

use super::control_plane::{ControlPlane, PATIENCE};
use super::kubeconfig::{self, Credentials};
use super::wait;

/// Where the controller's account lives.
pub const NAMESPACE: &str = "countersign";

const TOKEN_LIFETIME_SECONDS: i64 = 24 * 3600;

/// Makes the controller's own account with the rights it needs and no other, and gives a kubeconfig of it.
pub async fn of_controller(control_plane: &ControlPlane) -> Result<PathBuf> {
    create(control_plane, "countersign", controller_rules()?, controller_roles()?).await
}

/// What the controller does in the whole cluster.
pub fn controller_rules() -> Result<Vec<PolicyRule>> {
    rules(json!([
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"], "verbs": ["patch", "update"]},
        {
            "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["kubernetes.io/kubelet-serving"],
            "verbs": ["approve"]
        },
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["servicecidrs"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]},
        {
            "apiGroups": ["cluster.x-k8s.io", "machine.openshift.io", "cluster.k8s.io"], "resources": ["machines"],
            "verbs": ["list", "watch"]
        },
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    ]))
}

/// What the controller does in single namespaces.
pub fn controller_roles() -> Result<Vec<(&'static str, Vec<PolicyRule>)>> {
    let endpoints =
        json!([{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]);
    let cluster_info = json!([
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["cluster-info"], "verbs": ["list", "watch"]},
    ]);
    let own = json!([
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
        {
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["countersign-claims"],
            "verbs": ["get", "patch"]
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["countersign"],
            "verbs": ["get", "update"]
        },
    ]);
    Ok(vec![("default", rules(endpoints)?), ("kube-public", rules(cluster_info)?), (NAMESPACE, rules(own)?)])
}

/// Rules from their YAML or JSON form.
pub fn rules(rules: Value) -> Result<Vec<PolicyRule>> {
    Ok(from_value(rules)?)
}

/// Makes a service account with cluster-wide rules and rules for single namespaces, and gives a kubeconfig of it.
pub async fn create(
    control_plane: &ControlPlane,
    name: &str,
    cluster: Vec<PolicyRule>,
    namespaced: Vec<(&str, Vec<PolicyRule>)>,
) -> Result<PathBuf> {
    let client = control_plane.client();
    let params = PostParams::default();
    let namespace: Namespace = from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    if let Err(error) = Api::all(client.clone()).create(&params, &namespace).await
        && !is_conflict(&error)
    {
        return Err(error.into());
    }
    let account: ServiceAccount = from_value(json!({"metadata": {"name": name}}))?;
    Api::namespaced(client.clone(), NAMESPACE).create(&params, &account).await?;

    let metadata = json!({"name": name});
    let subjects = json!([{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}]);
    let reference = |kind| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    let cluster_role: ClusterRole = from_value(json!({"metadata": metadata, "rules": cluster}))?;
    let cluster_binding: ClusterRoleBinding =
        from_value(json!({"metadata": metadata, "roleRef": reference("ClusterRole"), "subjects": subjects}))?;
    Api::all(client.clone()).create(&params, &cluster_role).await?;
    Api::all(client.clone()).create(&params, &cluster_binding).await?;
    let mut granted = vec![(None, cluster_role.rules)];
    for (namespace, rules) in namespaced {
        let role: Role = from_value(json!({"metadata": metadata, "rules": rules}))?;
        let binding: RoleBinding =
            from_value(json!({"metadata": metadata, "roleRef": reference("Role"), "subjects": subjects}))?;
        Api::namespaced(client.clone(), namespace).create(&params, &role).await?;
        Api::namespaced(client.clone(), namespace).create(&params, &binding).await?;
        granted.push((Some(namespace), role.rules));
    }
    for (namespace, rules) in granted {
        if let Some(rule) = rules.as_ref().and_then(|rules| rules.first()) {
            wait_until_granted(&client, name, rule, namespace).await?;
        }
    }
    kubeconfig_of(control_plane, NAMESPACE, name).await
}

/// The API server's authorizer learns of roles and bindings by watch: a moment after they have been created.
async fn wait_until_granted(admin: &Client, name: &str, rule: &PolicyRule, namespace: Option<&str>) -> Result<()> {
    let first = |list: &Option<Vec<String>>| list.as_ref().and_then(|list| list.first()).cloned().unwrap_or_default();
    let review: SubjectAccessReview = from_value(json!({"spec": {
        "user": format!("system:serviceaccount:{NAMESPACE}:{name}"),
        "resourceAttributes": {
            "namespace": namespace,
            "group": first(&rule.api_groups),
            "resource": first(&rule.resources),
            "name": first(&rule.resource_names),
            "verb": rule.verbs.first(),
        },
    }}))?;
    let reviews: Api<SubjectAccessReview> = Api::all(admin.clone());
    let probe = async || {
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.filter(|status| status.allowed).map(|_| ()))
    };
    wait::until(&format!("{name} to have its rights"), PATIENCE, probe).await
}

/// A kubeconfig with a new token of an existing service account.
pub async fn kubeconfig_of(control_plane: &ControlPlane, namespace: &str, name: &str) -> Result<PathBuf> {
    another_kubeconfig_of(control_plane, namespace, name, &format!("{namespace}-{name}")).await
}

/// One more kubeconfig, with a token of its own, as `FILE.kubeconfig`.
pub async fn another_kubeconfig_of(
    control_plane: &ControlPlane,
    namespace: &str,
    name: &str,
    file: &str,
) -> Result<PathBuf> {
    let credentials = Credentials::Token(token(control_plane, namespace, name).await?);
    let path = control_plane.directory().join(format!("{file}.kubeconfig"));
    let mut kubeconfig = control_plane.kubeconfig_for(credentials);
    if let Some(context) = kubeconfig.pointer_mut("/contexts/0/context") {
        context["namespace"] = namespace.into();
    }
    kubeconfig::write(&kubeconfig, &path)?;
    Ok(path)
}

/// A client with a new token of an existing service account.
pub async fn client_of(control_plane: &ControlPlane, namespace: &str, name: &str) -> Result<Client> {
    let credentials = Credentials::Token(token(control_plane, namespace, name).await?);
    kubeconfig::client(&control_plane.kubeconfig_for(credentials)).await
}

/// A new token of an existing service account.
pub async fn token(control_plane: &ControlPlane, namespace: &str, name: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(control_plane.client(), namespace);
    let request: TokenRequest =
        from_value(json!({"spec": {"expirationSeconds": TOKEN_LIFETIME_SECONDS, "audiences": []}}))?;
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
    Ok(answer.status.context("a TokenRequest without status")?.token)
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
