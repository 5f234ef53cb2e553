//! The control plane, as it is for all that is measured.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::harness::audit::{Entry, Tail};
use crate::harness::components::API_PORT;
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::controller::{self, Controller};
use crate::harness::requests::SIGNER;
use crate::harness::{account, lease, namespace};

/// The account of the bare worker.
const BARE: &str = "bare";
/// A signer that the program does not know, so that the bare worker is left alone while the program runs.
pub const OTHER_SIGNER: &str = "storm.example.com/serving";

/// How often the audit log is read.
const PAUSE: Duration = Duration::from_millis(20);
/// Longer than the program waits between two Events.
const QUIET: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_mins(5);

/// A control plane without a signer, whose audit log is the clock.
pub struct Cluster {
    pub control_plane: ControlPlane,
    options: controller::Options,
    audit: Tail,
    token: String,
    // The API server writes into it.
    _directory: TempDir,
}

impl Cluster {
    /// Starts it, and stops the controller manager: it would sign 20 requests a second, at the expense of what is
    /// measured.
    pub async fn start(program: PathBuf) -> Result<Self> {
        let directory = namespace::temporary_directory("storm-")?;
        let (policy, log) = (directory.path().join("audit-policy.json"), directory.path().join("audit.log"));
        std::fs::write(&policy, audit_policy().to_string())?;
        let options = Options {
            api_server_flags: vec![
                format!("--audit-policy-file={}", policy.display()),
                format!("--audit-log-path={}", log.display()),
                // Never a new file.
                "--audit-log-maxsize=100000".to_owned(),
                // What was measured is to be gone quickly.
                "--delete-collection-workers=16".to_owned(),
            ],
            ..Options::default()
        };
        let mut control_plane = ControlPlane::start(options).await?;
        let options = controller::Options {
            binary: program,
            policy: concat!(env!("CARGO_MANIFEST_DIR"), "/policies/default.yaml").into(),
            kubeconfig: account::of_controller(&control_plane).await?,
            flags: Vec::new(),
        };
        account::create(&control_plane, BARE, bare_rules()?, Vec::new()).await?;
        let token = account::token(&control_plane, account::NAMESPACE, BARE).await?;
        control_plane.controller_manager().kill()?;
        Ok(Self { control_plane, options, audit: Tail::new(log), token, _directory: directory })
    }

    /// Starts the program.
    pub fn start_controller(&self) -> Result<Controller> {
        Controller::start(&self.options, self.control_plane.directory(), "controller")
    }

    /// Ends the program, which gives up the Lease.
    pub async fn stop(&self, mut controller: Controller) -> Result<()> {
        let status = controller.process().terminate(PATIENCE).await?;
        ensure!(status.success(), "the controller ended with {status}");
        Ok(())
    }

    /// Where the API server listens.
    pub fn api_server(&self) -> SocketAddr {
        (self.control_plane.address(), API_PORT).into()
    }

    /// What the bare worker proves with who it is.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Takes the Lease, so that the program stands by: it knows everything and answers nothing.
    pub async fn hold_lease(&self) -> Result<()> {
        lease::hold(&self.control_plane.client()).await
    }

    /// Gives up the Lease, so that the program takes over.
    pub async fn release_lease(&self) -> Result<()> {
        lease::release(&self.control_plane.client()).await
    }

    /// Has the API server collect its garbage, which a profile of its heap may ask for.
    pub async fn collect_garbage(&self) -> Result<()> {
        let request = http::Request::get("/debug/pprof/heap?gc=1&debug=1").body(Vec::new())?;
        self.control_plane.client().request_text(request).await?;
        Ok(())
    }

    /// What the API server has answered since this was asked last.
    pub fn answered(&mut self) -> Result<Vec<Entry>> {
        self.audit.read()
    }

    /// What the API server answers until this many approvals are written of those that are meant.
    pub async fn answered_until(&mut self, approvals: usize, is_meant: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>> {
        let (started, mut entries, mut written) = (Instant::now(), Vec::new(), 0);
        while written < approvals {
            ensure!(started.elapsed() < PATIENCE, "timed out: {written} of {approvals} requests are approved");
            sleep(PAUSE).await;
            let new = self.answered()?;
            written += new.iter().filter(|entry| entry.is_answer() && is_meant(entry)).count();
            entries.extend(new);
        }
        Ok(entries)
    }

    /// Waits until the program does nothing but stand for election, and gives what it did until then.
    pub async fn answered_until_quiet(&mut self) -> Result<Vec<Entry>> {
        let (started, mut last, mut entries) = (Instant::now(), Instant::now(), Vec::new());
        while last.elapsed() < QUIET {
            ensure!(started.elapsed() < PATIENCE, "timed out waiting for the controller to have nothing to do");
            sleep(PAUSE).await;
            let new = self.answered()?;
            if new.iter().any(|entry| !entry.is_about("leases", "")) {
                last = Instant::now();
            }
            entries.extend(new);
        }
        Ok(entries)
    }
}

/// Whether the program asked for it.
pub fn is_of_controller(entry: &Entry) -> bool {
    entry.user.username == user("countersign")
}

fn user(account: &str) -> String {
    format!("system:serviceaccount:{}:{account}", account::NAMESPACE)
}

/// One line for each request of the two that are compared, and for each request for a certificate that is filed.
fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            {"level": "Metadata", "users": [user("countersign"), user(BARE)]},
            {"level": "Metadata", "verbs": ["create"], "resources": [
                {"group": "certificates.k8s.io", "resources": ["certificatesigningrequests"]},
            ]},
            {"level": "None"},
        ],
    })
}

fn bare_rules() -> Result<Vec<k8s_openapi::api::rbac::v1::PolicyRule>> {
    let (csr, signers) = ("certificates.k8s.io", [SIGNER, OTHER_SIGNER]);
    let rules = account::rules(json!([
        {"apiGroups": [csr], "resources": ["certificatesigningrequests/approval"], "verbs": ["patch", "update"]},
        {"apiGroups": [csr], "resources": ["signers"], "resourceNames": signers, "verbs": ["approve"]},
        {"apiGroups": [csr], "resources": ["certificatesigningrequests"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["nodes", "configmaps"], "verbs": ["list"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["servicecidrs"], "verbs": ["list"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]},
    ]));
    rules.context("the bare worker's rules")
}
