//! The program: reads the command line, sets up the log, runs the command, and turns an error into one line.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use countersign::args::{Arguments, Command, LogFormat, RunArguments};
use countersign::cli::{self, Invocation, Outcome};
use tracing_subscriber::EnvFilter;

/// What is logged unless RUST_LOG says otherwise. The client library reports each failed request as an error, which
/// this program does itself, once and in its own words.
const LOG: &str = "info,kube_client=off,kube_runtime=off,tower=warn,hyper=warn";

/// Exits with 0 when all is good, 1 for wrong usage and whatever fails, 2 when something is denied or would change.
fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let invocation = Invocation::of(words.first().map(OsString::as_os_str));
    if invocation == Invocation::Completion {
        // Nobody is told where that fails: a shell shows nothing.
        let done = cli::complete_for_kubectl(words.into_iter().skip(1));
        return if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let arguments = match invocation.parse(words) {
        Ok(arguments) => arguments,
        Err(message) => {
            // Nothing is to be done where that fails: there is nowhere to say so.
            let _ = message.print();
            return if message.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match start(arguments) {
        Ok(outcome) => outcome.into(),
        Err(error) if cli::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("countersign: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<Outcome> {
    match arguments.command {
        Command::Run(arguments) => run(*arguments),
        Command::Review(arguments) => cli::review(&arguments),
        Command::Explain(arguments) => cli::explain(&arguments),
        Command::Policy(arguments) => cli::policy(&arguments.command),
        Command::Completions(arguments) => cli::completions(&arguments),
    }
}

fn run(arguments: RunArguments) -> anyhow::Result<Outcome> {
    log(arguments.log_format);
    // One thread decides faster than an API server writes. More of them wake each other, which takes a sixth of the time,
    // and each keeps memory of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(countersign::run::run(arguments))
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let log = log.with_ansi(colours);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
