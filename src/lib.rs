//! Countersign answers kubelet-serving CertificateSigningRequests.
//!
//! ```text
//!  API watch ─► trimmed stores ─► per-node queue ──┐
//!  CertificateSigningRequest ─read──► ServingRequest ─┐
//!  Nodes, Machines, inventory, … ───► Facts ──────────┼─► evaluate ─► Verdict ─► plan ─► approval write ─► log, Event, metric
//!  policy YAML ─load────────────────► Policy ─────────┘       (pure, sync, no clock)     (the only writer)
//! ```
//!
//! Four rooms, and the data goes one way through them:
//!
//! - **decision** ([`api`], [`request`], [`san`], [`identity`], [`policy`], [`verdict`]): pure and synchronous. No
//!   client, no clock, no environment; every fact is an argument. It is a package of its own, `src/decision`, which
//!   has no dependency that could do otherwise.
//! - **gathering** ([`gather`], [`cases`]): makes facts out of API objects, whether a watch brings them or a list, a
//!   dump or the text of a case.
//! - **controller** ([`controller`], [`watch`], [`lease`], [`reload`]): gathers facts, asks the decision, turns a verdict into a plan and performs it.
//! - **shell** ([`args`], [`run`], [`cli`], [`admin`], [`metrics`], [`client`]): flags, wiring, printing, HTTP.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod access;
pub mod admin;
pub mod args;
pub mod cases;
pub mod cli;
pub mod client;
pub mod controller;
pub mod gather;
pub mod lease;
pub mod metrics;
mod once;
pub mod reload;
pub mod run;
pub mod watch;

use countersign_decision::quote;
pub use countersign_decision::{api, identity, policy, request, san, verdict};
