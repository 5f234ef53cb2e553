//! What becomes of a request under a policy, case by case: `tests/cases/<topic>/*.yaml` says it in the words of users.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

#[path = "policies/build.rs"]
mod build;
#[path = "policies/case.rs"]
mod case;
#[path = "policies/reasons.rs"]
mod reasons;

use std::fs;
use std::path::{Path, PathBuf};

use case::CaseFile;
use countersign::identity::Inventory;
use countersign::policy::Policy;

/// What is in a directory, in the order of the names.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// Runs the cases of some files, none of which may be without any.
#[track_caller]
fn run(files: &[PathBuf]) {
    let (mut count, mut failures) = (0, Vec::new());
    for path in files {
        let name = path.display();
        match CaseFile::read(&fs::read_to_string(path).unwrap()) {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok(file) if file.cases.is_empty() => failures.push(format!("{name}: no case")),
            Ok(file) => {
                count += file.cases.len();
                failures.extend(file.failures().into_iter().map(|failure| format!("{name}: {failure}")));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} cases failed:\n\n{}\n", failures.len(), failures.join("\n\n"));
    assert!(count > 0, "there are no cases");
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
    assert_eq!(CaseFile::read(valid).unwrap().failures(), Vec::<String>::new());
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
        (valid.replace("description:", "policy: none.yaml\ndescription:"), "policies/none.yaml"),
        (format!("{valid}{}", &valid[valid.find("- name").unwrap()..]), "two cases have the name \"its own\""),
    ];
    for (text, message) in errors {
        let error = CaseFile::read(&text).map(drop).unwrap_err();
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
        CaseFile::read(text).unwrap().failures(),
        ["there is no such node\n  expected: deny [NameNotOwned]\n  got:      defer [NodeNotFound], by the rule \
          every-node: Node worker-1 does not exist (yet)"]
    );
}
