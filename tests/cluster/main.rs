//! The controller on a real control plane.
//!
//! Most tests share one cluster, in which each has Nodes of its own; those that stop or kill something have one to
//! themselves. See `tests/harness` for what a cluster is made of.

#[path = "../harness/mod.rs"]
mod harness;

mod case_file;
mod cases;
mod chaos;
mod chart;
mod compromised;
mod deferrals;
mod denials;
mod dns;
mod fairness;
mod faults;
mod fixture;
mod image;
mod kubelets;
mod leaders;
mod lists;
mod machines;
mod once;
mod plugin;
mod poison;
mod reloads;
mod reviewed;
mod startup;

use harness::binary;
use libtest_mimic::{Arguments, Trial};

fn main() -> anyhow::Result<()> {
    harness::namespace::enter(&[|| binary::helm()?.located(), || binary::monitoring_crds().located()])?;
    let arguments = Arguments::from_args();
    let trials: Vec<Trial> = [
        kubelets::trials(),
        denials::trials(),
        deferrals::trials(),
        compromised::trials(),
        machines::trials(),
        once::trials(),
        plugin::trials(),
        poison::trials(),
        reloads::trials(),
        dns::trials(),
        faults::trials(),
        fairness::trials(),
        leaders::trials(),
        lists::trials(),
        chaos::trials(),
        startup::trials(),
        cases::trials(),
        chart::trials(),
        image::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&arguments, trials).exit()
}
