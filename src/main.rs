//! The program: reads the command line, sets up the log, runs the command, and turns an error into one line.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::panic;
use std::process::{self, ExitCode};

use countersign::args::{Arguments, Command, LogFormat, RunArguments};
use countersign::cli::{self, Invocation, Outcome};
use countersign::policy;
use tracing_subscriber::EnvFilter;

/// What is logged unless RUST_LOG says otherwise. The client library reports each failed request as an error, which
/// this program does itself, once and in its own words.
const LOG: &str = "info,kube_client=off,kube_runtime=off,tower=warn,hyper=warn";

/// The code with which a panic ends any program in Rust that does not go on without the thread that panicked.
const PANICKED: i32 = 101;

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
    end_at_panics();
    // One thread decides faster than an API server writes. More of them wake each other, which takes a sixth of the time,
    // and each keeps memory of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(countersign::run::run(arguments))
}

/// From now on a panic ends the program, wherever it happens, so that Kubernetes starts it anew: without one of its
/// tasks it would go on and look alive. The interpreter of conditions alone may panic, which is caught.
fn end_at_panics() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tell(panic);
        if !policy::is_guarded() {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place, "a fault of the program ends it: {}", panic.payload_as_str().unwrap_or_default());
            process::exit(PANICKED);
        }
    }));
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    const CHILD: &str = "COUNTERSIGN_TEST_PANICS";

    /// What a child of this test does: a panic that is caught, and one in a task that nobody looks after.
    fn panic_twice() {
        log(LogFormat::Json);
        end_at_panics();
        // The interpreter takes an expression with a message of a type, and cannot run it.
        let policy = "{apiVersion: countersign/v1, kind: ServingPolicy, rules: [{name: all, conditions: [{expression: \
                      \"Type{field: 'a'} == request.key\"}]}]}";
        let error = policy::Policy::load(policy.as_bytes()).unwrap_err().to_string();
        eprintln!("refused: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::spawn(async { panic!("a fault") });
            tokio::time::sleep(Duration::from_millis(200)).await;
        });
    }

    #[test]
    fn a_panic_in_a_task_ends_the_program_unless_it_is_a_conditions() {
        if std::env::var_os(CHILD).is_some() {
            return panic_twice();
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        let name = "tests::a_panic_in_a_task_ends_the_program_unless_it_is_a_conditions";
        let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(PANICKED), "{stderr}");
        assert!(stderr.contains("refused: ") && stderr.contains("the interpreter has failed"), "{stderr}");
        let line = stderr.lines().last().unwrap();
        assert!(line.starts_with('{') && line.contains("a fault of the program ends it: a fault"), "{stderr}");
    }
}
