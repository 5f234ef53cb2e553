//! `countersign policy`: what is done with policy files.

use std::io::Write;
use std::path::Path;

use annotate_snippets::Level;
use anyhow::Context as _;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::args::{PolicyCommand, SchemaArguments, SchemaKind, TestArguments, ValidateArguments};
use super::diff::{self, PolicyDiff};
use super::explain::Explanation;
use super::report::Review;
use super::screen::{BAD, GOOD};
use super::text::count;
use super::{Outcome, diagnostic, screen};
use crate::cases::{self, Cases};
use crate::identity::Inventory;
use crate::policy::{FileError, Policy, Problem};

/// Runs `countersign policy`.
///
/// # Errors
/// Files that cannot be read or used.
pub fn policy(command: &PolicyCommand) -> anyhow::Result<Outcome> {
    match command {
        PolicyCommand::Validate(arguments) => validate(arguments),
        PolicyCommand::Test(arguments) => test(arguments),
        PolicyCommand::Diff(arguments) => diff::diff(arguments),
        PolicyCommand::Schema(arguments) => schema(arguments),
    }
}

fn schema(arguments: &SchemaArguments) -> anyhow::Result<Outcome> {
    let schema = match arguments.kind {
        SchemaKind::Policy => Policy::json_schema(),
        SchemaKind::Inventory => Inventory::json_schema(),
        SchemaKind::Review => schemars::schema_for!(Review),
        SchemaKind::Diff => schemars::schema_for!(PolicyDiff),
        SchemaKind::Explanation => schemars::schema_for!(Explanation),
    };
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
        let bytes = read(path)?;
        match check(path, &bytes) {
            Ok((summary, warnings)) => {
                show(&mut errors, &warnings, &Level::WARNING, path, &bytes)?;
                writeln!(output, "{summary}")?;
            }
            Err(error) => {
                show(&mut errors, error.problems(), &Level::ERROR, path, &bytes)?;
                bad += 1;
            }
        }
    }
    output.flush()?;
    anyhow::ensure!(bad == 0, "{bad} of {} files cannot be used", arguments.files.len());
    Ok(Outcome::Good)
}

/// Reads a policy, an inventory or cases, whichever the file says it is. Gives a line about it, and warnings.
fn check(path: &Path, bytes: &[u8]) -> Result<(String, Vec<Problem>), FileError> {
    #[derive(Default, Deserialize)]
    struct Head {
        kind: Option<String>,
        cases: Option<IgnoredAny>,
    }
    let name = path.display();
    let head: Head = serde_yaml::from_slice(bytes).unwrap_or_default();
    if head.cases.is_some() {
        let cases = Cases::load(bytes, folder(path))?.len();
        return Ok((format!("{name}: {}", count(cases, "case")), Vec::new()));
    }
    if head.kind.as_deref() == Some("NodeInventory") {
        let nodes = Inventory::load(bytes)?.node_count();
        return Ok((format!("{name}: inventory of {}", count(nodes, "node")), Vec::new()));
    }
    let (policy, warnings) = Policy::load_with_warnings(bytes)?;
    let (rules, mode) = (count(policy.rules().count(), "rule"), policy.mode());
    Ok((format!("{name}: policy of {rules}, mode {mode}, sha256 {}", policy.sha256()), warnings))
}

/// Where a file lies.
fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn test(arguments: &TestArguments) -> anyhow::Result<Outcome> {
    let (mut wrong, mut unusable) = (0_usize, 0_usize);
    let mut output = screen::output();
    let mut errors = screen::errors();
    for path in &arguments.files {
        let bytes = read(path)?;
        match Cases::load(&bytes, folder(path)) {
            Ok(cases) => wrong += run(&cases, path, &mut output)?,
            Err(error) => {
                unusable += 1;
                show(&mut errors, error.problems(), &Level::ERROR, path, &bytes)?;
            }
        }
    }
    output.flush()?;
    anyhow::ensure!(unusable == 0, "{unusable} of {} files cannot be used", arguments.files.len());
    Ok(if wrong == 0 { Outcome::Good } else { Outcome::Refused })
}

/// Runs cases, and shows those that are wrong. Gives how many that are.
fn run(cases: &Cases, path: &Path, output: &mut dyn Write) -> anyhow::Result<usize> {
    let wrong: Vec<_> = cases
        .run()
        .filter_map(|(name, outcome)| match outcome {
            cases::Outcome::Right => None,
            cases::Outcome::Wrong { expected, got } => Some((name, expected, got)),
        })
        .collect();
    let (path, all) = (path.display(), count(cases.len(), "case"));
    match wrong.len() {
        0 => writeln!(output, "{path}: {all}, {GOOD}all as expected{GOOD:#}")?,
        some => writeln!(output, "{path}: {all}, {BAD}{some} not as expected{BAD:#}")?,
    }
    for (name, expected, got) in &wrong {
        writeln!(output, "\n  {name}")?;
        for position in 0..expected.len().max(got.len()) {
            match (expected.get(position), got.get(position)) {
                (Some(expected), Some(got)) if expected == got => writeln!(output, "      {got}")?,
                (expected, got) => {
                    if let Some(line) = expected {
                        writeln!(output, "    {BAD}- {line}{BAD:#}")?;
                    }
                    if let Some(line) = got {
                        writeln!(output, "    {GOOD}+ {line}{GOOD:#}")?;
                    }
                }
            }
        }
    }
    if !wrong.is_empty() {
        writeln!(output)?;
    }
    Ok(wrong.len())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn show(
    errors: &mut dyn Write,
    problems: &[Problem],
    level: &Level<'static>,
    path: &Path,
    bytes: &[u8],
) -> std::io::Result<()> {
    let text = String::from_utf8_lossy(bytes);
    problems
        .iter()
        .try_for_each(|problem| writeln!(errors, "{}\n", diagnostic::render(problem, level.clone(), path, &text)))
}
