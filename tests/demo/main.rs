//! `make demo`: two real kubelets get their serving certificates from a real control plane, and a hostile one does not.
//!
//! Every line is something that was seen to happen; the program fails where something it promises does not.

#[path = "../harness/mod.rs"]
mod harness;

mod hostile;
mod screen;
mod summary;
mod timeline;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;

use harness::control_plane::{self, ControlPlane};
use harness::controller::{self, Controller};
use harness::kubelet::Kubelet;
use harness::{account, binary, namespace};
use screen::Screen;
use timeline::Timeline;

/// How long a serving certificate is good for. Five minutes of validity lie in the past, so that a kubelet finds it
/// due for renewal within seconds.
const LIFETIME: Duration = Duration::from_mins(1);
/// How often each kubelet renews its certificate before the demo goes on.
const ROTATIONS: usize = 3;
const PATIENCE: Duration = Duration::from_mins(2);

fn main() -> Result<()> {
    let keep = std::env::args().skip(1).any(|argument| argument == "--keep");
    namespace::enter(&[])?;
    tokio::runtime::Runtime::new()?.block_on(run(keep))
}

async fn run(keep: bool) -> Result<()> {
    let screen = Screen::new();
    screen.title("A Kubernetes control plane, which approves no serving certificate by itself");
    let started = Instant::now();
    let options = control_plane::Options { signing_duration: LIFETIME, ..control_plane::Options::default() };
    let control_plane = ControlPlane::start(options).await?;
    let took = started.elapsed().as_secs_f64();
    screen.say(&format!("Kubernetes {} is ready after {took:.1} s", binary::kubernetes_version()?));

    screen.title("Countersign, with policies/default.yaml and no more rights than it needs");
    let mut controller = start_controller(&control_plane).await?;
    controller.wait_until_ready().await?;
    screen.say("it follows Nodes and requests");

    screen.title("Two kubelets, with a bootstrap token and no certificate at all");
    let timeline = Timeline::start(control_plane.client(), screen.clone());
    let mut kubelets = vec![Kubelet::start(&control_plane, "node-1")?, Kubelet::start(&control_plane, "node-2")?];
    let certificates = try_join_all(kubelets.iter_mut().map(|kubelet| first_certificate(&screen, kubelet))).await?;

    screen.title("They renew them with nobody attending: a certificate is good for a minute here");
    let rotated = kubelets.iter_mut().zip(certificates).map(|(kubelet, first)| rotate(&screen, kubelet, first));
    try_join_all(rotated).await?;

    screen.title("node-1 is taken over. With its own credentials, somebody asks for more");
    hostile::act(&control_plane, &kubelets, &screen).await?;

    screen.title("What came of it");
    for kubelet in &kubelets {
        kubelet.presented_certificate().await.context("a kubelet's certificate does not verify any more")?;
    }
    summary::show(&screen, &timeline, &controller).await?;
    if keep {
        stay(&screen, &control_plane, &controller).await?;
    }
    Ok(())
}

async fn start_controller(control_plane: &ControlPlane) -> Result<Controller> {
    let program = std::env::current_exe()?;
    let directory = program.parent().and_then(Path::parent).context("the demo is not where cargo puts it")?;
    let binary = directory.join("countersign");
    ensure!(binary.exists(), "{} is missing: start the demo with `make demo`", binary.display());
    let options = controller::Options {
        binary,
        policy: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/policies/default.yaml")),
        kubeconfig: account::of_controller(control_plane).await?,
        flags: Vec::new(),
    };
    Controller::start(&options, control_plane.directory(), "controller")
}

/// Waits for the first certificate in the kubelet's directory and on its port.
async fn first_certificate(screen: &Screen, kubelet: &mut Kubelet) -> Result<Vec<u8>> {
    let certificate = kubelet.wait_for_certificate().await?;
    screen.node(kubelet.name(), "kubelet-server-current.pem is there");
    kubelet.wait_until_presented(&certificate).await?;
    let endpoint = kubelet.endpoint()?;
    screen.node(kubelet.name(), &format!("https://{endpoint} presents it: verified by the CA"));
    Ok(certificate)
}

async fn rotate(screen: &Screen, kubelet: &mut Kubelet, mut certificate: Vec<u8>) -> Result<()> {
    for rotation in 1..=ROTATIONS {
        certificate = kubelet.wait_for_certificate_other_than(&certificate, PATIENCE).await?;
        kubelet.wait_until_presented(&certificate).await?;
        screen.node(kubelet.name(), &format!("renewal {rotation}: the port presents the new certificate, verified"));
    }
    Ok(())
}

/// Leaves everything running until Ctrl-C, and says how to look at it.
async fn stay(screen: &Screen, control_plane: &ControlPlane, controller: &Controller) -> Result<()> {
    let binary = binary::locate()?;
    let kubeconfig = control_plane.kubeconfig();
    screen.title("It goes on. Ctrl-C ends it, and nothing is left behind");
    screen.say("The cluster is in namespaces of its own. From another terminal:");
    screen.plain("");
    let cluster = control_plane.directory().file_name().and_then(|name| name.to_str()).unwrap_or_default();
    screen.plain(&format!("  enter() {{ nsenter --target $(pgrep --full 'kube-apiserver .*{cluster}') \\"));
    screen.plain("      --net --mount $([ $(id -u) = 0 ] || echo --user --preserve-credentials) \"$@\"; }");
    screen.plain(&format!("  export KUBECONFIG={}", kubeconfig.display()));
    screen.plain(&format!("  enter {} kubectl get csr", binary.display()));
    screen.plain(&format!("  enter curl --silent http://{}/metrics", controller.admin_address()));
    screen.plain("");
    tokio::signal::ctrl_c().await?;
    Ok(())
}
