//! kubectl, for what is done by hand.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::binary;

/// Runs kubectl with a kubeconfig, and gives what it printed.
pub fn run(kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    let home = kubeconfig.parent().context("a kubeconfig without a directory")?;
    let output = Command::new(binary::locate()?)
        .arg("kubectl")
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        // Its cache belongs to the cluster, not into the home of whoever runs this.
        .env("HOME", home)
        .output()
        .context("run kubectl")?;
    if !output.status.success() {
        bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
