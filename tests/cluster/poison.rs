//! A node stores what it may, in a form that no client expects, and no other node waits for that.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::BodyExt;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, PostParams};
use kube::client::Body;
use kube::{Api, Client, ResourceExt};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::fixture::{Answer, Cluster, SOON, alone, series};
use crate::harness::control_plane::Options;
use crate::harness::requests::Request;
use crate::harness::{approval, lease, protobuf, wait};

pub fn trials() -> Vec<Trial> {
    vec![
        alone("poison::bytes_that_are_no_text_delay_nobody", no_text),
        alone("poison::thousands_of_names_take_no_memory_and_delay_nobody", thousands_of_names),
        alone("poison::requests_of_megabytes_take_no_memory_and_delay_nobody", megabytes),
    ]
}

/// A byte that no text in UTF-8 has.
const NO_TEXT: u8 = 0xff;

/// A kubelet's status goes to the API server as protobuf, which looks at no text. The names of its fields come back in
/// managedFields, byte by byte, while JSON has to be UTF-8.
async fn no_text() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.node("honest-1", &["honest-1", "10.24.0.1"]).await?;
    let rogue = cluster.control_plane.client_of_node("rogue-1").await?;
    // Who writes what is noted where there was something at its creation, as there is in a kubelet's.
    let node = json!({"metadata": {"name": "rogue-1", "labels": {"kubernetes.io/hostname": "rogue-1"}}});
    Api::<Node>::all(rogue.clone()).create(&PostParams::default(), &serde_json::from_value(node)?).await?;
    ensure_served(&cluster, 1).await?;

    put_status(&rogue, "rogue-1", "10.24.0.9").await?;
    ensure_no_text(&cluster.admin(), "/api/v1/nodes/rogue-1").await?;
    // Its Node is read afresh before this is refused.
    let refused = Request::of_node("rogue-1").ip([10, 24, 0, 1]).submit(&rogue).await?.name_any();
    cluster.wait_deferred(&refused, "AddressNotOwned").await?;
    // What changes from now on comes after those bytes.
    cluster.set_addresses("honest-1", &["honest-1", "10.24.0.2"]).await?;
    ensure_served(&cluster, 2).await?;

    let poisoned = file_with_managed_fields(&rogue).await?;
    let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{poisoned}");
    ensure_no_text(&cluster.admin(), &path).await?;
    wait_approved(&cluster.admin(), &path).await?;
    ensure_served(&cluster, 2).await?;

    cluster.controller.process().restart()?;
    cluster.controller.wait_until_ready().await?;
    ensure_served(&cluster, 2).await?;
    cluster.set_addresses("honest-1", &["honest-1", "10.24.0.3"]).await?;
    ensure_served(&cluster, 3).await?;
    let log = std::fs::read_to_string(cluster.controller.process().log())?;
    ensure!(!log.contains("watch broken"), "a watch broke:\n{log}");
    Ok(())
}

async fn ensure_served(cluster: &Cluster, last: u8) -> Result<()> {
    let request = Request::of_node("honest-1").dns("honest-1")?.ip([10, 24, 0, last]);
    cluster.answer_to("honest-1", &request).await?.ensure_approved()
}

/// Writes a status as a kubelet does, with a resource whose name is no text.
async fn put_status(client: &Client, name: &str, address: &str) -> Result<()> {
    let metadata = protobuf::message(&[(1, name.as_bytes())]);
    let quantity = protobuf::message(&[(1, b"1")]);
    let resource = protobuf::message(&[(1, &[NO_TEXT]), (2, &quantity)]);
    let addresses = [("Hostname", name), ("InternalIP", address)]
        .map(|(kind, it)| protobuf::message(&[(1, kind.as_bytes()), (2, it.as_bytes())]));
    let status = protobuf::message(&[(1, &resource), (5, &addresses[0]), (5, &addresses[1])]);
    // As it was created, since a node must not change it.
    let taint = protobuf::message(&[(1, b"node.kubernetes.io/not-ready"), (2, b""), (3, b"NoSchedule")]);
    let spec = protobuf::message(&[(5, &taint)]);
    let node = protobuf::object("v1", "Node", &protobuf::message(&[(1, &metadata), (2, &spec), (3, &status)]));
    let request =
        http::Request::put(format!("/api/v1/nodes/{name}/status")).header("Content-Type", protobuf::MEDIA_TYPE);
    send(client, request.body(Body::from(node))?).await.map(drop)
}

