//! Everything fails at random, and afterwards every request is answered as the policy says, once.
//!
//! Two instances reach the API server through a proxy that breaks, delays and garbles what goes over it; API server,
//! etcd and both instances are killed and stopped meanwhile. A seed determines what is done, in which order and with
//! which pauses: it is printed, and `FAULT_SEED` replays it. `FAULTS` is how many faults there have to be.

mod processes;
mod requests;
mod schedule;
mod witness;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::try_join;
use libtest_mimic::Trial;

use crate::fixture::{Cluster, alone};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::proxy::Proxy;
use crate::harness::random::Random;
use crate::harness::{kubeconfig, wait};
use processes::Processes;
use requests::Population;
use schedule::{Schedule, Step};
use witness::Witness;

pub fn trials() -> Vec<Trial> {
    vec![alone("chaos::nothing_is_lost_and_nothing_answered_twice", chaos)]
}

/// How many faults a run has that asks for no other number.
const FAULTS: usize = 200;
/// How long the whole of it may take for each fault.
const TIME_PER_FAULT: Duration = Duration::from_secs(2);

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    text.parse().map(Some).with_context(|| format!("{variable} is {text:?}, and not a number"))
}

async fn chaos() -> Result<()> {
    let seed = number("FAULT_SEED")?.unwrap_or_else(Random::any_seed);
    let faults = number("FAULTS")?.map_or(Ok(FAULTS), usize::try_from)?;
    println!("chaos: {faults} faults; FAULT_SEED={seed} does the same again");
    run(seed, faults).await.with_context(|| format!("with FAULT_SEED={seed}"))
}

async fn run(seed: u64, faults: usize) -> Result<()> {
    let mut random = Random::new(seed);
    let control_plane = ControlPlane::start(Options { audit: true, ..Options::default() }).await?;
    let proxy = Proxy::start(&control_plane).await?;
    let cluster = Cluster::start_behind(&proxy, control_plane).await?;
    cluster.controller.wait_until_leading(true).await?;
    let second_config = cluster.another_kubeconfig("second").await?;
    kubeconfig::set_server(&second_config, &proxy.url())?;
    let second = cluster.another_instance_as(&second_config, "second").await?;
    let population = Population::create(&cluster, &mut random, faults).await?;
    let witness =
        Witness::begin(&cluster, [(&cluster.controller, &cluster.options.kubeconfig), (&second, &second_config)])
            .await?;
    let mut processes = Processes::new(cluster, second);

    let begun = Instant::now();
    let all_filed = AtomicBool::new(false);
    let (admin, schedule) = (processes.admin(), Schedule::new(random));
    let file = async {
        population.file(admin.clone()).await?;
        all_filed.store(true, Ordering::Relaxed);
        Ok(())
    };
    let enough = || proxy.faults().count() >= faults && all_filed.load(Ordering::Relaxed);
    let limit = TIME_PER_FAULT * u32::try_from(faults)?;
    try_join!(file, strike(schedule, &mut processes, &proxy, limit, enough))?;

    proxy.faults().disarm();
    processes.calm_down().await?;
    let calm = Instant::now();
    let what = "every request to be answered as the policy says";
    let answered = wait::until(what, Duration::from_mins(3), async || population.is_answered(&admin).await).await;
    if let Err(error) = answered {
        return Err(error.context(population.unanswered(&admin).await?));
    }
    println!(
        "chaos: {} faults in {:.0?}, all requests answered {:.1?} after the last: {:?}",
        proxy.faults().count(),
        begun.elapsed(),
        calm.elapsed(),
        proxy.faults().suffered()
    );
    witness.judge(&population, &mut processes, &proxy).await
}

/// Lets one thing after another go wrong until that is enough.
async fn strike(
    mut schedule: Schedule,
    processes: &mut Processes,
    proxy: &Proxy,
    limit: Duration,
    enough: impl Fn() -> bool,
) -> Result<()> {
    let begun = Instant::now();
    while !enough() {
        ensure!(begun.elapsed() < limit, "only {:?} within {limit:?}", proxy.faults().suffered());
        let (pause, step) = schedule.next();
        tokio::time::sleep(pause).await;
        match step {
            Step::Request(target, fault) => proxy.faults().arm(target, fault),
            Step::Stream(which, fault) => proxy.faults().strike_stream(which, fault),
            Step::Process(who, what) => processes.strike(who, what, proxy.faults()).await?,
        }
        processes.revive()?;
    }
    Ok(())
}
