//! The signer as the judge: what is taken here, kube-controller-manager reads as exactly the names that were judged.
//!
//! ```text
//! seed ─► generate, mutate, sign ─► Reading ─► what is expected ─┐
//!                    └────► control-plane read-requests ────────► compare
//! ```
//!
//! `DIFFERENTIAL_REQUESTS` says how many, `DIFFERENTIAL_SEED` from which seed; the same seed makes the same requests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../harness/binary.rs"]
#[allow(dead_code)]
mod binary;
#[path = "../common/mod.rs"]
mod common;
mod generate;
#[path = "../harness/go.rs"]
#[allow(dead_code)]
mod go;
mod hand_made;
mod judge;

use std::hash::{BuildHasher, RandomState};
use std::ops::AddAssign;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};

use generate::Generator;

/// How many requests are made from one seed of their own, and judged by one process.
const BATCH: usize = 5_000;
const DEFAULT_REQUESTS: usize = 30_000;

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("hand_made_requests_are_read_alike", || run(hand_made)),
        Trial::test("generated_and_mutated_requests_are_read_alike", || run(at_random)),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// How many requests were taken by whom.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: usize,
    /// Taken here, and so by the signer.
    taken: usize,
    /// Taken by the signer.
    issued: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.taken += other.taken;
        self.issued += other.issued;
    }
}

fn run(test: fn(&Path) -> Result<()>) -> Result<(), Failed> {
    binary::locate().and_then(|program| test(&program)).map_err(|error| format!("{error:#}").into())
}

fn hand_made(program: &Path) -> Result<()> {
    let counts = judge::compare(program, hand_made::requests())?;
    eprintln!("hand-made: {} requests, {} taken, {} by the signer", counts.requests, counts.taken, counts.issued);
    ensure!(counts.taken > 10 && counts.issued > counts.taken + 10, "the requests are no test: {counts:?}");
    Ok(())
}

fn at_random(program: &Path) -> Result<()> {
    let requests = variable("DIFFERENTIAL_REQUESTS")?.map_or(DEFAULT_REQUESTS, |number| number.try_into().unwrap());
    let seed = variable("DIFFERENTIAL_SEED")?.unwrap_or_else(|| RandomState::new().hash_one(0) >> 16);
    eprintln!("at random: {requests} requests, DIFFERENTIAL_SEED={seed}");
    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let work = || -> Result<Counts> {
        let mut counts = Counts::default();
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= requests {
                return Ok(counts);
            }
            let mut generator = Generator::new(seed.wrapping_add(first as u64));
            let made = (first..requests.min(first + BATCH)).map(|_| generator.request());
            counts += judge::compare(program, made).with_context(|| format!("DIFFERENTIAL_SEED={seed}"))?;
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let counts = thread::scope(|scope| -> Result<Counts> {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut sum = Counts::default();
        for worker in workers {
            sum += worker.join().unwrap()?;
        }
        Ok(sum)
    })?;
    let Counts { requests, taken, issued } = counts;
    eprintln!("at random: {requests} requests, {taken} taken, {issued} by the signer, {:.1?}", started.elapsed());
    ensure!(taken > requests / 50 && issued > taken + requests / 50, "the requests are no test: {counts:?}");
    Ok(())
}

fn variable(name: &str) -> Result<Option<u64>> {
    match std::env::var(name) {
        Err(_) => Ok(None),
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => text.parse().map(Some).with_context(|| format!("{name}={text}")),
    }
}
