//! The cases of `tests/cases` and `policies`, once more: with real Nodes, filed with the requestors' own credentials, and
//! answered by the program as it runs: with the verdicts and reasons that the library comes to offline. And `review` comes
//! to the same on a dump that kubectl makes of the cluster then, in which most requests have their answer already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use countersign::policy::{Mode, Policy, Source};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use libtest_mimic::Trial;
use serde_json::{Value, from_value, json};

use crate::case_file::{Case, CaseFile, Node as CaseNode};
use crate::fixture::{Answer, SOON, alone};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::controller::{self, Controller};
use crate::harness::{account, approval, wait};
use crate::reviewed::Reviewed;
use crate::{machines, reviewed};

pub fn trials() -> Vec<Trial> {
    vec![alone("cases::come_to_the_same_in_a_cluster_as_offline", every_case)]
}

/// How many cases there are that mean something in a cluster; a change of the files that takes this far down is noticed.
const AT_LEAST: usize = 150;

const AUTHENTICATED: &str = "system:authenticated";

/// Two Nodes that contest each other, by which one sees that the program has taken in all that came before them.
const MARKERS: [&str; 2] = ["marker-1", "marker-2"];
const MARKED: &str = "192.0.2.77";

async fn every_case() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    machines::install(&control_plane, "cluster.x-k8s.io", &["v1beta2"]).await?;
    allow_everybody_to_ask(&control_plane.client()).await?;
    let mut bench = Bench {
        kubeconfig: account::of_controller(&control_plane).await?,
        control_plane,
        clients: BTreeMap::new(),
        mode: Mode::Enforce,
        policy: PathBuf::new(),
        flags: Vec::new(),
        compared: 0,
        refused: 0,
    };
    for path in files()? {
        let text = std::fs::read_to_string(&path)?;
        let file: CaseFile = serde_yaml::from_str(&text).with_context(|| path.display().to_string())?;
        let folder = path.parent().context("a file without a folder")?;
        bench.run(&file, folder).await.with_context(|| path.display().to_string())?;
    }
    eprintln!("{} cases compared; {} requests refused by the API server itself", bench.compared, bench.refused);
    ensure!(bench.compared >= AT_LEAST, "only {} cases were compared", bench.compared);
    Ok(())
}

fn files() -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = |folder: &Path| -> Result<Vec<PathBuf>> {
        Ok(std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
    };
    let mut files = entries(&root.join("policies"))?;
    files.retain(|path| path.to_str().is_some_and(|path| path.ends_with(".cases.yaml")));
    for topic in entries(&root.join("tests/cases"))? {
        files.extend(entries(&topic)?);
    }
    files.sort();
    Ok(files)
}

/// Kubernetes lets nodes file requests; here everybody may, to show what becomes of that.
async fn allow_everybody_to_ask(admin: &Client) -> Result<()> {
    let name = json!({"name": "everybody-asks"});
    let role: ClusterRole = from_value(json!({"metadata": name, "rules": [
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["create"]},
    ]}))?;
    let binding: ClusterRoleBinding = from_value(json!({
        "metadata": name,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "everybody-asks"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}],
    }))?;
    Api::all(admin.clone()).create(&PostParams::default(), &role).await?;
    Api::all(admin.clone()).create(&PostParams::default(), &binding).await?;
    Ok(())
}

struct Bench {
    control_plane: ControlPlane,
    kubeconfig: PathBuf,
    clients: BTreeMap<(String, Vec<String>), Client>,
    mode: Mode,
    policy: PathBuf,
    flags: Vec<String>,
    compared: usize,
    refused: usize,
}

impl Bench {
    /// Runs a file's cases: those with Nodes of their own each in a world of its own, the others in one.
    async fn run(&mut self, file: &CaseFile, folder: &Path) -> Result<()> {
        let policy = file.policy(folder)?;
        let loaded = Policy::load(policy.as_bytes())?;
        if loaded.asks(Source::Dns) {
            // There is none here.
            return Ok(());
        }
        self.mode = loaded.mode();
        let (own, common): (Vec<&Case>, Vec<&Case>) = file.cases.iter().partition(|case| case.nodes.is_some());
        let worlds = own.into_iter().map(|case| vec![case]).chain([common]);
        for cases in worlds {
            let meant: Vec<_> = cases.into_iter().filter_map(|case| Some((case, file.nodes(case)?))).collect();
            let Some((_, nodes)) = meant.first() else { continue };
            let controller = self.make_world(file, &policy, nodes).await?;
            for (case, _) in &meant {
                self.compare(case).await.with_context(|| case.name.clone())?;
            }
            self.clear(controller).await?;
        }
        Ok(())
    }

