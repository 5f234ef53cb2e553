//! Where commands write.

use std::io::{BufWriter, Stderr, StdoutLock};

use anstream::AutoStream;

/// Standard output: with colours on a terminal only, and without them where NO_COLOR is set.
pub(super) fn output() -> BufWriter<AutoStream<StdoutLock<'static>>> {
    BufWriter::new(AutoStream::auto(std::io::stdout()).lock())
}

/// Standard error, in the same way.
pub(super) fn errors() -> AutoStream<Stderr> {
    AutoStream::auto(std::io::stderr())
}
