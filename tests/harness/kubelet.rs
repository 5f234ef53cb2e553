//! Nodes: a real kubelet each, on a fake container runtime.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Client;

use super::control_plane::{ControlPlane, PATIENCE};
use super::kubeconfig::{self, Credentials};
use super::process::{Process, arguments};
use super::{approval, binary, network, tls, wait};

/// Where kubelets serve.
pub const PORT: u16 = 10250;

/// What a test may want otherwise.
#[derive(Default)]
pub struct Options {
    /// The node's addresses, at most one of each family; by default the next free IPv4 one.
    pub addresses: Vec<IpAddr>,
    /// Labels the kubelet gives its own Node.
    pub labels: Vec<(String, String)>,
    /// Further flags of the kubelet; the last one wins.
    pub flags: Vec<String>,
}

/// A kubelet, gone when dropped.
pub struct Kubelet {
    name: String,
    addresses: Vec<IpAddr>,
    directory: PathBuf,
    ca_pem: String,
    process: Process,
}

impl Kubelet {
    /// Starts a kubelet on one IPv4 address of its own; it joins by bootstrap token. Nothing is waited for.
    pub fn start(control_plane: &ControlPlane, name: &str) -> Result<Self> {
        Self::start_with(control_plane, name, Options::default())
    }

    /// Starts a kubelet.
    pub fn start_with(control_plane: &ControlPlane, name: &str, options: Options) -> Result<Self> {
        let addresses = if options.addresses.is_empty() { vec![network::next_node()] } else { options.addresses };
        network::add_addresses(&addresses)?;
        let directory = control_plane.directory().join(name);
        std::fs::create_dir(&directory)?;
        let bootstrap = directory.join("bootstrap.kubeconfig");
        let token = Credentials::Token(control_plane.bootstrap_token().to_owned());
        kubeconfig::write(&control_plane.kubeconfig_for(token), &bootstrap)?;
        let joined = |parts: Vec<String>| parts.join(",");
        let mut flags = vec![
            "kubelet".to_owned(),
            format!("--hostname-override={name}"),
            format!("--node-ip={}", joined(addresses.iter().map(IpAddr::to_string).collect())),
            // Its own address only, so that each node has its port 10250.
            format!("--address={}", addresses.first().context("a node without an address")?),
            format!("--bootstrap-kubeconfig={}", bootstrap.display()),
            format!("--kubeconfig={}", directory.join("kubelet.kubeconfig").display()),
            format!("--root-dir={}", directory.display()),
            format!("--cert-dir={}", directory.join("pki").display()),
            format!("--client-ca-file={}", control_plane.pki().path("ca.crt").display()),
            format!(
                "--node-labels={}",
                joined(options.labels.iter().map(|(key, value)| format!("{key}={value}")).collect())
            ),
        ];
        flags.extend(options.flags);
        let log = directory.join("kubelet.log");
        let process =
            Process::start(&format!("kubelet {name}"), &binary::locate()?, arguments(flags), Vec::new(), log)?;
        Ok(Self {
            name: name.to_owned(),
            addresses,
            directory,
            ca_pem: control_plane.pki().ca_pem().to_owned(),
            process,
        })
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user that asks for its serving certificates.
    pub fn user(&self) -> String {
        format!("system:node:{}", self.name)
    }

    /// The node's addresses.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Where it serves.
    pub fn endpoint(&self) -> Result<SocketAddr> {
        let address = self.addresses.first().context("a node without an address")?;
        Ok(SocketAddr::new(*address, PORT))
    }

    /// Its files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its serving certificate and key, once it has one.
    pub fn certificate_path(&self) -> PathBuf {
        self.directory.join("pki/kubelet-server-current.pem")
    }

    /// Its client certificate and key, once it has one.
    pub fn client_certificate_path(&self) -> PathBuf {
        self.directory.join("pki/kubelet-client-current.pem")
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until it has filed a request for a serving certificate that is still pending.
    pub async fn wait_for_request(&mut self, client: &Client) -> Result<CertificateSigningRequest> {
        let user = self.user();
        self.process.while_running(approval::wait_pending(client, &user, PATIENCE)).await
    }

    /// Waits for its serving certificate (DER).
    pub async fn wait_for_certificate(&mut self) -> Result<Vec<u8>> {
        self.wait_for_certificate_other_than(&[], PATIENCE).await
    }

    /// Waits for a serving certificate (DER) that is not `previous`.
    pub async fn wait_for_certificate_other_than(&mut self, previous: &[u8], limit: Duration) -> Result<Vec<u8>> {
        let path = self.certificate_path();
        let what = format!("a serving certificate of node {}", self.name);
        // Whatever cannot be read is "not yet": the kubelet replaces the file in several steps.
        let probe = async || Ok(tls::certificate_in(&path).ok().filter(|certificate| certificate != previous));
        self.process.while_running(wait::until(&what, limit, probe)).await
    }

    /// The certificate (DER) it presents, verified for its address against the cluster's authority.
    pub async fn presented_certificate(&self) -> Result<Vec<u8>> {
        tls::verified_certificate(self.endpoint()?, &self.ca_pem).await
    }

    /// Waits until it presents this certificate (DER): it is on disk a moment before it is in use.
    pub async fn wait_until_presented(&mut self, certificate: &[u8]) -> Result<()> {
        let (endpoint, ca_pem) = (self.endpoint()?, self.ca_pem.clone());
        let what = format!("node {} to present its certificate", self.name);
        let probe = async || {
            // Until then it listens and refuses the handshake, or presents the previous one.
            let presented = tls::verified_certificate(endpoint, &ca_pem).await.ok();
            Ok(presented.filter(|presented| presented == certificate).map(|_| ()))
        };
        self.process.while_running(wait::until(&what, PATIENCE, probe)).await
    }
}
