//! `countersign policy diff` on a dump.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::dump::{AGO, Dump};
use crate::folder::Folder;

const OLD: &str = "{apiVersion: countersign/v1, kind: ServingPolicy, rules: [{name: all}]}";
const NEW: &str = "
apiVersion: countersign/v1
kind: ServingPolicy
protected: {dnsNames: [vault.example.com]}
rules:
- {name: workers, match: {nodeNames: [\"worker-*\"]}, ipAddresses: {ranges: [10.0.0.0/8]}}
- {name: lenient, match: {nodeNames: [\"lenient-*\"]}, onViolation: leave}
";

fn folder() -> Folder {
    let dump = Dump::default()
        .request("same", AGO, json!({"node": "worker-1", "dns": ["worker-1"], "ip": ["10.0.0.1"]}))
        .request("outside", AGO, json!({"node": "worker-2", "dns": ["worker-2"], "ip": ["192.168.0.2"]}))
        .request("vault", AGO, json!({"node": "worker-3", "dns": ["vault.example.com"]}))
        .request("lenient", AGO, json!({"node": "lenient-1", "dns": ["localhost"]}))
        .request("nobody", AGO, json!({"node": "other-1", "dns": ["other-2"]}))
        .node("worker-1", &["worker-1", "10.0.0.1"])
        .node("worker-2", &["worker-2", "192.168.0.2"])
        .node("worker-3", &["vault.example.com"])
        .node("lenient-1", &["localhost"])
        .node("other-1", &["other-1"])
        .surroundings();
    Folder::with(&[("cluster.yaml", &dump.yaml()), ("old.yaml", OLD), ("new.yaml", NEW)])
}

#[test]
fn requests_with_another_verdict_are_shown() {
    let folder = folder();
    let diff = |old, new| folder.run(&["policy", "diff", old, new, "-f", "cluster.yaml"]);
    assert_snapshot!("from old to new", diff("old.yaml", "new.yaml"));
    assert_snapshot!("from new to old", diff("new.yaml", "old.yaml"));
    assert_snapshot!("from old to old", diff("old.yaml", "old.yaml"));
}

#[test]
fn json_follows_its_schema() {
    let folder = folder();
    let schema: Value = serde_json::from_str(&folder.run(&["policy", "schema", "diff"]).stdout).unwrap();
    let run = folder.run(&["policy", "diff", "old.yaml", "new.yaml", "-f", "cluster.yaml", "-o", "json"]);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = schema.iter_errors(&json).map(|problem| problem.to_string()).collect();
    assert_eq!((problems, run.code), (Vec::new(), Some(2)));
    assert_eq!(json["summary"], json!({"requests": 5, "changed": 3, "otherReasons": 1}));
    assert_eq!(json["changes"][0]["old"]["verdict"], "approve");
}

/// What only one of the policies asks for does not count for the other.
#[test]
fn each_policy_is_judged_by_the_facts_that_it_asks_for() {
    let machines =
        "{apiVersion: countersign/v1, kind: ServingPolicy, rules: [{name: all, identity: {sources: [machine]}}]}";
    let load_balancers = OLD.replace("rules", "protected: {loadBalancers: true}, rules");
    let dump = Dump::default()
        .request("machine", AGO, json!({"node": "worker-1", "ip": ["10.0.0.1"]}))
        .request("balancer", AGO, json!({"node": "worker-2", "ip": ["192.0.2.1"]}))
        .node("worker-1", &["worker-1"])
        .node("worker-2", &["worker-2", "192.0.2.1"])
        .object(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "metadata": {"name": "m", "namespace": "n"},
            "status": {"nodeRef": {"name": "worker-1"}, "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
        }))
        .object(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
        }))
        .surroundings();
    let folder = Folder::with(&[
        ("cluster.yaml", &dump.yaml()),
        ("machines.yaml", machines),
        ("balancers.yaml", &load_balancers),
    ]);
    let diff = |old, new| folder.run(&["policy", "diff", old, new, "-f", "cluster.yaml"]);
    assert_snapshot!("machines and load balancers", diff("machines.yaml", "balancers.yaml"));
}
