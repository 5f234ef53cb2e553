//! Wrong values end in a sentence that says which.

use super::{chart, helm};

#[track_caller]
fn refused(arguments: &[&str], with: &[&str]) {
    let (helm, _home) = helm();
    let chart = chart();
    let all = [&["template", "countersign", chart.to_str().unwrap()], arguments].concat();
    let said = helm.refused(&all).unwrap();
    for text in with {
        assert!(said.contains(text), "{text:?} is not in: {said}");
    }
}

#[test]
fn an_unknown_key_is_refused_at_any_depth() {
    refused(&["--set", "polcy.mode=audit"], &["polcy", "not allowed"]);
    refused(&["--set", "metrics.serviceMonitor.enable=true"], &["/metrics/serviceMonitor", "enable", "not allowed"]);
    refused(&["--set", "image.registry=x"], &["/image", "registry", "not allowed"]);
}

#[test]
fn numbers_and_names_are_checked() {
    refused(&["--set", "replicas=0"], &["/replicas", "minimum"]);
    refused(&["--set", "admin.port=70000"], &["/admin/port", "maximum"]);
    refused(&["--set", "admin.address=::"], &["/admin/address"]);
    refused(&["--set", "workers=0"], &["/workers"]);
    refused(&["--set", "fullnameOverride=Big_Name"], &["/fullnameOverride"]);
    refused(&["--set", "image.digest=sha256:12"], &["/image/digest"]);
    refused(&["--set", "image.pullPolicy=Sometimes"], &["/image/pullPolicy"]);
    refused(&["--set-json", r#"serviceCIDRs=["10.96.0.0"]"#], &["/serviceCIDRs/0"]);
}

#[test]
fn a_policy_that_the_schema_can_see_through_is_refused() {
    refused(&["--set", "policy.mode=enforced"], &["/policy/mode"]);
    refused(&["--set", "policy.kind=Policy"], &["/policy/kind"]);
    refused(&["--set-json", "policy.rules=[]"], &["/policy/rules", "minItems"]);
    refused(&["--set-json", r#"policy.rules=[{"nam": "x"}]"#], &["/policy/rules/0", "name", "nam"]);
    refused(&["--set-json", r#"policy.rules=[{"name": "x", "identity": {"sources": ["oracle"]}}]"#], &["/sources/0"]);
    refused(&["--set-json", r#"policy.rules=[{"name": "x", "approvalsPerHour": 0}]"#], &["approvalsPerHour"]);
    refused(
        &["--set-json", r#"inventory={"enabled": true, "nodes": [{"name": "a", "adresses": []}]}"#],
        &["/inventory/nodes/0", "adresses"],
    );
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    refused(&["--set", "replicas=2,lease.enabled=false"], &["replicas: 2 of them need a leader"]);
    refused(
        &["--set", "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true"],
        &["serviceMonitor and podMonitor are both enabled"],
    );
    refused(&["--set", "metrics.serviceMonitor.enabled=true,service.enabled=false"], &["it scrapes the Service"]);
    refused(&["--set", "serviceAccount.create=false"], &["serviceAccount.name"]);
    refused(&["--set-json", r#"inventory.nodes=[{"name": "a"}]"#], &["inventory.enabled is false"]);
    refused(
        &["--set-json", r#"policy.rules=[{"name": "metal", "identity": {"sources": ["inventory"]}}]"#],
        &["rule \"metal\" has the source inventory"],
    );
}
