//! Which of several instances writes: leader election by a `coordination.k8s.io/v1` Lease, as client-go's
//! `tools/leaderelection` does it, and with one writer at a time.
//!
//! The holder renews the Lease every [`RETRY_PERIOD`]. Others may take it when they have not seen it change for
//! [`LEASE_DURATION`], or when its holder has given it up. Times in the Lease are for people: clocks of different
//! machines are never compared, each instance only measures on its own monotonic clock since when nothing has changed.
//!
//! A holder whose last successful renewal was *sent* at `t` starts no write after `t` + [`RENEW_DEADLINE`] (10 s), and
//! drops what it has started [`WRITE_GRACE`] (4 s) after that, sent or not. Nobody else can have seen that renewal
//! before `t`, so nobody takes the Lease before `t` + 15 s. Both are checked whenever the write is polled, and the
//! clock once more right before its bytes are sent ([`GuardedConnector`]), and not by a timer alone: a process that was
//! stopped and goes on a minute later drops what it had not sent.
//!
//! What cannot be had from a Lease: bytes that are already with the kernel, or in an API server that is itself stopped,
//! may take effect later. So every write names the resourceVersion that was judged: of two writers, the API server lets
//! one succeed. The clock is CLOCK_MONOTONIC, which stands still while a whole machine is suspended; there too the
//! resourceVersion decides.

mod candidate;
mod election;
mod guard;
mod leadership;
mod name;
#[cfg(test)]
mod tests;

pub use candidate::Candidate;
pub use guard::{Guarded, GuardedConnector};
pub use leadership::{Leadership, NotLeading};
pub use name::{LeaseName, LeaseNameError};

use std::time::Duration;

/// How long a Lease has to be seen unchanged before another instance may take it.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long after its last renewal the holder still starts writes.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How long after that deadline the holder waits for writes that it has started before.
pub const WRITE_GRACE: Duration = Duration::from_secs(4);
/// How often the holder renews. Others look a little more often, so that they notice within two seconds when it is free.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// What this instance calls itself: its pod's or host's name, and a random part, since a restarted one is another.
#[must_use]
pub fn identity() -> String {
    let mut random = [0_u8; 5];
    // Without random numbers the program could not even connect; the names of pods differ anyway.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let random = u64::from_be_bytes([0, 0, 0, random[0], random[1], random[2], random[3], random[4]]);
    let host: String = host_name().chars().take(100).collect();
    format!("{host}_{random:010x}")
}

fn host_name() -> String {
    let named = ["POD_NAME", "HOSTNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    named.chain(read).find(|name| !name.is_empty()).unwrap_or_else(|| "countersign".to_owned())
}
