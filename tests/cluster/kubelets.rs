//! Real kubelets, from a bootstrap token to their n-th certificate, with nobody attending.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::fixture::{Cluster, alone};
use crate::harness::control_plane::Options;
use crate::harness::kubelet::Kubelet;

pub fn trials() -> Vec<Trial> {
    vec![alone("kubelets::bootstrap_and_rotate_unattended", bootstrap_and_rotate)]
}

/// How often each kubelet has to renew its certificate.
const ROTATIONS: usize = 3;
/// How long one renewal may take: a certificate lives for a minute here, of which five are in the past.
const ROTATION: Duration = Duration::from_mins(2);

async fn bootstrap_and_rotate() -> Result<()> {
    let options = Options { signing_duration: Duration::from_mins(1), ..Options::default() };
    let cluster = Cluster::start(options).await?;
    let mut kubelets =
        [Kubelet::start(&cluster.control_plane, "kubelet-1")?, Kubelet::start(&cluster.control_plane, "kubelet-2")?];
    for kubelet in &mut kubelets {
        let mut certificate = kubelet.wait_for_certificate().await?;
        for _ in 0..ROTATIONS {
            // What is presented is verified against the cluster's CA and the node's address.
            kubelet.wait_until_presented(&certificate).await?;
            let next = kubelet.wait_for_certificate_other_than(&certificate, ROTATION).await?;
            ensure!(next != certificate, "the same certificate again");
            certificate = next;
        }
        kubelet.wait_until_presented(&certificate).await?;
    }
    let metrics = cluster.controller.metrics().await?;
    let denied = metrics.lines().any(|line| line.starts_with("countersign_decisions_total{decision=\"denied\""));
    ensure!(!denied, "an honest kubelet was denied:\n{metrics}");
    Ok(())
}
