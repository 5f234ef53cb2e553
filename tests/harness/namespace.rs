//! Starts the program again in namespaces of its own.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::binary;
use super::go::Located;

/// Set inside, to a directory in memory that vanishes with the sandbox.
const STATE_VARIABLE: &str = "CONTROL_PLANE_SANDBOX";

const KEEP_VARIABLE: &str = "KEEP_CLUSTER";

/// To be called first in `main`, before any thread exists. Outside, it replaces the program by itself inside user, network, PID and
/// mount namespaces of its own: the cluster's addresses touch nobody else's, and all of it dies with the program, however that ends.
/// Inside, it returns at once. `tools` are built or fetched first, since there is no network inside.
pub fn enter(tools: &[fn() -> Result<Located>]) -> Result<()> {
    if std::env::var_os(STATE_VARIABLE).is_some() {
        return Ok(());
    }
    let binary = binary::locate()?;
    let program = std::env::current_exe().context("find the running program")?;
    let mut command = Command::new(&binary);
    command.arg("sandbox").arg(program).args(std::env::args_os().skip(1));
    command.env(binary::control_plane()?.variable, &binary);
    for tool in tools {
        let (variable, path) = tool()?;
        command.env(variable, path);
    }
    let error = command.exec();
    Err(error).with_context(|| format!("run {}", binary.display()))
}

/// A directory for a cluster's files that vanishes when dropped, or at the latest with the sandbox; unless `KEEP_CLUSTER` names a
/// directory where all of them, logs included, are to stay.
pub fn temporary_directory(prefix: &str) -> Result<TempDir> {
    let state = std::env::var_os(STATE_VARIABLE).context("not in a sandbox: call namespace::enter first")?;
    let kept = std::env::var_os(KEEP_VARIABLE);
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).disable_cleanup(kept.is_some());
    let parent = kept.unwrap_or(state);
    builder.tempdir_in(&parent).with_context(|| format!("make a directory in {}", parent.display()))
}
