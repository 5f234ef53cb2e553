//! The figures at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::harness::controller::Controller;
use crate::screen::Screen;
use crate::timeline::Timeline;

/// The metrics that matter to somebody who looks for the first time.
const METRICS: &[&str] = &[
    "countersign_decisions_total",
    "countersign_violations_total",
    "countersign_pending_requests",
    "countersign_unissued_requests",
    "countersign_decision_seconds_sum",
    "countersign_decision_seconds_count",
    "countersign_api_requests_total{code=\"200\",operation=\"write_approval\"}",
    "countersign_policy_info",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
];

/// Prints them.
pub async fn show(screen: &Screen, timeline: &Timeline, controller: &Controller) -> Result<()> {
    let mut issued: BTreeMap<String, usize> = BTreeMap::new();
    let (mut approvals, mut denied): (Vec<Duration>, usize) = (Vec::new(), 0);
    timeline.read(|fates| {
        for fate in fates.values() {
            approvals.extend(fate.approved);
            denied += usize::from(fate.denied.is_some());
            if fate.issued.is_some() {
                *issued.entry(fate.node.clone()).or_default() += 1;
            }
        }
    });
    approvals.sort_unstable();
    let (Some(least), Some(median), Some(most)) =
        (approvals.first(), approvals.get(approvals.len() / 2), approvals.last())
    else {
        anyhow::bail!("nothing was approved");
    };
    for (node, count) in &issued {
        screen.plain(&format!("  {node}: {count} certificates issued, the one in use verifies"));
    }
    ensure!(issued.len() == 2, "not every node has a certificate: {issued:?}");
    screen.plain(&format!(
        "  Pending to Approved: {} ms at best, {} ms in the median, {} ms at worst",
        least.as_millis(),
        median.as_millis(),
        most.as_millis()
    ));
    screen.plain(&format!("  denied: {denied}; approved for the thief: nothing"));

    screen.title("Some of the metrics it serves");
    let metrics = controller.metrics().await?;
    for name in METRICS {
        let lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with(name)).collect();
        ensure!(!lines.is_empty() || name.contains("pending"), "no metric {name}");
        for line in lines {
            screen.plain(&format!("  {line}"));
        }
    }
    Ok(())
}
