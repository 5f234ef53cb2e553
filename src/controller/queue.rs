//! Who is served next: fairly among nodes, freshest request first.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

/// A request's place: its requestor, its creation, its name. Those of one requestor stand together, the newest last.
type Place = (Arc<str>, Timestamp, Arc<str>);

/// A queue of requests with a lane for each requestor.
///
/// Lanes take turns and each has at most one request in hand, so that neither a node's flood nor a write that hangs
/// delays another node. Within a lane the newest request goes first; a requestor's older ones, on which no kubelet
/// waits any more, are handed out only while there is nothing newer to do for anybody.
///
/// All lanes share two sets, since nearly every node has one request, which is decided: a set of its own for each takes
/// half a kilobyte.
///
/// Pure: the time is an argument, and the caller does the waiting.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Every request that exists, decided or not.
    known: BTreeSet<Place>,
    /// Those to be handed out.
    ready: BTreeSet<Place>,
    /// The lanes that have a request in hand or wait for their turn.
    lanes: HashMap<Arc<str>, Lane>,
    fresh: VecDeque<Arc<str>>,
    stale: VecDeque<Arc<str>>,
    later: BTreeSet<(Instant, Arc<str>)>,
    due: HashMap<Arc<str>, Instant>,
    places: HashMap<Arc<str>, (Arc<str>, Timestamp)>,
}

#[derive(Debug, Default)]
struct Lane {
    /// A request of this requestor is in hand.
    busy: bool,
    /// The ring in which the lane waits for its turn.
    waits_in: Option<Ring>,
}

/// Which lanes take turns with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ring {
    /// Those whose next request is the requestor's newest.
    Fresh,
    /// Those that have only older ones left.
    Stale,
}

/// The places of one requestor in a set, the newest last.
fn lane<'s>(set: &'s BTreeSet<Place>, requestor: &Arc<str>) -> impl DoubleEndedIterator<Item = &'s Place> {
    let bound = |time| (requestor.clone(), time, Arc::default());
    // The API server knows no time as late as the last one.
    set.range(bound(Timestamp::MIN)..bound(Timestamp::MAX))
}

impl Queue {
    /// Makes a request known, so that older ones of the same requestor count as superseded.
    pub(super) fn know(&mut self, requestor: &Arc<str>, created: Timestamp, name: &Arc<str>) {
        // One copy of the requestor's name is enough for all of its requests.
        let known = lane(&self.known, requestor).next_back().map(|(requestor, ..)| requestor.clone());
        let requestor = known.unwrap_or_else(|| requestor.clone());
        self.known.insert((requestor.clone(), created, name.clone()));
        self.places.insert(name.clone(), (requestor, created));
    }

    /// Forgets a request that no longer exists.
    pub(super) fn forget(&mut self, name: &Arc<str>) {
        self.cancel(name);
        let Some((requestor, created)) = self.places.remove(name) else { return };
        let place = (requestor, created, name.clone());
        self.known.remove(&place);
        self.ready.remove(&place);
    }

    /// Whether the same requestor has a strictly newer request.
    pub(super) fn is_superseded(&self, name: &Arc<str>) -> bool {
        self.places.get(name).is_some_and(|(requestor, created)| {
            let newest = lane(&self.known, requestor).next_back();
            newest.is_some_and(|(_, newest, _)| newest > created)
        })
    }

    /// Puts a known request in line now.
    pub(super) fn push(&mut self, name: &Arc<str>) {
        self.cancel(name);
        let Some((requestor, created)) = self.places.get(name).cloned() else { return };
        self.ready.insert((requestor.clone(), created, name.clone()));
        self.take_turn(&requestor);
    }

    /// Puts a known request in line at a later time, unless it is already due sooner.
    pub(super) fn push_at(&mut self, name: &Arc<str>, at: Instant) {
        if !self.places.contains_key(name) || self.due.get(name).is_some_and(|due| *due <= at) {
            return;
        }
        self.cancel(name);
        self.due.insert(name.clone(), at);
        self.later.insert((at, name.clone()));
    }

