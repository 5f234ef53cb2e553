use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::WRITE_GRACE;

/// How the election stands, as the candidate last knew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Until when this instance may start writes.
    pub(super) until: Option<Instant>,
    /// How often this instance has become the leader.
    pub(super) term: u64,
    /// How often another holder has shown signs of life.
    pub(super) seen: u64,
    /// The Lease's `metadata.uid`.
    pub(super) uid: Option<Arc<str>>,
}

/// Whether this instance is the one that writes. Every clone knows at any time.
#[derive(Clone, Debug)]
pub struct Leadership(Option<watch::Receiver<Standing>>);

/// This instance is not the one that writes, or its time ran out before the write was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this instance does not hold the Lease")]
pub struct NotLeading;

impl Leadership {
    /// Of the only instance there is, which always leads.
    #[must_use]
    pub fn alone() -> Self {
        Self(None)
    }

    pub(super) fn new(standing: watch::Receiver<Standing>) -> Self {
        Self(Some(standing))
    }

    /// Whether this instance leads at this moment.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.term().is_some()
    }

    /// The number of the term that this instance leads in; none while it does not.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        let Some(receiver) = &self.0 else { return Some(0) };
        let standing = receiver.borrow();
        standing.until.is_some_and(|until| Instant::now() < until).then_some(standing.term)
    }

    /// The `metadata.uid` of the Lease, where there is one.
    #[must_use]
    pub fn lease_uid(&self) -> Option<String> {
        self.0.as_ref()?.borrow().uid.as_deref().map(str::to_owned)
    }

    /// How often another instance was seen to take or renew the Lease.
    #[must_use]
    pub fn signs_of_others(&self) -> u64 {
        self.0.as_ref().map_or(0, |receiver| receiver.borrow().seen)
    }

    /// Waits until something is new: a term of this instance, or a sign of life of another one.
    pub async fn changed(&mut self) {
        let changed = match &mut self.0 {
            Some(receiver) => receiver.changed().await,
            None => std::future::pending().await,
        };
        if changed.is_err() {
            // Nobody stands for election any more: what holds, holds.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until this term is over.
    pub async fn until_over(&mut self, term: u64) {
        while self.term() == Some(term) {
            let until = self.0.as_ref().and_then(|receiver| receiver.borrow().until);
            match until {
                Some(until) => tokio::select! {
                    () = self.changed() => {}
                    () = sleep_until(until) => {}
                },
                None => self.changed().await,
            }
        }
    }

    /// Whether what this instance has begun while it led may still be sent.
    #[must_use]
    pub fn is_in_time(&self) -> bool {
        let Some(receiver) = &self.0 else { return true };
        receiver.borrow().until.is_some_and(|until| Instant::now() < until + WRITE_GRACE)
    }

    /// Does a write while this instance leads, and drops it when the time for it is over.
    ///
    /// # Errors
    /// When it does not lead, or the time is over; what was sent may have been done all the same.
    pub async fn write<T>(&self, write: impl Future<Output = T>) -> Result<T, NotLeading> {
        let Some(receiver) = &self.0 else { return Ok(write.await) };
        let until = receiver.borrow().until.filter(|until| Instant::now() < *until).ok_or(NotLeading)?;
        let end = until + WRITE_GRACE;
        let (mut write, mut time_is_over) = (pin!(write), pin!(sleep_until(end)));
        poll_fn(|context| {
            // The timer may not know yet, where the process was stopped.
            if Instant::now() >= end {
                return Poll::Ready(Err(NotLeading));
            }
            if let Poll::Ready(done) = write.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            time_is_over.as_mut().poll(context).map(|()| Err(NotLeading))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lease::RENEW_DEADLINE;

    fn leading_until(until: Instant) -> (watch::Sender<Standing>, Leadership) {
        let (sender, receiver) = watch::channel(Standing { until: Some(until), term: 1, ..Standing::default() });
        (sender, Leadership::new(receiver))
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_not_begun_once_the_time_is_up() {
        let (_sender, leadership) = leading_until(Instant::now() + Duration::from_secs(10));
        assert_eq!(leadership.write(async { 1 }).await, Ok(1));
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(leadership.write(async { 2 }).await, Ok(2));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(leadership.write(async { 3 }).await, Err(NotLeading));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_hangs_is_given_up_before_another_may_lead() {
        let sent = Instant::now();
        let (_sender, leadership) = leading_until(sent + RENEW_DEADLINE);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(leadership.write(std::future::pending::<()>()).await, Err(NotLeading));
        assert_eq!(sent.elapsed(), RENEW_DEADLINE + WRITE_GRACE);
        assert!(sent.elapsed() < crate::lease::LEASE_DURATION);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_slept_through_its_time_is_not_polled_again() {
        let (_sender, leadership) = leading_until(Instant::now() + RENEW_DEADLINE);
        let polled = std::cell::Cell::new(0);
        let write = poll_fn(|_| {
            polled.set(polled.get() + 1);
            Poll::<()>::Pending
        });
        let mut write = pin!(leadership.write(write));
        assert!(futures::poll!(write.as_mut()).is_pending());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(futures::poll!(write.as_mut()), Poll::Ready(Err(NotLeading)));
        assert_eq!(polled.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_term_is_over_when_its_time_is_up_or_another_begins() {
        let (sender, mut leadership) = leading_until(Instant::now() + RENEW_DEADLINE);
        let began = Instant::now();
        leadership.until_over(1).await;
        assert_eq!((began.elapsed(), leadership.leads()), (RENEW_DEADLINE, false));
        sender.send_modify(|standing| standing.until = Some(Instant::now() + RENEW_DEADLINE));
        let mut waiting = leadership.clone();
        let mut over = pin!(waiting.until_over(1));
        assert!(futures::poll!(over.as_mut()).is_pending());
        sender.send_modify(|standing| standing.term = 2);
        assert!(futures::poll!(over.as_mut()).is_ready());
        assert_eq!(leadership.term(), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn alone_it_always_leads() {
        let leadership = Leadership::alone();
        tokio::time::advance(Duration::from_hours(1000)).await;
        assert_eq!((leadership.term(), leadership.write(async { 1 }).await), (Some(0), Ok(1)));
    }
}
