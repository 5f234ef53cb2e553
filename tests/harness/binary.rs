//! The programs that tests are made with, besides the one under test.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::go::{Files, Program};

/// Chooses the version of Kubernetes under test, such as `1.34`; the newest by default.
pub const VERSION_VARIABLE: &str = "KUBERNETES";

/// Name binaries that have been built already.
const CONTROL_PLANE: &str = "CONTROL_PLANE_BIN";
const HELM: &str = "HELM_BIN";
const PROMTOOL: &str = "PROMTOOL_BIN";
const PROMETHEUS: &str = "PROMETHEUS_BIN";
/// Names a folder.
const MONITORING_CRDS: &str = "MONITORING_CRDS";

const CONTROL_PLANE_MODULE: &str = "tests/control-plane";
const TOOLS_MODULE: &str = "tests/tools";

/// The module file of the version under test: `go.mod` is that of the newest.
fn module_file() -> String {
    match std::env::var(VERSION_VARIABLE) {
        Ok(version) if !kubernetes_of("go.mod").is_ok_and(|newest| newest.starts_with(&format!("v{version}."))) => {
            format!("kubernetes-{version}.mod")
        }
        _ => "go.mod".to_owned(),
    }
}

fn kubernetes_of(module_file: &str) -> Result<String> {
    Program::required(CONTROL_PLANE_MODULE, module_file, "k8s.io/kubernetes")
}

/// The version of Kubernetes under test, such as `v1.37.2`.
pub fn kubernetes_version() -> Result<String> {
    kubernetes_of(&module_file())
}

/// The control plane: etcd, API server, controller manager, kubelet and kubectl.
pub fn control_plane() -> Result<Program> {
    let version = kubernetes_version()?;
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    Ok(Program {
        name: "control-plane",
        title: format!("the test control plane (Kubernetes {version})"),
        variable: CONTROL_PLANE,
        module: CONTROL_PLANE_MODULE,
        module_file: module_file(),
        package: ".",
        variables: vec![
            format!("{package}.gitVersion={version}"),
            format!("{package}.gitMajor={major}"),
            format!("{package}.gitMinor={minor}"),
        ],
        version,
        tags: "",
        packages: 2863,
        minutes: 8,
    })
}

fn tool(
    name: &'static str,
    variable: &'static str,
    module: &str,
    package: &'static str,
    (packages, minutes): (usize, u8),
) -> Result<Program> {
    let version = Program::required(TOOLS_MODULE, "go.mod", module)?;
    Ok(Program {
        name,
        title: format!("{name} {version}"),
        variable,
        module: TOOLS_MODULE,
        module_file: "go.mod".to_owned(),
        package,
        version,
        // Prometheus finds its targets in a file here; the clients of a dozen clouds would take minutes to build.
        tags: "remove_all_sd",
        variables: Vec::new(),
        packages,
        minutes,
    })
}

/// Helm.
pub fn helm() -> Result<Program> {
    tool("helm", HELM, "helm.sh/helm/v4", "helm.sh/helm/v4/cmd/helm", (1184, 3))
}

const PROMETHEUS_MODULE: &str = "github.com/prometheus/prometheus";

/// What tests alerts.
pub fn promtool() -> Result<Program> {
    tool("promtool", PROMTOOL, PROMETHEUS_MODULE, "github.com/prometheus/prometheus/cmd/promtool", (1117, 2))
}

/// What scrapes the controller for the picture of the dashboard.
pub fn prometheus() -> Result<Program> {
    tool("prometheus", PROMETHEUS, PROMETHEUS_MODULE, "github.com/prometheus/prometheus/cmd/prometheus", (1200, 2))
}

/// The kinds of Prometheus Operator as it publishes them: a CustomResourceDefinition each.
pub fn monitoring_crds() -> Files {
    Files {
        title: "the kinds of Prometheus Operator",
        variable: MONITORING_CRDS,
        module: "tests/monitoring-crds",
        path: "github.com/prometheus-operator/prometheus-operator",
        folder: "example/prometheus-operator-crd",
    }
}

/// The control plane's binary.
pub fn locate() -> Result<PathBuf> {
    control_plane()?.locate().context("find the test control plane")
}