    /// Takes a request out of line, because it is decided.
    pub(super) fn withdraw(&mut self, name: &Arc<str>) {
        self.cancel(name);
        if let Some((requestor, created)) = self.places.get(name) {
            self.ready.remove(&(requestor.clone(), *created, name.clone()));
        }
    }

    /// The next request to work on, if any is due. [`Queue::done`] has to be called with its requestor afterwards.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Arc<str>, Arc<str>)> {
        while let Some((at, name)) = self.later.first().cloned() {
            if at > now {
                break;
            }
            self.push(&name);
        }
        while let Some((ring, requestor)) = self.next_turn() {
            let Some(state) = self.lanes.get_mut(&requestor) else { continue };
            // A lane that moved up to the fresh ring has left a place in the stale one, which is passed over.
            if state.waits_in != Some(ring) {
                continue;
            }
            state.waits_in = None;
            let Some(place) = lane(&self.ready, &requestor).next_back().cloned() else {
                // What it waited for is decided, or gone.
                self.lanes.remove(&requestor);
                continue;
            };
            state.busy = true;
            self.ready.remove(&place);
            let (_, _, name) = place;
            return Some((requestor, name));
        }
        None
    }

    /// Says that the request in hand for this requestor is worked off, so that its lane may take a turn again.
    pub(super) fn done(&mut self, requestor: &Arc<str>) {
        self.lanes.remove(requestor);
        self.take_turn(requestor);
    }

    /// How many lanes wait for a turn, at most.
    pub(super) fn turns(&self) -> usize {
        self.fresh.len() + self.stale.len()
    }

    /// Whether a request is in line now, or one of the same requestor is being worked on.
    pub(super) fn is_next(&self, name: &Arc<str>) -> bool {
        self.places.get(name).is_some_and(|(requestor, created)| {
            self.lanes.get(requestor).is_some_and(|lane| lane.busy)
                || self.ready.contains(&(requestor.clone(), *created, name.clone()))
        })
    }

    /// When the next request that was put off is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// The names of all requests that exist of one requestor.
    pub(super) fn of_requestor(&self, requestor: &Arc<str>) -> impl Iterator<Item = &Arc<str>> {
        lane(&self.known, requestor).map(|(_, _, name)| name)
    }

    fn cancel(&mut self, name: &Arc<str>) {
        if let Some(at) = self.due.remove(name) {
            self.later.remove(&(at, name.clone()));
        }
    }

    /// Puts a lane into the ring it belongs to, where it is not in one and has something ready.
    fn take_turn(&mut self, requestor: &Arc<str>) {
        let Some((requestor, created, _)) = lane(&self.ready, requestor).next_back() else { return };
        let ring = match lane(&self.known, requestor).next_back() {
            Some((_, newest, _)) if newest > created => Ring::Stale,
            _ => Ring::Fresh,
        };
        let state = self.lanes.entry(requestor.clone()).or_default();
        if state.busy {
            return;
        }
        match (state.waits_in, ring) {
            (Some(_), Ring::Stale) | (Some(Ring::Fresh), Ring::Fresh) => return,
            (_, Ring::Fresh) => self.fresh.push_back(requestor.clone()),
            (None, Ring::Stale) => self.stale.push_back(requestor.clone()),
        }
        state.waits_in = Some(ring);
    }

    fn next_turn(&mut self) -> Option<(Ring, Arc<str>)> {
        let fresh = self.fresh.pop_front().map(|requestor| (Ring::Fresh, requestor));
        fresh.or_else(|| self.stale.pop_front().map(|requestor| (Ring::Stale, requestor)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Line(Queue, Instant);

    impl Line {
        fn new() -> Self {
            Self(Queue::default(), Instant::now())
        }

        fn know(&mut self, requestor: &str, second: i64, name: &str) {
            self.0.know(&requestor.into(), Timestamp::from_second(second).unwrap(), &name.into());
        }

        fn add(&mut self, requestor: &str, second: i64, name: &str) {
            self.know(requestor, second, name);
            self.0.push(&name.into());
        }

        fn pop(&mut self) -> Option<String> {
            self.0.pop(self.1).map(|(_, name)| name.to_string())
        }

        /// Works off whatever comes until nothing is left, one at a time.
        fn drain(&mut self) -> Vec<String> {
            let mut order = Vec::new();
            while let Some((requestor, name)) = self.0.pop(self.1) {
                order.push(name.to_string());
                self.0.done(&requestor);
            }
            order
        }
    }

    #[test]
    fn every_fresh_request_comes_before_any_superseded_one() {
        let mut line = Line::new();
        for second in 0..4 {
            line.add("flooder", second, &format!("f{second}"));
        }
        line.add("a", 1, "a1");
        line.add("b", 0, "b0");
        line.add("b", 2, "b2");
        assert_eq!(line.drain(), ["f3", "a1", "b2", "f2", "b0", "f1", "f0"]);
    }

    #[test]
    fn a_lane_has_one_request_in_hand_at_a_time() {
        let mut line = Line::new();
        line.add("a", 1, "a1");
        line.add("a", 1, "a2");
        line.add("b", 1, "b1");
        assert_eq!(line.pop().as_deref(), Some("a2"));
        assert_eq!(line.pop().as_deref(), Some("b1"));
        assert_eq!(line.pop(), None);
        line.0.done(&"a".into());
        assert_eq!(line.pop().as_deref(), Some("a1"));
    }

    #[test]
    fn a_new_request_lifts_its_lane_out_of_the_stale_ring() {
        let mut line = Line::new();
        line.know("a", 5, "decided");
        line.add("a", 1, "old");
        line.add("b", 1, "b");
        line.add("a", 6, "new");
        assert_eq!(line.drain(), ["b", "new", "old"]);
    }

    #[test]
    fn only_a_strictly_newer_request_of_the_same_requestor_supersedes() {
        let mut line = Line::new();
        line.add("a", 1, "a1");
        line.add("a", 1, "a1-too");
        line.add("b", 9, "b9");
        assert!(!line.0.is_superseded(&"a1".into()));
        line.know("a", 2, "a2");
        assert!(line.0.is_superseded(&"a1".into()));
        assert!(!line.0.is_superseded(&"a2".into()));
        line.0.forget(&"a2".into());
        assert!(!line.0.is_superseded(&"a1".into()));
    }

    #[test]
    fn a_request_put_off_comes_when_due_or_when_pushed() {
        let mut line = Line::new();
        line.know("a", 1, "a1");
        let due = line.1 + Duration::from_secs(30);
        line.0.push_at(&"a1".into(), due);
        line.0.push_at(&"a1".into(), due + Duration::from_secs(30));
        assert_eq!((line.pop(), line.0.next_due()), (None, Some(due)));
        line.1 = due;
        assert_eq!(line.drain(), ["a1"]);
        line.0.push_at(&"a1".into(), due + Duration::from_secs(30));
        line.0.push(&"a1".into());
        assert_eq!((line.drain(), line.0.next_due()), (vec!["a1".to_owned()], None));
    }

    #[test]
    fn nothing_is_left_of_what_is_forgotten() {
        let mut line = Line::new();
        line.add("a", 1, "a1");
        line.0.push_at(&"a1".into(), line.1);
        line.0.forget(&"a1".into());
        assert_eq!(line.pop(), None);
        line.add("a", 1, "a2");
        assert_eq!(line.pop().as_deref(), Some("a2"));
        line.0.forget(&"a2".into());
        line.0.done(&"a".into());
        let Queue { known, ready, lanes, fresh, stale, later, due, places } = line.0;
        assert!(known.is_empty() && ready.is_empty() && places.is_empty() && due.is_empty() && later.is_empty());
        assert!(lanes.is_empty() && fresh.is_empty() && stale.is_empty());
    }
}
