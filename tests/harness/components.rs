//! The command lines of a control plane's components.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::control_plane::{Options, url};
use super::kubeconfig::{self, Credentials};
use super::pki::Pki;
use super::process::{Process, arguments};

/// Where API servers listen.
pub const API_PORT: u16 = 6443;

const ETCD_PORT: u16 = 2379;
const ETCD_PEER_PORT: u16 = 2380;
const CONTROLLERS: &str = "csrsigning,csrapproving,csrcleaner,tokencleaner,serviceaccount";
const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}"#;

/// Starts the components of one control plane.
pub struct Launcher<'a> {
    /// The binary with all of them.
    pub binary: PathBuf,
    /// Where their files go.
    pub directory: &'a Path,
    /// Where all of them listen.
    pub address: Ipv4Addr,
    /// The certificate authority.
    pub pki: &'a Pki,
    /// What the test wants.
    pub options: &'a Options,
}

impl Launcher<'_> {
    fn start(&self, program: &str, flags: Vec<String>, more: &[String]) -> Result<Process> {
        let list = std::iter::once(program.to_owned()).chain(flags).chain(more.iter().cloned());
        Process::start(
            program,
            &self.binary,
            arguments(list),
            Vec::new(),
            self.directory.join(format!("{program}.log")),
        )
        .with_context(|| format!("start {program}"))
    }

    /// Starts etcd.
    pub fn etcd(&self) -> Result<Process> {
        let (client, peer) =
            (format!("http://{}:{ETCD_PORT}", self.address), format!("http://{}:{ETCD_PEER_PORT}", self.address));
        let flags = vec![
            format!("--data-dir={}", self.directory.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // Nothing in it has to survive the machine.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        self.start("etcd", flags, &[])
    }

    /// Starts kube-apiserver.
    pub fn api_server(&self) -> Result<Process> {
        let address = self.address;
        let serving = self.pki.server(
            "kube-apiserver",
            &["kubernetes", "kubernetes.default.svc", "localhost"],
            &[address.into()],
        )?;
        let (certificate, key) = serving.write(self.directory, "apiserver")?;
        let kubelets = self.pki.client("kube-apiserver-kubelet-client", &["system:masters"])?;
        let (kubelet_certificate, kubelet_key) = kubelets.write(self.directory, "apiserver-kubelet-client")?;
        let ca = self.pki.path("ca.crt");
        let mut flags = vec![
            format!("--etcd-servers=http://{address}:{ETCD_PORT}"),
            format!("--bind-address={address}"),
            format!("--advertise-address={address}"),
            format!("--secure-port={API_PORT}"),
            format!("--tls-cert-file={}", certificate.display()),
            format!("--tls-private-key-file={}", key.display()),
            format!("--client-ca-file={}", ca.display()),
            // The API server talks to kubelets as it should, and refuses those without a certificate of the cluster's authority.
            format!("--kubelet-certificate-authority={}", ca.display()),
            format!("--kubelet-client-certificate={}", kubelet_certificate.display()),
            format!("--kubelet-client-key={}", kubelet_key.display()),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--service-account-key-file={}", self.pki.path("sa.pub").display()),
            format!("--service-account-signing-key-file={}", self.pki.path("sa.key").display()),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-cluster-ip-range={}", self.options.service_cidr),
            // As in kubeadm.
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--enable-bootstrap-token-auth".to_owned(),
            "--allow-privileged".to_owned(),
        ];
        if self.options.audit {
            let policy = self.directory.join("audit-policy.json");
            fs::write(&policy, AUDIT_POLICY)?;
            flags.push(format!("--audit-policy-file={}", policy.display()));
            flags.push(format!("--audit-log-path={}", self.directory.join("audit.log").display()));
        }
        self.start("kube-apiserver", flags, &self.options.api_server_flags)
    }

    /// Starts kube-controller-manager.
    pub fn controller_manager(&self) -> Result<Process> {
        let identity = self.pki.client("system:kube-controller-manager", &[])?;
        let path = self.directory.join("controller-manager.kubeconfig");
        kubeconfig::write(
            &kubeconfig::build(&url(self.address), self.pki.ca_pem(), Credentials::Certificate(identity)),
            &path,
        )?;
        let flags = vec![
            format!("--kubeconfig={}", path.display()),
            format!("--bind-address={}", self.address),
            format!("--controllers={CONTROLLERS}"),
            format!("--cluster-signing-cert-file={}", self.pki.path("ca.crt").display()),
            format!("--cluster-signing-key-file={}", self.pki.path("ca.key").display()),
            format!("--cluster-signing-duration={}s", self.options.signing_duration.as_secs()),
            // RBAC lets the signing controller sign, not the controller manager as a whole.
            "--use-service-account-credentials=true".to_owned(),
            format!("--service-account-private-key-file={}", self.pki.path("sa.key").display()),
            "--leader-elect=false".to_owned(),
        ];
        self.start("kube-controller-manager", flags, &self.options.controller_manager_flags)
    }
}
