use futures::stream;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use k8s_openapi::ByteString;
use kube::Client;
use kube::client::Body as Content;
use parking_lot::Mutex;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use tower::BoxError;

use super::*;
use crate::controller::tests::alone;
use crate::identity::MachineRecord;
use crate::policy::Policy;
use crate::verdict::Approval;
use crate::watch::Health;

const POLICY: &str = "{apiVersion: countersign/v1, kind: ServingPolicy, rules: [
    {name: all, identity: {sources: [node]}, dnsNames: {patterns: ['{node}', 'other-*']}}]}";

/// The API server.
struct Server {
    nodes: Vec<Value>,
    /// The request of the name that is asked for; none where it was deleted.
    request: Option<Value>,
    /// Whether an answer is there already when it is written.
    is_written_before: bool,
    /// Whether it takes patches alone.
    takes_patches: bool,
    /// Whether what it says breaks off after the status.
    breaks_off: bool,
    /// The Nodes that were read, and the answers that were sent, in turn.
    seen: Vec<String>,
}

impl Server {
    fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let failure = |code: u16, reason: &str| {
            (code, json!({"kind": "Status", "status": "Failure", "message": "", "code": code, "reason": reason}))
        };
        let found = match path.rsplit_once('/').unwrap() {
            ("/api/v1/nodes", name) => {
                self.seen.push(name.to_owned());
                self.nodes.iter().find(|node| node["metadata"]["name"] == name).cloned()
            }
            (_, "approval") if method == Method::PUT && self.takes_patches => return failure(500, "InternalError"),
            (_, "approval") => {
                let sent: Value = serde_json::from_slice(body).unwrap();
                let conditions = &sent["status"]["conditions"];
                let types = conditions.as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap());
                self.seen.push(types.collect::<Vec<_>>().join(", "));
                let Some(request) = &mut self.request else { return failure(404, "NotFound") };
                let is_judged =
                    ["uid", "resourceVersion"].iter().all(|it| sent["metadata"][it] == request["metadata"][it]);
                if is_judged || self.is_written_before {
                    request["status"] = json!({"conditions": conditions});
                }
                if !is_judged {
                    return failure(409, "Conflict");
                }
                Some(request.clone())
            }
            _ => self.request.clone(),
        };
        found.map_or_else(|| failure(404, "NotFound"), |object| (200, object))
    }
}

/// A controller, and what it talks to.
struct World {
    server: Arc<Mutex<Server>>,
    controller: Arc<Controller>,
    request: RequestId,
}

impl World {
    /// The watch has brought `known`, and a request of node `a` for these names; there are `nodes` by now.
    fn new(known: &[Value], nodes: &[Value], names: &[&str]) -> Self {
        Self::with_policy(POLICY, known, nodes, names)
    }

    /// Node `a` asks for a name that it lists, and is known to.
    fn of_own(policy: &str) -> Self {
        let own = [node("a", &["a"])];
        Self::with_policy(policy, &own, &own, &["a"])
    }

    fn with_policy(policy: &str, known: &[Value], nodes: &[Value], names: &[&str]) -> Self {
        let csr = csr(names);
        let server = Server {
            nodes: nodes.to_vec(),
            request: Some(csr.clone()),
            is_written_before: false,
            takes_patches: false,
            breaks_off: false,
            seen: Vec::new(),
        };
        let server = Arc::new(Mutex::new(server));
        let controller = alone(&client(&server), Policy::load(policy.as_bytes()).unwrap());
        let watches = controller.watched.iter().chain(controller.machine_watches.iter());
        watches.for_each(|watched| watched.set(Health::Live));
        let request = {
            let mut store = controller.store.lock();
            for node in known {
                store.apply_node(record(node));
            }
            store.apply_request(serde_json::from_value(csr).unwrap(), None);
            let (requestor, name) = store.queue.pop(Instant::now()).unwrap();
            store.queue.done(&requestor);
            store.named(&name).unwrap()
        };
        Self { server, controller, request }
    }

