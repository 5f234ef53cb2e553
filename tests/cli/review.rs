//! `countersign review` on dumps.

use insta::assert_snapshot;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::dump::{AGO, Answer, Dump};
use crate::folder::{Folder, Run};

/// One request of every verdict, and some that are answered already.
pub fn cluster() -> Dump {
    let ago = |hours: i64| AGO + SignedDuration::from_hours(hours);
    let answer = |type_, reason| Answer { type_, reason, ago: ago(7) };
    Dump::default()
        .answered("csr-fine", ago(8), json!({"node": "worker-1", "dns": ["worker-1"]}), &answer("Approved", "ByHand"))
        .answered("csr-evil", ago(8), json!({"node": "worker-2", "dns": ["kubernetes"]}), &answer("Approved", "ByHand"))
        .answered("csr-gone", ago(8), json!({"node": "worker-9", "dns": ["worker-9"]}), &answer("Denied", "ByHand"))
        .request("csr-good", AGO, json!({"node": "worker-1", "dns": ["worker-1"], "ip": ["10.0.0.1"]}))
        .request("csr-late", AGO, json!({"node": "worker-2", "dns": ["worker-2"], "ip": ["10.0.0.2", "10.0.0.3"]}))
        .request("csr-wild", ago(1), json!({"node": "worker-3", "dns": ["*.example.com", "worker-3"]}))
        .request("csr-two\u{1b}[31m", AGO, json!({"node": "worker-3", "dns": ["worker-3"], "ip": ["10.0.0.9"]}))
        .request("csr-junk", AGO, json!({"node": "worker-4", "pem": "no request at all"}))
        .request("csr-other", AGO, json!({"node": "worker-1", "dns": ["a"], "signerName": "example.com/mine"}))
        .node("worker-1", &["worker-1", "10.0.0.1"])
        .node("worker-2", &["worker-2", "10.0.0.2"])
        .node("worker-3", &["worker-3", "10.0.0.9"])
        .node("worker-4", &["worker-4", "10.0.0.9"])
        .surroundings()
}

const POLICY: &str = "{apiVersion: countersign/v1, kind: ServingPolicy, rules: [{name: every-node}]}";

fn folder() -> Folder {
    Folder::with(&[("cluster.yaml", &cluster().yaml()), ("policy.yaml", POLICY)])
}

fn review(folder: &Folder, arguments: &[&str]) -> Run {
    let mut all = vec!["review", "--policy", "policy.yaml", "-f", "cluster.yaml"];
    all.extend(arguments);
    folder.run(&all)
}

#[test]
fn a_row_for_each_request_and_what_has_become_of_it() {
    let folder = folder();
    assert_snapshot!("table", review(&folder, &[]));
    assert_snapshot!("wide", review(&folder, &["-o", "wide"]));
}

#[test]
fn rows_can_be_chosen_by_verdict_and_node() {
    let folder = folder();
    assert_snapshot!("only denied", review(&folder, &["--only", "denied"]));
    assert_snapshot!("of one node", review(&folder, &["--node", "worker-1"]));
    assert_snapshot!("of a node without requests", review(&folder, &["--node", "worker-7"]));
    let approved = review(&folder, &["--node", "worker-1", "--only", "approved", "-o", "jsonl"]);
    assert_eq!((approved.stdout.lines().count(), approved.code), (2, Some(0)), "{approved}");
}

/// Requests without an answer alone have no column for it.
#[test]
fn nobody_has_answered_yet() {
    let dump = Dump::default()
        .request("csr-1", AGO, json!({"node": "worker-1", "dns": ["worker-1"]}))
        .node("worker-1", &["worker-1"])
        .surroundings();
    let folder = Folder::with(&[("cluster.json", &dump.json())]);
    assert_snapshot!(folder.run(&["review", "-f", "cluster.json"]));
}

#[test]
fn dumps_may_be_several_and_come_through_a_pipe() {
    let (cluster, nodes) = (cluster(), Dump::default().node("worker-1", &["worker-1", "10.0.0.1"]).yaml());
    let requests = cluster.json();
    let folder = Folder::with(&[
        ("cluster.yaml", &cluster.yaml()),
        ("policy.yaml", POLICY),
        ("requests.json", &requests),
        ("nodes.yaml", &nodes),
    ]);
    let whole = review(&folder, &["-o", "json"]);
    let piped = folder.run_with_input(
        &["review", "--policy=policy.yaml", "-f", "nodes.yaml", "-", "-o", "json"],
        requests.as_bytes(),
    );
    assert_eq!((piped.code, &piped.stdout), (whole.code, &whole.stdout), "{piped}");
    let twice =
        folder.run(&["review", "--policy=policy.yaml", "-f", "requests.json", "-f", "cluster.yaml", "-o", "json"]);
    assert_eq!((twice.code, &twice.stdout), (whole.code, &whole.stdout), "{twice}");
}

