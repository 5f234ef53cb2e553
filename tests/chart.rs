//! The chart by itself: what it renders, what it refuses, and that everything in it which is said elsewhere too says the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "harness/mod.rs"]
mod harness;

#[path = "chart/monitoring.rs"]
mod monitoring;
#[path = "chart/refusals.rs"]
mod refusals;
#[path = "chart/rendered.rs"]
mod rendered;
#[path = "chart/same.rs"]
mod same;

use std::path::{Path, PathBuf};

use harness::helm::{Helm, chart};
use serde::Deserialize as _;
use serde_yaml::Value;

/// A text file of the repository.
fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of values that the chart is tested with.
fn values_files() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(chart().join("ci")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    files
}

/// Helm, with a home that vanishes.
fn helm() -> (Helm, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    (Helm::offline(home.path()).unwrap(), home)
}

/// Renders the chart with these arguments, and gives its objects.
#[track_caller]
fn render(arguments: &[&str]) -> Vec<Value> {
    let (helm, _home) = helm();
    let chart = chart();
    let all = [&["template", "countersign", chart.to_str().unwrap(), "--namespace", "kube-system"], arguments].concat();
    let text = helm.run(&all).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
    documents.filter(|object| !object.is_null()).collect()
}

/// The first object of this kind.
#[track_caller]
fn find<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}
