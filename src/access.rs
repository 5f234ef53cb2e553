//! What the program is allowed to do, asked at the start, so that a missing permission is one clear line and not a
//! stream of failures.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep};

use crate::api::KUBELET_SERVING;
use crate::client::{MachineCluster, call};
use crate::gather::contested;
use crate::lease::LeaseName;
use crate::policy::{Mode, Policy, Source};

/// One permission that is needed.
#[derive(Clone, Copy)]
struct Permission<'a> {
    verb: &'a str,
    group: &'a str,
    resource: &'a str,
    subresource: Option<&'a str>,
    name: Option<&'a str>,
    namespace: Option<&'a str>,
}

impl<'a> Permission<'a> {
    const fn new(verb: &'a str, group: &'a str, resource: &'a str) -> Self {
        Self { verb, group, resource, subresource: None, name: None, namespace: None }
    }

    fn describe(&self) -> String {
        let mut text = format!("{} {}", self.verb, self.resource);
        if let Some(subresource) = self.subresource {
            text = format!("{text}/{subresource}");
        }
        if !self.group.is_empty() {
            text = format!("{text} in {}", self.group);
        }
        if let Some(name) = self.name {
            text = format!("{text} named {name}");
        }
        if let Some(namespace) = self.namespace {
            text = format!("{text} of namespace {namespace}");
        }
        text
    }

    fn attributes(&self) -> ResourceAttributes {
        ResourceAttributes {
            verb: Some(self.verb.to_owned()),
            group: Some(self.group.to_owned()),
            resource: Some(self.resource.to_owned()),
            subresource: self.subresource.map(str::to_owned),
            name: self.name.map(str::to_owned),
            namespace: self.namespace.map(str::to_owned),
            ..ResourceAttributes::default()
        }
    }
}

/// How long an API server that does not answer is asked again by the controller: one that restarts, say. To end at once
/// would have Kubernetes wait ever longer before the next start.
const PATIENCE: Duration = Duration::from_secs(15);
/// For a person, and for what is no reason not to start.
const ONCE: Duration = Duration::ZERO;
/// How many permissions are asked for at a time.
const AT_ONCE: usize = 8;
const PAUSE: Duration = Duration::from_millis(500);

const CERTIFICATES: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";

/// Needed in every mode.
const READ: &[Permission<'static>] = &[
    Permission::new("get", "", "nodes"),
    Permission::new("list", "", "nodes"),
    Permission::new("watch", "", "nodes"),
    Permission::new("get", CERTIFICATES, REQUESTS),
    Permission::new("list", CERTIFICATES, REQUESTS),
    Permission::new("watch", CERTIFICATES, REQUESTS),
    Permission::new("list", "networking.k8s.io", "servicecidrs"),
    Permission::new("watch", "networking.k8s.io", "servicecidrs"),
    Permission { namespace: Some("default"), ..Permission::new("list", "discovery.k8s.io", "endpointslices") },
    Permission { namespace: Some("default"), ..Permission::new("watch", "discovery.k8s.io", "endpointslices") },
    Permission {
        name: Some("cluster-info"),
        namespace: Some("kube-public"),
        ..Permission::new("list", "", "configmaps")
    },
    Permission {
        name: Some("cluster-info"),
        namespace: Some("kube-public"),
        ..Permission::new("watch", "", "configmaps")
    },
];

