//! Requests that no honest kubelet sends, byte by byte, and what has to become of them.
//!
//! Kube-controller-manager reads a request again, with Go's crypto/x509, and issues what it has read there. So whatever
//! two readers could read differently has to be denied here, and for the right reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

#[path = "hostile_der/attributes.rs"]
mod attributes;
#[path = "hostile_der/ed25519.rs"]
mod ed25519;
#[path = "hostile_der/encoding.rs"]
mod encoding;
#[path = "hostile_der/expect.rs"]
mod expect;
#[path = "hostile_der/keys.rs"]
mod keys;
#[path = "hostile_der/mutations.rs"]
mod mutations;
#[path = "hostile_der/pem.rs"]
mod pem;
#[path = "hostile_der/requestor.rs"]
mod requestor;
#[path = "hostile_der/rsa.rs"]
mod rsa;
#[path = "hostile_der/sans.rs"]
mod sans;
#[path = "hostile_der/signatures.rs"]
mod signatures;
#[path = "hostile_der/subject.rs"]
mod subject;