/// Files a request with managedFields of its own, and returns its name.
async fn file_with_managed_fields(client: &Client) -> Result<String> {
    let mut object = Request::of_node("rogue-1").dns("rogue-1")?.ip([10, 24, 0, 9]).object()?;
    object.metadata.managed_fields = Some(vec![serde_json::from_value(json!({
        "manager": "rogue", "operation": "Update", "apiVersion": "certificates.k8s.io/v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:annotations": {"f:NO-TEXT": {}}}},
    }))?]);
    let text = serde_json::to_string(&object)?;
    let (before, after) = text.split_once("NO-TEXT").context("no managedFields")?;
    let body = [before.as_bytes(), &[NO_TEXT], after.as_bytes()].concat();
    let request = http::Request::post("/apis/certificates.k8s.io/v1/certificatesigningrequests");
    let created = send(client, request.header("Content-Type", "application/json").body(Body::from(body))?).await?;
    let created: Value = serde_json::from_str(&String::from_utf8_lossy(&created))?;
    let name = created.pointer("/metadata/name").and_then(Value::as_str);
    Ok(name.context("a request without a name")?.to_owned())
}

async fn wait_approved(client: &Client, path: &str) -> Result<()> {
    // The library wants text.
    let answer = wait::until(&format!("{path} to be answered"), SOON, async || {
        let bytes = read(client, path).await?;
        let request: CertificateSigningRequest = serde_json::from_str(&String::from_utf8_lossy(&bytes))?;
        Ok(approval::decision(&request).map(Answer::of))
    })
    .await?;
    answer.ensure_approved()
}

/// Checks that the API server gives out what this is about.
async fn ensure_no_text(client: &Client, path: &str) -> Result<()> {
    let bytes = read(client, path).await?;
    ensure!(std::str::from_utf8(&bytes).is_err(), "{path} is text: {}", String::from_utf8_lossy(&bytes));
    Ok(())
}

async fn read(client: &Client, path: &str) -> Result<Vec<u8>> {
    send(client, http::Request::get(path).body(Body::empty())?).await
}

/// The answer, whatever bytes it has.
async fn send(client: &Client, request: http::Request<Body>) -> Result<Vec<u8>> {
    let what = format!("{} {}", request.method(), request.uri());
    let answer = client.send(request).await?;
    let status = answer.status();
    let bytes = answer.into_body().collect().await?.to_bytes().to_vec();
    if !status.is_success() {
        bail!("{what}: {status}: {}", String::from_utf8_lossy(&bytes));
    }
    Ok(bytes)
}

/// How many requests are filed that are as large as etcd takes them.
const LARGE: usize = 150;
/// Their size. The API server looks for the PEM block in it, and for nothing else.
const LARGE_BYTES: usize = 1_400_000;
/// How many bytes the program may ever take: half of what the chart allows.
const MOST_MEMORY: u64 = 128 << 20;
/// How many large requests are in the memory of the test at a time.
const AT_ONCE: u32 = 5;

async fn megabytes() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.node("honest-1", &["honest-1", "10.24.0.1"]).await?;
    cluster.node("rogue-1", &["rogue-1", "10.24.0.9"]).await?;
    let rogue = cluster.control_plane.client_of_node("rogue-1").await?;
    ensure_served(&cluster, 1).await?;
    cluster.controller.process().terminate(SOON).await?;
    file_large(&rogue, LARGE).await?;
    cluster.controller.process().restart()?;
    cluster.controller.wait_until_ready().await?;
    ensure_served(&cluster, 1).await?;
    // These are brought by the watch.
    file_large(&rogue, LARGE / 10).await?;
    ensure_served(&cluster, 1).await?;
    let denied = wait_large_denied(&cluster.admin()).await?;
    ensure!(denied == LARGE + LARGE / 10, "{denied} large requests were denied");
    let most = most_memory(&mut cluster)?;
    ensure!(most < MOST_MEMORY, "it took {most} bytes");
    println!("poison: {} MiB at the most, with {LARGE} requests of {LARGE_BYTES} bytes", most >> 20);
    Ok(())
}

