//! Where commands write.

use std::io::{BufWriter, IsTerminal as _, Stderr, StdoutLock};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use terminal_size::{Width, terminal_size_of};
use tracing_subscriber::EnvFilter;

/// What is as it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What is denied or wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// What waits.
pub(super) const WAITING: Style = AnsiColor::Yellow.on_default();

/// Standard output: with colours on a terminal only, and without them where NO_COLOR is set.
pub(super) fn output() -> BufWriter<AutoStream<StdoutLock<'static>>> {
    BufWriter::new(AutoStream::auto(std::io::stdout()).lock())
}

/// Standard error, in the same way.
pub(super) fn errors() -> AutoStream<Stderr> {
    AutoStream::auto(std::io::stderr())
}

/// Logs to standard error what is asked of the API server, from level 1 on, and from 6 on every request of the client
/// library as well, as with kubectl.
pub(super) fn log(verbosity: u8) {
    let filter = match verbosity {
        0 => return,
        1..6 => "countersign=info",
        6.. => "countersign=debug,kube_client=debug",
    };
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(std::io::stderr);
    // Only the first of two can be, which is as good.
    let _ = log.with_target(false).with_ansi(AutoStream::choice(&std::io::stderr()) != ColorChoice::Never).try_init();
}

/// How many characters a line of standard output has, where that is a terminal.
pub(super) fn width() -> Option<usize> {
    let stdout = std::io::stdout();
    let (Width(width), _) = terminal_size_of(&stdout).filter(|_| stdout.is_terminal())?;
    Some(width.into())
}
