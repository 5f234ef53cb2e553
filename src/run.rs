//! `countersign run`: everything wired together.

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::access;
use crate::admin::{self, Admin};
use crate::args::RunArguments;
use crate::client;
use crate::controller::{Controller, Settings};
use crate::identity::Protected;
use crate::metrics::Metrics;
use crate::policy::{Mode, Policy};
use crate::watch::Watched;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting: a policy that cannot be used, an API server that cannot be reached, permissions
/// that are missing, a port that is taken.
pub async fn run(arguments: RunArguments) -> anyhow::Result<()> {
    let mut stop = stop_signal()?;
    let policy = load_policy(&arguments)?;
    let listener = admin::bind(arguments.admin_address).await?;
    let config = client::config(arguments.kubeconfig.as_deref()).await?;
    let server = config.cluster_url.to_string();

    let metrics = Arc::new(Metrics::new()?);
    metrics.policy_info.with_label_values(&[policy.sha256()]).set(1);
    let watched = [Watched::new("nodes"), Watched::new("certificatesigningrequests")];
    let client = client::client(config, metrics.clone(), watched.clone())
        .map_err(|error| anyhow::anyhow!("cannot connect to {server}: {}", client::describe(&error)))?;
    tokio::select! {
        checked = access::check(&client, &server, policy.mode()) => checked?,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    }

    let mode = match policy.mode() {
        Mode::Enforce => "enforce",
        Mode::Audit => "audit",
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        server,
        policy = %arguments.policy.display(),
        sha256 = policy.sha256(),
        mode,
        admin = %arguments.admin_address,
        "answering kubelet-serving requests"
    );
    let admin = Arc::new(Admin { metrics: metrics.clone(), watched: watched.clone(), controller: OnceLock::new() });
    let serving = tokio::spawn(admin::serve(listener, admin.clone()));
    let settings = Settings {
        policy: Arc::new(policy),
        protected: Protected::new(arguments.cluster_domain, arguments.service_cidr),
        workers: arguments.workers.into(),
    };
    Controller::run(settings, client, watched, metrics, stop, |controller| {
        let _ = admin.controller.set(controller); // set once, here
    })
    .await;
    serving.abort();
    tracing::info!("stopped");
    Ok(())
}

fn load_policy(arguments: &RunArguments) -> anyhow::Result<Policy> {
    let path = arguments.policy.display();
    let bytes = std::fs::read(&arguments.policy).with_context(|| format!("cannot read the policy {path}"))?;
    Policy::load(&bytes).with_context(|| format!("the policy {path} cannot be used"))
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
