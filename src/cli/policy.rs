//! `countersign policy`: what is done with policy files.

use std::io::Write as _;
use std::path::Path;

use annotate_snippets::Level;
use anyhow::Context as _;
use serde::Deserialize;

use super::args::{PolicyCommand, SchemaArguments, ValidateArguments};
use super::{Outcome, diagnostic, screen};
use crate::identity::Inventory;
use crate::policy::{FileError, Policy, Problem};

/// Runs `countersign policy`.
///
/// # Errors
/// Files that cannot be read or used.
pub fn policy(command: &PolicyCommand) -> anyhow::Result<Outcome> {
    match command {
        PolicyCommand::Validate(arguments) => validate(arguments),
        PolicyCommand::Schema(arguments) => schema(arguments),
    }
}

fn schema(arguments: &SchemaArguments) -> anyhow::Result<Outcome> {
    let schema = if arguments.inventory { Inventory::json_schema() } else { Policy::json_schema() };
    let mut output = screen::output();
    serde_json::to_writer_pretty(&mut output, &schema)?;
    writeln!(output)?;
    output.flush()?;
    Ok(Outcome::Good)
}

fn validate(arguments: &ValidateArguments) -> anyhow::Result<Outcome> {
    let mut bad = 0_usize;
    let mut output = screen::output();
    let mut errors = screen::errors();
    for path in &arguments.files {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut show = |problems: &[Problem], level: Level<'static>| {
            problems.iter().try_for_each(|problem| {
                writeln!(errors, "{}\n", diagnostic::render(problem, level.clone(), path, &text))
            })
        };
        match check(path, &bytes) {
            Ok((summary, warnings)) => {
                show(&warnings, Level::WARNING)?;
                writeln!(output, "{summary}")?;
            }
            Err(error) => {
                show(error.problems(), Level::ERROR)?;
                bad += 1;
            }
        }
    }
    output.flush()?;
    anyhow::ensure!(bad == 0, "{bad} of {} files cannot be used", arguments.files.len());
    Ok(Outcome::Good)
}

/// Reads a policy or an inventory, whichever the file says it is. Gives a line about it, and warnings.
fn check(path: &Path, bytes: &[u8]) -> Result<(String, Vec<Problem>), FileError> {
    #[derive(Deserialize)]
    struct Head {
        kind: String,
    }
    let path = path.display();
    let head = serde_yaml::from_slice::<Head>(bytes).ok();
    if head.is_some_and(|head| head.kind == "NodeInventory") {
        let nodes = Inventory::load(bytes)?.len();
        return Ok((format!("{path}: inventory of {}", count(nodes, "node")), Vec::new()));
    }
    let (policy, warnings) = Policy::load_with_warnings(bytes)?;
    let (rules, mode) = (count(policy.rules().count(), "rule"), policy.mode());
    Ok((format!("{path}: policy of {rules}, mode {mode}, sha256 {}", policy.sha256()), warnings))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