/// Files requests with text around them.
async fn file_large(client: &Client, count: usize) -> Result<()> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let request = Request::of_node("rogue-1").dns("rogue-1")?.ip(Ipv4Addr::new(10, 24, 0, 9));
    let pem = request.pem()?;
    let text = format!("{}\n{pem}", "x".repeat(LARGE_BYTES - pem.len() - 1));
    let object = request.object_around(text.into_bytes())?;
    let filed =
        stream::iter(0..count).map(async |_| anyhow::Ok(api.create(&PostParams::default(), &object).await.map(drop)?));
    filed.buffer_unordered(AT_ONCE as usize).try_collect().await
}

/// Waits until every large request is denied, and returns how many there are.
async fn wait_large_denied(admin: &Client) -> Result<usize> {
    wait::until("the large requests to be denied", SOON * 4, async || {
        let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
        let (mut params, mut count) = (ListParams::default().limit(AT_ONCE), 0);
        loop {
            let page = api.list(&params).await?;
            for request in page.items.iter().filter(|it| it.spec.request.0.len() == LARGE_BYTES) {
                let Some(condition) = approval::decision(request) else { return Ok(None) };
                Answer::of(condition).ensure_denied("MalformedRequest", "more than 16384 bytes")?;
                count += 1;
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(Some(count)),
            }
        }
    })
    .await
}

/// How many requests are filed that have as many names as they have room for, while nobody answers.
const NAMED: u16 = 1500;
const NAMES: usize = 2000;
/// How many of them the program reads before its turn has come, at least.
const READ_AHEAD: f64 = 500.0;
/// The longest request that is looked into.
const MOST_BYTES: usize = 16 * 1024;

async fn thousands_of_names() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    cluster.node("honest-1", &["honest-1", "10.24.0.1"]).await?;
    cluster.node("rogue-1", &["rogue-1", "10.24.0.9"]).await?;
    ensure_served(&cluster, 1).await?;
    cluster.controller.process().terminate(SOON).await?;
    lease::hold(&cluster.admin()).await?;
    cluster.controller.process().restart()?;
    cluster.controller.wait_until_ready().await?;

    let mut request = Request::of_node("rogue-1");
    for number in 0..NAMES {
        request = request.dns(&format!("a{number:x}"))?;
    }
    let object = request.object()?;
    let size = object.spec.request.0.len();
    ensure!((MOST_BYTES - 1000..=MOST_BYTES).contains(&size), "the request has {size} bytes");
    let rogue: Api<CertificateSigningRequest> = Api::all(cluster.control_plane.client_of_node("rogue-1").await?);
    let filed = stream::iter(0..NAMED).map(async |_| rogue.create(&PostParams::default(), &object).await.map(drop));
    filed.buffer_unordered(20).try_collect::<()>().await?;
    wait::until("requests to be read ahead", SOON, async || {
        let read = cluster.controller.metric("countersign_evaluation_seconds_count").await?;
        Ok((read >= Some(READ_AHEAD)).then_some(()))
    })
    .await?;

    lease::release(&cluster.admin()).await?;
    ensure_served(&cluster, 1).await?;
    wait::until("the requests with thousands of names to be denied", SOON * 4, async || {
        let denied = series(&cluster.controller.metrics().await?, "countersign_decisions_total{decision=\"denied\"");
        let left = f64::from(NAMED) - denied.values().sum::<f64>();
        Ok((left.abs() < 0.5).then_some(()))
    })
    .await?;
    let most = most_memory(&mut cluster)?;
    ensure!(most < MOST_MEMORY, "it took {most} bytes");
    println!("poison: {} MiB at the most, with {NAMED} requests of {NAMES} names", most >> 20);
    Ok(())
}

/// How many bytes of memory the controller had at the most since it was started.
fn most_memory(cluster: &mut Cluster) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.controller.process().id()))?;
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    Ok(most.context("no VmHWM")?.trim().parse::<u64>()? << 10)
}
