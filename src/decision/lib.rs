//! From a request, what is known, and a policy to a verdict.
//!
//! ```text
//!  CertificateSigningRequest ─read──► ServingRequest ─┐
//!  Nodes, Machines, inventory, … ───► Facts ──────────┼─► evaluate ─► Verdict
//!  policy YAML ─load────────────────► Policy ─────────┘
//! ```
//!
//! - [`api`] has the objects of the Kubernetes API, with only those of their fields that a decision rests on;
//! - [`request`] reads the PKCS#10 request and its key, and [`san`] the names and addresses it asks for;
//! - [`identity`] knows whose each name and address is, by the cluster's objects, the inventory, Machines and DNS;
//! - [`policy`] has the operator's rules, and [`policy::evaluate`], the one function that decides;
//! - [`verdict`] is what comes out, with its reasons; [`quote`] makes untrusted text fit for them.
//!
//! All of it is pure and synchronous: no client, no clock, no environment; every fact is an argument.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod api;
pub mod identity;
pub mod policy;
pub mod quote;
pub mod request;
pub mod san;
pub mod verdict;