    /// What was read and written until the request was settled, this time.
    async fn settle(&self) -> (Result<(), ReconcileError>, Vec<String>) {
        let result = self.controller.settle(&self.request).await;
        (result, std::mem::take(&mut self.server.lock().seen))
    }

    /// How long it is until the request is looked at again without cause.
    fn wait(&self) -> Option<Duration> {
        let due = self.controller.store.lock().queue.next_due();
        due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    fn is_pending(&self) -> bool {
        self.controller.store.lock().pending(&self.request).is_some()
    }

    /// Whether an approval was told of, and taken out of what the node may have.
    fn is_approval_counted(&self) -> bool {
        let told = self.controller.metrics.decisions.with_label_values(&["approved", Approval::REASON]).get();
        let spent = self.controller.store.lock().budget(&"a".parse().unwrap()).is_some();
        assert_eq!(told == 1, spent);
        spent
    }
}

fn client(server: &Arc<Mutex<Server>>) -> Client {
    let server = server.clone();
    let service = move |request: Request<Content>| {
        let server = server.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let mut server = server.lock();
            let (status, object) = server.answer(&head.method, head.uri.path(), &body);
            let part = if server.breaks_off {
                Err(BoxError::from("it broke off"))
            } else {
                Ok(Frame::data(Bytes::from(object.to_string())))
            };
            let body = StreamBody::new(stream::iter([part]));
            Ok::<_, BoxError>(Response::builder().status(status).body(body)?)
        }
    };
    Client::new(tower::service_fn(service), "default")
}

fn csr(names: &[&str]) -> Value {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, "system:node:a");
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    json!({
        "metadata": {
            "name": "csr-a", "uid": "1", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "request": ByteString(pem.into_bytes()),
            "signerName": "kubernetes.io/kubelet-serving",
            "username": "system:node:a",
            "groups": ["system:nodes"],
            "usages": ["digital signature", "server auth"],
        },
    })
}

/// A Node that lists these names.
fn node(name: &str, names: &[&str]) -> Value {
    let addresses: Vec<Value> = names.iter().map(|name| json!({"type": "Hostname", "address": name})).collect();
    json!({"metadata": {"name": name}, "status": {"addresses": addresses}})
}

fn record(node: &Value) -> NodeRecord {
    NodeRecord::read(&serde_json::from_value(node.clone()).unwrap()).unwrap()
}

#[tokio::test]
async fn an_approval_waits_until_the_watch_has_brought_what_was_read_afresh() {
    let of_own = |names: &[&str]| node("a", names);
    let others = || node("other-1", &[]);
    for (known, nodes, names, read) in [
        // Its status has come, and is not known.
        (vec![of_own(&[])], vec![of_own(&["a"])], vec!["a"], "a"),
        // The Node whose name it asks for is gone, and is known.
        (vec![of_own(&["a", "other-1"]), others()], vec![of_own(&["a", "other-1"])], vec!["a", "other-1"], "other-1"),
    ] {
        let world = World::new(&known, &nodes, &names);
        let (result, seen) = world.settle().await;
        assert!(result.is_ok() && world.is_pending());
        assert_eq!(seen, [read]);
        assert!(world.wait().is_some_and(|wait| wait <= Duration::from_secs(1)), "{:?}", world.wait());
        {
            let mut store = world.controller.store.lock();
            store.follow_node(kube::runtime::watcher::Event::Delete(serde_json::from_value(others()).unwrap()));
            store.apply_node(record(&nodes[0]));
        }
        assert_eq!(world.settle().await.1, ["Approved"]);
        assert!(!world.is_pending() && world.is_approval_counted());
    }
}

#[tokio::test]
async fn a_denial_does_not_wait_for_the_watch() {
    let own = node("a", &["a"]);
    let known = [own.clone(), node("other-1", &[]), node("other-2", &[])];
    let world = World::new(&known, &[own, node("other-2", &[])], &["a", "other-1", "other-2"]);
    assert_eq!(world.settle().await.1, ["other-1", "other-2", "Denied"]);
    assert!(!world.is_pending() && !world.is_approval_counted());
}

