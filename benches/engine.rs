//! What a decision costs beside the verification of the request's signature, which nobody can do without; and that it
//! costs the same in clusters of any size.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;
mod support;

use std::hint::black_box;
use std::time::Instant;

use countersign::policy::evaluate;
use countersign::request::Reading;
use countersign::verdict::Verdict;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

use support::{Filed, cluster};

const TURNS: usize = 20_000;

/// Parsing, verification and evaluation, beside the verification alone.
fn whole(criterion: &mut Criterion) {
    let cluster = cluster(5_000);
    for kind in ["ecdsa-p256", "rsa-2048"] {
        let filed = Filed::of(kind);
        let facts = cluster.facts();
        let judge = || evaluate(&Reading::of(&filed.csr), &facts, &cluster.policy);
        assert!(matches!(judge().verdict, Verdict::Approve(_)), "{:?}", judge().verdict);
        ratio(kind, filed.verification(), || drop(black_box(judge())));
        let mut group = criterion.benchmark_group(kind);
        group.bench_function("verify", |bencher| bencher.iter(filed.verification()));
        group.bench_function("read-and-evaluate", |bencher| bencher.iter(judge));
        group.bench_function("read", |bencher| bencher.iter(|| Reading::of(&filed.csr)));
        group.finish();
    }
}

/// How much longer the whole takes than the verification, by the shortest times of turns that alternate: what else the
/// machine does at the time hardly matters.
fn ratio(kind: &str, verify: impl Fn(), whole: impl Fn()) {
    let shortest = (0..TURNS).fold([f64::INFINITY; 2], |shortest, _| {
        let time = |step: &dyn Fn()| {
            let started = Instant::now();
            step();
            started.elapsed().as_secs_f64()
        };
        [shortest[0].min(time(&verify)), shortest[1].min(time(&whole))]
    });
    println!("{kind}: read and evaluated in {:.2} times the verification", shortest[1] / shortest[0]);
}

/// The evaluation alone, in clusters of different sizes.
fn sizes(criterion: &mut Criterion) {
    let reading = Reading::of(&Filed::of("ecdsa-p256").csr);
    let mut group = criterion.benchmark_group("evaluate");
    for nodes in [10, 100, 1_000, 5_000, 15_000] {
        let cluster = cluster(nodes);
        let facts = cluster.facts();
        group.bench_function(BenchmarkId::from_parameter(nodes), |bencher| {
            bencher.iter(|| evaluate(&reading, &facts, &cluster.policy));
        });
    }
    group.finish();
}

criterion_group!(benches, whole, sizes);
criterion_main!(benches);
