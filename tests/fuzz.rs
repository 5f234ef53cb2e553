//! The fuzz targets for a short while and on a stable toolchain: on their seeds, and on seeds that are damaged at random.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use common::mutate::{Random, damage};

const DAMAGED: usize = 6_000;

/// Runs a target on every seed, and on damaged ones.
fn run(name: &str, target: fn(&[u8]) -> bool) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let approves = |input: &[u8]| {
        catch_unwind(AssertUnwindSafe(|| target(input))).unwrap_or_else(|panic| {
            eprintln!("{name}: {:?}", input.escape_ascii().to_string());
            resume_unwind(panic)
        })
    };
    let approving = seeds.iter().filter(|seed| approves(seed)).count();
    assert!(approving > 0 && approving < seeds.len(), "{approving} of {} seeds are approved", seeds.len());

    let seed =
        std::env::var("FUZZ_SEED").map_or_else(|_| RandomState::new().hash_one(name), |text| text.parse().unwrap());
    eprintln!("{name}: FUZZ_SEED={seed}");
    let mut random = Random::new(seed);
    let mut approvals = 0;
    for _ in 0..DAMAGED {
        let mut input = random.of(&seeds).clone();
        damage(&mut input, &mut random);
        approvals += usize::from(approves(&input));
    }
    assert!(approvals > 0, "no damaged seed is approved");
}

#[test]
fn requests_are_approved_exactly_where_the_naive_rules_allow_it() {
    run("request", targets::request::run);
}

#[test]
fn no_policy_approves_more_than_the_naive_rules_allow() {
    run("policy", targets::policy::run);
}

#[test]
fn no_inventory_approves_more_than_the_naive_rules_allow() {
    run("inventory", targets::inventory::run);
}

#[test]
fn no_node_object_approves_more_than_the_naive_rules_allow() {
    run("node", targets::node::run);
}

#[test]
fn no_dump_approves_more_than_the_naive_rules_allow_by_a_whole_reading_of_it() {
    run("dump", targets::dump::run);
}
