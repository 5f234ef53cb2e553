//! etcd, kube-apiserver and kube-controller-manager.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use kube::Client;
use tempfile::TempDir;

use super::components::{API_PORT, Launcher};
use super::kubeconfig::{self, Credentials};
use super::pki::Pki;
use super::process::Process;
use super::{binary, bootstrap, namespace, network, plain_http, tls, wait};

/// How long a busy machine may take for what takes seconds.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// What a test may want otherwise.
pub struct Options {
    /// The longest lifetime the signer gives, for client and serving certificates.
    pub signing_duration: Duration,
    /// The addresses of Services.
    pub service_cidr: String,
    /// Whether every request is written to [`ControlPlane::audit_log`].
    pub audit: bool,
    /// Further flags of kube-apiserver; the last one wins.
    pub api_server_flags: Vec<String>,
    /// Further flags of kube-controller-manager; the last one wins.
    pub controller_manager_flags: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            signing_duration: Duration::from_hours(365 * 24),
            service_cidr: "10.96.0.0/16".to_owned(),
            audit: false,
            api_server_flags: Vec::new(),
            controller_manager_flags: Vec::new(),
        }
    }
}

/// A control plane, gone when dropped. Several can run side by side.
pub struct ControlPlane {
    // INVARIANT: the processes come before the directory, so that they have ended when it is removed.
    controller_manager: Process,
    api_server: Process,
    etcd: Process,
    address: Ipv4Addr,
    pki: Pki,
    admin: Client,
    bootstrap_token: String,
    directory: TempDir,
}

impl ControlPlane {
    /// Starts one, and returns when it serves and nodes can join.
    pub async fn start(options: Options) -> Result<Self> {
        let directory = namespace::temporary_directory("cluster-")?;
        let address = network::next_control_plane();
        network::add_addresses(&[address.into()])?;
        let pki = Pki::create(directory.path().join("pki"))?;
        let launcher =
            Launcher { binary: binary::locate()?, directory: directory.path(), address, pki: &pki, options: &options };
        let etcd = launcher.etcd()?;
        let mut api_server = launcher.api_server()?;
        let admin_config = kubeconfig::build(
            &url(address),
            pki.ca_pem(),
            Credentials::Certificate(pki.client("admin", &["system:masters"])?),
        );
        kubeconfig::write(&admin_config, &directory.path().join("admin.kubeconfig"))?;
        let admin = kubeconfig::client(&admin_config).await?;
        wait_until_ready(&mut api_server, address, pki.ca_pem()).await.map_err(|error| etcd.with_log(&error))?;
        let controller_manager = launcher.controller_manager()?;
        let bootstrap_token = bootstrap::allow_nodes_to_join(&admin).await?;
        Ok(Self { controller_manager, api_server, etcd, address, pki, admin, bootstrap_token, directory })
    }

    /// A cluster administrator's client.
    pub fn client(&self) -> Client {
        self.admin.clone()
    }

    /// A cluster administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("admin.kubeconfig")
    }

    /// A client of any user, by a client certificate of the cluster's authority.
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client> {
        let identity = self.pki.client(user, groups)?;
        kubeconfig::client(&self.kubeconfig_for(Credentials::Certificate(identity))).await
    }

    /// The client of a node that has joined: a stolen one, as far as the controller is concerned.
    pub async fn client_of_node(&self, node: &str) -> Result<Client> {
        self.client_as(&format!("system:node:{node}"), &["system:nodes"]).await
    }

    /// A kubeconfig with these credentials.
    pub fn kubeconfig_for(&self, credentials: Credentials) -> serde_json::Value {
        kubeconfig::build(&self.url(), self.pki.ca_pem(), credentials)
    }

    /// Where the API server listens.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// The address of the API server and of etcd.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The cluster's certificate authority.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The token with which nodes join.
    pub fn bootstrap_token(&self) -> &str {
        &self.bootstrap_token
    }

    /// A directory for more files; it vanishes with the control plane.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The audit log, one JSON object a line; see [`Options::audit`].
    pub fn audit_log(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    /// etcd's process.
    pub fn etcd(&mut self) -> &mut Process {
        &mut self.etcd
    }

    /// The API server's process.
    pub fn api_server(&mut self) -> &mut Process {
        &mut self.api_server
    }

    /// The controller manager's process: signer, cleaner and approver of client certificates.
    pub fn controller_manager(&mut self) -> &mut Process {
        &mut self.controller_manager
    }

    /// All of them.
    pub fn processes(&mut self) -> [&mut Process; 3] {
        [&mut self.etcd, &mut self.api_server, &mut self.controller_manager]
    }

    /// Kills the API server and starts it again, with the same address and data.
    pub async fn restart_api_server(&mut self) -> Result<()> {
        self.api_server.restart()?;
        self.wait_until_ready().await
    }

    /// Waits until the API server says it is ready.
    pub async fn wait_until_ready(&mut self) -> Result<()> {
        wait_until_ready(&mut self.api_server, self.address, self.pki.ca_pem()).await
    }
}

/// The URL of the API server at an address.
pub fn url(address: Ipv4Addr) -> String {
    format!("https://{address}:{API_PORT}")
}

async fn wait_until_ready(api_server: &mut Process, address: Ipv4Addr, ca_pem: &str) -> Result<()> {
    let server = SocketAddr::from((address, API_PORT));
    let probe = async || {
        // Not the client, which logs each refusal as an error.
        let answer = async { plain_http::get_over(tls::connect(server, ca_pem).await?, "/readyz").await };
        Ok(answer.await.ok().filter(|(status, _)| *status == 200).map(|_| ()))
    };
    api_server.while_running(wait::until("kube-apiserver to be ready", PATIENCE, probe)).await
}
