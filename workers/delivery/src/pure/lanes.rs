//! Lanes: envelopes with one order key go one after the other, envelopes with different keys side by side.
//!
//! ```text
//! key A   7 ◄ 9 ◄ 12      the head is due or under way; whatever is behind it waits
//! key B   8
//! none    10   11         no key: never wait for each other
//! ```

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use taut_core::{Moment, Seq};

/// Room for keys that empty lanes keep; what a flood needed beyond is given back.
const KEYS_KEPT: usize = 64;

/// Jobs among which the oldest head is looked for.
const OLDEST_LOOK: usize = 256;

/// One route's envelopes that wait or are under way, each with its `T`.
#[derive(Debug)]
pub struct Lanes<T> {
    concurrency: usize,
    jobs: BTreeMap<Seq, Job<T>>,
    /// For each key whose head is among the jobs: those behind it, in order.
    behind: HashMap<u64, VecDeque<Seq>>,
    /// Heads that are not under way, by when they may go.
    due: BTreeSet<(Moment, Seq)>,
    in_flight: usize,
}

#[derive(Debug)]
struct Job<T> {
    key: Option<u64>,
    place: Place,
    load: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Behind,
    Due(Moment),
    InFlight,
}

impl<T> Lanes<T> {
    /// Empty lanes with at most `concurrency` (at least 1) under way at once.
    pub fn new(concurrency: usize) -> Self {
        Self {
            concurrency: concurrency.max(1),
            jobs: BTreeMap::new(),
            behind: HashMap::new(),
            due: BTreeSet::new(),
            in_flight: 0,
        }
    }

    /// How many wait or are under way.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether nothing waits or is under way.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// How many are under way.
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many of one key wait or are under way.
    pub fn lane_len(&self, key: u64) -> usize {
        self.behind.get(&key).map_or(0, |behind| behind.len() + 1)
    }

    /// Whether it waits or is under way.
    pub fn contains(&self, seq: Seq) -> bool {
        self.jobs.contains_key(&seq)
    }

    /// Of the waiting heads the one with the lowest number that is `wanted`, due or not, if there is room for it.
    /// Looks at the first [`OLDEST_LOOK`] jobs.
    pub fn oldest(&self, wanted: impl Fn(&T) -> bool) -> Option<(Seq, &T)> {
        if self.in_flight >= self.concurrency {
            return None;
        }
        let heads = self.jobs.iter().take(OLDEST_LOOK);
        heads
            .filter(|(_, job)| matches!(job.place, Place::Due(_)) && wanted(&job.load))
            .map(|(seq, job)| (*seq, &job.load))
            .next()
    }

    /// Adds an envelope at the end of its lane; false, and nothing changes, if it is there already. Offer those of
    /// one key in their order.
    pub fn offer(&mut self, now: Moment, seq: Seq, key: Option<u64>, load: T) -> bool {
        if self.jobs.contains_key(&seq) {
            return false;
        }
        let lane = key.and_then(|key| match self.behind.entry(key) {
            Entry::Occupied(lane) => Some(lane.into_mut()),
            Entry::Vacant(lane) => {
                lane.insert(VecDeque::new());
                None
            }
        });
        let place = lane.map_or(Place::Due(now), |behind| {
            behind.push_back(seq);
            Place::Behind
        });
        if let Place::Due(at) = place {
            self.due.insert((at, seq));
        }
        self.jobs.insert(seq, Job { key, place, load });
        true
    }

    /// The head that has been due longest, if there is room for it.
    pub fn next(&self, now: Moment) -> Option<Seq> {
        if self.in_flight >= self.concurrency {
            return None;
        }
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, seq)| *seq)
    }

    /// When the next head is due; `None` without one or without room (then an end under way comes first).
    pub fn next_due(&self) -> Option<Moment> {
        if self.in_flight >= self.concurrency {
            return None;
        }
        self.due.first().map(|(at, _)| *at)
    }

    /// Puts a due head under way.
    pub fn start(&mut self, seq: Seq) -> Option<&mut T> {
        let job = self.jobs.get_mut(&seq)?;
        let Place::Due(at) = job.place else { return None };
        self.due.remove(&(at, seq));
        job.place = Place::InFlight;
        self.in_flight += 1;
        Some(&mut job.load)
    }

    /// Puts one that was under way back to the head of its lane, to go at `at`.
    pub fn put_back(&mut self, seq: Seq, at: Moment) {
        if let Some(job) = self.jobs.get_mut(&seq).filter(|job| job.place == Place::InFlight) {
            job.place = Place::Due(at);
            self.due.insert((at, seq));
            self.in_flight -= 1;
        }
    }

    /// Ends one that was under way; the next of its lane is due.
    pub fn finish(&mut self, seq: Seq, now: Moment) -> Option<T> {
        if self.jobs.get(&seq)?.place != Place::InFlight {
            return None;
        }
        let job = self.jobs.remove(&seq)?;
        self.in_flight -= 1;
        if let Some(key) = job.key {
            self.advance(key, now);
        }
        if self.jobs.is_empty() && self.behind.capacity() > KEYS_KEPT {
            self.behind = HashMap::new();
        }
        Some(job.load)
    }

    fn advance(&mut self, key: u64, now: Moment) {
        match self.behind.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(next) => {
                if let Some(job) = self.jobs.get_mut(&next) {
                    job.place = Place::Due(now);
                    self.due.insert((now, next));
                }
            }
            None => {
                self.behind.remove(&key);
            }
        }
    }

    /// The load of one that waits or is under way.
    pub fn get_mut(&mut self, seq: Seq) -> Option<&mut T> {
        self.jobs.get_mut(&seq).map(|job| &mut job.load)
    }

    /// Makes waiting heads due now, where `chosen` says so.
    pub fn hasten(&mut self, now: Moment, chosen: impl Fn(&T) -> bool) {
        let waiting: Vec<_> = self.due.iter().copied().filter(|(at, _)| *at > now).collect();
        for (at, seq) in waiting {
            let Some(job) = self.jobs.get_mut(&seq).filter(|job| chosen(&job.load)) else { continue };
            job.place = Place::Due(now);
            self.due.remove(&(at, seq));
            self.due.insert((now, seq));
        }
    }
}

#[cfg(test)]
mod tests;