#[tokio::test]
async fn four_nodes_are_read_afresh_and_no_fifth() {
    let others = ["other-1", "other-2", "other-3", "other-4", "other-5"];
    for (count, is_settled) in [(4, true), (5, false)] {
        let names = [&["a"], &others[..count]].concat();
        let own = node("a", &names);
        let known: Vec<Value> = [own.clone()].into_iter().chain(others.map(|name| node(name, &[]))).collect();
        let world = World::new(&known, &[own], &names);
        let (result, seen) = world.settle().await;
        assert_eq!((result.is_ok(), &seen[..]), (is_settled, &others.map(str::to_owned)[..4]));
        assert!(world.is_pending());
    }
}

#[tokio::test]
async fn only_an_answer_of_its_own_to_this_request_is_told_of_after_a_conflict() {
    let own = node("a", &["a"]);
    let other = |uid: &str, conditions: Value| {
        let mut csr = csr(&["a"]);
        csr["metadata"]["uid"] = uid.into();
        csr["metadata"]["resourceVersion"] = "2".into();
        csr["status"] = json!({"conditions": conditions});
        Some(csr)
    };
    let by_hand = |type_: &str| json!([{"type": type_, "status": "True", "message": "by hand"}]);
    for (name, is_written_before, request, is_pending, is_counted) in [
        ("written before", true, other("1", json!([])), false, true),
        ("written to another request of its name", true, other("2", json!([])), false, false),
        ("denied by hand", false, other("1", by_hand("Denied")), false, false),
        ("approved by hand", false, other("1", by_hand("Approved")), false, false),
        ("changed", false, other("1", json!([])), true, false),
        ("replaced", false, other("2", json!([])), false, false),
        ("deleted", false, None, false, false),
    ] {
        let world = World::new(std::slice::from_ref(&own), std::slice::from_ref(&own), &["a"]);
        {
            let mut server = world.server.lock();
            (server.is_written_before, server.request) = (is_written_before, request);
        }
        let (result, seen) = world.settle().await;
        assert!(result.is_ok() && seen == ["Approved"], "{name}");
        assert_eq!((world.is_pending(), world.is_approval_counted()), (is_pending, is_counted), "{name}");
        let mut store = world.controller.store.lock();
        let known = store.named(&world.request.name).map(|request| request.uid);
        let exists = world.server.lock().request.as_ref().map(|it| it["metadata"]["uid"].as_str().unwrap().into());
        assert_eq!(known, exists, "{name}");
        // What has no answer is judged again, as it is now.
        let is_in_line = store.queue.pop(Instant::now()).is_some();
        assert_eq!(is_in_line, matches!(name, "changed" | "replaced"), "{name}");
    }
}

#[tokio::test]
async fn an_answer_is_written_once_the_server_says_so_even_if_nothing_follows() {
    let world = World::of_own(POLICY);
    world.server.lock().breaks_off = true;
    let (result, seen) = world.settle().await;
    assert!(result.is_ok() && seen == ["Approved"]);
    assert!(!world.is_pending() && world.is_approval_counted());
}

#[tokio::test]
async fn what_is_not_taken_as_a_whole_is_patched_the_next_time() {
    let world = World::of_own(POLICY);
    world.controller.took_over.send_replace(true);
    world.server.lock().takes_patches = true;
    for seen in [&[][..], &["Approved"]] {
        world.controller.reconcile(&world.request.name).await;
        assert_eq!(world.server.lock().seen, seen);
    }
    assert!(!world.is_pending() && world.is_approval_counted());
}

/// One whose request came when there was no room for it.
fn full(policy: &str) -> World {
    let world = World::of_own(policy);
    let csr = world.server.lock().request.clone().unwrap();
    let mut store = world.controller.store.lock();
    store.fill();
    store.remove_request(&world.request);
    store.apply_request(serde_json::from_value(csr).unwrap(), None);
    assert!(store.is_left(&world.request));
    let (requestor, _) = store.queue.pop(Instant::now()).unwrap();
    store.queue.done(&requestor);
    drop(store);
    world
}

