//! The program as a plugin of a real kubectl, with the rights and the wishes of a person.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::fixture::{Cluster, program, shared};
use crate::harness::{account, binary};

pub fn trials() -> Vec<Trial> {
    vec![shared("plugin::kubectl_runs_and_completes_it", run)]
}

/// A kubectl that finds the plugin.
struct Kubectl {
    folder: PathBuf,
    kubeconfig: PathBuf,
}

/// What came of a run.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Kubectl {
    fn run(&self, arguments: &[&str]) -> Result<Run> {
        let mut command = Command::new(binary::locate()?);
        command.arg("kubectl").args(arguments).env_clear();
        let output =
            command.env("PATH", &self.folder).env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.folder).output()?;
        let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        Ok(Run { code: output.status.code(), stdout, stderr })
    }

    fn with(&self, kubeconfig: &Path) -> Self {
        Self { folder: self.folder.clone(), kubeconfig: kubeconfig.to_owned() }
    }
}

async fn run(cluster: &Cluster) -> Result<()> {
    let control_plane = &cluster.control_plane;
    let folder = control_plane.directory().join("plugins");
    std::fs::create_dir(&folder)?;
    for name in ["kubectl-countersign", "kubectl_complete-countersign"] {
        std::os::unix::fs::symlink(program(), folder.join(name))?;
    }
    let kubectl = Kubectl { folder, kubeconfig: control_plane.kubeconfig() };

    let review = kubectl.run(&["countersign", "review", "-o", "json", "--node", "plugin-1", "-v"])?;
    let report: Value = serde_json::from_str(&review.stdout).with_context(|| format!("{review:?}"))?;
    ensure!(review.code == Some(0) && report.get("kind").is_some_and(|kind| kind == "Review"), "{review:?}");
    ensure!(review.stderr.contains("listing nodes"), "{review:?}");
    let wrong = kubectl.run(&["countersign", "review", "--context", "elsewhere"])?;
    ensure!(wrong.code == Some(1) && wrong.stderr.contains("elsewhere"), "{wrong:?}");
    let help = kubectl.run(&["countersign", "policy", "test", "--help"])?;
    ensure!(help.stdout.contains("Usage: kubectl countersign policy test"), "{help:?}");

    let completed = kubectl.run(&["__complete", "countersign", "review", "--only", "de"])?;
    ensure!(completed.stdout.starts_with("denied\t") && completed.stdout.contains("\ndeferred\t"), "{completed:?}");

    // Who may not read the cluster is told what is missing.
    let rules = account::rules(json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]))?;
    let powerless = account::create(control_plane, "onlooker", rules, Vec::new()).await?;
    for arguments in [&["countersign", "review"][..], &["countersign", "explain", "csr-1"]] {
        let refused = kubectl.with(&powerless).run(arguments)?;
        ensure!(refused.code == Some(1) && refused.stdout.is_empty(), "{refused:?}");
        for missing in [
            "does not allow this user to: list certificatesigningrequests in certificates.k8s.io;",
            "list servicecidrs in networking.k8s.io",
        ] {
            ensure!(refused.stderr.contains(missing), "{missing:?} is not in {refused:?}");
        }
        ensure!(!refused.stderr.contains("nodes") && refused.stderr.lines().count() == 1, "{refused:?}");
    }
    Ok(())
}