    async fn make_world(&mut self, file: &CaseFile, policy: &str, nodes: &[CaseNode]) -> Result<Controller> {
        let directory = self.control_plane.directory();
        let path = directory.join("case-policy.yaml");
        std::fs::write(&path, policy)?;
        (self.policy, self.flags) = (path.clone(), file.flags(directory)?);
        let (before, mut after): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| node.seen == 0);
        after.sort_by_key(|node| node.seen);
        for node in before {
            self.create_node(&node.object(), node.deleting).await?;
        }
        for machine in file.machines() {
            let machine: DynamicObject = from_value(machine)?;
            machines::api(&self.control_plane).create(&PostParams::default(), &machine).await?;
        }
        let options = controller::Options {
            binary: PathBuf::from(env!("CARGO_BIN_EXE_countersign")),
            policy: path,
            kubeconfig: self.kubeconfig.clone(),
            flags: self.flags.clone(),
        };
        let mut controller = Controller::start(&options, directory, "case-controller")?;
        controller.wait_until_ready().await?;
        if !after.is_empty() {
            for node in after {
                self.create_node(&node.object(), node.deleting).await?;
            }
            self.wait_until_seen().await?;
        }
        Ok(controller)
    }

    /// A contest is written down once both sides of it, and so all that was created before, have been seen.
    async fn wait_until_seen(&self) -> Result<()> {
        for marker in MARKERS {
            let status = json!({"addresses": [{"type": "InternalIP", "address": MARKED}]});
            self.create_node(&json!({"metadata": {"name": marker}, "status": status}), false).await?;
        }
        wait::until("the program to have seen all Nodes", SOON, async || {
            let kept = self.memory().get_opt("countersign-claims").await?.and_then(|map| map.data).unwrap_or_default();
            Ok(kept.values().any(|text| text.contains(MARKED)).then_some(()))
        })
        .await
    }

    fn memory(&self) -> Api<ConfigMap> {
        Api::namespaced(self.control_plane.client(), account::NAMESPACE)
    }

    async fn create_node(&self, object: &Value, deleting: bool) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.control_plane.client());
        let mut node: Node = from_value(object.clone())?;
        if deleting {
            node.metadata.finalizers = Some(vec!["example.com/stays".to_owned()]);
        }
        let name = nodes.create(&PostParams::default(), &node).await?.name_any();
        let patch = Patch::Merge(json!({"status": object["status"]}));
        nodes.patch_status(&name, &PatchParams::default(), &patch).await?;
        if deleting {
            nodes.delete(&name, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    /// Leaves nothing behind.
    async fn clear(&self, mut controller: Controller) -> Result<()> {
        controller.process().terminate(SOON).await?;
        let admin = self.control_plane.client();
        let (all, delete) = (ListParams::default(), DeleteParams::default());
        let nodes: Api<Node> = Api::all(admin.clone());
        for node in nodes.list(&all).await? {
            let stays = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            nodes.patch(&node.name_any(), &PatchParams::default(), &stays).await?;
        }
        nodes.delete_collection(&delete, &all).await?;
        Api::<CertificateSigningRequest>::all(admin).delete_collection(&delete, &all).await?;
        machines::api(&self.control_plane).delete_collection(&delete, &all).await?;
        self.memory().delete_collection(&delete, &all.clone().fields("metadata.name=countersign-claims")).await?;
        wait::until("the Nodes to be gone", SOON, async || Ok(nodes.list(&all).await?.items.is_empty().then_some(())))
            .await
    }

    async fn compare(&mut self, case: &Case) -> Result<()> {
        let csr = case.request.object().map_err(|error| anyhow!(error))?;
        let field = |path: &str| csr.pointer(path).cloned().unwrap_or_default();
        let groups: Vec<String> = from_value(field("/spec/groups"))?;
        // What the program leaves alone, it says nothing of; a request cannot be created with conditions; and everybody
        // who may create one is in the group system:authenticated.
        let conditions = field("/status/conditions").as_array().is_some_and(|it| !it.is_empty());
        if case.verdict == "ignore" || conditions || !groups.iter().any(|group| group == AUTHENTICATED) {
            return Ok(());
        }
        let object = json!({"metadata": {"generateName": "case-"}, "spec": {
            "request": field("/spec/request"), "signerName": field("/spec/signerName"),
            "usages": field("/spec/usages"), "expirationSeconds": field("/spec/expirationSeconds"),
        }});
        let Some(name) = self.file_as(from_value(field("/spec/username"))?, groups, from_value(object)?).await? else {
            self.refused += 1;
            return Ok(());
        };
        let first = case.reasons.first().map_or("AutoApproved", String::as_str);
        let written = match (case.verdict.as_str(), self.mode) {
            ("approve", Mode::Enforce) => Some("Approved"),
            ("deny", Mode::Enforce) => Some("Denied"),
            _ => None,
        };
        let mut written_message = None;
        match written {
            Some(condition) => {
                let decided = approval::wait_decided(&self.control_plane.client(), &name, SOON).await?;
                let answer = approval::decision(&decided).map(Answer::of).context("no decision")?;
                let right =
                    answer.type_ == condition && answer.reason == first && answer.message.contains(&case.message);
                ensure!(right, "offline: {condition}, {first}, {:?}\nin the cluster: {answer:?}", case.message);
                written_message = Some(answer.message);
            }
            None => self.wait_told(&name, first, &case.message).await?,
        }
        let reviewed = self.review(&name)?;
        let same = written_message.is_none_or(|message| message == reviewed.message && !reviewed.differs);
        let right = reviewed.verdict == case.verdict && reviewed.reason == first;
        ensure!(
            right && same && reviewed.message.contains(&case.message),
            "{}, {first}\nreviewed: {reviewed:?}",
            case.verdict
        );
        self.compared += 1;
        let requests: Api<CertificateSigningRequest> = Api::all(self.control_plane.client());
        requests.delete(&name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// What `review` says of a request, on a dump in YAML or JSON by turns.
    fn review(&self, name: &str) -> Result<Reviewed> {
        let format = if self.compared.is_multiple_of(2) { "yaml" } else { "json" };
        reviewed::in_dump(&self.control_plane, format, &self.policy, &self.flags, name)
    }

    /// Files a request as its requestor. Gives its name; none where the API server itself refuses it.
    async fn file_as(
        &mut self,
        user: String,
        mut groups: Vec<String>,
        request: CertificateSigningRequest,
    ) -> Result<Option<String>> {
        groups.retain(|group| group != AUTHENTICATED);
        let key = (user, groups);
        if !self.clients.contains_key(&key) {
            let groups: Vec<&str> = key.1.iter().map(String::as_str).collect();
            let client = self.control_plane.client_as(&key.0, &groups).await?;
            self.clients.insert(key.clone(), client);
        }
        let client = self.clients.get(&key).context("no client")?;
        match Api::all(client.clone()).create(&PostParams::default(), &request).await {
            Ok(created) => Ok(Some(created.name_any())),
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until an Event says this of a request.
    async fn wait_told(&self, name: &str, reason: &str, message: &str) -> Result<()> {
        let events: Api<Event> = Api::namespaced(self.control_plane.client(), "default");
        let params = ListParams::default().fields(&format!("regarding.name={name}"));
        let mut said = Vec::new();
        let told = wait::until("the program to say why the request waits", SOON, async || {
            let found = events.list(&params).await?;
            let told = |it: Event| (it.reason.unwrap_or_default(), it.note.unwrap_or_default());
            said = found.items.into_iter().map(told).collect();
            Ok(said.iter().any(|(found, note)| found == reason && note.contains(message)).then_some(()))
        })
        .await;
        told.with_context(|| format!("offline: {reason}: {message}\nin the cluster: {said:?}"))
    }
}
