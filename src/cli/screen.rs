//! Where commands write.

use std::io::{BufWriter, IsTerminal as _, Stderr, StdoutLock};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use terminal_size::{Width, terminal_size_of};

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

/// How many characters a line of standard output has, where that is a terminal.
pub(super) fn width() -> Option<usize> {
    let stdout = std::io::stdout();
    let (Width(width), _) = terminal_size_of(&stdout).filter(|_| stdout.is_terminal())?;
    Some(width.into())
}
