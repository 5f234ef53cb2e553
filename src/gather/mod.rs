//! Facts, made out of API objects: what the controller gathers by watching, and the commands for people from a dump or by
//! listing.

pub(crate) mod contested;
mod dump;
pub(crate) mod live;
mod snapshot;
mod surroundings;

pub use dump::DumpError;
pub use snapshot::{Answered, Gathering, Request, Snapshot};
pub(crate) use surroundings::{Kind, Protecting, Surroundings};
