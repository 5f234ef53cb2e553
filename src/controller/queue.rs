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
/// All lanes share a few sets, since nearly every node has one request, which is decided: a set of its own for each
/// takes half a kilobyte. Putting a whole lane in line costs the same however much there is in it: a node may change
/// its Node as often as it likes, with as many requests pending as it likes.
///
/// Pure: the time is an argument, and the caller does the waiting.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Every request that exists, decided or not.
    known: BTreeSet<Place>,
    /// Those to be handed out.
    ready: BTreeSet<Place>,
    /// Those that were handed out and are not decided.
    idle: BTreeSet<Place>,
    /// The requestors of which everything idle is to be handed out again, the newest first, and how far that has come:
    /// all below this is still to come.
    again: HashMap<Arc<str>, (Timestamp, Arc<str>)>,
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
    let (created, name) = end();
    lane_below(set, requestor, created, name)
}

/// The places of one requestor in a set that come before this one.
fn lane_below<'s>(
    set: &'s BTreeSet<Place>,
    requestor: &Arc<str>,
    created: Timestamp,
    name: Arc<str>,
) -> impl DoubleEndedIterator<Item = &'s Place> {
    set.range((requestor.clone(), Timestamp::MIN, Arc::default())..(requestor.clone(), created, name))
}

/// What no request of a requestor comes after: the API server knows no time as late as the last one.
fn end() -> (Timestamp, Arc<str>) {
    (Timestamp::MAX, Arc::default())
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
        self.idle.remove(&place);
    }

    /// Whether the same requestor has a strictly newer request.
    pub(super) fn is_superseded(&self, name: &Arc<str>) -> bool {
        self.places.get(name).is_some_and(|(requestor, created)| {
            let newest = lane(&self.known, requestor).next_back();
            newest.is_some_and(|(_, newest, _)| newest > created)
        })
    }

    /// Puts a known request, which is not decided, in line now.
    pub(super) fn push(&mut self, name: &Arc<str>) {
        self.cancel(name);
        let Some((requestor, created)) = self.places.get(name).cloned() else { return };
        let place = (requestor.clone(), created, name.clone());
        self.idle.remove(&place);
        self.ready.insert(place);
        self.take_turn(&requestor);
    }

    /// Puts everything of a requestor in line that is not decided.
    pub(super) fn push_all_of(&mut self, requestor: &Arc<str>) {
        if let Some((requestor, ..)) = lane(&self.idle, requestor).next_back() {
            self.again.insert(requestor.clone(), end());
        }
        // What is in line already may have become the newest.
        self.take_turn(requestor);
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
            let place = (requestor.clone(), *created, name.clone());
            self.ready.remove(&place);
            self.idle.remove(&place);
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
            // A lane that moved up to the fresh ring has left a place in the stale one, which is passed over.
            if self.lanes.get(&requestor).is_none_or(|lane| lane.waits_in != Some(ring)) {
                continue;
            }
            let Some(name) = self.take(&requestor) else {
                // What it waited for is decided, or gone.
                self.lanes.remove(&requestor);
                self.again.remove(&requestor);
                continue;
            };
            self.lanes.insert(requestor.clone(), Lane { busy: true, waits_in: None });
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

    /// When the next request that was put off is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    fn cancel(&mut self, name: &Arc<str>) {
        if let Some(at) = self.due.remove(name) {
            self.later.remove(&(at, name.clone()));
        }
    }

    /// Puts a lane into the ring it belongs to, where it is not in one and has something ready.
    fn take_turn(&mut self, requestor: &Arc<str>) {
        let Some((requestor, created, _)) = self.next_of(requestor).cloned() else {
            self.again.remove(requestor);
            return;
        };
        let ring = match lane(&self.known, &requestor).next_back() {
            Some((_, newest, _)) if *newest > created => Ring::Stale,
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

    /// The next place of a lane: the newest of those that are ready and those that are to be handed out again.
    fn next_of(&self, requestor: &Arc<str>) -> Option<&Place> {
        let again = self
            .again
            .get(requestor)
            .and_then(|(created, name)| lane_below(&self.idle, requestor, *created, name.clone()).next_back());
        lane(&self.ready, requestor).next_back().max(again)
    }

    /// Takes the next request of a lane out of line.
    fn take(&mut self, requestor: &Arc<str>) -> Option<Arc<str>> {
        let place = self.next_of(requestor)?.clone();
        let (_, created, name) = place.clone();
        if let Some(below) = self.again.get_mut(requestor)
            && (created, &name) < (below.0, &below.1)
        {
            *below = (created, name.clone());
        }
        self.cancel(&name);
        self.ready.remove(&place);
        self.idle.insert(place);
        Some(name)
    }

    fn next_turn(&mut self) -> Option<(Ring, Arc<str>)> {
        let fresh = self.fresh.pop_front().map(|requestor| (Ring::Fresh, requestor));
        fresh.or_else(|| self.stale.pop_front().map(|requestor| (Ring::Stale, requestor)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

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
    fn a_request_is_lifted_out_of_the_stale_ring_when_the_newer_one_is_gone() {
        let mut line = Line::new();
        for requestor in ["b", "a"] {
            line.know(requestor, 5, &format!("{requestor}-decided"));
            line.add(requestor, 1, &format!("{requestor}-old"));
        }
        line.0.forget(&"a-decided".into());
        line.0.push_all_of(&"a".into());
        assert_eq!(line.drain(), ["a-old", "b-old"]);
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
    fn a_lane_that_is_put_in_line_comes_newest_first_without_what_is_decided() {
        let mut line = Line::new();
        for second in 1..=4 {
            line.add("a", second, &format!("a{second}"));
        }
        line.add("b", 1, "b1");
        assert_eq!(line.drain(), ["a4", "b1", "a3", "a2", "a1"]);
        line.0.withdraw(&"a3".into());
        line.0.push_all_of(&"a".into());
        assert_eq!(line.drain(), ["a4", "a2", "a1"]);
        assert!(line.drain().is_empty());
        line.0.push_all_of(&"c".into());
        assert!(line.drain().is_empty() && line.0.again.is_empty() && line.0.lanes.is_empty());
    }

    #[test]
    fn a_lane_that_is_put_in_line_again_begins_anew() {
        let mut line = Line::new();
        for second in 1..=3 {
            line.add("a", second, &format!("a{second}"));
        }
        line.drain();
        line.0.push_all_of(&"a".into());
        assert_eq!(line.pop().as_deref(), Some("a3"));
        // While one is in hand.
        line.0.push_all_of(&"a".into());
        line.add("a", 4, "a4");
        line.0.push(&"a2".into());
        line.0.done(&"a".into());
        assert_eq!(line.drain(), ["a4", "a3", "a2", "a1"]);
    }

    #[test]
    fn a_request_that_was_put_off_and_comes_with_its_lane_does_not_come_twice() {
        let mut line = Line::new();
        line.add("a", 1, "a1");
        line.drain();
        let due = line.1 + Duration::from_secs(30);
        line.0.push_at(&"a1".into(), due);
        line.0.push_all_of(&"a".into());
        assert_eq!((line.drain(), line.0.next_due()), (vec!["a1".to_owned()], None));
    }

    #[test]
    fn putting_a_lane_in_line_costs_the_same_however_long_it_is() {
        let mut line = Line::new();
        for second in 0..1000 {
            line.add("a", second, &format!("a{second}"));
        }
        line.drain();
        for _ in 0..1000 {
            line.0.push_all_of(&"a".into());
        }
        assert_eq!((line.0.ready.len(), line.0.again.len(), line.0.turns()), (0, 1, 1));
        assert_eq!(line.drain().len(), 1000);
    }

    /// What happens to a queue, and to which of a few requestors or requests.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Add(usize),
        PushAllOf(usize),
        Push(usize),
        Withdraw(usize),
        Forget(usize),
        /// The request in hand, if there is one, is worked off, and another one taken.
        Work(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..3_usize).prop_map(Step::Add),
            2 => (0..3_usize).prop_map(Step::PushAllOf),
            1 => (0..99_usize).prop_map(Step::Push),
            1 => (0..99_usize).prop_map(Step::Withdraw),
            1 => (0..99_usize).prop_map(Step::Forget),
            4 => (0..3_usize).prop_map(Step::Work),
        ]
    }

    /// What is handed out, and when. If `one_by_one`, the requests of a lane are put in line each by itself.
    fn handed_out(steps: &[Step], one_by_one: bool) -> Vec<(usize, String)> {
        let mut line = Line::new();
        let mut open: Vec<(usize, String)> = Vec::new();
        let (mut in_hand, mut out): (Vec<Arc<str>>, _) = (Vec::new(), Vec::new());
        // In the end, everything is worked off.
        let steps = steps.iter().copied().chain(vec![Step::Work(0); 300]);
        for (number, step) in steps.enumerate() {
            let of_open = |chosen: usize| open.get(chosen % open.len().max(1)).map(|(_, name)| name.as_str().into());
            match step {
                Step::Add(requestor) => {
                    // Two are created in one second.
                    let second = i64::try_from(number / 4).unwrap();
                    line.add(&format!("r{requestor}"), second, &format!("{number:03}"));
                    open.push((requestor, format!("{number:03}")));
                }
                Step::PushAllOf(requestor) if one_by_one => {
                    for (_, name) in open.iter().rev().filter(|(of, _)| *of == requestor) {
                        line.0.push(&name.as_str().into());
                    }
                }
                Step::PushAllOf(requestor) => line.0.push_all_of(&format!("r{requestor}").into()),
                Step::Push(chosen) => of_open(chosen).iter().for_each(|name| line.0.push(name)),
                Step::Withdraw(chosen) | Step::Forget(chosen) => {
                    let Some(name) = of_open(chosen) else { continue };
                    match step {
                        Step::Withdraw(_) => line.0.withdraw(&name),
                        _ => line.0.forget(&name),
                    }
                    open.retain(|(_, open)| **open != *name);
                }
                Step::Work(chosen) => {
                    if in_hand.len() > chosen {
                        line.0.done(&in_hand.remove(chosen));
                    }
                    if let Some((requestor, name)) = line.0.pop(line.1) {
                        in_hand.push(requestor);
                        out.push((number, name.to_string()));
                    }
                }
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_lane_put_in_line_comes_as_if_each_of_its_requests_were(steps in prop::collection::vec(step(), 1..60)) {
            prop_assert_eq!(handed_out(&steps, false), handed_out(&steps, true));
        }
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
        line.0.push_all_of(&"a".into());
        line.0.forget(&"a2".into());
        line.0.done(&"a".into());
        let Queue { known, ready, idle, again, lanes, fresh, stale, later, due, places } = line.0;
        assert!(idle.is_empty() && again.is_empty());
        assert!(known.is_empty() && ready.is_empty() && places.is_empty() && due.is_empty() && later.is_empty());
        assert!(lanes.is_empty() && fresh.is_empty() && stale.is_empty());
    }
}
