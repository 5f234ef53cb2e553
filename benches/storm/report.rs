//! The figures, as a table for people and as JSON.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::ceiling::Setup;
use crate::drain::{Asked, Round};
use crate::harness::binary;
use crate::latency::Latency;
use crate::startup::Turn;
use crate::statistics::{float, median};
use crate::target::{self, Target};

/// All that was measured.
pub struct Report {
    pub nodes: usize,
    /// Bytes.
    pub node_size: usize,
    pub setup: Setup,
    pub startup: Vec<Turn>,
    pub rounds: Vec<Round>,
    pub latency: Latency,
}

/// One line of the table.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    target: Option<Target>,
}

fn plain(name: &'static str, value: f64, unit: &'static str) -> Figure {
    Figure { name, value, unit, target: None }
}

fn judged(name: &'static str, value: f64, unit: &'static str, target: Target) -> Figure {
    Figure { name, value, unit, target: Some(target) }
}

impl Report {
    /// Prints the table.
    pub fn show(&self) -> Result<()> {
        println!("{} Nodes of {} bytes, and as many requests; {}\n", self.nodes, self.node_size, machine()?);
        println!("| figure | measured | target | |\n|---|---|---|---|");
        for Figure { name, value, unit, target } in self.figures() {
            let mark = match target {
                Some(target) if target.is_met(value) => "met",
                Some(_) => "**missed**",
                None => "",
            };
            let target = target.map_or(String::new(), |target| match target {
                Target::AtLeast(least) => format!("≥ {least}"),
                Target::AtMost(most) => format!("≤ {most}"),
                Target::Exactly(wanted) => format!("{wanted}"),
            });
            println!("| {name} | {} | {target} | {mark} |", written(value, unit));
        }
        Ok(())
    }

    /// The same with all that it was made from.
    pub fn json(&self) -> Result<String> {
        let figures: Vec<_> = self
            .figures()
            .into_iter()
            .map(|Figure { name, value, unit, target }| {
                let met = target.map(|target| target.is_met(value));
                json!({"name": name, "value": value, "unit": unit, "target": target, "met": met})
            })
            .collect();
        let all = json!({
            "nodes": self.nodes, "nodeBytes": self.node_size, "machine": machine()?,
            "kubernetes": binary::kubernetes_version()?, "figures": figures, "setup": self.setup,
            "startup": self.startup, "rounds": self.rounds, "latency": self.latency,
        });
        Ok(serde_json::to_string_pretty(&all)? + "\n")
    }

