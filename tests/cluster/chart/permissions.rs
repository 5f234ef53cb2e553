//! What the chart grants, beside what the API server's audit log shows to be used.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::fixture::{Cluster, Installation, RELEASE, SOON};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::requests::Request;
use crate::harness::{account, crd, wait};

/// One thing that an account may do, or does: verb, group, resource with subresource, namespace, name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Act {
    verb: String,
    group: String,
    resource: String,
    /// None for the whole cluster.
    namespace: Option<String>,
    /// None for any.
    name: Option<String>,
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}", self.verb, self.resource, self.group)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in {namespace}")?;
        }
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " named {name}"))
    }
}

impl Act {
    /// Whether a right to this one is a right to the other.
    fn covers(&self, done: &Self) -> bool {
        self.verb == done.verb
            && self.group == done.group
            && self.resource == done.resource
            && (self.namespace.is_none() || self.namespace == done.namespace)
            && (self.name.is_none() || self.name == done.name)
    }
}

fn granted(rules: &[PolicyRule], namespace: Option<&str>) -> Vec<Act> {
    let mut acts = Vec::new();
    for rule in rules {
        let names: Vec<Option<String>> = match &rule.resource_names {
            Some(names) if !names.is_empty() => names.iter().cloned().map(Some).collect(),
            _ => vec![None],
        };
        for (group, resource) in
            rule.api_groups.iter().flatten().flat_map(|group| {
                rule.resources.iter().flatten().map(move |resource| (group.clone(), resource.clone()))
            })
        {
            for (verb, name) in rule.verbs.iter().flat_map(|verb| names.iter().map(move |name| (verb, name))) {
                acts.push(Act {
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    namespace: namespace.map(str::to_owned),
                    name: name.clone(),
                });
            }
        }
    }
    acts
}

/// Everything that the release's roles grant.
async fn all_granted(admin: &Client) -> Result<Vec<Act>> {
    let of_release = ListParams::default().labels(&format!("app.kubernetes.io/instance={RELEASE}"));
    let mut acts = Vec::new();
    for role in Api::<ClusterRole>::all(admin.clone()).list(&of_release).await? {
        acts.extend(granted(&role.rules.unwrap_or_default(), None));
    }
    for role in Api::<Role>::all(admin.clone()).list(&of_release).await? {
        let namespace = role.namespace();
        acts.extend(granted(&role.rules.unwrap_or_default(), namespace.as_deref()));
    }
    Ok(acts)
}

/// What the account has asked the API server for; fails where that was forbidden.
fn done(audit_log: &Path) -> Result<BTreeSet<Act>> {
    let user = format!("system:serviceaccount:{}:{RELEASE}", account::NAMESPACE);
    let mut acts = BTreeSet::new();
    for line in std::fs::read_to_string(audit_log)?.lines() {
        // The last line may be half written.
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        let text = |field: &str| entry.pointer(field).and_then(Value::as_str).map(str::to_owned);
        if text("/user/username").as_ref() != Some(&user) {
            continue;
        }
        let code = entry.pointer("/responseStatus/code").and_then(Value::as_u64);
        ensure!(code != Some(403), "forbidden: {entry}");
        let Some(mut resource) = text("/objectRef/resource") else { continue };
        if let Some(subresource) = text("/objectRef/subresource") {
            resource = format!("{resource}/{subresource}");
        }
        let verb = text("/verb").context("a request without a verb")?;
        let group = text("/objectRef/apiGroup").unwrap_or_default();
        // Anybody may ask what he may do.
        if resource != "selfsubjectaccessreviews" {
            acts.insert(Act {
                verb,
                group,
                resource,
                namespace: text("/objectRef/namespace"),
                name: text("/objectRef/name"),
            });
        }
    }
    Ok(acts)
}

/// Whether the right is used without appearing as a request: the plugin CertificateApproval asks for it at each approval.
fn is_asked_by_admission(act: &Act) -> bool {
    act.verb == "approve" && act.resource == "signers"
}

const VALUES: &str = r#"policy.rules=[
    {"name": "machines", "match": {"nodeNames": ["machine-*"]}, "identity": {"sources": ["machine"]}},
    {"name": "others", "approvalsPerHour": 100000}
]"#;

