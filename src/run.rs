//! `countersign run`: everything wired together.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::access;
use crate::admin::{self, Admin};
use crate::args::RunArguments;
use crate::cli::Outcome;
use crate::client::{self, MachineCluster};
use crate::controller::{Controller, Settings, Unsettled};
use crate::lease::{self, Candidate, Leadership, LeaseName};
use crate::metrics::Metrics;
use crate::once::Once;
use crate::reload;
use crate::watch::Watches;

/// How often memory that is free is given back; that takes about a millisecond.
const GIVE_BACK: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT, or with `--once` until everything is settled that was pending.
///
/// # Errors
/// Whatever keeps it from starting: a policy that cannot be used, an API server that cannot be reached, permissions
/// that are missing, a port that is taken; and with `--once` whatever keeps it from settling everything.
pub async fn run(arguments: RunArguments) -> anyhow::Result<Outcome> {
    let mut stop = stop_signal()?;
    let orders = reload::first(&arguments.policy, arguments.inventory.as_deref())?;
    let listener = if arguments.once { None } else { Some(admin::bind(arguments.admin_address).await?) };
    let config = client::config(arguments.kubeconfig.as_deref()).await?;
    let server = config.cluster_url.to_string();
    let policy = orders.policy.clone();

    let metrics = Arc::new(Metrics::new()?);
    metrics.policy_loaded(&policy);
    metrics.policy_reload_success.set(1);
    let watched = Watches::new(client::PLURALS);
    let machines = Watches::new(&client::MACHINES.iter().map(|kind| kind.name).collect::<Vec<_>>());
    let cannot = |error| cannot_connect(&server, &error);
    let machine_cluster =
        machine_cluster(arguments.machine_kubeconfig.as_deref(), &config, metrics.clone(), machines.clone()).await?;
    let client = client::client(&config, metrics.clone(), watched.clone()).map_err(cannot)?;
    let lease = arguments.lease.unwrap_or_else(|| LeaseName::default_in(client.default_namespace()));
    let lease = Some(lease).filter(|_| !arguments.no_lease);
    tokio::select! {
        checked = access::check(&client, &server, &policy, &machine_cluster, lease.as_ref()) => checked?,
        _ = stop.wait_for(|stop| *stop) => {
            anyhow::ensure!(!arguments.once, Unsettled::Stopped);
            return Ok(Outcome::Good);
        }
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        server,
        policy = %arguments.policy.display(),
        sha256 = policy.sha256(),
        mode = %policy.mode(),
        admin = listener.as_ref().map(|_| arguments.admin_address.to_string()),
        "answering kubelet-serving requests"
    );
    let identity = lease::identity();
    let (leadership, candidate) = match &lease {
        Some(lease) => {
            let (candidate, leadership) = Candidate::new(client.clone(), lease.clone(), identity.clone());
            (leadership, Some(candidate))
        }
        None => (Leadership::alone(), None),
    };
    let leaders_client =
        client::leaders_client(&config, leadership.clone(), metrics.clone(), watched.clone()).map_err(cannot)?;
    let journal = arguments.once.then(Arc::default);
    let settings = Settings {
        orders,
        cluster_domain: arguments.cluster_domain,
        service_ranges: arguments.service_cidr,
        workers: arguments.workers.into(),
        leadership,
        lease,
        identity,
        journal: journal.clone(),
    };
    let (controller, send_events) =
        Controller::new(settings, [&client, &leaders_client], [watched.clone(), machines], metrics.clone());
    controller.note_reload();
    let followed = watched.clone();
    let mut background = JoinSet::new();
    let mut once = None;
    background.spawn(give_back());
    if let Some(listener) = listener {
        let admin = Arc::new(Admin { metrics: metrics.clone(), watched, controller: controller.clone() });
        background.spawn(admin::serve(listener, admin));
    }
    if let Some(journal) = journal {
        let begun = Once::begin(controller.clone(), journal, send_events, stop);
        (once, stop) = (Some(begun.0), begun.1);
    } else {
        background.spawn(send_events);
        background.spawn(reload::follow(controller.clone(), metrics, arguments.policy, arguments.inventory));
    }
    // It stands for election until the last answer is written, and no longer.
    let (resign, resigned) = watch::channel(false);
    let candidate = candidate.map(|candidate| tokio::spawn(stand(candidate, followed, resigned)));
    controller.run(client, machine_cluster, stop).await;
    if let Some(once) = &mut once {
        once.send_events().await;
    }
    resign.send_replace(true);
    if let Some(candidate) = candidate {
        candidate.await?;
    }
    tracing::info!("stopped");
    match once {
        Some(once) => once.end().await,
        None => Ok(Outcome::Good),
    }
}

fn cannot_connect(server: &str, error: &kube::Error) -> anyhow::Error {
    anyhow::anyhow!("cannot connect to {server}: {}", client::describe(error))
}

/// Where Machines are: in the management cluster, if one is given, or beside the Nodes.
async fn machine_cluster(
    kubeconfig: Option<&Path>,
    beside_nodes: &kube::Config,
    metrics: Arc<Metrics>,
    watched: Watches,
) -> anyhow::Result<MachineCluster> {
    let (config, namespace) = match kubeconfig {
        Some(path) => (client::config(Some(path)).await?, client::namespace(path)?),
        None => (beside_nodes.clone(), None),
    };
    let server = config.cluster_url.to_string();
    let client = client::client(&config, metrics, watched).map_err(|error| cannot_connect(&server, &error))?;
    Ok(MachineCluster { client, server, namespace, is_other: kubeconfig.is_some() })
}

/// Gives back what a storm or a list has taken, once it is over.
async fn give_back() {
    let mut interval = interval(GIVE_BACK);
    loop {
        interval.tick().await;
        countersign_heap::give_back();
    }
}

/// Stands for election as soon as this instance knows the cluster, and could answer.
async fn stand(candidate: Candidate, watched: Watches, resigned: watch::Receiver<bool>) {
    let mut ended = resigned.clone();
    tokio::select! {
        () = watched.until_live() => {}
        _ = ended.wait_for(|ended| *ended) => return,
    }
    candidate.run(resigned).await;
}

/// Turns true at SIGTERM, which Kubernetes sends, or SIGINT, which a terminal does.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
        sender.closed().await;
    });
    Ok(receiver)
}
