//! Facts, made out of API objects: what the controller gathers by watching, and the commands for people from a dump or by
//! listing.

pub(crate) mod contested;
pub(crate) mod dump;
pub(crate) mod live;
mod snapshot;
mod surroundings;

pub(crate) use snapshot::Gathering;
pub use snapshot::{Answered, Request, Snapshot};
pub(crate) use surroundings::{Kind, Protecting, Surroundings};
