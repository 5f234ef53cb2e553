use std::time::Duration;

use jiff::Timestamp;

/// How many approvals a node has left: a bucket that holds half an hour's worth and fills at the hour's pace, so that a
/// stolen credential cannot collect certificates without end, and an honest kubelet never notices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    spent: f64,
    since: Timestamp,
}

impl Budget {
    /// A full bucket.
    #[must_use]
    pub fn full(now: Timestamp) -> Self {
        Self { spent: 0.0, since: now }
    }

    /// How long to wait for the next approval; nothing where one is to be had now.
    #[must_use]
    pub fn wait(&self, per_hour: u32, now: Timestamp) -> Duration {
        let missing = self.spent_by(per_hour, now) + 1.0 - size(per_hour);
        if missing <= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(missing * 3600.0 / f64::from(per_hour)) }
    }

    /// Takes one approval.
    pub fn take(&mut self, per_hour: u32, now: Timestamp) {
        *self = Self { spent: self.spent_by(per_hour, now) + 1.0, since: now };
    }

    /// Whether the bucket is full again, so that it need not be kept.
    #[must_use]
    pub fn is_full(&self, per_hour: u32, now: Timestamp) -> bool {
        self.spent_by(per_hour, now) <= 0.0
    }

    fn spent_by(&self, per_hour: u32, now: Timestamp) -> f64 {
        let hours = now.duration_since(self.since).as_secs_f64().max(0.0) / 3600.0;
        (self.spent - hours * f64::from(per_hour)).max(0.0)
    }
}

/// What the bucket holds: half an hour's worth, and at least one.
fn size(per_hour: u32) -> f64 {
    (f64::from(per_hour) / 2.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn half_an_hours_worth_at_once_and_then_a_steady_pace() {
        let mut budget = Budget::full(at(0));
        for _ in 0..60 {
            assert_eq!(budget.wait(120, at(0)), Duration::ZERO);
            budget.take(120, at(0));
        }
        assert_eq!(budget.wait(120, at(0)), Duration::from_secs(30));
        assert_eq!(budget.wait(120, at(29)), Duration::from_secs(1));
        assert_eq!(budget.wait(120, at(30)), Duration::ZERO);
        assert!(!budget.is_full(120, at(1799)) && budget.is_full(120, at(1800)));
    }

    #[test]
    fn a_budget_of_one_an_hour_still_allows_one() {
        let mut budget = Budget::full(at(0));
        assert_eq!(budget.wait(1, at(0)), Duration::ZERO);
        budget.take(1, at(0));
        assert_eq!(budget.wait(1, at(0)), Duration::from_hours(1));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let mut budget = Budget::full(at(1000));
        budget.take(2, at(1000));
        assert!(budget.wait(2, at(0)) > Duration::ZERO);
    }
}
