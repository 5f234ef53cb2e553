//! `docs/cli.md`: every command, from the definitions that the program reads its command line by.
//!
//! `UPDATE_CLI=1 cargo test --test cli` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory as _};
use countersign::args::Arguments;

/// What the page begins with.
const HEAD: &str = "\
# The command line

What `--help` says of each command. Exit codes: 0 when all is good, 2 when something is denied, would change or is not as
expected, 1 for wrong usage and whatever fails.

As a plugin of kubectl, the program is called `kubectl countersign`.
";

/// Every command that is not hidden, with all the words that it is called by.
fn commands() -> Vec<(String, Command)> {
    fn add(path: &str, command: &Command, all: &mut Vec<(String, Command)>) {
        let path = format!("{path}{}", command.get_name());
        all.push((path.clone(), command.clone()));
        let shown = command.get_subcommands().filter(|it| it.get_name() != "help" && !it.is_hide_set());
        shown.for_each(|it| add(&format!("{path} "), it, all));
    }
    let mut root = Arguments::command();
    root.build();
    let mut all = Vec::new();
    add("", &root, &mut all);
    all
}

fn text(styled: Option<&StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

/// What is said of an option or a position, in one item of a list.
fn item(arg: &Arg) -> String {
    let names = [arg.get_short().map(|it| format!("-{it}")), arg.get_long().map(|it| format!("--{it}"))];
    let names = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let values: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let value = if arg.get_action().takes_values() { values.join(" ") } else { String::new() };
    let between = if arg.is_require_equals_set() { "=" } else { " " };
    let title = if names.is_empty() { value } else { format!("{names}{between}{value}") };
    let mut line =
        format!("- `{}`: {}", title.trim_end_matches([' ', '=']), text(arg.get_long_help().or(arg.get_help())));
    let possible = arg.get_possible_values();
    if arg.get_action().takes_values() && !possible.is_empty() {
        let listed: Vec<String> = possible
            .iter()
            .map(|it| format!("  - `{}`: {}", it.get_name(), text(it.get_help()).trim_end_matches('.')))
            .collect();
        line = format!("{line}\n{}", listed.join("\n"));
    }
    let default: Vec<_> = arg.get_default_values().iter().map(|it| it.to_string_lossy()).collect();
    if arg.get_action().takes_values() && !default.is_empty() && !arg.is_hide_default_value_set() {
        let (first, rest) =
            line.split_once('\n').map_or((line.as_str(), String::new()), |(a, b)| (a, format!("\n{b}")));
        line = format!("{first} (default `{}`){rest}", default.join(" "));
    }
    line
}

fn section(path: &str, command: &Command) -> String {
    let mut page = format!("\n## {path}\n\n{}\n", text(command.get_long_about().or(command.get_about())));
    let usage = command.clone().bin_name(path).render_usage().to_string();
    writeln!(page, "\n```text\n{}\n```", usage.trim_start_matches("Usage: ")).unwrap();
    let shown = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    let mut heading = None;
    let (positions, options): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(shown).partition(|arg| arg.is_positional());
    let (plain, headed): (Vec<&Arg>, Vec<&Arg>) = options.into_iter().partition(|arg| arg.get_help_heading().is_none());
    for arg in positions.into_iter().chain(plain).chain(headed) {
        let new = arg.get_help_heading();
        if heading != Some(new) {
            writeln!(page, "{}", new.map(|it| format!("\n{it}:\n")).unwrap_or_default()).unwrap();
            heading = Some(new);
        }
        writeln!(page, "{}", item(arg)).unwrap();
    }
    let examples = text(command.get_after_help());
    let examples: Vec<&str> = examples.lines().skip(1).map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
    writeln!(page, "\n```sh\n{}\n```", examples.join("\n")).unwrap();
    page
}

#[test]
fn the_page_is_what_help_says() {
    let sections: String = commands().iter().map(|(path, command)| section(path, command)).collect();
    let page = format!("{HEAD}{sections}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    if std::env::var_os("UPDATE_CLI").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/cli.md is not what the commands say: UPDATE_CLI=1 cargo test --test cli");
}

/// An example is a command that the program understands, and is there wherever somebody asks for help.
#[test]
fn every_help_has_an_example_that_works() {
    for (path, command) in commands() {
        let examples = text(command.get_after_help());
        let lines: Vec<&str> = examples.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        let own = lines.iter().filter(|line| line.contains(path.as_str()));
        assert!(examples.starts_with("Example") && own.count() > 0, "{path}: {examples:?}");
        for line in lines.into_iter().filter(|line| line.starts_with("countersign ")) {
            // What the shell would have made of it.
            let words = line.split(" > ").next().unwrap().replace("<(git show HEAD:policy.yaml)", "old.yaml");
            let parsed = Arguments::command().try_get_matches_from(words.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }
}
