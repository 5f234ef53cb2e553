//! `countersign completions`: what makes a shell complete the program's commands and flags.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::aot;

use super::args::{CompletionsArguments, Shell};
use super::{Outcome, screen};
use crate::args::Arguments;

/// Runs `countersign completions`.
///
/// # Errors
/// When it cannot be printed.
pub fn completions(arguments: &CompletionsArguments) -> anyhow::Result<Outcome> {
    let shell = match arguments.shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    // The library panics where it cannot write, and so it writes into memory.
    let mut script = Vec::new();
    aot::generate(shell, &mut Arguments::command(), "countersign", &mut script);
    let mut output = screen::output();
    output.write_all(&script)?;
    output.flush()?;
    Ok(Outcome::Good)
}
