//! How much of pending requests is kept in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::{RequestBytes, RequestSpec};

/// How many bytes what was kept of pending requests may take. That of a kubelet's takes 3 KiB by this reckoning, so
/// that there is room for more than 20,000 of them.
const MOST: usize = 64 << 20;
/// What is kept of a request, as it came or as it was read, takes no more than so many times the room of its texts.
const TIMES: usize = 4;

/// Room for pending requests. A node may file as many as it likes, of 16 KiB each.
#[derive(Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// What one request takes of it, until nobody has this any more.
pub(super) type Taken = Arc<OwnedSemaphorePermit>;

impl Room {
    /// Room for so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Takes what a request needs, if there is as much.
    pub(super) fn take(&self, spec: &RequestSpec) -> Option<Taken> {
        let pem = match &spec.request {
            RequestBytes::Pem(pem) => pem.len(),
            RequestBytes::TooLong => 0,
        };
        let texts = spec.groups.iter().chain(&spec.usages).map(String::len).sum::<usize>() + spec.username.len();
        let bytes = u32::try_from((pem + texts) * TIMES).ok()?;
        self.0.clone().try_acquire_many_owned(bytes).ok().map(Arc::new)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new(MOST)
    }
}
