//! The program as a plugin of kubectl, which runs what is called `kubectl-countersign` for `kubectl countersign`, and
//! `kubectl_complete-countersign` to complete it (upstream: `k8s.io/kubectl/pkg/cmd/plugin/plugin_completion.go`).

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _, ValueHint};

use super::screen;
use crate::args::Arguments;

/// What kubectl is told to do with completions (upstream: cobra's `ShellCompDirective`): offer files where there are none.
const WITH_FILES: u8 = 0;
/// Offer nothing else.
const NO_FILES: u8 = 4;

/// Under which name the program was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// As itself.
    Program,
    /// By kubectl, as its plugin.
    Plugin,
    /// By kubectl, to complete a command line.
    Completion,
}

impl Invocation {
    /// By the name that comes before the arguments.
    #[must_use]
    pub fn of(name: Option<&OsStr>) -> Self {
        match name.and_then(|name| Path::new(name).file_name()).and_then(OsStr::to_str) {
            Some("kubectl-countersign") => Self::Plugin,
            Some("kubectl_complete-countersign") => Self::Completion,
            Some(_) | None => Self::Program,
        }
    }

    /// Reads the command line, the first word of which is the program.
    ///
    /// # Errors
    /// What is wrong with it, or the help that it asks for.
    pub fn parse(self, words: Vec<OsString>) -> Result<Arguments, clap::Error> {
        let command = match self {
            Self::Plugin => as_plugin(Arguments::command().bin_name("kubectl countersign")),
            Self::Program | Self::Completion => Arguments::command(),
        };
        Arguments::from_arg_matches(&command.try_get_matches_from(words)?)
    }
}

/// The examples of the help in the plugin's words.
fn as_plugin(command: Command) -> Command {
    let examples =
        command.get_after_help().map(|text| text.to_string().replace("  countersign ", "  kubectl countersign "));
    let command = match examples {
        Some(examples) => command.after_help(examples),
        None => command,
    };
    command.mut_subcommands(as_plugin)
}

/// Prints what the last of the words may become.
///
/// # Errors
/// When it cannot be printed.
pub fn complete_for_kubectl(words: impl Iterator<Item = OsString>) -> io::Result<()> {
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let mut output = screen::output();
    print(&words, &mut output)?;
    output.flush()
}

fn print(words: &[String], output: &mut dyn Write) -> io::Result<()> {
    let mut root = Arguments::command();
    root.build();
    let (last, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
    let candidates = Candidates::of(&root, before, last);
    for (word, about) in candidates.words.iter().filter(|(word, _)| word.starts_with(last)) {
        writeln!(output, "{word}\t{about}")?;
    }
    writeln!(output, ":{}", if candidates.files { WITH_FILES } else { NO_FILES })
}

/// What may come next.
#[derive(Default)]
struct Candidates {
    /// Words, each with what it means.
    words: Vec<(String, String)>,
    /// Whether names of files may, too.
    files: bool,
}

impl Candidates {
    fn of(root: &Command, before: &[String], last: &str) -> Self {
        let mut command = root;
        let mut open = None;
        let mut positions = 0;
        for word in before {
            if open.take().is_some() {
                continue;
            }
            if word.starts_with('-') {
                open =
                    option(command, word).filter(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set());
            } else if let Some(subcommand) = command.find_subcommand(word) {
                command = subcommand;
            } else {
                positions += 1;
            }
        }
        if let Some(arg) = open {
            return Self::values(arg, "");
        }
        if let Some((name, _)) = last.split_once('=') {
            return option(command, name).map(|arg| Self::values(arg, &format!("{name}="))).unwrap_or_default();
        }
        if last.starts_with('-') {
            return Self { words: options(command).collect(), files: false };
        }
        let subcommands = command.get_subcommands().map(|it| (it.get_name().to_owned(), first_line(it.get_about())));
        match command.get_positionals().nth(positions).or_else(|| command.get_positionals().last()) {
            Some(arg) => Self::values(arg, ""),
            None => Self { words: subcommands.collect(), files: false },
        }
    }

    fn values(arg: &Arg, before: &str) -> Self {
        let possible = arg.get_possible_values();
        let value =
            |it: &clap::builder::PossibleValue| (format!("{before}{}", it.get_name()), first_line(it.get_help()));
        Self { words: possible.iter().map(value).collect(), files: arg.get_value_hint() == ValueHint::AnyPath }
    }
}

/// The option that a word names.
fn option<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let named = |arg: &&Arg| match (word.strip_prefix("--"), word.strip_prefix('-')) {
        (Some(long), _) => arg.get_long() == Some(long),
        (None, Some(short)) => arg.get_short().is_some_and(|it| short.chars().eq([it])),
        (None, None) => false,
    };
    command.get_arguments().find(named)
}

fn options(command: &Command) -> impl Iterator<Item = (String, String)> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown.filter_map(|arg| Some((format!("--{}", arg.get_long()?), first_line(arg.get_help()))))
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(|text| text.to_string().lines().next().unwrap_or_default().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut output = Vec::new();
        print(&words, &mut output).unwrap();
        let text = String::from_utf8(output).unwrap();
        text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn completes_commands_flags_and_values() {
        assert_eq!(completed(&["re"]), ["review", ":4"]);
        assert_eq!(completed(&["policy", ""]), ["validate", "test", "diff", "schema", "help", ":4"]);
        assert_eq!(completed(&["review", "--o"]), ["--output", "--only", ":4"]);
        assert_eq!(completed(&["review", "--only", ""]), ["approved", "denied", "deferred", ":4"]);
        assert_eq!(completed(&["review", "-o", "j"]), ["json", "jsonl", ":4"]);
        assert_eq!(completed(&["review", "--output=y"]), ["--output=yaml", ":4"]);
        assert_eq!(completed(&["review", "-v", "--only", "d"]), ["denied", "deferred", ":4"]);
        assert_eq!(completed(&["policy", "schema", "re"]), ["review", ":4"]);
    }

    #[test]
    fn leaves_files_to_the_shell() {
        for words in [&["review", "-f", ""][..], &["policy", "validate", "a.yaml", ""], &["review", "--policy=a"]] {
            assert_eq!(completed(words), [":0"], "{words:?}");
        }
        assert_eq!(completed(&["explain", ""]), [":4"]);
        assert_eq!(completed(&["nonsense", "--nonsense=x"]), [":4"]);
    }

    #[test]
    fn help_speaks_of_what_was_typed() {
        let help = |invocation: Invocation, words: &[&str]| {
            let words = words.iter().map(OsString::from).collect();
            invocation.parse(words).unwrap_err().to_string()
        };
        let plugin = help(Invocation::Plugin, &["/usr/bin/kubectl-countersign", "review", "--help"]);
        assert!(plugin.contains("Usage: kubectl countersign review [OPTIONS]"), "{plugin}");
        assert!(plugin.contains("\n  kubectl countersign review --policy policy.yaml"), "{plugin}");
        let program = help(Invocation::Program, &["countersign", "policy", "nonsense"]);
        assert!(program.contains("Usage: countersign policy <COMMAND>"), "{program}");
    }
}
