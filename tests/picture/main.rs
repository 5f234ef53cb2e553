//! `make picture`: the panels of the chart's dashboard, drawn from what a real Prometheus has scraped from the real controller
//! while nodes come, renew, lie and wait. Writes docs/dashboard.svg.

#[path = "../harness/mod.rs"]
mod harness;

mod drawing;
mod panel;
mod prometheus;
mod storm;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use harness::control_plane::{self, ControlPlane};
use harness::controller::{self, Controller};
use harness::{account, binary, namespace};
use panel::Dashboard;
use prometheus::Prometheus;

fn main() -> Result<()> {
    namespace::enter(&[|| binary::prometheus()?.located()])?;
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Result<()> {
    let mut control_plane = ControlPlane::start(control_plane::Options::default()).await?;
    let program = std::env::args_os().nth(1).context("name the program to look at")?;
    let options = controller::Options {
        binary: std::path::absolute(&program)?,
        policy: repository("policies/default.yaml"),
        kubeconfig: account::of_controller(&control_plane).await?,
        flags: Vec::new(),
    };
    let mut controller = Controller::start(&options, control_plane.directory(), "controller")?;
    controller.wait_until_ready().await?;
    let prometheus = Prometheus::start(control_plane.directory(), controller.admin_address()).await?;

    eprintln!("nodes come and go for {} s", storm::LENGTH.as_secs());
    let span = storm::run(&mut control_plane).await?;
    let dashboard = Dashboard::read(&repository("charts/countersign/dashboards/countersign.json"))?;
    let mut drawn = Vec::new();
    for panel in dashboard.panels() {
        drawn.push(panel.ask(&prometheus, span).await?);
    }
    let path = repository("docs/dashboard.svg");
    std::fs::write(&path, drawing::draw(&drawn, span)?)?;
    eprintln!("{} is written", path.display());
    Ok(())
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
