//! What comes out is what the program takes.

use std::collections::BTreeSet;

use clap::Parser as _;
use countersign::args::Arguments;
use countersign::identity::Inventory;
use countersign::policy::Policy;
use serde_yaml::Value;

use super::{find, helm, render, values_files};
use crate::harness::helm::chart;

/// Every set of values, as arguments of Helm.
fn every_set() -> Vec<Vec<String>> {
    let files = values_files().into_iter().map(|path| vec!["--values".to_owned(), path.to_str().unwrap().to_owned()]);
    std::iter::once(Vec::new()).chain(files).collect()
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn container(objects: &[Value]) -> &Value {
    &find(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn helm_has_nothing_against_it() {
    let (helm, _home) = helm();
    for arguments in every_set() {
        let chart = chart();
        helm.run(&[&["lint", "--strict", chart.to_str().unwrap()], &borrowed(&arguments)[..]].concat()).unwrap();
    }
}

#[test]
fn the_program_takes_every_flag_that_is_rendered() {
    for arguments in every_set() {
        let objects = render(&borrowed(&arguments));
        let flags = container(&objects)["args"].as_sequence().unwrap().clone();
        let flags = flags.iter().map(|flag| flag.as_str().unwrap());
        let parsed = Arguments::try_parse_from(std::iter::once("countersign").chain(flags));
        assert!(parsed.is_ok(), "{arguments:?}: {}", parsed.unwrap_err());
    }
}

#[test]
fn the_program_takes_every_policy_and_inventory_that_is_rendered() {
    for arguments in every_set() {
        let objects = render(&borrowed(&arguments));
        let Some(map) = objects.iter().find(|object| !object["data"]["policy.yaml"].is_null()) else {
            assert!(arguments.iter().any(|it| it.contains("existing-config")), "{arguments:?} has no policy");
            continue;
        };
        Policy::load(map["data"]["policy.yaml"].as_str().unwrap().as_bytes()).unwrap();
        if let Some(inventory) = map["data"]["inventory.yaml"].as_str() {
            Inventory::load(inventory.as_bytes()).unwrap();
        }
    }
}

#[test]
fn every_pod_meets_the_restricted_standard() {
    for arguments in every_set() {
        let objects = render(&borrowed(&arguments));
        let pod = &find(&objects, "Deployment")["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["capabilities"]["drop"][0], "ALL");
    }
}

#[test]
fn every_object_has_the_labels_of_all_and_is_named_once() {
    for arguments in every_set() {
        let objects = render(&[&borrowed(&arguments)[..], &["--set", "commonLabels.team=x"]].concat());
        let mut names = BTreeSet::new();
        for object in &objects {
            let metadata = &object["metadata"];
            assert_eq!(metadata["labels"]["team"], "x", "{object:?}");
            assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "countersign", "{object:?}");
            let name = format!("{:?} {:?} {:?}", object["kind"], metadata["namespace"], metadata["name"]);
            assert!(names.insert(name.clone()), "{name} twice");
        }
    }
}

#[test]
fn a_label_of_the_charts_own_cannot_be_replaced() {
    let objects =
        render(&["--set", r"commonLabels.app\.kubernetes\.io/name=other,podLabels.app\.kubernetes\.io/name=other"]);
    let deployment = find(&objects, "Deployment");
    assert_eq!(deployment["metadata"]["labels"]["app.kubernetes.io/name"], "countersign");
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"], "countersign");
}

/// A mounted file changes only where the whole folder is mounted, and a pod restarts where anything in its template does.
#[test]
fn a_policy_edit_changes_the_config_map_alone() {
    let before = render(&[]);
    let after = render(&["--set", "policy.superseded=leave"]);
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(old == new, old["kind"] != "ConfigMap", "{:?}", old["metadata"]);
    }
    assert!(container(&before)["volumeMounts"][0]["subPath"].is_null());
}

fn rights(arguments: &[&str]) -> String {
    let objects = render(arguments);
    serde_yaml::to_string(&find(&objects, "ClusterRole")["rules"]).unwrap()
}

#[test]
fn rights_follow_what_the_policy_asks() {
    let plain = rights(&[]);
    assert!(plain.contains("signers") && !plain.contains("machines") && !plain.contains("services"));
    let machines = r#"policy.rules=[{"name": "a"}, {"name": "b", "identity": {"sources": ["node", "machine"]}}]"#;
    assert!(rights(&["--set-json", machines]).contains("machines"));
    assert!(rights(&["--set", "policy.protected.loadBalancers=true"]).contains("services"));
    assert!(!rights(&["--set", "policy.mode=audit"]).contains("signers"));
    assert!(rights(&["--set", "policy.mode=audit,rbac.answer=true"]).contains("signers"));
    assert!(!rights(&["--set-json", machines, "--set", "rbac.machines=false"]).contains("machines"));
    let elsewhere = rights(&["--set", "existingConfigMap=mine"]);
    assert!(elsewhere.contains("signers") && !elsewhere.contains("machines"));
    assert!(rights(&["--set", "existingConfigMap=mine,rbac.machines=true"]).contains("machines"));
}

#[test]
fn a_digest_outweighs_the_tag() {
    let image = |arguments: &[&str]| container(&render(arguments))["image"].as_str().unwrap().to_owned();
    assert_eq!(image(&[]), concat!("localhost/countersign:", env!("CARGO_PKG_VERSION")));
    assert_eq!(image(&["--set", "image.repository=r.example.com/c,image.tag=v9"]), "r.example.com/c:v9");
    let digest = format!("sha256:{}", "0a".repeat(32));
    let set = format!("image.tag=v9,image.digest={digest}");
    assert_eq!(image(&["--set", &set]), format!("localhost/countersign@{digest}"));
}

#[test]
fn on_the_nodes_network_it_runs_before_the_network_is_there() {
    let objects = render(&["--set", "hostNetwork=true"]);
    let pod = &find(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod["dnsPolicy"], "Default");
    let tolerated: Vec<_> =
        pod["tolerations"].as_sequence().unwrap().iter().map(|it| it["key"].as_str().unwrap()).collect();
    for taint in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/network-unavailable",
        "node-role.kubernetes.io/control-plane",
    ] {
        assert!(tolerated.contains(&taint), "{taint} is not in {tolerated:?}");
    }
}
