//! One run of the program, and what it took.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::proc;

/// How often the kernel is asked for the peak, which only grows: what comes after the last time is missed.
const PAUSE: Duration = Duration::from_millis(5);

/// What a run took.
pub struct Run {
    pub code: Option<i32>,
    /// From the start to the first byte of output.
    pub first: Duration,
    /// From the start to the end.
    pub all: Duration,
    /// How long it had the processor, which is `all` where nothing else wants it.
    pub processor: Duration,
    /// The most memory that was resident, in bytes.
    pub peak: u64,
}

/// Reviews a dump.
pub fn review(program: &Path, dump: &Path, output: &str) -> Result<Run> {
    let has_taskset = Command::new("taskset").arg("--version").stdout(Stdio::null()).status().is_ok();
    let mut command = if has_taskset {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", "0"]).arg(program);
        command
    } else {
        eprintln!("there is no taskset: the program may use every processor");
        Command::new(program)
    };
    command.arg("review").arg("-f").arg(dump).args(["-o", output]).stdin(Stdio::null());
    let (started, before) = (Instant::now(), proc::time_of_children()?);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("start the program")?;
    let mut stdout = child.stdout.take().context("no output")?;
    let (peak, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let id = child.id();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                if let Ok(now) = proc::bytes(id, "VmHWM") {
                    peak.store(now, Ordering::Relaxed);
                }
                std::thread::sleep(PAUSE);
            }
        });
        let mut run = || {
            let mut buffer = vec![0; 1 << 16];
            let mut length = stdout.read(&mut buffer)?;
            let first = started.elapsed();
            while length > 0 {
                length = stdout.read(&mut buffer)?;
            }
            anyhow::Ok((first, child.wait()?.code(), started.elapsed()))
        };
        let ran = run();
        ended.store(true, Ordering::Relaxed);
        let (first, code, all) = ran?;
        let processor = proc::time_of_children()?.saturating_sub(before);
        Ok(Run { code, first, all, processor, peak: peak.load(Ordering::Relaxed) })
    })
}
