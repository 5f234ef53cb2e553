//! One instance in the election: asks the rules what to do, and does it by the API server.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::election::{Attempt, Election};
use super::leadership::Standing;
use super::{Leadership, LeaseName};
use crate::client::{describe, get_opt};

/// How long one request may take: a renewal that hangs leaves time for two more.
const REQUEST: Duration = Duration::from_secs(3);

/// Stands for election until it is told to stop.
pub struct Candidate {
    name: LeaseName,
    identity: String,
    api: Api<Lease>,
    election: Election,
    standing: watch::Sender<Standing>,
    /// What was last told of the Lease: who holds it, or why it cannot be had.
    told: Option<String>,
}

/// Why a request about the Lease did not succeed.
enum Failure {
    /// The Lease is not as it was last seen.
    Conflict,
    /// In a sentence.
    Other(String),
}

impl Candidate {
    /// A candidate that does nothing yet, and what knows at any time whether it leads.
    #[must_use]
    pub fn new(client: Client, name: LeaseName, identity: String) -> (Self, Leadership) {
        let (standing, receiver) = watch::channel(Standing::default());
        let candidate = Self {
            api: Api::namespaced(client, name.namespace()),
            election: Election::new(name.clone(), identity.clone()),
            name,
            identity,
            standing,
            told: None,
        };
        (candidate, Leadership::new(receiver))
    }

    /// Takes the Lease when it is to be had and renews it, until `stop` turns true; then gives it up.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.look() => {}
            }
            let next = self.election.next_look(Instant::now(), jitter());
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep_until(next) => {}
            }
        }
        self.release().await;
    }

    /// Looks once, and takes or renews the Lease where that can be done.
    async fn look(&mut self) {
        self.tell_if_lapsed();
        let led = self.election.until(Instant::now()).is_some();
        // The holder knows what it has written; anybody else, and a holder that was contradicted, has to look first.
        let mut result = if led { self.attempt().await } else { Err(Failure::Conflict) };
        if let Err(Failure::Conflict) = result {
            result = match self.observe().await {
                Ok(()) => self.attempt().await,
                Err(failure) => Err(failure),
            };
        }
        self.tell_if_lapsed();
        self.publish();
        match result {
            Ok(()) => self.tell_holder(),
            // Another candidate was quicker; who, is seen at the next look.
            Err(Failure::Conflict) => {}
            Err(Failure::Other(why)) => self.tell(format!("the Lease cannot be had: {why}"), true),
        }
    }

    async fn observe(&mut self) -> Result<(), Failure> {
        let lease = self.request(get_opt(&self.api, self.name.name())).await?;
        let led = self.election.until(Instant::now()).is_some();
        let alive = self.election.observe(lease, Instant::now());
        if led && self.election.until(Instant::now()).is_none() {
            let holder = self.election.holder().unwrap_or("nobody");
            tracing::warn!(lease = %self.name, holder, "the Lease was taken away; nothing is written any more");
        }
        if alive && self.election.holder() != Some(self.identity.as_str()) {
            self.standing.send_modify(|standing| standing.seen += 1);
        }
        Ok(())
    }

    async fn attempt(&mut self) -> Result<(), Failure> {
        let sent = Instant::now();
        let params = PostParams::default();
        let lease = match self.election.attempt(sent, Timestamp::now()) {
            Attempt::Wait(_) => return Ok(()),
            Attempt::Create(lease) => self.request(self.api.create(&params, &lease)).await?,
            Attempt::Update(lease) => self.request(self.api.replace(self.name.name(), &params, &lease)).await?,
        };
        self.election.written(lease, sent, Instant::now());
        Ok(())
    }

    async fn release(&mut self) {
        // Twice, since a renewal that was interrupted may have been done.
        for _ in 0..2 {
            let Some(lease) = self.election.released(Timestamp::now()) else { break };
            let params = PostParams::default();
            match self.request(self.api.replace(self.name.name(), &params, &lease)).await {
                Ok(lease) => {
                    self.election.written(lease, Instant::now(), Instant::now());
                    tracing::info!(lease = %self.name, "the Lease is given up");
                    break;
                }
                Err(Failure::Conflict) => {
                    if self.observe().await.is_err() {
                        break;
                    }
                }
                Err(Failure::Other(why)) => {
                    tracing::warn!(lease = %self.name, error = why, "the Lease could not be given up; it runs out");
                    break;
                }
            }
        }
        self.election.resign();
        self.publish();
    }

    /// Does a request within its time, which ends for the holder when its own time does.
    async fn request<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        let now = Instant::now();
        let limit = self.election.until(now).map_or(REQUEST, |until| REQUEST.min(until - now));
        match timeout(limit, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Failure::Conflict),
            Ok(Err(error)) => Err(Failure::Other(describe(&error))),
            Err(_) => Err(Failure::Other(format!("no answer from the API server within {:.1} s", limit.as_secs_f64()))),
        }
    }

    fn tell_if_lapsed(&mut self) {
        if self.election.lapse(Instant::now()) {
            tracing::warn!(lease = %self.name, "the Lease could not be renewed in time; nothing is written any more");
            self.publish();
        }
    }

    /// Makes known how the election stands.
    fn publish(&self) {
        let until = self.election.until(Instant::now());
        let uid = self.election.uid();
        self.standing.send_if_modified(|standing| {
            let begins = until.is_some() && standing.until.is_none_or(|before| before <= Instant::now());
            let changed = begins || standing.until.is_some() != until.is_some();
            standing.until = until;
            if begins {
                standing.term += 1;
            }
            if standing.uid.as_deref() != uid {
                standing.uid = uid.map(Arc::from);
            }
            changed
        });
    }

    fn tell_holder(&mut self) {
        let told = match self.election.holder() {
            Some(holder) if holder == self.identity => "this instance leads".to_owned(),
            Some(holder) => format!("standing by: {holder} leads"),
            None => return,
        };
        self.tell(told, false);
    }

    /// Tells what is new, once.
    fn tell(&mut self, what: String, warning: bool) {
        if self.told.as_ref() == Some(&what) {
            return;
        }
        if warning {
            tracing::warn!(lease = %self.name, identity = self.identity, "{what}");
        } else {
            tracing::info!(lease = %self.name, identity = self.identity, "{what}");
        }
        self.told = Some(what);
    }
}

/// From 0 to 1.
fn jitter() -> f64 {
    let mut byte = [0_u8];
    // Without random numbers, all wait equally long: slower, and not wrong.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte[0]) / f64::from(u8::MAX)
}
