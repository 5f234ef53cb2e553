//! `cargo run --example tool -- NAME ARGUMENT...`: runs a program that tests are made with, built first where it is not there.

#[path = "../harness/mod.rs"]
mod harness;

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result, bail};

use harness::binary;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let name = arguments.next().context("name one of helm, promtool, prometheus, control-plane")?;
    let program = match name.to_str() {
        Some("helm") => binary::helm()?,
        Some("promtool") => binary::promtool()?,
        Some("prometheus") => binary::prometheus()?,
        Some("control-plane") => binary::control_plane()?,
        _ => bail!("there is no tool {}", name.display()),
    };
    let path = program.locate()?;
    let error = Command::new(&path).args(arguments).exec();
    Err(error).with_context(|| format!("run {}", path.display()))
}
