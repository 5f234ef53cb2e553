//! The image as built, on a real control plane: `make image-test` builds it, and names its files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::fixture::{Installation, alone};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::kubelet::Kubelet;
use crate::harness::pod::Image;
use crate::harness::requests::Request;

/// Names a folder with the image's files; there is nothing to test without.
const FILES: &str = "IMAGE_FILES";
/// The largest image that is fit to be pulled on every control plane node, in bytes.
const LARGEST: u64 = 15_000_000;

pub fn trials() -> Vec<Trial> {
    match std::env::var_os(FILES) {
        Some(_) => vec![
            alone("image::holds_one_small_program_and_nothing_else", holds_one_program),
            alone("image::answers_requests_on_a_read_only_root_as_its_user", answers),
        ],
        None => Vec::new(),
    }
}

fn files() -> Result<PathBuf> {
    std::env::var_os(FILES).map(PathBuf::from).context("no image")
}

async fn holds_one_program() -> Result<()> {
    let files = files()?;
    let found: Vec<_> = fs::read_dir(&files)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    ensure!(found == [files.join("countersign")], "{found:?}");
    let size = fs::metadata(files.join("countersign"))?.len();
    eprintln!("the image holds {size} bytes");
    ensure!(size <= LARGEST, "{size} bytes are more than {LARGEST}");
    Ok(())
}

async fn answers() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let installation = Installation::start_image(control_plane, &[], Image::Files(&files()?)).await?;
    let mut cluster = installation.cluster;
    let mut kubelet = Kubelet::start(&cluster.control_plane, "kubelet-1")?;
    kubelet.wait_for_certificate().await?;
    cluster.node("honest-1", &["honest-1", "10.40.0.1"]).await?;
    let request = Request::of_node("honest-1").dns("honest-1")?.ip([10, 40, 0, 1]);
    cluster.answer_to("honest-1", &request).await?.ensure_approved()?;
    let forged = request.dns("kubernetes.default.svc")?;
    cluster.answer_to("honest-1", &forged).await?.ensure_denied("ProtectedName", "kubernetes.default.svc")?;
    ensure_confined(cluster.controller.process().id())
}

/// Looks at the process from outside: its user, its rights, its root.
fn ensure_confined(wrapper: u32) -> Result<()> {
    let status = |process: u32| fs::read_to_string(format!("/proc/{process}/status"));
    let children = |process: u32| -> Result<Vec<u32>> {
        let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
        text.split_whitespace().map(|child| Ok(child.parse()?)).collect()
    };
    let mut process = wrapper;
    while let Some(child) = children(process)?.first() {
        process = *child;
    }
    let status = status(process)?;
    ensure!(status.lines().any(|line| line == "Name:\tcountersign"), "not the program: {status}");
    let capabilities = status.lines().find(|line| line.starts_with("CapEff:")).context("no CapEff")?;
    ensure!(capabilities.ends_with("\t0000000000000000"), "it has {capabilities}");
    let mounts = fs::read_to_string(format!("/proc/{process}/mounts"))?;
    let root = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some("/")).context("no root")?;
    let flags = root.split(' ').nth(3).context("no flags")?;
    ensure!(flags.split(',').any(|flag| flag == "ro"), "its root can be written to: {root}");
    ensure!(!Path::new(&format!("/proc/{process}/root/usr")).exists(), "it has the machine's files");
    Ok(())
}
