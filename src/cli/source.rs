//! Where a command has its facts from: a policy, an inventory, and dumps or the live cluster.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::Client;

use super::args::SourceArguments;
use super::progress::Progress;
use super::report::PolicyReport;
use super::screen;
use crate::controller::{Dns, LOOKED_UP_AT_ONCE};
use crate::gather::{Gathering, Request, Snapshot, live};
use crate::identity::{Inventory, Resolution, Resolutions};
use crate::policy::Policy;
use crate::san::DnsName;
use crate::{access, client, reload};

/// A policy, and where it is from.
pub(super) struct PolicySource {
    pub(super) policy: Policy,
    pub(super) file: Option<PathBuf>,
}

impl PolicySource {
    /// Reads a policy file, or the one that is built in.
    pub(super) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let policy = match file {
            Some(path) => reload::read(path, "policy", Policy::load)?,
            None => Policy::built_in().context("the policy that is built in")?,
        };
        Ok(Self { policy, file: file.map(Path::to_owned) })
    }

    pub(super) fn report(&self) -> PolicyReport {
        PolicyReport {
            file: self.file.as_ref().map(|path| path.display().to_string()),
            sha256: self.policy.sha256().to_owned(),
            mode: self.policy.mode().to_string(),
        }
    }
}

/// Reads the inventory, where one is given.
pub(super) fn inventory(arguments: &SourceArguments) -> anyhow::Result<Option<Inventory>> {
    arguments.inventory.as_deref().map(|path| reload::read(path, "inventory", Inventory::load)).transpose()
}

/// What is to be judged, and by what.
pub(super) struct Scope<'a> {
    pub(super) policies: &'a [&'a Policy],
    pub(super) inventory: Option<&'a Inventory>,
    /// Which of the requests.
    pub(super) is_meant: &'a dyn Fn(&Request) -> bool,
}

/// Gathers all that decisions rest on. Of a live cluster's requests, the names are looked up that have to be.
pub(super) fn snapshot(files: &[PathBuf], arguments: &SourceArguments, scope: &Scope<'_>) -> anyhow::Result<Snapshot> {
    let gathering = Gathering::new(arguments.cluster_domain.clone(), arguments.service_cidr.clone());
    if files.is_empty() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(from_cluster(gathering, arguments, scope));
    }
    from_files(gathering, files, scope.policies)
}

fn from_files(mut gathering: Gathering, files: &[PathBuf], policies: &[&Policy]) -> anyhow::Result<Snapshot> {
    let sizes = files.iter().map(|path| std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file));
    let total = sizes.map(|found| found.map(|it| it.len())).sum();
    let progress = Progress::of_bytes(total);
    for path in files {
        if path.as_os_str() == "-" {
            gathering.read_dump("standard input", Counted { input: io::stdin().lock(), progress: &progress })?;
        } else {
            let name = path.display().to_string();
            let input = File::open(path).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
            gathering.read_dump(&name, Counted { input, progress: &progress })?;
        }
    }
    Ok(gathering.finish_dump(policies))
}

/// Shows how much is read.
struct Counted<'p, R> {
    input: R,
    progress: &'p Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.progress.add(length);
        Ok(length)
    }
}

async fn from_cluster(
    gathering: Gathering,
    arguments: &SourceArguments,
    scope: &Scope<'_>,
) -> anyhow::Result<Snapshot> {
    screen::log(arguments.verbosity);
    let (client, server) = connect(arguments).await?;
    for policy in scope.policies {
        access::check_reading(&client, &server, policy).await?;
    }
    let progress = Progress::of_objects();
    let mut snapshot = live::gather(&client, gathering, scope.policies, &|count| progress.set(count))
        .await
        .with_context(|| format!("cannot read the cluster {server}"))?;
    drop(progress);
    let names = snapshot.to_resolve(scope.policies, scope.inventory, Timestamp::now(), scope.is_meant);
    snapshot.set_resolved(look_up(names).await);
    Ok(snapshot)
}

/// Asks DNS for names as the controller does, by the resolver of the machine that this runs on.
async fn look_up(names: HashSet<DnsName>) -> Resolutions {
    let progress = Progress::of_names(names.len());
    let dns = Dns::new();
    let answers = stream::iter(names).map(|name| dns.look_up(name)).buffer_unordered(LOOKED_UP_AT_ONCE);
    let answers: Vec<(DnsName, Resolution)> = answers.inspect(|_| progress.add(1)).collect().await;
    answers.into_iter().collect()
}

/// Connects to the live cluster. Gives the client, and the API server's address.
pub(super) async fn connect(arguments: &SourceArguments) -> anyhow::Result<(Client, String)> {
    let mut config = client::user_config(arguments.kubeconfig.as_deref(), arguments.context.as_deref()).await?;
    if let Some(namespace) = &arguments.namespace {
        config.default_namespace.clone_from(namespace);
    }
    let server = config.cluster_url.to_string();
    let client = client::users_client(&config)
        .map_err(|error| anyhow::anyhow!("cannot connect to {server}: {}", client::describe(&error)))?;
    Ok((client, server))
}