/// Needed where the policy protects the addresses of load balancers.
const LOAD_BALANCERS: &[Permission<'static>] =
    &[Permission::new("list", "", "services"), Permission::new("watch", "", "services")];

/// Needed where a rule asks for Machines, of whichever kind: it may appear later.
const MACHINES: [[Permission<'static>; 2]; 3] = [
    [Permission::new("list", "cluster.x-k8s.io", "machines"), Permission::new("watch", "cluster.x-k8s.io", "machines")],
    [
        Permission::new("list", "machine.openshift.io", "machines"),
        Permission::new("watch", "machine.openshift.io", "machines"),
    ],
    [Permission::new("list", "cluster.k8s.io", "machines"), Permission::new("watch", "cluster.k8s.io", "machines")],
];

/// Needed where answers are written (upstream: the admission plugin CertificateApproval).
const WRITE: &[Permission<'static>] = &[
    Permission { subresource: Some("approval"), ..Permission::new("update", CERTIFICATES, REQUESTS) },
    Permission { subresource: Some("approval"), ..Permission::new("patch", CERTIFICATES, REQUESTS) },
    Permission { name: Some(KUBELET_SERVING), ..Permission::new("approve", CERTIFICATES, "signers") },
];

/// Needed in the namespace that the program runs in, where it keeps the order of contested claims.
fn own(namespace: &str) -> [Permission<'_>; 3] {
    let of = |verb| Permission { namespace: Some(namespace), ..Permission::new(verb, "", "configmaps") };
    let kept = |verb| Permission { name: Some(contested::NAME), ..of(verb) };
    [kept("get"), kept("patch"), of("create")]
}

/// Needed to lead.
fn lead(lease: &LeaseName) -> Vec<Permission<'_>> {
    let namespace = Some(lease.namespace());
    let of = |verb| Permission { namespace, ..Permission::new(verb, "coordination.k8s.io", "leases") };
    let held = |verb| Permission { name: Some(lease.name()), ..of(verb) };
    // RBAC cannot tie the right to create to a name.
    vec![held("get"), held("update"), of("create")]
}

/// Asks the API servers whether the program may do what it has to. A management cluster that cannot be reached is no
/// reason not to start: only rules that ask for Machines have to wait for it. `lease` is the Lease that the program has
/// to hold, if any.
///
/// # Errors
/// When the API server cannot be reached, or with every permission that is missing.
pub async fn check(
    client: &Client,
    server: &str,
    policy: &Policy,
    machines: &MachineCluster,
    lease: Option<&LeaseName>,
) -> anyhow::Result<()> {
    let write = match policy.mode() {
        Mode::Enforce => WRITE,
        Mode::Audit => &[],
    };
    let mut needed: Vec<Permission<'_>> = READ.to_vec();
    needed.extend(of_services(policy));
    needed.extend(write);
    needed.extend(own(client.default_namespace()));
    needed.extend(lease.map(lead).unwrap_or_default());
    refuse(server, &missing(client, server, &needed, PATIENCE).await?)?;
    if !policy.asks(Source::Machine) {
        return Ok(());
    }
    let patience = if machines.is_other { ONCE } else { PATIENCE };
    let needed = of_machines(machines.namespace.as_deref());
    let missing = missing(&machines.client, &machines.server, &needed, patience).await;
    match missing {
        Ok(missing) => refuse(&machines.server, &missing),
        Err(error) if machines.is_other => {
            tracing::warn!("the management cluster cannot be asked for Machines: {error:#}");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Asks the API server whether a person may list what decisions rest on.
///
/// # Errors
/// When the API server cannot be reached, or with every permission that is missing.
pub(crate) async fn check_reading(client: &Client, server: &str, policy: &Policy) -> anyhow::Result<()> {
    let mut needed = READ.to_vec();
    needed.extend(of_services(policy));
    if policy.asks(Source::Machine) {
        needed.extend(of_machines(None));
    }
    needed.retain(|permission| permission.verb == "list");
    refuse(server, &missing(client, server, &needed, ONCE).await?)
}

/// Needed for the addresses of load balancers, where the policy protects them.
fn of_services(policy: &Policy) -> &'static [Permission<'static>] {
    if policy.protects_load_balancers() { LOAD_BALANCERS } else { &[] }
}

/// Needed for Machines, in one namespace or everywhere.
fn of_machines(namespace: Option<&str>) -> Vec<Permission<'_>> {
    MACHINES.as_flattened().iter().map(|permission| Permission { namespace, ..*permission }).collect()
}

fn refuse(server: &str, missing: &[String]) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    anyhow::bail!("the API server {server} does not allow this user to: {}", missing.join("; "))
}

/// Those of the permissions that the user lacks. Asks again for so long.
async fn missing(
    client: &Client,
    server: &str,
    permissions: &[Permission<'_>],
    patience: Duration,
) -> anyhow::Result<Vec<String>> {
    let give_up = Instant::now() + patience;
    let ask = async |permission| {
        let allowed = is_allowed(client, server, permission, give_up).await?;
        anyhow::Ok(if allowed { None } else { Some(Permission::describe(permission)) })
    };
    // Whether anybody answers is found out, and told, once.
    let Some((first, others)) = permissions.split_first() else { return Ok(Vec::new()) };
    let first = ask(first).await?;
    let others: Vec<_> = stream::iter(others).map(ask).buffered(AT_ONCE).try_collect().await?;
    Ok(first.into_iter().chain(others.into_iter().flatten()).collect())
}

async fn is_allowed(
    client: &Client,
    server: &str,
    permission: &Permission<'_>,
    give_up: Instant,
) -> anyhow::Result<bool> {
    let mut told = false;
    loop {
        let error = match call("asking what it allows", ask(client, permission)).await {
            Ok(allowed) => return Ok(allowed),
            Err(error) => error,
        };
        let problem = format!("cannot talk to the API server {server}: {error}");
        // Whoever is not known, or may not ask, will not be in a moment either.
        let refused = matches!(error.code(), Some(401 | 403));
        if refused || Instant::now() + PAUSE > give_up {
            anyhow::bail!(problem);
        }
        if !told {
            tracing::warn!("{problem}; trying again");
            told = true;
        }
        sleep(PAUSE).await;
    }
}

async fn ask(client: &Client, permission: &Permission<'_>) -> kube::Result<bool> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(permission.attributes()),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
