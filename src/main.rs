//! The program: reads the command line, sets up the log, runs the command, and turns an error into one line.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use countersign::args::{Arguments, Command, LogFormat};
use tracing_subscriber::EnvFilter;

/// What is logged unless RUST_LOG says otherwise. The client library reports each failed request as an error, which
/// this program does itself, once and in its own words.
const LOG: &str = "info,kube_client=off,kube_runtime=off,tower=warn,hyper=warn";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("countersign: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let Command::Run(run) = arguments.command;
    log(run.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(countersign::run::run(run))
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
