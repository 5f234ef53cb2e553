//! The commands for people, as people see them: what is printed, and the exit code.
//!
//! What is printed stands in `snapshots/`; `INSTA_UPDATE=always cargo test --test cli` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod diff;
mod dump;
mod explain;
mod folder;
mod install;
mod policy;
mod reference;
mod review;
mod terminal;