pub async fn exact() -> Result<()> {
    let control_plane = ControlPlane::start(Options { audit: true, ..Options::default() }).await?;
    for (group, version) in
        [("cluster.x-k8s.io", "v1beta2"), ("machine.openshift.io", "v1beta1"), ("cluster.k8s.io", "v1alpha1")]
    {
        crd::install(&control_plane.client(), group, "Machine", &[version]).await?;
    }
    let values = ["--set-json", VALUES, "--set", "policy.protected.loadBalancers=true"];
    let installation = Installation::start_in(control_plane, &values).await?;
    let cluster = &installation.cluster;
    do_everything(cluster, &installation).await?;

    let log = cluster.control_plane.audit_log();
    let rights = all_granted(&cluster.admin()).await?;
    let unused = |acts: &BTreeSet<Act>| -> Vec<Act> {
        rights
            .iter()
            .filter(|right| !is_asked_by_admission(right) && !acts.iter().any(|act| right.covers(act)))
            .cloned()
            .collect()
    };
    let outcome = wait::until("every right to be used", SOON, async || {
        meet_a_conflict(cluster).await?;
        Ok(unused(&done(&log)?).is_empty().then_some(()))
    })
    .await;
    ensure!(outcome.is_ok(), "never used: {:#?}\nused: {:#?}", unused(&done(&log)?), done(&log)?);
    for act in done(&log)? {
        ensure!(rights.iter().any(|right| right.covers(&act)), "not granted by the chart: {act:?}");
    }
    Ok(())
}

/// Whatever the controller has to do at some time.
async fn do_everything(cluster: &Cluster, installation: &Installation) -> Result<()> {
    cluster.node("honest-1", &["honest-1", "10.31.0.1"]).await?;
    let honest = Request::of_node("honest-1").dns("honest-1")?.ip([10, 31, 0, 1]);
    cluster.answer_to("honest-1", &honest).await?.ensure_approved()?;
    let forged = honest.clone().dns("kubernetes.default.svc")?;
    cluster.answer_to("honest-1", &forged).await?.ensure_denied("ProtectedName", "kubernetes.default.svc")?;

    // What rests on a Node is read afresh before it is told.
    let foreign = Request::of_node("honest-1").ip([10, 31, 0, 9]);
    let name = cluster.file_as_node("honest-1", &foreign).await?.name_any();
    cluster.wait_deferred(&name, "AddressNotOwned").await?;

    // Contested claims are kept: the first creates the ConfigMap, the second changes it.
    let kept: Api<ConfigMap> = Api::namespaced(cluster.admin(), account::NAMESPACE);
    for (number, lines) in [(2, 1), (3, 2)] {
        let (node, address) = (format!("claimant-{number}"), format!("10.31.0.{number}"));
        cluster.node(&format!("owner-{number}"), &[&address]).await?;
        cluster.node(&node, &[&address]).await?;
        let request = Request::of_node(&node).ip(address.parse::<std::net::IpAddr>()?);
        let name = cluster.file_as_node(&node, &request).await?.name_any();
        cluster.wait_deferred(&name, "ClaimedByAnotherNode").await?;
        wait::until("the conflict to be kept", SOON, async || {
            let data = kept.get_opt("countersign-claims").await?.and_then(|map| map.data);
            let count = data.and_then(|data| data.get("order").map(|text| text.lines().count()));
            Ok((count >= Some(lines)).then_some(()))
        })
        .await?;
    }

    // Past the schema, by hand.
    let broken = Patch::Merge(json!({"data": {"policy.yaml": "rules: [broken"}}));
    kept.patch("countersign-config", &PatchParams::default(), &broken).await?;
    installation.pod.refresh().await?;
    cluster.wait_event("Pod", "countersign-0", "ReloadFailed").await
}

/// Changes a request while it is being answered, so that the answer comes too late by one version and the request is read.
async fn meet_a_conflict(cluster: &Cluster) -> Result<()> {
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    let request = Request::of_node("honest-1").dns("honest-1")?;
    let name = request.submit(&cluster.control_plane.client_of_node("honest-1").await?).await?.name_any();
    for round in 0..5 {
        let change = Patch::Merge(json!({"metadata": {"annotations": {"example.com/round": round.to_string()}}}));
        requests.patch(&name, &PatchParams::default(), &change).await?;
    }
    cluster.answer(&name).await?.ensure_approved()
}

pub async fn audit_mode() -> Result<()> {
    let options = Options { audit: true, ..Options::default() };
    let installation = Installation::start(options, &["--set", "policy.mode=audit"]).await?;
    let cluster = &installation.cluster;
    cluster.node("audited-1", &["audited-1"]).await?;
    let name = cluster.file_as_node("audited-1", &Request::of_node("audited-1").dns("audited-1")?).await?.name_any();
    cluster.wait_deferred(&name, "AutoApproved").await?;
    cluster.ensure_pending(&name).await?;
    let rights = all_granted(&cluster.admin()).await?;
    let writes = rights
        .iter()
        .any(|right| right.group == "certificates.k8s.io" && !["get", "list", "watch"].contains(&right.verb.as_str()));
    ensure!(!writes, "it may write in audit mode: {rights:?}");
    for act in done(&cluster.control_plane.audit_log())? {
        ensure!(rights.iter().any(|right| right.covers(&act)), "not granted by the chart: {act:?}");
    }
    Ok(())
}
