//! The rules of the election, without any input or output: what was seen and written goes in, with the time on the
//! local monotonic clock, and what to write next comes out.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::core::ObjectMeta;
use tokio::time::Instant;

use super::{LEASE_DURATION, LeaseName, RENEW_DEADLINE, RETRY_PERIOD};

/// How the election stands for one instance.
#[derive(Debug)]
pub(super) struct Election {
    name: LeaseName,
    identity: String,
    observed: Option<Observed>,
    /// When the last renewal that succeeded was sent; none while this instance does not hold the Lease.
    renewed: Option<Instant>,
}

/// The Lease as it was last seen.
#[derive(Debug)]
struct Observed {
    lease: Lease,
    /// When its spec was first seen to be as it is.
    since: Instant,
    /// Whether it has been deleted meanwhile.
    gone: bool,
}

/// What is to be done now.
#[derive(Debug, PartialEq)]
pub(super) enum Attempt {
    /// Create the Lease, held by this instance.
    Create(Lease),
    /// Write this over the Lease: it names the resourceVersion that was seen.
    Update(Lease),
    /// Somebody else holds it, until this time if it does not change before.
    Wait(Instant),
}

impl Election {
    pub(super) fn new(name: LeaseName, identity: String) -> Self {
        Self { name, identity, observed: None, renewed: None }
    }

    /// Takes in the Lease as it is; none where there is none. Returns whether its holder has shown signs of life.
    pub(super) fn observe(&mut self, lease: Option<Lease>, now: Instant) -> bool {
        let Some(lease) = lease else {
            self.renewed = None;
            // A renewal that nobody saw may have come right before: the holder's time is counted from here.
            if let Some(observed) = self.observed.as_mut().filter(|observed| !observed.gone) {
                observed.gone = true;
                observed.since = now;
            }
            return false;
        };
        if holder_of(&lease) != Some(self.identity.as_str()) {
            self.renewed = None;
        }
        let before = self.observed.take();
        // Labels and annotations are no sign of life: the spec is what a holder writes.
        let unchanged = before.filter(|before| before.lease.spec == lease.spec && !before.gone);
        let changed = unchanged.is_none();
        let since = unchanged.map_or(now, |before| before.since);
        self.observed = Some(Observed { lease, since, gone: false });
        changed
    }

    /// Takes in the Lease as this instance has just written it, in a request that was sent at `sent`.
    pub(super) fn written(&mut self, lease: Lease, sent: Instant, now: Instant) {
        self.renewed = (holder_of(&lease) == Some(self.identity.as_str())).then_some(sent);
        self.observed = Some(Observed { lease, since: now, gone: false });
    }

    /// Until when this instance may start writes; none where it may not.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.renewed.map(|sent| sent + RENEW_DEADLINE).filter(|until| now < *until)
    }

    /// Notes that the time is up, where it is. Returns whether it was this instance's.
    pub(super) fn lapse(&mut self, now: Instant) -> bool {
        let lapsed = self.renewed.is_some() && self.until(now).is_none();
        if lapsed {
            self.renewed = None;
        }
        lapsed
    }

    /// Notes that this instance does not stand any more.
    pub(super) fn resign(&mut self) {
        self.renewed = None;
    }

    /// Who holds the Lease, as last seen.
    pub(super) fn holder(&self) -> Option<&str> {
        self.observed.as_ref().filter(|observed| !observed.gone).and_then(|observed| holder_of(&observed.lease))
    }

    /// The Lease's `metadata.uid`, as last seen.
    pub(super) fn uid(&self) -> Option<&str> {
        self.observed.as_ref()?.lease.metadata.uid.as_deref()
    }

    /// What to do now. `wall` is what people will read in the Lease.
    pub(super) fn attempt(&self, now: Instant, wall: Timestamp) -> Attempt {
        let Some(observed) = &self.observed else { return Attempt::Create(self.new_lease(wall)) };
        let holder = holder_of(&observed.lease);
        let expiry = observed.since + duration_of(&observed.lease);
        if holder.is_some_and(|holder| holder != self.identity) && now < expiry {
            return Attempt::Wait(expiry);
        }
        if observed.gone {
            return Attempt::Create(self.new_lease(wall));
        }
        let before = observed.lease.spec.clone().unwrap_or_default();
        let taken = holder != Some(self.identity.as_str());
        let spec = LeaseSpec {
            acquire_time: if taken { Some(MicroTime(wall)) } else { before.acquire_time.clone() },
            lease_transitions: Some(before.lease_transitions.unwrap_or_default().saturating_add(i32::from(taken))),
            ..self.held(before, wall)
        };
        Attempt::Update(Lease { metadata: observed.lease.metadata.clone(), spec: Some(spec) })
    }

    /// The Lease given up: anybody may take it at once. None where this instance does not hold it.
    pub(super) fn released(&self, wall: Timestamp) -> Option<Lease> {
        let observed = self.observed.as_ref().filter(|observed| !observed.gone)?;
        if holder_of(&observed.lease) != Some(self.identity.as_str()) {
            return None;
        }
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            ..observed.lease.spec.clone().unwrap_or_default()
        };
        Some(Lease { metadata: observed.lease.metadata.clone(), spec: Some(spec) })
    }

    /// When to look again. `jitter`, from 0 to 1, keeps several instances from all looking at the same moment.
    pub(super) fn next_look(&self, now: Instant, jitter: f64) -> Instant {
        let renewal = self.renewed.map(|sent| sent + RETRY_PERIOD);
        if let Some(renewal) = renewal.filter(|renewal| *renewal > now) {
            return renewal;
        }
        let soon = now + RETRY_PERIOD.mul_f64(0.5 + 0.3 * jitter.clamp(0.0, 1.0));
        match self.attempt(now, Timestamp::UNIX_EPOCH) {
            Attempt::Wait(expiry) => soon.min(expiry),
            Attempt::Create(_) | Attempt::Update(_) => soon,
        }
    }

    fn new_lease(&self, wall: Timestamp) -> Lease {
        let spec = LeaseSpec {
            acquire_time: Some(MicroTime(wall)),
            lease_transitions: Some(0),
            ..self.held(LeaseSpec::default(), wall)
        };
        let metadata = ObjectMeta {
            name: Some(self.name.name().to_owned()),
            namespace: Some(self.name.namespace().to_owned()),
            ..ObjectMeta::default()
        };
        Lease { metadata, spec: Some(spec) }
    }

    fn held(&self, before: LeaseSpec, wall: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            renew_time: Some(MicroTime(wall)),
            ..before
        }
    }
}

fn holder_of(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// How long the holder has said that its Lease is good for; it may not be one of us.
fn duration_of(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(LEASE_DURATION, Duration::from_secs)
}
