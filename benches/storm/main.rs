//! `make bench`: a storm of requests on the real control plane, and what the program makes of it beside what could be
//! had at best.
//!
//! ```text
//! ceiling ───► bare parallel writes of approvals over a backlog, with everything known beforehand
//! drain ─────► the same backlog, left to the program
//! latency ───► requests that come at an even pace, beside a bare worker that approves its own
//! startup ───► from the start to ready, beside a bare LIST of what it has to know
//! ```
//!
//! All of it in one run and in turns, so that a busy machine treats both sides alike; docs/performance.md says more.

#[path = "../../tests/harness/mod.rs"]
mod harness;
#[path = "../../tests/large_dump/node.rs"]
mod node;
#[path = "../../tests/common/proc.rs"]
mod proc;

mod ceiling;
mod cluster;
mod connection;
mod drain;
mod latency;
mod population;
mod report;
mod startup;
mod statistics;
mod target;
mod usage;

use std::path::PathBuf;

use anyhow::{Context, Result};

use cluster::Cluster;
use drain::Round;
use harness::namespace;
use population::Population;

/// Over how many requests ceiling and drain are measured, in how many rounds.
const REQUESTS: usize = 50_000;
const ROUNDS: (usize, usize) = (5, 15);

fn main() -> Result<()> {
    namespace::enter(&[])?;
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let program = std::path::absolute(arguments.next().context("name the program to measure")?)?;
    let nodes: usize = arguments.next().context("say how many Nodes there are")?.parse()?;
    let results = PathBuf::from(arguments.next().context("name a file for the results")?);

    let mut cluster = Cluster::start(program).await?;
    let mut population = Population::new(&cluster, nodes);
    say(&format!("creating {nodes} Nodes"));
    let node_size = population.create_nodes().await?;

    say("starting it beside a bare LIST");
    let startup = startup::measure(&mut cluster, &mut population).await?;
    for turn in &startup {
        say(&format!(
            "ready in {:.3} s, the bare LIST takes {:.3} s",
            turn.ready.as_secs_f64(),
            turn.list.as_secs_f64()
        ));
    }
    say("looking for the ceiling");
    let setup = ceiling::best_setup(&mut cluster, &mut population).await?;
    let mut rounds = Vec::new();
    for number in 0..REQUESTS.div_ceil(nodes).clamp(ROUNDS.0, ROUNDS.1) {
        say(&format!("round {}: ceilings and drain", number + 1));
        let round = Round::measure(&mut cluster, &mut population, setup, number).await?;
        say(&format!(
            "bare writers {:.0} /s, in the program's own form {:.0} /s, the program {:.0} /s",
            round.ceiling, round.ceiling_of_whole, round.drain.rate
        ));
        rounds.push(round);
    }
    say("filing at an even pace");
    let latency = latency::measure(&mut cluster, &mut population).await?;

    let report = report::Report { nodes, node_size, setup, startup, rounds, latency };
    report.show()?;
    std::fs::write(&results, report.json()?).with_context(|| format!("write {}", results.display()))?;
    eprintln!("{} is written", results.display());
    Ok(())
}

fn say(what: &str) {
    eprintln!("storm: {what}");
}
