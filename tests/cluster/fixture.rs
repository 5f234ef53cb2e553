//! Clusters with the controller in them, and what tests do to them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use libtest_mimic::Trial;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::harness::control_plane::{self, ControlPlane};
use crate::harness::controller::{self, Controller};
use crate::harness::helm::{Helm, path};
use crate::harness::pod::{Image, Pod};
use crate::harness::proxy::Proxy;
use crate::harness::requests::Request;
use crate::harness::{account, approval, kubeconfig, network, wait};

/// How long an answer may take before a test gives up. It takes milliseconds; the machine may be busy.
pub const SOON: Duration = Duration::from_secs(30);

static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(Runtime::new);
static SHARED: OnceCell<Cluster> = OnceCell::const_new();

/// A test in the cluster that is shared, into which the chart has been installed as it is.
pub fn shared(name: &'static str, test: impl AsyncFn(&Cluster) -> Result<()> + Send + 'static) -> Trial {
    alone(name, async move || {
        let start = async || anyhow::Ok(Installation::start(control_plane::Options::default(), &[]).await?.cluster);
        test(SHARED.get_or_try_init(start).await?).await
    })
}

/// A test that makes what it needs.
pub fn alone(name: &'static str, test: impl AsyncFn() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = RUNTIME.as_ref().map_err(ToString::to_string)?;
        runtime.block_on(test()).map_err(|error| format!("{error:#}").into())
    })
}

/// A control plane and a controller with exactly the rights it needs.
pub struct Cluster {
    pub control_plane: ControlPlane,
    pub controller: Controller,
    pub options: controller::Options,
}

impl Cluster {
    /// Starts both, with the default policy, and waits until the controller is ready.
    pub async fn start(options: control_plane::Options) -> Result<Self> {
        Self::start_in(ControlPlane::start(options).await?, &policies().join("default.yaml"), &[]).await
    }

    /// Starts the controller with a policy and further flags.
    pub async fn start_in(control_plane: ControlPlane, policy: &Path, flags: &[&str]) -> Result<Self> {
        let kubeconfig = account::of_controller(&control_plane).await?;
        Self::start_with(control_plane, policy, kubeconfig, flags).await
    }

    /// Starts the controller with the default policy and a proxy between it and the API server.
    pub async fn start_behind(proxy: &Proxy, control_plane: ControlPlane) -> Result<Self> {
        let path = account::of_controller(&control_plane).await?;
        kubeconfig::set_server(&path, &proxy.url())?;
        Self::start_with(control_plane, &policies().join("default.yaml"), path, &[]).await
    }

    async fn start_with(
        control_plane: ControlPlane,
        policy: &Path,
        kubeconfig: PathBuf,
        flags: &[&str],
    ) -> Result<Self> {
        let options = controller::Options {
            binary: program(),
            policy: policy.to_owned(),
            kubeconfig,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        };
        let mut controller = Controller::start(&options, control_plane.directory(), "controller")?;
        controller.wait_until_ready().await?;
        Ok(Self { control_plane, controller, options })
    }

    /// Starts one more instance with a token of its own, and waits until it is ready.
    pub async fn another_instance(&self, name: &str) -> Result<Controller> {
        let kubeconfig = self.another_kubeconfig(name).await?;
        self.another_instance_as(&kubeconfig, name).await
    }

    /// A kubeconfig with another token of the controller's account.
    pub async fn another_kubeconfig(&self, name: &str) -> Result<PathBuf> {
        account::another_kubeconfig_of(&self.control_plane, account::NAMESPACE, "countersign", name).await
    }

    /// Starts one more instance with this kubeconfig, and waits until it is ready.
    pub async fn another_instance_as(&self, kubeconfig: &Path, name: &str) -> Result<Controller> {
        let options = controller::Options { kubeconfig: kubeconfig.to_owned(), ..self.options.clone() };
        let mut instance = Controller::start(&options, self.control_plane.directory(), name)?;
        instance.wait_until_ready().await?;
        Ok(instance)
    }

    /// The administrator's client.
    pub fn admin(&self) -> Client {
        self.control_plane.client()
    }

