//! What the fuzz targets do with their input.
//!
//! Each takes bytes, has the product decide, and panics where it approves what [`naive`], a second statement of the rules
//! in other words, does not allow. `cargo fuzz` runs them on a nightly toolchain without end; `tests/fuzz.rs` of the
//! product includes this file and runs them on the seeds and some damage to them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod der;
pub mod dump;
pub mod inventory;
mod naive;
pub mod node;
pub mod policy;
pub mod request;
mod whole;
mod world;
