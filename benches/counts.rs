//! How many instructions each step of a decision takes: a figure that is the same on a busy machine, and so can be
//! compared with the one that is committed.
//!
//! Without arguments it runs each step under valgrind and shows the counts; with `--check` it compares them with
//! `benches/counts.txt`, with `--write` it writes that file.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;
mod support;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use countersign::controller::plan;
use countersign::policy::evaluate;
use countersign::request::Reading;

use support::{Filed, cluster};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.txt");
/// By how much a count may be above the committed one, and below before that is worth a new commit: 5 %.
const TOLERANCE: u64 = 20;
/// How often a step is done, after a first time that is not counted.
const TIMES: u64 = 50;

/// The steps. What `parse` takes is what `read` takes beside `verify`.
const STEPS: [&str; 7] =
    ["read ecdsa-p256", "verify ecdsa-p256", "read rsa-2048", "verify rsa-2048", "claims", "evaluate", "plan"];

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--step", step] => run(step)?,
        ["--write"] => std::fs::write(FILE, show(&measure()?))?,
        ["--check"] => return check(&measure()?),
        [] => print!("{}", show(&measure()?)),
        _ => bail!("usage: counts [--check | --write]"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Valgrind counts only while this function runs.
#[inline(never)]
fn counted(step: &dyn Fn()) {
    for _ in 0..TIMES {
        step();
    }
}

/// Does one step over and over.
fn run(step: &str) -> Result<()> {
    let repeat = |step: &dyn Fn()| {
        step();
        counted(step);
    };
    let filed = Filed::of(step.rsplit(' ').next().unwrap());
    if step.starts_with("verify") {
        repeat(&filed.verification());
        return Ok(());
    }
    if step.starts_with("read") {
        repeat(&|| drop(black_box(Reading::of(&filed.csr))));
        return Ok(());
    }
    let cluster = cluster(5_000);
    let (reading, facts) = (Reading::of(&filed.csr), cluster.facts());
    let Reading::Serving(request) = &reading else { bail!("not taken: {reading:?}") };
    let claims = facts.nodes.claims();
    let evaluation = evaluate(&reading, &facts, &cluster.policy);
    match step {
        "claims" => repeat(&|| {
            for san in request.sans() {
                black_box(claims.contest(san, request.node()));
                black_box(san.as_ip().and_then(|address| claims.pod_range(address, Some(request.node()))));
            }
        }),
        "evaluate" => repeat(&|| drop(black_box(evaluate(&reading, &facts, &cluster.policy)))),
        "plan" => repeat(&|| drop(black_box(plan(&evaluation, &cluster.policy)))),
        other => bail!("no such step: {other}"),
    }
    Ok(())
}

fn measure() -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for step in STEPS {
        counts.insert(step.to_owned(), instructions(step)? / TIMES);
    }
    for kind in ["ecdsa-p256", "rsa-2048"] {
        let read = counts.remove(&format!("read {kind}")).context("not measured")?;
        counts.insert(format!("parse {kind}"), read - counts[&format!("verify {kind}")]);
    }
    Ok(counts)
}

/// The instructions of a step that is done over and over.
fn instructions(step: &str) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=counts::counted*"])
        .arg(std::env::current_exe()?)
        .args(["--step", step])
        .output()
        .context("run valgrind, which counts the instructions")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(|line| line.split_once("Collected :").map(|(_, count)| count.trim().to_owned()));
    match count.map(|count| count.parse()) {
        Some(Ok(count)) if output.status.success() => Ok(count),
        _ => bail!("valgrind: {}\n{text}", output.status),
    }
}

fn show(counts: &BTreeMap<String, u64>) -> String {
    let lines: Vec<String> = counts.iter().map(|(step, count)| format!("{step:<20}{count:>10}")).collect();
    lines.join("\n") + "\n"
}

fn check(counts: &BTreeMap<String, u64>) -> Result<ExitCode> {
    let committed = std::fs::read_to_string(Path::new(FILE)).context(FILE)?;
    let mut fine = true;
    for line in committed.lines() {
        let (step, count) = line.trim_end().rsplit_once(' ').with_context(|| format!("{FILE}: {line}"))?;
        let (step, before): (_, u64) = (step.trim_end(), count.parse()?);
        let now = *counts.get(step).with_context(|| format!("{step} is in {FILE} only"))?;
        let remark = match now {
            _ if now > before + before / TOLERANCE => "more than 5 % above: FAILED",
            _ if now + before / TOLERANCE < before => "more than 5 % below: worth committing",
            _ => "",
        };
        fine &= !remark.ends_with("FAILED");
        println!("{step:<20}{before:>10} -> {now:>10}  {remark}");
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