    fn figures(&self) -> Vec<Figure> {
        [self.of_throughput(), self.of_latency(), self.of_costs(), self.of_memory(), self.of_startup()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn of_throughput(&self) -> Vec<Figure> {
        let rounds = || self.rounds.iter();
        vec![
            plain("ceiling: bare approval writes", median(rounds().map(|it| it.ceiling)), "/s"),
            plain("the same in the program's own form", median(rounds().map(|it| it.ceiling_of_whole)), "/s"),
            plain("drain of a backlog", median(rounds().map(|it| it.drain.rate)), "/s"),
            judged("drain ÷ ceiling", median(rounds().map(|it| it.drain.rate / it.ceiling)), "×", Target::AtLeast(0.9)),
            plain(
                "drain ÷ the same in its own form",
                median(rounds().map(|it| it.drain.rate / it.ceiling_of_whole)),
                "×",
            ),
        ]
    }

    fn of_latency(&self) -> Vec<Figure> {
        let Latency { calm, busy, flood } = &self.latency;
        let (bare_p50, bare_p99) = (calm.bare.p50(), calm.bare.p99());
        vec![
            plain("bare worker at 20/s: p50", bare_p50, "ms"),
            plain("bare worker at 20/s: p99", bare_p99, "ms"),
            plain("its write alone: p50", calm.bare_write.p50(), "ms"),
            plain("its write alone: p99", calm.bare_write.p99(), "ms"),
            plain("latency at 20/s: p50", calm.program.p50(), "ms"),
            plain("latency at 20/s: p99", calm.program.p99(), "ms"),
            judged("p50 at 20/s ÷ bare p50", calm.program.p50() / bare_p50, "×", Target::AtMost(1.3)),
            judged("p99 at 20/s ÷ bare p99", calm.program.p99() / bare_p99, "×", Target::AtMost(2.5)),
            plain("bare workers at 200/s: p50", busy.bare.p50(), "ms"),
            plain("bare workers at 200/s: p99", busy.bare.p99(), "ms"),
            plain("latency at 200/s: p50", busy.program.p50(), "ms"),
            plain("latency at 200/s: p99", busy.program.p99(), "ms"),
            judged("p99 at 200/s ÷ bare p99 at 20/s", busy.program.p99() / bare_p99, "×", Target::AtMost(6.0)),
            plain("p99 at 200/s ÷ bare p99 at 200/s", busy.program.p99() / busy.bare.p99(), "×"),
            plain("20/s beside a node that files 2,000: p50", flood.with.p50(), "ms"),
            plain("20/s beside a node that files 2,000: p99", flood.with.p99(), "ms"),
            plain("bare worker beside that node: p50", flood.bare.p50(), "ms"),
            plain("bare worker beside that node: p99", flood.bare.p99(), "ms"),
            plain("p99 beside that node ÷ bare p99 beside it", flood.with.p99() / flood.bare.p99(), "×"),
            judged("p99 with that node ÷ without", flood.with.p99() / flood.without.p99(), "×", Target::AtMost(2.0)),
        ]
    }

    fn of_costs(&self) -> Vec<Figure> {
        let per = |time: Duration, approvals: usize| time.as_secs_f64() * 1000.0 / float(approvals);
        let of_drain = self.rounds.iter().map(|Round { drain, .. }| {
            per(drain.drained.processor.saturating_sub(drain.waiting.processor), drain.asked.approvals)
        });
        let Latency { calm, busy, flood: _ } = &self.latency;
        let asked = || self.rounds.iter().map(|it| &it.drain.asked);
        let in_drain = |count: fn(&Asked) -> usize| median(asked().map(|it| float(count(it)) / float(it.approvals)));
        let calm_per = |count: usize| float(count) / float(calm.asked.approvals);
        vec![
            judged("processor time per approval: drain", median(of_drain), "ms", Target::AtMost(0.4)),
            plain("the same at 200/s", per(busy.processor, busy.asked.approvals), "ms"),
            plain("the same at 20/s", per(calm.processor, calm.asked.approvals), "ms"),
            judged("writes per approval: drain", in_drain(|it| it.writes), "", Target::Exactly(1.0)),
            judged("reads per approval: drain", in_drain(|it| it.reads), "", Target::Exactly(0.0)),
            plain("Events per approval: drain", in_drain(|it| it.events), ""),
            judged("writes per approval: 20/s", calm_per(calm.asked.writes), "", Target::Exactly(1.0)),
            judged("reads per approval: 20/s", calm_per(calm.asked.reads), "", Target::Exactly(0.0)),
            plain("Events per approval: 20/s", calm_per(calm.asked.events), ""),
        ]
    }

    #[allow(clippy::cast_precision_loss)]
    fn of_memory(&self) -> Vec<Figure> {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let drains = || self.rounds.iter().map(|it| &it.drain);
        let idle = median(drains().map(|it| mib(it.idle.resident)));
        let rests = || drains().filter_map(|it| it.rest.as_ref());
        let answered = median(rests().map(|it| mib(it.answered.resident)));
        let cleared = median(rests().map(|it| mib(it.cleared.resident)));
        let in_startup = self.startup.iter().map(|it| it.usage.peak);
        let in_drain = drains().map(|it| it.drained.peak).chain(rests().map(|it| it.cleared.peak));
        let peak = in_drain.chain(in_startup.clone()).max().unwrap_or_default();
        vec![
            plain("RSS: idle, no request", idle, "MiB"),
            plain("RSS: all requests waiting", median(drains().map(|it| mib(it.waiting.resident))), "MiB"),
            plain("RSS: all requests approved, 22 s later", answered, "MiB"),
            plain("RSS: requests gone, 22 s later", cleared, "MiB"),
            plain("peak RSS: start", median(in_startup.map(mib)), "MiB"),
            Figure { name: "peak RSS", value: mib(peak), unit: "MiB", target: target::peak(self.nodes) },
            plain("RSS: after the flood of one node", mib(self.latency.flood.resident), "MiB"),
            judged("RSS after the storm ÷ idle", answered / idle, "×", Target::AtMost(1.2)),
            judged("the same with the requests gone", cleared / idle, "×", Target::AtMost(1.2)),
        ]
    }

    fn of_startup(&self) -> Vec<Figure> {
        let turns = || self.startup.iter();
        let list = median(turns().map(|it| it.list.as_secs_f64()));
        let ready = median(turns().map(|it| it.ready.as_secs_f64()));
        vec![
            plain("bare LIST", list, "s"),
            plain("start to ready", ready, "s"),
            judged("start to ready ÷ bare LIST", ready / list, "×", Target::AtMost(1.2)),
            plain("processor time of the start", median(turns().map(|it| it.usage.processor.as_secs_f64())), "s"),
        ]
    }
}

fn written(value: f64, unit: &str) -> String {
    let digits = match value {
        ..1.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let mut text = format!("{value:.digits$}");
    if !unit.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(text, " {unit}");
    }
    text
}

/// What it ran on.
fn machine() -> Result<String> {
    let processors = std::thread::available_parallelism()?;
    let information = fs::read_to_string("/proc/cpuinfo")?;
    let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(format!("{processors} processors ({})", model.map_or("unknown", |(_, model)| model)))
}
