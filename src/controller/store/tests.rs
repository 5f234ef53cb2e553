use serde_json::json;

use super::*;
use crate::request::Reading;

fn request(uid: &str) -> CertificateSigningRequest {
    serde_json::from_value(json!({
        "metadata": {"name": "csr-a", "uid": uid, "resourceVersion": uid, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"request": "", "signerName": KUBELET_SERVING, "username": "system:node:a"},
    }))
    .unwrap()
}

/// A request, what it came with, and another one of the same name after it.
fn replaced() -> (Store, Arc<str>, Arc<RequestSpec>) {
    let mut store = Store::new(Surroundings::new("cluster.local".parse().unwrap(), Vec::new()));
    let name: Arc<str> = "csr-a".into();
    store.apply_request(request("1"), None);
    let Body::Unread(spec) = store.pending(&name).unwrap().body.clone() else { panic!("nobody has read it") };
    store.apply_request(request("2"), None);
    (store, name, spec)
}

#[test]
fn a_request_is_not_taken_for_what_another_one_of_its_name_was_read_as() {
    let (mut store, name, spec) = replaced();
    store.set_reading(&name, &spec, Reading::of_spec(&spec));
    let Body::Unread(spec) = store.pending(&name).unwrap().body.clone() else { panic!("nobody has read this one") };
    store.set_reading(&name, &spec, Reading::of_spec(&spec));
    assert!(matches!(store.pending(&name).unwrap().body, Body::Read(_)));
}

#[test]
fn what_becomes_of_a_request_is_not_held_against_another_one_of_its_name() {
    let (mut store, name, _) = replaced();
    store.set_decided(&name, "1", true);
    store.remove_request_of(&name, "1");
    assert_eq!(store.queue.pop(Instant::now()).map(|(_, name)| name), Some(name.clone()));
    store.set_decided(&name, "2", true);
    assert!(store.pending(&name).is_none());
    store.remove_request_of(&name, "2");
    assert!(store.identity(&name).is_none());
}
