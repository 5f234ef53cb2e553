//! What Linux tells of a process in /proc.
// Each program that includes this module uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// How the kernel counts time there, per second (`USER_HZ`).
const TICKS: u64 = 100;

/// One of the sizes in a process's status, such as `VmRSS` and `VmHWM`, its peak.
pub fn bytes(process: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let line = line.with_context(|| format!("no {field} of process {process}"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// How long a process had a processor, in all its threads (upstream: proc_pid_stat(5), `utime` and `stime`).
pub fn time(process: u32) -> Result<Duration> {
    sum_of_times(&process.to_string(), 11)
}

/// How long the children of this process that have ended had one (`cutime` and `cstime`).
pub fn time_of_children() -> Result<Duration> {
    sum_of_times("self", 13)
}

fn sum_of_times(process: &str, first: usize) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program comes second, in brackets, and may hold anything.
    let (_, rest) = stat.rsplit_once(')').context("no brackets in /proc/PID/stat")?;
    let ticks: Vec<u64> = rest.split_whitespace().skip(first).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 1000 / TICKS))
}