#[tokio::test]
async fn what_there_was_no_room_for_is_read_afresh_for_its_turn() {
    let world = full(POLICY);
    assert_eq!(world.settle().await.1, ["Approved"]);
    assert!(!world.is_pending() && world.is_approval_counted());

    let world = full(&POLICY.replace("rules", "mode: audit, rules"));
    assert!(world.settle().await.0.is_ok());
    {
        let mut store = world.controller.store.lock();
        assert_eq!(store.queue.pop(Instant::now()), None);
        assert!(store.is_left(&world.request) && store.pending_by_reason().contains_key(Approval::REASON));
    }

    let world = full(POLICY);
    world.server.lock().request = None;
    assert!(world.settle().await.0.is_ok() && !world.is_pending());
}

#[tokio::test]
async fn who_does_not_lead_reads_requests_and_answers_none() {
    let world = World::of_own(POLICY);
    world.controller.reconcile(&world.request.name).await;
    let is_read = world.controller.store.lock().pending(&world.request).map(|it| matches!(it.body, Body::Read(_)));
    assert_eq!((is_read, world.server.lock().seen.len()), (Some(true), 0));
    world.controller.took_over.send_replace(true);
    world.controller.reconcile(&world.request.name).await;
    assert_eq!(world.server.lock().seen, ["Approved"]);
}

#[tokio::test]
async fn in_audit_mode_nothing_is_written() {
    let world = World::of_own(&POLICY.replace("rules", "mode: audit, rules"));
    assert_eq!(world.settle().await.1, [""; 0]);
    assert!(world.is_pending() && !world.is_approval_counted());
}

#[tokio::test]
async fn an_answer_repeats_the_conditions_that_others_have_written() {
    let world = World::of_own(POLICY);
    let mut csr = csr(&["a"]);
    csr["metadata"]["resourceVersion"] = "2".into();
    csr["status"] = json!({"conditions": [{"type": "Example", "status": "True"}]});
    world.server.lock().request = Some(csr.clone());
    world.controller.store.lock().apply_request(serde_json::from_value(csr).unwrap(), None);
    assert_eq!(world.settle().await.1, ["Example, Approved"]);
}

#[tokio::test]
async fn a_request_is_denied_when_the_node_has_filed_a_newer_one() {
    let world = World::of_own(POLICY);
    let mut newer = csr(&["a"]);
    newer["metadata"] = json!({
        "name": "csr-b", "uid": "2", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:01Z",
    });
    world.controller.store.lock().apply_request(serde_json::from_value(newer).unwrap(), None);
    assert_eq!(world.settle().await.1, ["Denied"]);
}

#[tokio::test]
async fn nothing_is_approved_for_who_has_spent_its_approvals() {
    let world = World::of_own(POLICY);
    for _ in 0..1000 {
        world.controller.store.lock().spend(&"a".parse().unwrap(), 60, Timestamp::now());
    }
    assert_eq!(world.settle().await.1, [""; 0]);
    assert!(world.is_pending());
}

#[tokio::test]
async fn nothing_is_approved_on_what_a_broken_watch_has_brought() {
    let by_machine = POLICY.replace("[node]", "[machine]");
    let machine = json!({
        "metadata": {"name": "m"},
        "status": {"nodeRef": {"name": "a"}, "addresses": [{"type": "Hostname", "address": "a"}]},
    });
    for (policy, name) in [(POLICY, "nodes"), (&by_machine, "machines")] {
        let world = World::of_own(policy);
        let machine = MachineRecord::read(&serde_json::from_value(machine.clone()).unwrap());
        world.controller.store.lock().apply_machine("m", machine);
        let set = |health: Health| {
            world.controller.watched.set(name, health.clone());
            world.controller.machine_watches.set(name, health);
        };
        set(Health::Down("broken".to_owned()));
        assert_eq!((world.settle().await.1, world.is_pending()), (Vec::new(), true), "{name}");
        set(Health::Live);
        assert_eq!(world.settle().await.1, ["Approved"], "{name}");
    }
}
