//! What `review` says of a real cluster, live or in a dump that kubectl makes of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::fixture::program;
use crate::harness::control_plane::ControlPlane;
use crate::harness::kubectl;

/// What a decision may rest on.
const KINDS: &str = "certificatesigningrequests,nodes,servicecidrs,endpointslices,configmaps,machines.cluster.x-k8s.io";

/// What a review says of one request.
#[derive(Debug)]
pub struct Reviewed {
    /// `approve`, `deny` or `defer`.
    pub verdict: String,
    /// The first reason.
    pub reason: String,
    /// The message that is, or would be, written.
    pub message: String,
    /// Whether something else has become of it.
    pub differs: bool,
}

/// Reviews a dump of the cluster, in a format of kubectl's, and gives what it says of a request.
pub fn in_dump(
    control_plane: &ControlPlane,
    format: &str,
    policy: &Path,
    flags: &[String],
    request: &str,
) -> Result<Reviewed> {
    let dump: PathBuf = control_plane.directory().join(format!("dump.{format}"));
    let text = kubectl::run(&control_plane.kubeconfig(), &["get", KINDS, "--all-namespaces", "-o", format])?;
    std::fs::write(&dump, text)?;
    let arguments = [&[format!("--filename={}", dump.display())], flags].concat();
    review(policy, &arguments, request)
}

/// Reviews the cluster itself, and gives what it says of a request.
pub fn live(control_plane: &ControlPlane, policy: &Path, request: &str) -> Result<Reviewed> {
    review(policy, &[format!("--kubeconfig={}", control_plane.kubeconfig().display())], request)
}

fn review(policy: &Path, arguments: &[String], request: &str) -> Result<Reviewed> {
    let mut command = Command::new(program());
    command.args(["review", "-o", "jsonl", "--policy"]).arg(policy).args(arguments);
    let output = command.env_clear().output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(matches!(output.status.code(), Some(0 | 2)), "review ended with {}: {said}", output.status);
    let stdout = String::from_utf8(output.stdout)?;
    let rows: Vec<Value> = stdout.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>()?;
    let row = rows.iter().find(|row| row["name"] == request).with_context(|| format!("no {request} in {stdout}"))?;
    let text = |pointer: &str| row.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Reviewed {
        verdict: text("/verdict"),
        reason: text("/reasons/0/reason"),
        message: text("/message"),
        differs: row["differs"] == true,
    })
}
