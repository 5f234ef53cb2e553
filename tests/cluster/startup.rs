//! What keeps the controller from starting is one line that says what and where, and exit 1.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tokio::process::Command;

use crate::fixture::{Cluster, alone, policies, shared};
use crate::harness::{account, namespace, network};

pub fn trials() -> Vec<Trial> {
    vec![
        alone("startup::without_a_kubeconfig_it_says_so", no_kubeconfig),
        alone("startup::without_an_api_server_it_says_so", no_api_server),
        alone("startup::without_a_usable_policy_it_says_so", no_policy),
        shared("startup::on_an_occupied_port_it_says_so", occupied_port),
        shared("startup::without_permissions_it_lists_the_missing", no_permissions),
    ]
}

/// Runs the program with these flags; it has to end by itself, and to say why in one line. Returns that.
async fn refused(flags: &[&str]) -> Result<String> {
    let said = ended(flags).await?;
    ensure!(said.lines().count() == 1 && said.starts_with("countersign: "), "not one line: {said}");
    Ok(said)
}

/// Runs the program with these flags; it has to end by itself. Returns what it says.
async fn ended(flags: &[&str]) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.arg("run").args(flags).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(30), command.output()).await.context("it does not end")??;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "it ended with {}: {said}", output.status);
    Ok(said)
}

fn default_policy() -> String {
    format!("--policy={}", policies().join("default.yaml").display())
}

async fn no_kubeconfig() -> Result<()> {
    let said = refused(&[&default_policy(), "--kubeconfig=/nonexistent/admin.conf"]).await?;
    ensure!(said.contains("/nonexistent/admin.conf") && said.contains("No such file"), "{said}");
    let said = refused(&[&default_policy()]).await?;
    ensure!(said.contains("give --kubeconfig"), "{said}");
    Ok(())
}

async fn no_api_server() -> Result<()> {
    let directory = namespace::temporary_directory("startup-")?;
    let path = directory.path().join("kubeconfig");
    let cluster = r#"{"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}"#;
    std::fs::write(&path, cluster)?;
    // It may be about to start: told of at once, asked again, and given up. The port is taken all that time.
    let admin = format!("--admin-address=127.0.0.1:{}", network::free_port()?);
    let said = ended(&[&default_policy(), &format!("--kubeconfig={}", path.display()), &admin]).await?;
    let problem = "cannot talk to the API server https://127.0.0.1:1/: asking what it allows: Connection refused";
    let lines: Vec<&str> = said.lines().collect();
    ensure!(
        matches!(lines.as_slice(), [warning, end] if warning.contains(problem) && warning.ends_with("trying again")
            && end.starts_with(&format!("countersign: {problem}"))),
        "{said}"
    );
    Ok(())
}

async fn no_policy() -> Result<()> {
    let directory = namespace::temporary_directory("startup-")?;
    let missing = refused(&["--policy=/nonexistent/policy.yaml"]).await?;
    ensure!(missing.contains("/nonexistent/policy.yaml") && missing.contains("No such file"), "{missing}");

    let broken = |text: &str| -> Result<String> {
        let path = directory.path().join("policy.yaml");
        std::fs::write(&path, text)?;
        Ok(format!("--policy={}", path.display()))
    };
    let unknown = "apiVersion: countersign/v1\nkind: ServingPolicy\nrules:\n- name: all\n  nodes: [a]\n";
    let said = refused(&[&broken(unknown)?]).await?;
    ensure!(said.contains("policy.yaml") && said.contains("line 5, column 3") && said.contains("`nodes`"), "{said}");
    let said = refused(&[&broken("rules: [")?]).await?;
    ensure!(said.contains("line 2") || said.contains("line 1"), "{said}");
    let said = refused(&[&broken("")?]).await?;
    ensure!(said.contains("policy.yaml"), "{said}");
    Ok(())
}

fn kubeconfig(path: &Path) -> String {
    format!("--kubeconfig={}", path.display())
}

async fn occupied_port(cluster: &Cluster) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let admin = format!("--admin-address={address}");
    let said = refused(&[&default_policy(), &kubeconfig(&cluster.options.kubeconfig), &admin]).await?;
    ensure!(said.contains(&address) && said.contains("in use"), "{said}");
    Ok(())
}

async fn no_permissions(cluster: &Cluster) -> Result<()> {
    let rules = account::rules(serde_json::json!([
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["get", "list"]},
    ]))?;
    let path = account::create(&cluster.control_plane, "powerless", rules, Vec::new()).await?;
    let flags = [&default_policy(), &kubeconfig(&path), "--admin-address=127.0.0.1:0"];
    let said = refused(&[flags[0], flags[1], flags[2], "--lease=countersign/blue"]).await?;
    for missing in [
        "watch certificatesigningrequests in certificates.k8s.io",
        "update certificatesigningrequests/approval",
        "patch certificatesigningrequests/approval",
        "approve signers in certificates.k8s.io named kubernetes.io/kubelet-serving",
        "create leases in coordination.k8s.io of namespace countersign",
        "update leases in coordination.k8s.io named blue of namespace countersign",
    ] {
        ensure!(said.contains(missing), "{missing:?} is not in {said}");
    }
    ensure!(!said.contains("nodes"), "{said}");
    let said = refused(&[flags[0], flags[1], flags[2], "--no-lease"]).await?;
    ensure!(!said.contains("leases"), "{said}");
    Ok(())
}
