//! Alerts and dashboard speak of what the program exports, and each alert fires when it should and not otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use countersign::metrics::Metrics;
use countersign::policy::Policy;
use serde_json::Value as Json;
use serde_yaml::Value;

use super::{find, read, render};
use crate::harness::binary;

/// What a scrape adds to every series, and what a histogram's buckets have.
const FROM_ELSEWHERE: &[&str] = &["cluster", "namespace", "job", "instance", "pod", "le"];

/// Every exported metric with its labels.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::new().unwrap();
    metrics.policy_loaded(&Policy::load(read("policies/default.yaml").as_bytes()).unwrap());
    metrics.decisions.with_label_values(&["approved", "AutoApproved"]);
    metrics.violations.with_label_values(&["ProtectedName"]);
    metrics.pending.with_label_values(&["NodeNotFound"]);
    metrics.api_requests.with_label_values(&["list", "200"]);
    let mut exported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in metrics.render().unwrap().lines().filter(|line| !line.starts_with('#')) {
        let name_end = line.find(['{', ' ']).unwrap();
        let labels = line.split_once('{').map(|(_, rest)| rest.split_once('}').unwrap().0).unwrap_or_default();
        let names = labels.split(',').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned());
        exported.entry(line[..name_end].to_owned()).or_default().extend(names);
    }
    assert!(exported.len() > 20, "{exported:?}");
    exported
}

/// The metrics of the program in an expression, each with what stands in braces behind it.
fn selectors(expression: &str) -> Vec<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut start = 0;
    while let Some(offset) = expression[start..].find(['c', 'p']) {
        let begin = start + offset;
        let end = expression[begin..].find(|c| !is_name(c)).map_or(expression.len(), |length| begin + length);
        let name = &expression[begin..end];
        let at_start = !expression[..begin].ends_with(is_name);
        if at_start && (name.starts_with("countersign_") || name.starts_with("process_")) {
            let labels =
                expression[end..].strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |it| it.0);
            found.push((name, labels));
        }
        start = end.max(begin + 1);
    }
    found
}

/// The label names of `by (…)` and the like.
fn grouped(expression: &str) -> Vec<&str> {
    let lists = expression.split(" by (").skip(1).chain(expression.split(" on (").skip(1));
    lists.flat_map(|rest| rest.split_once(')').unwrap().0.split(',')).map(str::trim).collect()
}

/// All label values that are named, as (label, value).
fn matchers(labels: &str) -> Vec<(String, Vec<String>)> {
    let pairs = labels.split("\",").filter(|pair| !pair.trim().is_empty());
    let mut found = Vec::new();
    for pair in pairs {
        let (name, value) = pair.split_once(['=', '!']).unwrap();
        let value = value.trim_start_matches(['=', '~', '"']).trim_end_matches('"');
        found.push((name.trim().to_owned(), value.split('|').map(str::to_owned).collect()));
    }
    found
}

#[track_caller]
fn check(expression: &str, exported: &BTreeMap<String, BTreeSet<String>>) {
    let selectors = selectors(expression);
    assert!(!selectors.is_empty(), "no metric of the program in {expression}");
    let reasons = reasons();
    let mut known: BTreeSet<&str> = FROM_ELSEWHERE.iter().copied().collect();
    for (name, labels) in selectors {
        let own = exported.get(name).unwrap_or_else(|| panic!("{name} is not exported: {expression}"));
        known.extend(own.iter().map(String::as_str));
        for (label, values) in matchers(labels) {
            assert!(
                own.contains(&label) || FROM_ELSEWHERE.contains(&label.as_str()),
                "{name} has no {label}: {expression}"
            );
            if label == "reason" {
                for value in values {
                    assert!(reasons.contains_key(&value), "{value} is no reason: {expression}");
                }
            }
        }
    }
    for label in grouped(expression) {
        assert!(known.contains(label), "nothing has the label {label}: {expression}");
    }
}

/// Every reason in the README, with its verdict.
fn reasons() -> BTreeMap<String, String> {
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let verdicts = ["Approved", "Denied", "left pending"];
    rows.filter_map(|(reasons, rest)| Some((reasons, rest.split_once(" | ")?.0)))
        .filter(|(_, verdict)| verdicts.contains(verdict))
        .flat_map(|(reasons, verdict)| reasons.split(", ").map(|reason| (reason.to_owned(), verdict.to_owned())))
        .collect()
}

