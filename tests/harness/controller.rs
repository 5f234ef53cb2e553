//! The `countersign` binary as a child process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::control_plane::PATIENCE;
use super::process::{Process, arguments};
use super::{network, plain_http, wait};

/// How to run it.
#[derive(Clone)]
pub struct Options {
    /// The binary.
    pub binary: PathBuf,
    /// The policy file.
    pub policy: PathBuf,
    /// Whose rights it has; see [`super::account::of_controller`].
    pub kubeconfig: PathBuf,
    /// Further flags of `countersign run`.
    pub flags: Vec<String>,
}

/// A running controller, killed when dropped.
pub struct Controller {
    process: Process,
    admin: SocketAddr,
}

impl Controller {
    /// Starts it, with its log as `NAME.log` in `directory`. Nothing is waited for.
    pub fn start(options: &Options, directory: &Path, name: &str) -> Result<Self> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, network::free_port()?));
        let mut flags = vec![
            "run".to_owned(),
            format!("--policy={}", options.policy.display()),
            format!("--kubeconfig={}", options.kubeconfig.display()),
            format!("--admin-address={admin}"),
        ];
        flags.extend(options.flags.iter().cloned());
        let level = std::env::var_os("RUST_LOG").map(|level| ("RUST_LOG".into(), level));
        let log = directory.join(format!("{name}.log"));
        let process = Process::start(name, &options.binary, arguments(flags), level.into_iter().collect(), log)?;
        Ok(Self { process, admin })
    }

    /// One that has been started in another way.
    pub fn around(process: Process, admin: SocketAddr) -> Self {
        Self { process, admin }
    }

    /// Waits until /readyz says so.
    pub async fn wait_until_ready(&mut self) -> Result<()> {
        let admin = self.admin;
        let probe = async || {
            let answer = plain_http::get(admin, "/readyz").await;
            Ok(answer.ok().filter(|(status, _)| *status == 200).map(|_| ()))
        };
        self.process.while_running(wait::until("the controller to be ready", PATIENCE, probe)).await
    }

    /// Waits until it says that it leads, or that it does not.
    pub async fn wait_until_leading(&self, leading: bool) -> Result<()> {
        let what = if leading { "the controller to lead" } else { "the controller to stand by" };
        let wanted = Some(f64::from(u8::from(leading)));
        wait::until(what, PATIENCE, async || {
            let leader = self.metric("countersign_leader").await.ok().flatten();
            Ok((leader == wanted).then_some(()))
        })
        .await
    }

    /// Where it serves health and metrics.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Its process: to signal, kill or restart, and for its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// All metrics, as text.
    pub async fn metrics(&self) -> Result<String> {
        Ok(plain_http::get(self.admin, "/metrics").await?.1)
    }

    /// What it has in memory, in bytes, as it says itself.
    pub async fn resident_memory(&self) -> Result<f64> {
        self.metric("process_resident_memory_bytes").await?.context("no process_resident_memory_bytes")
    }

    /// The value of one series, written as in the text format: `name` or `name{label="value",…}`. None if it does not exist (yet).
    pub async fn metric(&self, series: &str) -> Result<Option<f64>> {
        let metrics = self.metrics().await?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().with_context(|| format!("{series} is {value:?}"))).transpose()
    }
}
