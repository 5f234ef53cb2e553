use serde_json::{Value, json};

use super::*;
use crate::identity::Resolution;
use crate::request::Reading;

fn request(metadata: &Value) -> CertificateSigningRequest {
    let spec = json!({"request": "", "signerName": KUBELET_SERVING, "username": "system:node:a"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn with_uid(uid: &str) -> CertificateSigningRequest {
    request(&json!({
        "name": "csr-a", "uid": uid, "resourceVersion": uid, "creationTimestamp": "2026-01-01T00:00:00Z",
    }))
}

fn store() -> Store {
    Store::new(Surroundings::new("cluster.local".parse().unwrap(), Vec::new()))
}

/// A request that is gone, what it came with, and another one of the same name, which exists.
fn replaced() -> (Store, RequestId, Arc<RequestSpec>, RequestId) {
    let mut store = store();
    store.apply_request(with_uid("1"), None);
    let old = store.named(&"csr-a".into()).unwrap();
    let Body::Unread(spec) = store.pending(&old).unwrap().body.clone() else { panic!("nobody has read it") };
    store.apply_request(with_uid("2"), None);
    let new = store.named(&old.name).unwrap();
    (store, old, spec, new)
}

#[test]
fn a_request_is_not_taken_for_what_another_one_of_its_name_was_read_as() {
    let (mut store, old, spec, new) = replaced();
    store.set_reading(&old, &spec, Reading::of_spec(&spec));
    let Body::Unread(spec) = store.pending(&new).unwrap().body.clone() else { panic!("nobody has read this one") };
    store.set_reading(&new, &spec, Reading::of_spec(&spec));
    assert!(matches!(store.pending(&new).unwrap().body, Body::Read(_)));
}

#[test]
fn what_becomes_of_a_request_is_not_held_against_another_one_of_its_name() {
    let (mut store, old, _, new) = replaced();
    let now = Instant::now();
    let reasons = NonEmpty::one("NodeNotFound");
    assert_eq!(store.queue.pop(now), Some(("system:node:a".into(), new.name.clone())));
    store.queue.done(&"system:node:a".into());
    store.set_decided(&old, true);
    store.remove_request(&old);
    store.put_off(&old, now);
    store.retry(&old, now);
    store.set_resolved(&old, Resolutions::default(), now);
    assert!(!store.start_resolving(&old) && !store.tell(&old, &reasons));
    store.replace_request(&old, with_uid("1"));
    assert_eq!((store.queue.pop(now), store.queue.next_due()), (None, None));

    assert!(store.tell(&new, &reasons) && store.start_resolving(&new));
    assert_eq!((store.retry(&new, now), store.retry(&new, now)), (0, 1));
    store.set_decided(&new, true);
    assert!(store.pending(&new).is_none());
    store.remove_request(&new);
    assert!(store.named(&new.name).is_none());
}

#[test]
fn what_was_read_afresh_is_taken_in_where_nothing_else_has_come() {
    let (mut store, _, _, new) = replaced();
    store.replace_request(&new, with_uid("3"));
    assert!(store.pending(&new).is_none());
    let newest = store.named(&new.name).unwrap();
    assert_eq!((&*newest.uid, store.pending(&newest).is_some()), ("3", true));
    store.remove_request(&newest);
    store.replace_request(&newest, with_uid("3"));
    assert!(store.named(&new.name).is_none());
}

#[test]
fn a_request_that_cannot_be_told_from_others_is_not_answered() {
    let mut store = store();
    for lacking in ["name", "uid", "resourceVersion"] {
        for value in [Value::Null, json!("")] {
            let mut metadata = json!({"name": "csr-a", "uid": "1", "resourceVersion": "1"});
            metadata[lacking] = value;
            store.apply_request(request(&metadata), None);
            assert!(store.requests.is_empty(), "{metadata}");
        }
    }
}

#[test]
fn a_request_whose_name_is_too_long_is_not_kept() {
    let named = |name: &str| request(&json!({"name": name, "uid": "1", "resourceVersion": "1"}));
    let mut store = store();
    assert_eq!(store.apply_request(named(&"x".repeat(1024)), None), Change::None);
    assert_eq!(store.requests.len(), 1);
    let too_long = named(&"x".repeat(1025));
    assert!(RequestId::of(&too_long).is_none());
    assert_eq!(store.apply_request(too_long, None), Change::NameTooLong("system:node:a".to_owned()));
    assert_eq!(store.requests.len(), 1);
}

#[test]
fn what_is_filed_while_a_run_ends_is_left_to_another() {
    let mut store = store();
    let file = |store: &mut Store, name: &str, second: u32| {
        let created = format!("2026-01-01T00:00:0{second}Z");
        let metadata = json!({"name": name, "uid": name, "resourceVersion": "1", "creationTimestamp": created});
        store.apply_request(request(&metadata), None);
        store.named(&name.into())
    };
    let reasons = NonEmpty::one("NodeNotFound");
    let old = [1, 2, 3, 4].map(|second| file(&mut store, &format!("old-{second}"), second).unwrap());
    // What was told before everything was known may have to be told otherwise.
    store.tell(&old[0], &reasons);
    assert_eq!(store.await_pending().len(), 4);
    assert!(!old.iter().any(|request| store.is_settled(request)));

    assert!(file(&mut store, "new", 9).is_none() && store.queue.is_superseded(&old[3].name));
    assert_eq!(store.queue.pop(Instant::now()), Some(("system:node:a".into(), old[3].name.clone())));
    assert!(!store.tell(&old[0], &reasons), "that is no news");
    store.set_decided(&old[1], true);
    store.remove_request(&old[2]);
    // Another one of its name.
    store.remove_request(&old[3]);
    store.apply_request(request(&json!({"name": "old-4", "uid": "9", "resourceVersion": "9"})), None);
    assert!(old.iter().all(|request| store.is_settled(request)));
}

/// The request at a version, with conditions of these types.
fn at(version: &str, conditions: &[&str]) -> CertificateSigningRequest {
    let mut csr = with_uid("1");
    let conditions: Vec<_> = conditions.iter().map(|type_| json!({"type": type_, "status": "True"})).collect();
    csr.metadata.resource_version = Some(version.to_owned());
    csr.status = serde_json::from_value(json!({"conditions": conditions})).unwrap();
    csr
}

#[test]
fn an_answer_is_to_the_version_that_was_seen_last() {
    let mut store = store();
    store.apply_request(at("1", &[]), None);
    let mut csr = at("2", &["Example"]);
    csr.metadata.finalizers = Some(Vec::new());
    store.apply_request(csr, None);
    let pending = store.pending(&store.named(&"csr-a".into()).unwrap()).unwrap();
    let conditions: Vec<&str> = pending.conditions.iter().map(|it| it.type_.as_str()).collect();
    assert_eq!((pending.resource_version.as_str(), &conditions[..]), ("2", &["Example"][..]));
    assert_eq!(pending.given, Given::More);
}

#[test]
fn what_has_an_answer_is_not_in_line_whatever_older_state_comes_late() {
    for answer in ["Approved", "Denied", "Failed"] {
        let mut store = store();
        store.apply_request(at("1", &[]), None);
        for csr in [at("2", &[answer]), at("1", &[])] {
            store.apply_request(csr, None);
            let request = store.named(&"csr-a".into()).unwrap();
            assert!(store.pending(&request).is_none() && store.queue.pop(Instant::now()).is_none(), "{answer}");
        }
    }
}

#[test]
fn only_requests_that_were_listed_and_are_for_this_signer_are_kept() {
    let mut store = store();
    let mut other = with_uid("1");
    other.spec.signer_name = "kubernetes.io/kube-apiserver-client-kubelet".to_owned();
    store.apply_request(other, None);
    assert!(store.requests.is_empty());
    let names: [Arc<str>; 2] = ["a".into(), "b".into()];
    for name in &names {
        store.apply_request(request(&json!({"name": **name, "uid": "1", "resourceVersion": "1"})), None);
    }
    store.retain_requests(&HashSet::from([names[1].clone()]));
    assert_eq!(names.map(|name| store.named(&name).is_some()), [false, true]);
}

#[test]
fn what_dns_said_holds_for_ten_seconds() {
    let (mut store, now) = (store(), Instant::now());
    store.apply_request(with_uid("1"), None);
    let request = store.named(&"csr-a".into()).unwrap();
    let answers = Resolutions::from_iter([("a".parse().unwrap(), Resolution::Addresses(Vec::new()))]);
    store.set_resolved(&request, answers.clone(), now);
    let after = |milliseconds| {
        let now = now + Duration::from_millis(milliseconds);
        store.pending(&request).unwrap().resolutions(now)
    };
    assert_eq!([*after(0) == answers, *after(9_999) == answers], [true; 2]);
    assert_eq!(*after(10_000), Resolutions::default());
}

#[test]
fn a_budget_is_kept_until_it_is_full_again() {
    let (mut store, per_hour) = (store(), 60);
    let [first, later] = [0, 3600].map(|second| Timestamp::from_second(second).unwrap());
    let names: Vec<NodeName> = (0..MIN_BUDGETS).map(|number| format!("node-{number}").parse().unwrap()).collect();
    let (busy, others) = names.split_first().unwrap();
    for name in others {
        store.spend(name, per_hour, first);
    }
    for _ in 0..30 {
        store.spend(busy, per_hour, later);
    }
    store.spend(&others[0], per_hour, later);
    assert_eq!(store.budgets.len(), 2);
    let [busy, other] = [busy, &others[0]].map(|name| store.budget(name).unwrap().wait(per_hour, later));
    assert_eq!((busy, other), (Duration::from_mins(1), Duration::ZERO));
}

/// What is kept of requests with so many bytes of text each, in the order in which they come, with room for so many.
fn kept(room: usize, texts: &[usize]) -> (Store, Vec<RequestId>) {
    let mut store = Store { room: Room::new(room), ..store() };
    for (number, bytes) in texts.iter().enumerate() {
        let mut csr = request(&json!({"name": format!("csr-{number}"), "uid": "1", "resourceVersion": "1"}));
        csr.spec.username = format!("system:node:{number}");
        csr.spec.request = vec![b'x'; bytes - csr.spec.username.len()].into();
        store.apply_request(csr, None);
    }
    let ids = (0..texts.len()).map(|number| store.named(&format!("csr-{number}").into()).unwrap()).collect();
    (store, ids)
}

#[test]
fn of_more_requests_than_there_is_room_for_no_more_is_kept_than_that_they_are_there() {
    let (mut store, ids) = kept(400, &[50, 51, 50, 50]);
    let left = |store: &Store| -> Vec<bool> { ids.iter().map(|request| store.is_left(request)).collect() };
    assert_eq!(left(&store), [false, true, false, true]);
    // What was read takes room until it is answered.
    let Body::Unread(spec) = store.pending(&ids[0]).unwrap().body.clone() else { panic!("nobody has read it") };
    store.set_reading(&ids[0], &spec, Reading::of_spec(&spec));
    let another = || {
        let mut csr = with_uid("1");
        csr.spec.request = vec![b'x'; 30].into();
        csr
    };
    drop(spec);
    store.apply_request(another(), None);
    let name: Arc<str> = "csr-a".into();
    assert!(store.is_left(&store.named(&name).unwrap()));
    store.set_decided(&ids[0], true);
    let id = store.named(&name).unwrap();
    store.remove_request(&id);
    store.apply_request(another(), None);
    assert!(!store.is_left(&store.named(&name).unwrap()));
}

#[test]
fn what_was_left_is_kept_for_its_turn_alone() {
    let (mut store, ids) = kept(0, &[50]);
    let mut csr = request(&json!({"name": "csr-0", "uid": "1", "resourceVersion": "2"}));
    csr.spec.username = "system:node:0".to_owned();
    store.leave(&ids[0]);
    assert!(store.is_left(&ids[0]));
    let (requestor, _) = store.queue.pop(Instant::now()).unwrap();
    store.keep_for_its_turn(&ids[0], csr);
    store.queue.done(&requestor);
    assert_eq!(store.queue.pop(Instant::now()), None);
    let pending = store.pending(&ids[0]).unwrap();
    assert!(matches!(pending.body, Body::Unread(_)) && pending.resource_version == "2");
    store.leave(&ids[0]);
    assert!(store.is_left(&ids[0]));

    let (mut store, ids) = kept(200, &[50]);
    store.leave(&ids[0]);
    assert!(!store.is_left(&ids[0]));
}