fn alerts() -> Vec<Value> {
    let file: Value = serde_yaml::from_str(&read("charts/countersign/alerts.yaml")).unwrap();
    file["groups"][0]["rules"].as_sequence().unwrap().clone()
}

fn name(alert: &Value) -> &str {
    alert["alert"].as_str().unwrap()
}

#[test]
fn alerts_are_about_exported_metrics_with_their_labels() {
    let exported = exported();
    for alert in alerts() {
        check(alert["expr"].as_str().unwrap(), &exported);
    }
}

#[test]
fn the_dashboard_is_about_exported_metrics_with_their_labels() {
    let exported = exported();
    let dashboard: Json = serde_json::from_str(&read("charts/countersign/dashboards/countersign.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(expressions.len() >= 10, "{expressions:?}");
    for expression in expressions {
        check(expression, &exported);
    }
}

#[test]
fn every_denial_is_in_one_of_the_two_alerts_on_denials() {
    let expression =
        |wanted| alerts().iter().find(|it| name(it) == wanted).unwrap()["expr"].as_str().unwrap().to_owned();
    let texts = [expression("CountersignForgedRequest"), expression("CountersignRequestsDenied")];
    let denials = reasons().into_iter().filter(|(_, verdict)| verdict == "Denied");
    for (reason, _) in denials.filter(|(reason, _)| reason != "Superseded") {
        let named = texts.iter().filter(|text| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == reason));
        assert_eq!(named.count(), 1, "{reason}");
    }
}

#[test]
fn every_alert_has_its_section_in_the_runbook_and_the_runbook_no_other() {
    let runbook = read("docs/runbook.md");
    let sections: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts();
    assert_eq!(sections, alerts.iter().map(name).collect());
    for alert in &alerts {
        let anchor = format!("docs/runbook.md#{}", name(alert).to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], anchor.as_str());
    }
}

#[test]
fn every_alert_has_a_severity_and_security_has_one_of_its_own() {
    for alert in alerts() {
        let expected: &[&str] =
            if name(&alert) == "CountersignForgedRequest" { &["security"] } else { &["warning", "critical"] };
        assert!(expected.contains(&alert["labels"]["severity"].as_str().unwrap()), "{}", name(&alert));
    }
}

#[test]
fn the_chart_wraps_the_alerts_as_they_are() {
    let objects = render(&[
        "--set",
        "metrics.prometheusRule.enabled=true,metrics.prometheusRule.alertLabels.team=x,\
         metrics.prometheusRule.runbookBase=https://example.com/",
    ]);
    let rendered = find(&objects, "PrometheusRule")["spec"]["groups"][0]["rules"].as_sequence().unwrap();
    let alerts = alerts();
    assert_eq!(rendered.len(), alerts.len());
    for (rendered, alert) in rendered.iter().zip(&alerts) {
        assert_eq!((&rendered["expr"], &rendered["for"]), (&alert["expr"], &alert["for"]));
        assert_eq!(rendered["labels"]["team"], "x");
        assert_eq!(rendered["labels"]["severity"], alert["labels"]["severity"]);
        let url = format!("https://example.com/{}", alert["annotations"]["runbook_url"].as_str().unwrap());
        assert_eq!(rendered["annotations"]["runbook_url"], url.as_str());
    }
}

/// `tests/alerts` has a case in which each alert fires, and one in which it does not.
#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    let cases = read("tests/alerts/cases.yaml");
    let file: Value = serde_yaml::from_str(&cases).unwrap();
    let tests = file["tests"].as_sequence().unwrap().iter();
    let expectations: Vec<_> = tests.flat_map(|test| test["alert_rule_test"].as_sequence().unwrap()).collect();
    for alert in alerts() {
        let of_alert = expectations.iter().filter(|it| it["alertname"] == alert["alert"]);
        let (firing, quiet): (Vec<&Value>, Vec<&Value>) =
            of_alert.copied().partition(|it| it["exp_alerts"].as_sequence().is_some_and(|alerts| !alerts.is_empty()));
        assert!(
            !firing.is_empty() && !quiet.is_empty(),
            "{}: {} fire, {} do not",
            name(&alert),
            firing.len(),
            quiet.len()
        );
    }
    let promtool = binary::promtool().unwrap().locate().unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/alerts");
    let output = Command::new(promtool).args(["test", "rules", "cases.yaml"]).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}
