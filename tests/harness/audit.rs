//! The API server's audit log: who has written what, and when, as the API server itself saw it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::Deserialize;

/// One request that the API server has answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// As in RBAC: `get`, `patch` and so on.
    pub verb: String,
    /// Who asked.
    pub user: User,
    /// What it was about.
    #[serde(default)]
    pub object_ref: Object,
    #[serde(rename = "auditID")]
    id: String,
    stage: String,
    /// What was answered.
    #[serde(default)]
    pub response_status: Status,
    /// When it came.
    #[serde(rename = "requestReceivedTimestamp")]
    pub received: Timestamp,
    /// When it was answered.
    #[serde(rename = "stageTimestamp")]
    pub answered: Timestamp,
}

/// Who asked.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// The user's name.
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

/// What a request was about.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Object {
    /// The plural of the kind.
    #[serde(default)]
    pub resource: String,
    /// The part of the object.
    #[serde(default)]
    pub subresource: String,
    /// The object's name.
    #[serde(default)]
    pub name: String,
}

/// What was answered.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    /// The HTTP status.
    #[serde(default)]
    pub code: u16,
}

/// Kept with each request that a token has authenticated.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

impl Entry {
    /// Which token was used, where one was.
    pub fn credential(&self) -> Option<&str> {
        self.user.extra.get(CREDENTIAL)?.first().map(String::as_str)
    }

    /// Whether it was done.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.response_status.code)
    }

    /// Whether it is about this part of objects of this kind.
    pub fn is_about(&self, resource: &str, subresource: &str) -> bool {
        self.object_ref.resource == resource && self.object_ref.subresource == subresource
    }

    /// Whether it has answered a request for a certificate.
    pub fn is_answer(&self) -> bool {
        self.succeeded() && self.is_about("certificatesigningrequests", "approval")
    }

    /// Whether it has filed one.
    fn is_filing(&self) -> bool {
        self.succeeded() && self.verb == "create" && self.is_about("certificatesigningrequests", "")
    }

    fn is_answered(&self) -> bool {
        self.stage == "ResponseComplete"
    }

    /// Whether it could change anything that lasts.
    pub fn is_write(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb.as_str())
            && !self.object_ref.resource.starts_with("selfsubject")
            && !self.object_ref.resource.is_empty()
    }
}

/// All that was answered so far, in the order of the answers.
pub fn read(log: &Path) -> Result<Vec<Entry>> {
    let mut entries = read_all(log)?;
    entries.retain(Entry::is_answered);
    entries.sort_by_key(|entry| entry.answered);
    Ok(entries)
}

/// What has come and was not answered: the API server may have done it all the same.
pub fn unfinished(log: &Path) -> Result<Vec<Entry>> {
    let entries = read_all(log)?;
    let is_end = |entry: &&Entry| entry.stage != "RequestReceived";
    let answered: BTreeSet<String> = entries.iter().filter(is_end).map(|entry| entry.id.clone()).collect();
    Ok(entries.into_iter().filter(|entry| !answered.contains(&entry.id)).collect())
}

fn read_all(log: &Path) -> Result<Vec<Entry>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
    Ok(entries_in(complete(&text)))
}

/// The lines that are whole: the last may be half written.
fn complete(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| text.get(..=end).unwrap_or_default())
}

/// One on which an API server was killed is passed over.
fn entries_in(lines: &str) -> Vec<Entry> {
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Follows a log while it grows.
pub struct Tail {
    log: PathBuf,
    read: u64,
}

impl Tail {
    /// Of a log from its beginning.
    pub fn new(log: PathBuf) -> Self {
        Self { log, read: 0 }
    }

    /// What was answered and not read before.
    pub fn read(&mut self) -> Result<Vec<Entry>> {
        let mut text = String::new();
        let mut file = File::open(&self.log).with_context(|| format!("open {}", self.log.display()))?;
        file.seek(SeekFrom::Start(self.read))?;
        file.read_to_string(&mut text)?;
        let complete = complete(&text);
        self.read += complete.len() as u64;
        let mut entries = entries_in(complete);
        entries.retain(Entry::is_answered);
        Ok(entries)
    }
}

/// What the audit log calls the token in a kubeconfig.
pub async fn credential_in(kubeconfig: &Path) -> Result<String> {
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &options).await?;
    credential_of(Client::try_from(config)?).await
}

/// What the audit log calls the token of a client.
pub async fn credential_of(client: Client) -> Result<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let extra = review.status.and_then(|it| it.user_info).and_then(|it| it.extra).unwrap_or_default();
    extra.get(CREDENTIAL).and_then(|ids| ids.first()).cloned().context("a token without an ID")
}

/// What has filed each request for a certificate, by the request's name.
pub fn filings(entries: &[Entry]) -> BTreeMap<&str, &Entry> {
    entries.iter().filter(|it| it.is_filing()).map(|entry| (entry.object_ref.name.as_str(), entry)).collect()
}

/// The successful answers to each request for a certificate: who has approved or denied it.
pub fn answers(entries: &[Entry]) -> BTreeMap<&str, Vec<&Entry>> {
    let mut answers: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries.iter().filter(|it| it.is_answer()) {
        answers.entry(&entry.object_ref.name).or_default().push(entry);
    }
    answers
}

/// Checks that no request was answered twice.
pub fn ensure_answered_once(entries: &[Entry]) -> Result<()> {
    for (name, answers) in answers(entries) {
        ensure!(answers.len() == 1, "{name} was answered {} times: {answers:#?}", answers.len());
    }
    Ok(())
}

/// Checks that none of these instances was refused anything for want of a right. Each is known by the token that it uses.
pub fn ensure_permitted(entries: &[Entry], instances: &[String]) -> Result<()> {
    let of_instances = |entry: &&Entry| entry.credential().is_some_and(|id| instances.iter().any(|it| it == id));
    let refused = entries.iter().filter(of_instances).find(|entry| entry.response_status.code == 403);
    ensure!(refused.is_none(), "forbidden: {refused:#?}");
    Ok(())
}

/// Checks that none of these instances has written anything, with or without success, while it did not hold the Lease.
/// Each is known by the token that it uses.
pub fn ensure_one_writer(entries: &[Entry], instances: &[String]) -> Result<()> {
    let of_instances = |entry: &&Entry| entry.credential().is_some_and(|id| instances.iter().any(|it| it == id));
    let holds = |entry: &&Entry| entry.is_about("leases", "") && entry.is_write() && entry.succeeded();
    let holders: Vec<&Entry> = entries.iter().filter(of_instances).filter(holds).collect();
    let writes = entries.iter().filter(of_instances).filter(|it| it.is_write() && !it.is_about("leases", ""));
    for write in writes {
        let holder = holders.iter().rev().find(|it| it.answered <= write.received);
        let right = holder.is_some_and(|holder| holder.credential() == write.credential());
        ensure!(right, "written without the Lease: {write:#?}\nheld by {holder:#?}");
    }
    Ok(())
}
