//! The commands for people: the same decision as the controller's, shown instead of written.

pub mod args;
mod completions;
mod diagnostic;
mod diff;
mod explain;
mod notes;
mod once;
mod plugin;
mod policy;
mod progress;
mod report;
mod review;
mod screen;
mod source;
mod table;
mod text;

use std::io;
use std::process::ExitCode;

pub use completions::completions;
pub use explain::explain;
pub(crate) use once::print_once;
pub use plugin::{Invocation, complete_for_kubectl};
pub use policy::policy;
pub use review::review;

/// How a command ended, where nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is good.
    Good,
    /// Something is denied, would change, or is not as it is expected to be.
    Refused,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Good => Self::SUCCESS,
            Outcome::Refused => Self::from(2),
        }
    }
}

/// Whether an error only says that nobody reads the output any more, as with `countersign … | head`.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
