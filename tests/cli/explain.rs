//! `countersign explain` on dumps.

use insta::assert_snapshot;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::dump::{AGO, Answer, Dump};
use crate::folder::{Folder, Run};

const POLICY: &str = "
apiVersion: countersign/v1
kind: ServingPolicy
rules:
- name: control-plane
  match: {nodeNames: [\"control-*\"]}
- name: pool
  match: {nodeSelector: {matchLabels: {node-restriction.kubernetes.io/pool: a}}}
  identity: {sources: [inventory, node], require: any}
- name: workers
  match: {nodeNames: [\"worker-*\"]}
  dnsNames: {patterns: [\"{node}\", \"{node}.example.com\"]}
  keys: [ecdsa-p256]
  conditions: [{expression: \"node.labels['zone'] == 'a'\", message: in zone a}]
- name: others
  match: {nodeNames: [\"other-*\"]}
";

const ALL: [&str; 10] = ["good", "late", "outside", "new", "nobody", "pooled", "admins", "strange", "junk", "evil"];

fn dump() -> Dump {
    let answer = Answer { type_: "Approved", reason: "ByHand", ago: AGO };
    let long_ago = AGO + SignedDuration::from_hours(24);
    let zone = json!({"zone": "a"});
    let names = ["worker-1", "worker-1.example.com"];
    Dump::default()
        .request("good", AGO, json!({"node": "worker-1", "dns": names, "ip": ["10.0.0.1"]}))
        .request("late", AGO, json!({"node": "worker-2", "dns": ["worker-2"], "ip": ["10.0.0.2", "10.0.0.9"]}))
        .request(
            "outside",
            AGO,
            json!({"node": "worker-5", "dns": ["worker-5.example.org", "kubernetes"], "key": "ed25519"}),
        )
        .request("new", AGO, json!({"node": "other-1", "dns": ["other-1"], "expirationSeconds": 86400}))
        .request("nobody", AGO, json!({"node": "stranger-1", "dns": ["stranger-1"]}))
        .request("pooled", AGO, json!({"node": "pooled-1", "dns": ["pooled-1"]}))
        .request(
            "admins",
            AGO,
            json!({
                "node": "worker-1", "dns": ["worker-1"], "requestor": {"username": "admin", "groups": ["system:masters"]},
            }),
        )
        .request(
            "strange",
            AGO,
            json!({
                "node": "worker-6", "dns": ["*.example.com", "worker-6"], "ip": ["::ffff:10.0.0.6"],
                "uri": ["https://\u{1b}[31m/"], "subject": ["O=system:masters", "CN=system:node:worker-6"],
                "usages": ["client auth"],
            }),
        )
        .request("junk", AGO, json!({"node": "worker-6", "pem": "\u{1b}[31mno request at all"}))
        .answered("evil", long_ago, json!({"node": "control-1", "dns": ["localhost"]}), &answer)
        .request("other", AGO, json!({"node": "worker-1", "dns": ["a"], "signerName": "example.com/mine"}))
        .node_with("worker-1", &["worker-1", "worker-1.example.com", "10.0.0.1"], &zone)
        .node_with("worker-2", &["worker-2", "10.0.0.2"], &zone)
        .node_with("worker-5", &["worker-5", "10.0.0.2"], &json!({}))
        .node("worker-6", &["worker-6"])
        .node("control-1", &["control-1"])
        .node("stranger-1", &["stranger-1"])
        .node_with("pooled-1", &[], &json!({"node-restriction.kubernetes.io/pool": "a"}))
        .surroundings()
}

fn folder() -> Folder {
    Folder::with(&[("cluster.yaml", &dump().yaml()), ("policy.yaml", POLICY)])
}

fn explain(folder: &Folder, request: &str, arguments: &[&str]) -> Run {
    folder.run(&[&["explain", request, "--policy", "policy.yaml", "-f", "cluster.yaml"], arguments].concat())
}

/// An explanation with what is another every time taken out.
fn shown(folder: &Folder, request: &str) -> String {
    let text = explain(folder, request, &[]).to_string();
    let line = |line: &str| match line.strip_prefix("  filed ") {
        Some(rest) => format!("  filed      TIME{}\n", rest.split_once('Z').map_or("", |(_, age)| age)),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn every_kind_of_verdict_is_explained() {
    let folder = folder();
    for request in ALL {
        assert_snapshot!(request, shown(&folder, request));
    }
}

#[test]
fn a_file_with_one_request_needs_no_name() {
    let request = Dump::default().request("csr-1", AGO, json!({"node": "worker-1", "dns": ["worker-1"]}));
    let folder = Folder::with(&[("request.json", &request.json())]);
    let run = folder.run(&["explain", "-f", "request.json", "-o", "json"]);
    let told: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &told["request"]["verdict"]), (Some(0), &json!("defer")), "{run}");
    assert_eq!(told["help"], json!(["give a dump that has them: kubectl get nodes -A -o yaml"]));
}

#[test]
fn json_and_yaml_have_all_of_it() {
    let folder = folder();
    let schema: Value = serde_json::from_str(&folder.run(&["policy", "schema", "explanation"]).stdout).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for request in ALL {
        let json: Value = serde_json::from_str(&explain(&folder, request, &["-o", "json"]).stdout).unwrap();
        let yaml: Value = serde_yaml::from_str(&explain(&folder, request, &["-o", "yaml"]).stdout).unwrap();
        assert_eq!(json, yaml);
        let problems: Vec<String> = schema.iter_errors(&json).map(|problem| problem.to_string()).collect();
        assert_eq!(problems, [""; 0], "{request}");
        let reasons = json["request"]["reasons"].as_array().unwrap();
        let approved = json["request"]["verdict"] == "approve";
        let help = json["help"].as_array().unwrap().len();
        assert_eq!(help, if approved { 0 } else { reasons.len() }, "{request}");
        // Every reason is the outcome of a check.
        for reason in reasons.iter().filter(|_| !approved) {
            let check = json["checks"].as_array().unwrap().iter().find(|check| check["reason"] == reason["reason"]);
            let outcome = check.unwrap()["outcome"].as_str().unwrap();
            assert!(["failed", "waits"].contains(&outcome), "{request}: {reason}");
        }
    }
    let late: Value = serde_json::from_str(&explain(&folder, "late", &["-o", "json"]).stdout).unwrap();
    let names: Vec<String> = late["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| format!("{} {} {}", name["value"], name["evidence"][0]["answer"], name["listedByOthers"]))
        .collect();
    assert_eq!(
        names,
        [r#""worker-2" "owned" []"#, r#""10.0.0.2" "owned" ["worker-5"]"#, r#""10.0.0.9" "notOwned" []"#]
    );
}

#[test]
fn a_request_that_is_not_there_or_not_ours_is_told() {
    let folder = folder();
    let mut told = String::new();
    for arguments in [&["explain", "none"][..], &["explain", "other"], &["explain"], &["explain", "a\u{1b}[31mb"]] {
        let run = folder.run(&[arguments, &["-f", "cluster.yaml"]].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run}");
        told.push_str(&run.stderr);
    }
    assert_snapshot!(told);
}