    /// Creates a Node with these addresses, as an administrator.
    pub async fn node(&self, name: &str, addresses: &[&str]) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.admin());
        let node = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        nodes.create(&PostParams::default(), &node).await?;
        self.set_addresses(name, addresses).await
    }

    /// Sets a Node's addresses, as its kubelet or a cloud controller does.
    pub async fn set_addresses(&self, name: &str, addresses: &[&str]) -> Result<()> {
        let kind = |address: &str| if address.parse::<std::net::IpAddr>().is_ok() { "InternalIP" } else { "Hostname" };
        let addresses: Vec<_> =
            addresses.iter().map(|address| json!({"type": kind(address), "address": address})).collect();
        let patch = Patch::Merge(json!({"status": {"addresses": addresses}}));
        Api::<Node>::all(self.admin()).patch_status(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Files a request with the credentials of the node itself.
    pub async fn file_as_node(&self, node: &str, request: &Request) -> Result<CertificateSigningRequest> {
        request.submit(&self.control_plane.client_of_node(node).await?).await
    }

    /// Files a request as a node and waits for the answer.
    pub async fn answer_to(&self, node: &str, request: &Request) -> Result<Answer> {
        let filed = self.file_as_node(node, request).await?;
        self.answer(&filed.name_any()).await
    }

    /// Waits for the answer to a request.
    pub async fn answer(&self, name: &str) -> Result<Answer> {
        let decided = approval::wait_decided(&self.admin(), name, SOON).await?;
        let condition = approval::decision(&decided).context("a decided request without a decision")?;
        Ok(Answer::of(condition))
    }

    /// Waits until the controller has said in an Event why it leaves a request pending.
    pub async fn wait_deferred(&self, name: &str, reason: &str) -> Result<()> {
        self.wait_event("CertificateSigningRequest", name, reason).await
    }

    /// Waits for an Event about an object, in whatever namespace.
    pub async fn wait_event(&self, kind: &str, name: &str, reason: &str) -> Result<()> {
        let events: Api<k8s_openapi::api::events::v1::Event> = Api::all(self.admin());
        let params = kube::api::ListParams::default().fields(&format!("reason={reason}"));
        wait::until(&format!("the Event {reason} about {kind} {name}"), SOON, async || {
            let found = events.list(&params).await?.items.into_iter().any(|event| {
                event
                    .regarding
                    .is_some_and(|about| about.kind.as_deref() == Some(kind) && about.name.as_deref() == Some(name))
            });
            Ok(found.then_some(()))
        })
        .await
    }

    /// The request as it is now.
    pub async fn request(&self, name: &str) -> Result<CertificateSigningRequest> {
        Ok(Api::all(self.admin()).get(name).await?)
    }

    /// Checks that nobody has answered a request so far.
    pub async fn ensure_pending(&self, name: &str) -> Result<()> {
        let request = self.request(name).await?;
        ensure!(approval::decision(&request).is_none(), "{name} is decided: {:?}", request.status);
        Ok(())
    }
}

/// The chart, packaged and installed, and the controller as a pod of it.
pub struct Installation {
    pub cluster: Cluster,
    pub helm: Helm,
    pub pod: Pod,
    archive: PathBuf,
    port: u16,
}

impl Installation {
    /// Starts a control plane, installs the chart with these arguments of Helm, and starts a pod of its Deployment.
    pub async fn start(options: control_plane::Options, values: &[&str]) -> Result<Self> {
        Self::start_in(ControlPlane::start(options).await?, values).await
    }

    /// The same in a control plane that runs.
    pub async fn start_in(control_plane: ControlPlane, values: &[&str]) -> Result<Self> {
        Self::start_image(control_plane, values, Image::Program(&program())).await
    }

    /// The same with another image.
    pub async fn start_image(control_plane: ControlPlane, values: &[&str], image: Image<'_>) -> Result<Self> {
        let helm = Helm::of(&control_plane.kubeconfig())?;
        let archive = helm.package()?;
        let port = network::free_port()?;
        install(&helm, "install", &archive, port, values)?;
        let (pod, mut controller) = Pod::start(&control_plane, account::NAMESPACE, RELEASE, 0, image).await?;
        controller.wait_until_ready().await?;
        let options = controller::Options {
            binary: program(),
            policy: policies().join("default.yaml"),
            kubeconfig: account::kubeconfig_of(&control_plane, account::NAMESPACE, RELEASE).await?,
            flags: Vec::new(),
        };
        Ok(Self { cluster: Cluster { control_plane, controller, options }, helm, pod, archive, port })
    }

    /// Starts one more pod of the Deployment, and waits until it is ready.
    pub async fn another_pod(&self) -> Result<(Pod, Controller)> {
        let image = Image::Program(&self.cluster.options.binary);
        let (pod, mut controller) =
            Pod::start(&self.cluster.control_plane, account::NAMESPACE, RELEASE, 1, image).await?;
        controller.wait_until_ready().await?;
        Ok((pod, controller))
    }

    /// Upgrades the release to these values, and brings the pod's volumes up to date.
    pub async fn upgrade(&self, values: &[&str]) -> Result<()> {
        install(&self.helm, "upgrade", &self.archive, self.port, values)?;
        self.pod.refresh().await
    }
}

/// The release that tests make, and so the name of its Deployment and its account.
pub const RELEASE: &str = "countersign";

fn install(helm: &Helm, how: &str, archive: &Path, port: u16, values: &[&str]) -> Result<()> {
    let port = format!("admin.port={port}");
    let mut arguments = vec![how, RELEASE, path(archive)?, "--namespace", account::NAMESPACE, "--set", &port];
    if how == "install" {
        arguments.push("--create-namespace");
    }
    helm.run(&[&arguments, values].concat()).map(drop)
}

/// The program under test, as cargo has built it.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_countersign"))
}

/// A decision as its condition tells it.
#[derive(Debug)]
pub struct Answer {
    pub type_: String,
    pub reason: String,
    pub message: String,
}

impl Answer {
    /// What a condition says.
    pub fn of(condition: &CertificateSigningRequestCondition) -> Self {
        Self {
            type_: condition.type_.clone(),
            reason: condition.reason.clone().unwrap_or_default(),
            message: condition.message.clone().unwrap_or_default(),
        }
    }

    /// Checks that it is an approval.
    pub fn ensure_approved(&self) -> Result<()> {
        ensure!(self.type_ == "Approved" && self.reason == "AutoApproved", "not approved: {self:?}");
        Ok(())
    }

    /// Checks that it is a denial for this reason, whose message holds this text.
    pub fn ensure_denied(&self, reason: &str, text: &str) -> Result<()> {
        let right = self.type_ == "Denied" && self.reason == reason && self.message.contains(text);
        ensure!(right, "not denied as {reason} with {text:?}: {self:?}");
        Ok(())
    }
}

/// The folder of policies that ship with the program.
pub fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

/// The series of one metric with its labels, by the labels' text.
pub fn series(metrics: &str, name: &str) -> HashMap<String, f64> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
    lines
        .filter_map(|rest| rest.rsplit_once(' '))
        .filter_map(|(labels, value)| Some((labels.to_owned(), value.parse().ok()?)))
        .collect()
}
