//! What the tests of the decision share.
// Each program that includes this module uses a part of it.
#![allow(dead_code)]

pub mod csr;
pub mod der;
pub mod key;
pub mod mutate;
pub mod pkcs10;
pub mod random;
