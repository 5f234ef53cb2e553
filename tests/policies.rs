//! What becomes of a request under a policy, case by case: `tests/cases/<topic>/*.yaml` says it in the words of users.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

#[path = "policies/reasons.rs"]
mod reasons;

use std::fs;
use std::path::{Path, PathBuf};

use countersign::cases::{Cases, Outcome};
use countersign::identity::Inventory;
use countersign::policy::Policy;

/// What is in a directory, in the order of the names.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// What is not as the cases of a text say it has to be; what is wrong with the text itself.
fn failures(text: &str, folder: &Path) -> Result<Vec<String>, String> {
    let cases = Cases::load(text.as_bytes(), folder).map_err(|error| error.to_string())?;
    let failure = |(name, outcome): (&str, Outcome)| match outcome {
        Outcome::Right => None,
        Outcome::Wrong { expected, got } => {
            Some(format!("{name}\n  expected: {}\n  got:      {}", expected.join(", "), got.join(", ")))
        }
    };
    let failures = cases.run().filter_map(failure).collect();
    if cases.is_empty() { Err("no case".to_owned()) } else { Ok(failures) }
}

/// Runs the cases of some files, none of which may be without any.
#[track_caller]
fn run(files: &[PathBuf]) {
    let mut problems = Vec::new();
    for path in files {
        match failures(&fs::read_to_string(path).unwrap(), path.parent().unwrap()) {
            Err(error) => problems.push(format!("{}: {error}", path.display())),
            Ok(failures) => problems.extend(failures.iter().map(|failure| format!("{}: {failure}", path.display()))),
        }
    }
    assert!(problems.is_empty(), "{} cases failed:\n\n{}\n", problems.len(), problems.join("\n\n"));
    assert!(!files.is_empty(), "there are no cases");
}

#[test]
fn every_case_has_the_verdict_it_states() {
    let topics = entries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"));
    run(&topics.iter().flat_map(|topic| entries(topic)).collect::<Vec<_>>());
}

#[test]
fn every_policy_that_ships_has_cases_and_does_what_they_say() {
    let shipped = entries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"));
    let is = |path: &&PathBuf, end: &str| path.to_str().is_some_and(|path| path.ends_with(end));
    let cases: Vec<PathBuf> = shipped.iter().filter(|path| is(path, ".cases.yaml")).cloned().collect();
    for policy in shipped.iter().filter(|path| is(path, ".yaml") && !is(path, ".cases.yaml")) {
        assert!(cases.contains(&policy.with_extension("cases.yaml")), "{} has no cases", policy.display());
    }
    run(&cases);
}

/// Run with UPDATE_SCHEMAS=1 to write them anew.
#[test]
fn the_schemas_that_ship_are_those_of_the_types() {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for (name, schema) in [
        ("serving-policy.schema.json", Policy::json_schema()),
        ("node-inventory.schema.json", Inventory::json_schema()),
    ] {
        let path = policies.join(name);
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "{name} is not what the types say");
    }
}

#[test]
fn a_case_that_says_too_much_or_too_little_is_an_error() {
    let valid = "
description: A worker asks for its own name.
nodes: [{name: worker-1, addresses: [worker-1]}]
cases:
- name: its own
  request: {node: worker-1, dns: [worker-1]}
  verdict: approve
";
    let nowhere = Path::new("nowhere");
    assert_eq!(failures(valid, nowhere), Ok(Vec::new()));
    let errors = [
        (valid.replace("verdict:", "verdikt:"), "unknown field `verdikt`"),
        (valid.replace("dns:", "dnsNames:"), "unknown field `dnsNames`"),
        (valid.replace("addresses:", "address:"), "unknown field `address`"),
        (valid.replace("nodes:", "node:"), "unknown field `node`"),
        (valid.replace("approve", "accept"), "unknown variant `accept`"),
        (valid.replace("approve", "deny"), "deny and defer come with reasons, approve and ignore without"),
        (valid.replace("verdict: approve", "verdict: approve\n  reasons: [NodeNotFound]"), "come with reasons"),
        (valid.replace("  verdict: approve\n", ""), "missing field `verdict`"),
        (valid.replace("description:", "policy: {rules: []}\ndescription:"), "missing field `apiVersion`"),
        (valid.replace("description:", "policy: none.yaml\ndescription:"), "policy: none.yaml: No such file"),
        (format!("{valid}{}", &valid[valid.find("- name").unwrap()..]), "two cases have the name \"its own\""),
    ];
    for (text, message) in errors {
        let error = failures(&text, nowhere).unwrap_err();
        assert!(error.contains(message), "{message:?} is not in {error:?}");
    }
}

#[test]
fn a_case_that_fails_says_what_was_expected_and_what_came() {
    let text = "
description: Wrong on purpose.
cases:
- name: there is no such node
  request: {node: worker-1, dns: [worker-1]}
  verdict: deny
  reasons: [NameNotOwned]
";
    assert_eq!(
        failures(text, Path::new("nowhere")).unwrap(),
        ["there is no such node\n  expected: verdict: deny, reasons: [NameNotOwned], rule: every-node, message: Node \
          worker-1 does not exist (yet)\n  got:      verdict: defer, reasons: [NodeNotFound], rule: every-node, message: \
          Node worker-1 does not exist (yet)"]
    );
}