#[test]
fn every_format_tells_the_same() {
    let folder = folder();
    let json: Value = serde_json::from_str(&review(&folder, &["-o", "json"]).stdout).unwrap();
    let yaml: Value = serde_yaml::from_str(&review(&folder, &["-o", "yaml"]).stdout).unwrap();
    assert_eq!(json, yaml);
    let schema: Value = serde_json::from_str(&folder.run(&["policy", "schema", "review"]).stdout).unwrap();
    let problems: Vec<String> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&json).map(|it| it.to_string()).collect();
    assert_eq!(problems, [""; 0]);
    let lines = review(&folder, &["-o", "jsonl"]).stdout;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json["requests"], Value::from(lines));
    let verdicts: Vec<String> = json["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {} {}", it["name"].as_str().unwrap(), it["verdict"].as_str().unwrap(), it["differs"]))
        .collect();
    assert_eq!(
        verdicts,
        [
            "csr-fine approve false",
            "csr-evil deny true",
            "csr-gone defer true",
            "csr-good approve false",
            "csr-late defer false",
            "csr-wild deny false",
            "csr-two\u{1b}[31m defer false",
            "csr-junk deny false",
        ]
    );
    assert_eq!(
        json["summary"],
        json!({"requests": 8, "approve": 2, "deny": 3, "defer": 3, "differ": 2, "otherSigners": 1})
    );
}

#[test]
fn what_is_missing_in_a_dump_is_told() {
    let dump = Dump::default().request("csr-1", AGO, json!({"node": "worker-1", "dns": ["worker-1"]})).request(
        "csr-2",
        AGO,
        json!({"node": "worker-2", "dns": ["localhost"]}),
    );
    let folder = Folder::with(&[
        ("requests.yaml", &dump.yaml()),
        ("nothing.yaml", "apiVersion: v1\nitems: []\nkind: List\n"),
        (
            "policy.yaml",
            "{apiVersion: countersign/v1, kind: ServingPolicy, protected: {loadBalancers: true}, \
             rules: [{name: all, identity: {sources: [machine]}}]}",
        ),
    ]);
    assert_snapshot!("no nodes", folder.run(&["review", "-f", "requests.yaml"]));
    assert_snapshot!("nothing", folder.run(&["review", "-f", "nothing.yaml"]));
    let arguments = ["review", "--policy", "policy.yaml", "-f", "requests.yaml", "-o", "yaml"];
    let report: Value = serde_yaml::from_str(&folder.run(&arguments).stdout).unwrap();
    assert_snapshot!("nothing that the policy asks for", serde_yaml::to_string(&report["notes"]).unwrap());
}

/// A dump says nothing of what DNS says.
#[test]
fn what_dns_has_to_confirm_waits_in_a_dump() {
    let dump = Dump::default()
        .request("csr-1", AGO, json!({"node": "worker-1", "dns": ["worker-1"], "ip": ["10.0.0.1"]}))
        .request("csr-2", AGO, json!({"node": "worker-2", "ip": ["10.0.0.2"]}))
        .node("worker-1", &["worker-1", "10.0.0.1"])
        .node("worker-2", &["10.0.0.2"])
        .surroundings();
    let policy = POLICY.replace("{name: every-node}", "{name: named, identity: {sources: [node, dns]}}");
    let folder = Folder::with(&[("cluster.json", &dump.json()), ("policy.yaml", &policy)]);
    assert_snapshot!(folder.run(&["review", "-f", "cluster.json", "--policy", "policy.yaml", "-o", "wide"]));
}

/// A controller that has seen who was first has written it down; a dump that has that knows it.
#[test]
fn a_dump_with_the_order_of_claims_knows_who_was_first() {
    let dump = |order: Option<&str>| {
        let dump = Dump::default()
            .request("csr-first", AGO, json!({"node": "worker-1", "ip": ["10.0.0.1"]}))
            .request("csr-later", AGO, json!({"node": "worker-2", "ip": ["10.0.0.1"]}))
            .node("worker-1", &["10.0.0.1"])
            .node("worker-2", &["10.0.0.1"])
            .surroundings();
        match order {
            None => dump,
            Some(order) => dump.object(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": {"order": order},
                "metadata": {"name": "countersign-claims", "namespace": "kube-system"},
            })),
        }
    };
    let folder = Folder::with(&[
        ("unknown.json", &dump(None).json()),
        ("known.json", &dump(Some("10.0.0.1 worker-1 worker-2\n")).json()),
    ]);
    assert_snapshot!("order unknown", folder.run(&["review", "-f", "unknown.json"]));
    assert_snapshot!("order known", folder.run(&["review", "-f", "known.json"]));
}

