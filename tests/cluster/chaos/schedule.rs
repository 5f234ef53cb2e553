//! What goes wrong next: endless, and determined by a seed.

use std::time::Duration;

use crate::harness::proxy::fault::{Fault, StreamFault, Target};
use crate::harness::random::Random;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// With the next request of a kind.
    Request(Target, Fault),
    /// With one of the open watches.
    Stream(usize, StreamFault),
    /// With a process.
    Process(Who, What),
}

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    ApiServer,
    Etcd,
    Leader,
    Standby,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// SIGKILL; it is started again at once.
    Kill,
    /// SIGSTOP, and SIGCONT after a while.
    Stop(Duration),
}

/// Longer than this, a write could be held up beyond the Lease of the one that has sent it: nobody can prevent that.
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// After so many other faults one happens to a process: each of them is killed and stopped within 200 faults.
const BETWEEN_PROCESSES: usize = 20;

pub struct Schedule {
    random: Random,
    steps: usize,
    /// What is still to be done to processes before all of it is done again.
    deck: Vec<(Who, What)>,
}

impl Schedule {
    pub fn new(random: Random) -> Self {
        Self { random, steps: 0, deck: Vec::new() }
    }

    /// How long to wait, and what then goes wrong.
    pub fn next(&mut self) -> (Duration, Step) {
        self.steps += 1;
        let pause = self.random.between(Duration::from_millis(20), Duration::from_millis(300));
        let step = if self.steps.is_multiple_of(BETWEEN_PROCESSES) {
            let (who, what) = self.process();
            Step::Process(who, what)
        } else if self.random.below(100) < 30 {
            let which = self.random.below(32);
            Step::Stream(which, self.stream_fault())
        } else {
            Step::Request(self.target(), self.fault())
        };
        (pause, step)
    }

    fn process(&mut self) -> (Who, What) {
        if self.deck.is_empty() {
            for who in [Who::ApiServer, Who::Etcd, Who::Leader, Who::Standby] {
                // An instance is stopped long enough to lose the Lease, or not.
                let longest = match who {
                    Who::ApiServer | Who::Etcd => LONGEST_DELAY,
                    Who::Leader | Who::Standby => Duration::from_secs(20),
                };
                let stop = What::Stop(self.random.between(Duration::from_millis(200), longest));
                self.deck.extend([(who, What::Kill), (who, stop)]);
            }
        }
        let chosen = self.random.below(self.deck.len());
        self.deck.swap_remove(chosen)
    }

    fn stream_fault(&mut self) -> StreamFault {
        let stalled = StreamFault::Stalled(self.random.between(Duration::from_millis(100), Duration::from_secs(5)));
        *self.random.of(&[
            StreamFault::Cut,
            StreamFault::Cut,
            StreamFault::Truncated,
            StreamFault::Expired,
            StreamFault::Ended,
            stalled,
        ])
    }

    fn target(&mut self) -> Target {
        let often = [Target::Any, Target::Any, Target::Any, Target::Approval, Target::Approval];
        let seldom = [
            Target::Watch,
            Target::Watch,
            Target::List,
            Target::Get,
            Target::Lease,
            Target::Event,
            Target::Claims,
            Target::Other,
        ];
        if self.random.one_in(4) { *self.random.of(&seldom) } else { *self.random.of(&often) }
    }

    fn fault(&mut self) -> Fault {
        let delay = self.random.between(Duration::from_millis(50), LONGEST_DELAY);
        *self.random.of(&[
            Fault::Refused,
            Fault::AnswerLost,
            Fault::AnswerLost,
            Fault::Cut,
            Fault::Late(delay),
            Fault::AnswerLate(delay),
            Fault::Status(429),
            Fault::Status(429),
            Fault::Status(404),
            Fault::Status(500),
            Fault::Status(503),
            Fault::Status(504),
            Fault::DoneButStatus(500),
            Fault::DoneButStatus(504),
            Fault::Hung,
            Fault::DoneButHung,
            Fault::Slow,
            Fault::Truncated,
        ])
    }
}
