//! The first container of a Deployment's pods, run as it is rendered: its arguments, its environment, its volumes, and a
//! token of its service account. What a kubelet and a container runtime do, without an image.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, PodSpec};
use kube::{Api, Client, ResourceExt};

use super::components::API_PORT;
use super::control_plane::ControlPlane;
use super::controller::Controller;
use super::mount::Mount;
use super::process::{Process, arguments};
use super::{account, binary, network};

/// Where a pod finds its account.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// What stands for the image.
#[derive(Clone, Copy)]
pub enum Image<'a> {
    /// A program of this machine, in the place of the image's entry point.
    Program(&'a Path),
    /// The image's own files.
    Files(&'a Path),
}

/// A container that runs, and its ConfigMaps.
pub struct Pod {
    client: Client,
    namespace: String,
    volumes: Vec<(Mount, ConfigMapVolume)>,
    root: PathBuf,
}

/// What a volume shows of a ConfigMap.
struct ConfigMapVolume {
    name: String,
    items: Vec<(String, String)>,
}

impl Pod {
    /// Starts a pod of this Deployment: the one with this number.
    pub async fn start(
        control_plane: &ControlPlane,
        namespace: &str,
        deployment: &str,
        number: u8,
        image: Image<'_>,
    ) -> Result<(Self, Controller)> {
        let client = control_plane.client();
        let deployment: Deployment = Api::namespaced(client.clone(), namespace).get(deployment).await?;
        let name = format!("{}-{number}", deployment.name_any());
        let spec = deployment.spec.and_then(|spec| spec.template.spec).context("a Deployment without a pod")?;
        let container = spec.containers.first().context("a pod without a container")?;
        ensure!(container.command.is_none(), "the image's entry point is replaced");

        let root = control_plane.directory().join(format!("pod-{namespace}-{name}"));
        fs::create_dir_all(&root)?;
        let program = match image {
            Image::Program(program) => program.as_os_str(),
            Image::Files(files) => {
                copy_files(files, &root)?;
                "-".as_ref()
            }
        };
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755))?;
        let volumes = mounts(&spec, container, &root)?;
        let pod = Self { client, namespace: namespace.to_owned(), volumes, root: root.clone() };
        pod.refresh().await?;
        write_account(control_plane, namespace, &spec, &root).await?;
        let (flags, admin) = flags(container, number)?;

        let mut command = arguments(["pod"]);
        command.extend([root.into_os_string(), program.to_owned()]);
        command.extend(arguments(flags));
        let environment = environment(container, namespace, &name, control_plane.address())?;
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let log = control_plane.directory().join(format!("{name}.log"));
        let process = Process::start(&name, &binary::locate()?, command, environment, log)?;
        Ok((pod, Controller::around(process, admin)))
    }

    /// The token that it was given.
    pub fn token(&self) -> Result<String> {
        Ok(fs::read_to_string(self.root.join(ACCOUNT).join("token"))?)
    }

    /// Brings the volumes up to date with their ConfigMaps, as a kubelet does once a minute.
    pub async fn refresh(&self) -> Result<()> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        for (mount, volume) in &self.volumes {
            let data = api.get(&volume.name).await?.data.unwrap_or_default();
            let file = |(key, path): &(String, String)| {
                let text = data.get(key).with_context(|| format!("the ConfigMap {} has no {key}", volume.name))?;
                Ok((path.clone(), text.clone()))
            };
            mount.swap(volume.items.iter().map(file).collect::<Result<Vec<_>>>()?)?;
        }
        Ok(())
    }
}

/// An image of one layer and few files.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        ensure!(entry.file_type()?.is_file(), "{} is no plain file", entry.path().display());
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn mounts(spec: &PodSpec, container: &Container, root: &Path) -> Result<Vec<(Mount, ConfigMapVolume)>> {
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
        let folder = root.join(mount.mount_path.trim_start_matches('/'));
        if volume.is_some_and(|volume| volume.empty_dir.is_some()) {
            fs::create_dir_all(folder)?;
            continue;
        }
        let Some(map) = volume.and_then(|volume| volume.config_map.as_ref()) else {
            bail!("the volume {} is not of a ConfigMap", mount.name);
        };
        ensure!(mount.sub_path.is_none(), "a file mounted by subPath never changes");
        let items = map.items.iter().flatten().map(|item| (item.key.clone(), item.path.clone())).collect();
        mounts.push((Mount::new(folder)?, ConfigMapVolume { name: map.name.clone(), items }));
    }
    Ok(mounts)
}

async fn write_account(control_plane: &ControlPlane, namespace: &str, spec: &PodSpec, root: &Path) -> Result<()> {
    ensure!(spec.automount_service_account_token != Some(false), "the pod is not given a token");
    let name = spec.service_account_name.as_deref().context("a pod without an account")?;
    let folder = root.join(ACCOUNT);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("token"), account::token(control_plane, namespace, name).await?)?;
    fs::write(folder.join("ca.crt"), control_plane.pki().ca_pem())?;
    fs::write(folder.join("namespace"), namespace)?;
    Ok(())
}

fn environment(
    container: &Container,
    namespace: &str,
    name: &str,
    api_server: Ipv4Addr,
) -> Result<BTreeMap<String, String>> {
    let mut environment = BTreeMap::from([
        ("HOSTNAME".to_owned(), name.to_owned()),
        ("KUBERNETES_SERVICE_HOST".to_owned(), api_server.to_string()),
        ("KUBERNETES_SERVICE_PORT".to_owned(), API_PORT.to_string()),
    ]);
    for variable in container.env.iter().flatten() {
        environment.insert(variable.name.clone(), value(variable, namespace, name)?);
    }
    Ok(environment)
}

fn value(variable: &EnvVar, namespace: &str, name: &str) -> Result<String> {
    let field = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
    match (&variable.value, field.map(|field| field.field_path.as_str())) {
        (Some(value), None) => Ok(value.clone()),
        (None, Some("metadata.name")) => Ok(name.to_owned()),
        (None, Some("metadata.namespace")) => Ok(namespace.to_owned()),
        _ => bail!("cannot tell the value of {}", variable.name),
    }
}

/// The container's arguments, and where the program serves. Real pods have a network each. Here they share one, in which the
/// first has the port that is rendered, and the others have ports of their own.
fn flags(container: &Container, number: u8) -> Result<(Vec<String>, SocketAddr)> {
    let mut flags = container.args.clone().unwrap_or_default();
    let mut admin = admin_address(container)?;
    if number > 0 {
        let rendered = format!(":{}", admin.port());
        admin.set_port(network::free_port()?);
        let flag = flags.iter_mut().find(|flag| flag.starts_with("--admin-address=") && flag.ends_with(&rendered));
        let flag = flag.context("the port admin is not the one that the program serves on")?;
        *flag = format!("{}:{}", flag.trim_end_matches(&rendered), admin.port());
    }
    Ok((flags, admin))
}

fn admin_address(container: &Container) -> Result<SocketAddr> {
    let ports = container.ports.iter().flatten();
    let port = ports.filter(|port| port.name.as_deref() == Some("admin")).map(|port| port.container_port).next();
    let port = u16::try_from(port.context("no port admin")?)?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
