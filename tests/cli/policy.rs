//! `countersign policy validate` and `countersign policy schema`.

use std::path::Path;

use insta::assert_snapshot;

use crate::folder::Folder;

const HEAD: &str = "apiVersion: countersign/v1\nkind: ServingPolicy\n";

#[test]
fn validate_shows_every_mistake_in_its_line() {
    let folder = Folder::with(&[(
        "policy.yaml",
        &format!(
            "{HEAD}mod: audit\nrules:\n- name: a\n  match:\n    nodeName: [x]\n  identity: {{sources: [oracle, nod, node]}}\n\
             - match: {{}}\n- name: b\n  ipAddresses: {{ranges: [10.0.0.1/8]}}\n"
        ),
    )]);
    assert_snapshot!(folder.run(&["policy", "validate", "policy.yaml"]));
}

#[test]
fn validate_takes_good_files_and_warns_of_what_nodes_can_choose() {
    let rules = "rules:\n- name: workers\n  match:\n    nodeSelector:\n      matchLabels: {pool: workers}\n      \
                 matchExpressions:\n      - {key: topology.kubernetes.io/zone, operator: In, values: [a]}\n      \
                 - {key: node-restriction.kubernetes.io/pool, operator: Exists}\n";
    let inventory = "apiVersion: countersign/v1\nkind: NodeInventory\nnodes: [{name: a}, {name: b}]\n";
    let folder = Folder::with(&[("policy.yaml", &format!("{HEAD}{rules}")), ("inventory.yaml", inventory)]);
    assert_snapshot!(folder.run(&["policy", "validate", "policy.yaml", "inventory.yaml"]));
}

#[test]
fn validate_tells_what_is_no_policy_at_all() {
    let folder = Folder::with(&[
        ("truncated.yaml", "apiVersion: countersign/v1\nrules: [{name: a"),
        ("empty.yaml", ""),
        ("text.yaml", "hello"),
        ("inventory.yaml", "apiVersion: countersign/v1\nkind: NodeInventory\nnodes: [{name: A}]\n"),
    ]);
    folder.write("junk.yaml", b"\x7fELF\x02\x01\x01\x00\xff\xfe");
    let files = ["truncated.yaml", "empty.yaml", "text.yaml", "inventory.yaml", "junk.yaml"];
    assert_snapshot!(folder.run(&[&["policy", "validate"], &files[..]].concat()));
    assert_snapshot!("no such file", folder.run(&["policy", "validate", "none.yaml"]));
}

#[test]
fn every_policy_that_ships_is_valid_without_a_warning() {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut files: Vec<String> =
        std::fs::read_dir(policies).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect();
    files.retain(|name| name.contains(".yaml") && !name.contains(".cases."));
    files.sort();
    let arguments: Vec<&str> = ["policy", "validate"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let run = Folder::with(&[]).run(&arguments);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run}");
    assert_eq!(run.stdout.lines().count(), files.len(), "{run}");
}

#[test]
fn schema_prints_what_ships() {
    for (arguments, shipped) in [
        (&["policy", "schema"][..], include_str!("../../policies/serving-policy.schema.json")),
        (&["policy", "schema", "inventory"], include_str!("../../policies/node-inventory.schema.json")),
    ] {
        let run = Folder::with(&[]).run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), shipped), "{}", run.stderr);
    }
}

const CASES: &str = "
description: Workers, and what they may not have.
policy: policy.yaml
nodes: [{name: worker-1, addresses: [worker-1]}]
cases:
- name: its own
  request: {node: worker-1, dns: [worker-1]}
  verdict: approve
- name: the local host
  request: {node: worker-1, dns: [localhost]}
  verdict: deny
  reasons: [ProtectedName]
";

fn with_cases(cases: &str) -> Folder {
    let policy = format!("{HEAD}rules: [{{name: workers, match: {{nodeNames: [\"worker-*\"]}}}}]\n");
    Folder::with(&[("good.cases.yaml", CASES), ("policy.yaml", &policy), ("cases.yaml", cases)])
}

#[test]
fn test_shows_what_was_expected_and_what_came() {
    let wrong = CASES
        .replace("verdict: approve", "verdict: deny\n  reasons: [NameNotOwned]\n  rule: others")
        .replace("reasons: [ProtectedName]", "reasons: [ProtectedName]\n  message: is unclean")
        + "- name: a node that no rule is about\n  request: {node: other-1, dns: [other-1]}\n  verdict: defer\n  \
           reasons: [NoRuleMatched]\n- name: not to be built\n  request: {node: a, dns: [ä]}\n  verdict: approve\n";
    assert_snapshot!(with_cases(&wrong).run(&["policy", "test", "good.cases.yaml", "cases.yaml"]));
}

#[test]
fn test_tells_of_cases_that_say_too_much_or_too_little() {
    let wrong = CASES
        .replace("policy: policy.yaml", "policy: {apiVersion: countersign/v1, kind: ServingPolicy, rules: []}")
        .replace("[{name: worker-1,", "[{name: Worker-1,")
        .replace("name: the local host", "name: its own")
        .replace("  reasons: [ProtectedName]\n", "");
    assert_snapshot!(with_cases(&wrong).run(&["policy", "test", "cases.yaml"]));
    let misspelt = CASES.replace("verdict", "verdikt").replace("policy.yaml", "none.yaml");
    assert_snapshot!("cases misspelt", with_cases(&misspelt).run(&["policy", "validate", "cases.yaml"]));
    let missing = CASES.replace("policy.yaml", "none.yaml");
    assert_snapshot!("cases without their policy", with_cases(&missing).run(&["policy", "validate", "cases.yaml"]));
}

#[test]
fn the_policies_that_ship_pass_their_cases() {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let run = Folder::with(&[]).run(&["policy", "test", &policies.join("default.cases.yaml").display().to_string()]);
    assert!(run.code == Some(0) && run.stdout.ends_with("default.cases.yaml: 5 cases, all as expected\n"), "{run}");
}

#[test]
fn wrong_usage_exits_with_1_and_help_with_0() {
    let folder = Folder::with(&[]);
    for (arguments, code) in [
        (&["policy", "validate"][..], 1),
        (&["policy", "nonsense"], 1),
        (&["--nonsense"], 1),
        (&[], 1),
        (&["--help"], 0),
        (&["policy", "validate", "--help"], 0),
        (&["--version"], 0),
    ] {
        let run = folder.run(arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {run}");
        assert_eq!(run.stdout.is_empty(), code == 1, "{arguments:?}: {run}");
    }
}
