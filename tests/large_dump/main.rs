//! `make measure-review`: how long `countersign review` takes for a dump of a large cluster, and how much memory.
//!
//! The dumps are made anew, since they would be too large to keep: 15,000 Nodes of 15 KB and 20,000 requests, as kubectl
//! prints them with `--show-managed-fields`. Nothing is compared: what a machine can do is for people to judge. Runs the
//! program on the first processor only, where `taskset` is there to see to it.

mod measure;
mod node;
mod objects;
#[path = "../common/proc.rs"]
mod proc;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use objects::Template;

const NODES: usize = 15_000;
const REQUESTS: usize = 20_000;

/// How a dump is written.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Yaml,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let program = arguments.next().context("name the program to measure")?;
    let folder = arguments.next().context("name a folder for the dumps")?;
    std::fs::create_dir_all(&folder)?;
    println!(
        "| dump | size | output | first line | all | processor time | peak memory |\n|---|---|---|---|---|---|---|"
    );
    for (format, name) in [(Format::Json, "cluster.json"), (Format::Yaml, "cluster.yaml")] {
        let path = folder.join(name);
        let size = write(&path, format).with_context(|| path.display().to_string())?;
        for output in ["table", "jsonl", "json"] {
            let run = measure::review(&program, &path, output)?;
            ensure!(run.code == Some(2), "the review ended with {:?}", run.code);
            let megabytes = |bytes: u64| bytes / 1_000_000;
            let (first, all) = (run.first.as_secs_f64(), run.all.as_secs_f64());
            let (size, peak) = (megabytes(size), megabytes(run.peak));
            let processor = run.processor.as_secs_f64();
            println!(
                "| {name} | {size} MB | `-o {output}` | {first:.1} s | {all:.1} s | {processor:.1} s | {peak} MB |"
            );
        }
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

/// Writes a dump, and gives its size in bytes.
fn write(path: &Path, format: Format) -> Result<u64> {
    let file = File::create(path)?;
    let mut output = BufWriter::with_capacity(1 << 20, file);
    let (node, request) = (Template::of(&node::template(), format)?, Template::of(&objects::request(), format)?);
    let (start, between, end) = match format {
        Format::Json => {
            ("{\n    \"apiVersion\": \"v1\",\n    \"items\": [\n", ",\n", "\n    ],\n    \"kind\": \"List\"\n}\n")
        }
        Format::Yaml => ("apiVersion: v1\nitems:\n", "", "kind: List\n"),
    };
    output.write_all(start.as_bytes())?;
    // The order of `kubectl get csr,nodes`.
    for number in 0..REQUESTS {
        output.write_all(request.fill(&objects::of_request(number, NODES)?).as_bytes())?;
        output.write_all(between.as_bytes())?;
    }
    for number in 0..NODES {
        output.write_all(node.fill(&node::of_node(number)).as_bytes())?;
        output.write_all(if number + 1 < NODES { between } else { end }.as_bytes())?;
    }
    output.into_inner()?.sync_all()?;
    Ok(std::fs::metadata(path)?.len())
}
