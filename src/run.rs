//! `countersign run`: everything wired together.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::access;
use crate::admin::{self, Admin};
use crate::args::RunArguments;
use crate::client;
use crate::controller::{Controller, Settings};
use crate::metrics::Metrics;
use crate::reload;
use crate::watch::Watches;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting: a policy that cannot be used, an API server that cannot be reached, permissions
/// that are missing, a port that is taken.
pub async fn run(arguments: RunArguments) -> anyhow::Result<()> {
    let mut stop = stop_signal()?;
    let orders = reload::first(&arguments.policy, arguments.inventory.as_deref())?;
    let listener = admin::bind(arguments.admin_address).await?;
    let config = client::config(arguments.kubeconfig.as_deref()).await?;
    let server = config.cluster_url.to_string();
    let policy = orders.policy.clone();

    let metrics = Arc::new(Metrics::new()?);
    metrics.policy_loaded(&policy);
    metrics.policy_reload_success.set(1);
    let followed = client::PLURALS.iter().filter(|kind| **kind != "services" || policy.protects_load_balancers());
    let watched = Watches::new(&followed.copied().collect::<Vec<_>>());
    let machines = Watches::new(&client::MACHINES.iter().map(|kind| kind.name).collect::<Vec<_>>());
    let cannot = |error| anyhow::anyhow!("cannot connect to {server}: {}", client::describe(&error));
    let machine_client = client::client(config.clone(), metrics.clone(), machines.clone()).map_err(cannot)?;
    let client = client::client(config, metrics.clone(), watched.clone()).map_err(cannot)?;
    tokio::select! {
        checked = access::check(&client, &server, &policy) => checked?,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        server,
        policy = %arguments.policy.display(),
        sha256 = policy.sha256(),
        mode = %policy.mode(),
        admin = %arguments.admin_address,
        "answering kubelet-serving requests"
    );
    let settings = Settings {
        orders,
        cluster_domain: arguments.cluster_domain,
        service_ranges: arguments.service_cidr,
        workers: arguments.workers.into(),
    };
    let (controller, send_events) = Controller::new(settings, &client, [watched.clone(), machines], metrics.clone());
    controller.note_reload();
    let admin = Arc::new(Admin { metrics: metrics.clone(), watched, controller: controller.clone() });
    let mut background = JoinSet::new();
    background.spawn(send_events);
    background.spawn(async {
        admin::serve(listener, admin).await.unwrap_or_else(|error| tracing::error!(%error, "the admin port broke"));
    });
    background.spawn(reload::follow(controller.clone(), metrics, arguments.policy, arguments.inventory));
    controller.run(client, machine_client, stop).await;
    tracing::info!("stopped");
    Ok(())
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