/// A short text that would be a long one if every alias were followed.
fn bomb() -> String {
    let lines: String = (0..9)
        .map(|level| match level {
            0 => "  a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(),
            _ => format!("  a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", ")),
        })
        .collect();
    format!("spec:\n{lines}apiVersion: v1\nkind: Node\nmetadata: {{name: a}}\n")
}

#[test]
fn bad_input_is_told_with_its_file_and_line() {
    let (yaml, json) = (cluster().yaml(), cluster().json());
    let folder = Folder::with(&[
        ("text.yaml", "hello, world\n"),
        ("truncated.yaml", &yaml[..yaml.find("signerName").unwrap() + 4]),
        ("cut.yaml", &yaml[..yaml.rfind("- apiVersion").unwrap()]),
        ("truncated.json", &json[..json.find("CertificateSigningRequest").unwrap() + 60]),
        ("no-spec.yaml", "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata:\n  name: a\n"),
        (
            "no-base64.yaml",
            "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {name: a}\nspec:\n  \
             signerName: kubernetes.io/kubelet-serving\n  request: '!!!'\n",
        ),
        ("no-kind.yaml", "apiVersion: v1\nitems:\n- metadata:\n    name: a\nkind: List\n"),
        ("table.txt", "NAME    AGE   SIGNERNAME\ncsr-1   3m    kubernetes.io/kubelet-serving\n"),
        ("long.txt", &"word ".repeat(100_000)),
        (
            "spec.yaml",
            "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {name: a}\nspec: []\n",
        ),
        ("metadata.json", "{\"apiVersion\": \"v1\", \"kind\": \"Node\", \"metadata\":\n5}"),
        ("items.yaml", "apiVersion: v1\nkind: List\nitems: {a: b}\n"),
        ("tab.yaml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n\tkind: Node\n"),
        ("deep.json", &format!("{{\"metadata\": {}1{}}}", "{\"a\": ".repeat(100_000), "}".repeat(100_000))),
        ("bomb.yaml", &bomb()),
        ("bad-time.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: a, creationTimestamp: yesterday}\n"),
        ("cluster.yaml", &yaml),
        ("nothing.yaml", "apiVersion: v1\nitems: []\nkind: List\n"),
        ("good.yaml", POLICY),
        ("policy.yaml", "apiVersion: countersign/v1\nkind: ServingPolicy\nrules:\n- name: a\n  dnsNamse: {}\n"),
        ("inventory.yaml", "apiVersion: countersign/v1\nkind: NodeInventory\nnodes:\n- {name: a, adresses: []}\n"),
    ]);
    folder.write("junk.yaml", [0x7f, b'E', b'L', b'F', 0, 1, 2, 0xff, b'\n', 0xfe]);
    folder.write("junk.json", b"{\"apiVersion\": \"v1\", \"kind\": \"N\xff\"}");
    // As an older PowerShell writes what is sent to a file.
    folder.write("utf-16.yaml", "\u{feff}kind: List\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    let mut told = String::new();
    let files = [
        "text.yaml",
        "truncated.yaml",
        "cut.yaml",
        "truncated.json",
        "no-spec.yaml",
        "no-base64.yaml",
        "no-kind.yaml",
        "bad-time.yaml",
        "table.txt",
        "long.txt",
        "spec.yaml",
        "metadata.json",
        "items.yaml",
        "tab.yaml",
        "deep.json",
        "bomb.yaml",
        "junk.yaml",
        "junk.json",
        "utf-16.yaml",
        "none.yaml",
        ".",
    ];
    let mut note = |run: Run| {
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run}");
        assert!(!run.stderr.contains("panicked"), "{run}");
        told.push_str(&run.stderr);
    };
    for file in files {
        note(folder.run(&["review", "-f", file]));
    }
    note(folder.run_with_input(&["review", "-f", "-"], b"hello"));
    note(folder.run(&["explain", "-f", "text.yaml"]));
    note(folder.run(&["explain", "-f", "nothing.yaml"]));
    note(folder.run(&["policy", "diff", "good.yaml", "good.yaml", "-f", "truncated.json"]));
    note(folder.run(&["policy", "diff", "good.yaml", "junk.yaml", "-f", "cluster.yaml"]));
    note(folder.run(&["review", "-f", "cluster.yaml", "--policy", "policy.yaml"]));
    note(folder.run(&["review", "-f", "cluster.yaml", "--inventory", "inventory.yaml"]));
    note(folder.run(&["review"]));
    note(folder.run(&["review", "--kubeconfig", "none.conf"]));
    assert_snapshot!(told);
}

/// Whoever looks at the first lines only has seen enough.
#[test]
fn nobody_has_to_read_all_of_it() {
    let folder = folder();
    let script = format!("{} review -f cluster.yaml | head -n 1", env!("CARGO_BIN_EXE_countersign"));
    let output = std::process::Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !said.contains("panicked") && !said.contains("pipe"), "{said}");
}
