//! One route's plan: what goes out next, and what an attempt's end means for its envelope.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use taut_core::log::{ATTEMPT_NOTES_MAX, AttemptNote, DeadReason, Entry, Outcome};
use taut_core::order::Order;
use taut_core::{Kind, Moment, Seq, WallMs};

use super::breaker::{PROBE_PAUSE_MAX, Pass};
use super::health::{Down, Health, Turn};
use super::lanes::Lanes;
use super::schedule::Retry;
use super::verdict::Verdict;

/// Most envelopes one route plans with at once; the rest stays in the log until there is room.
pub const PLAN_ENVELOPES_MAX: usize = 16_384;

/// Most envelopes of one lane that a route plans with at once, so that a lane whose head fails leaves room for others.
pub const LANE_ENVELOPES_MAX: usize = 1_024;

/// A route's rules.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Which deliveries wait for each other.
    pub order: Order,
    /// Most attempts under way at once.
    pub concurrency: usize,
    /// Failures that end an envelope, counted only while others succeed.
    pub attempts_max: u32,
    /// Age at which a failing envelope ends.
    pub age_max: Duration,
    /// Pauses between attempts.
    pub retry: Retry,
}

/// What the shell does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Start an attempt.
    Start {
        /// Of which envelope.
        seq: Seq,
        /// From 1.
        attempt: u32,
        /// Whether the route's breaker hangs on it.
        probe: bool,
    },
    /// Make it a dead letter.
    Bury {
        /// Which envelope.
        seq: Seq,
        /// Why.
        reason: DeadReason,
    },
    /// Nothing before this moment, or before something ends or changes.
    Wait(Option<Moment>),
}

/// What an attempt's end means for its envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Commit it.
    Commit(Outcome),
    /// Make it a dead letter.
    Bury(DeadReason),
    /// It goes again later.
    Retry,
}

/// One attempt that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Of which envelope.
    pub seq: Seq,
    /// As [`Step::Start`] said.
    pub probe: bool,
    /// The verdict.
    pub verdict: Verdict,
    /// The end in a few words.
    pub words: String,
}

/// One route's envelopes and their history.
#[derive(Debug)]
pub struct Plan {
    rules: Rules,
    lanes: Lanes<Job>,
    /// The target's recoveries that what waits has heard of.
    recoveries_seen: u64,
    /// For each lane that had no room: the first envelope that was left in the log, as all that follow it are. A lane
    /// is here while it is full or until it is read again, so there are few.
    left_out: HashMap<u64, Seq>,
}

#[derive(Debug)]
struct Job {
    kind: Kind,
    received_at: WallMs,
    /// The route's successes when this one last failed, or came.
    successes_seen: u64,
    failures: Option<Box<Failures>>,
}

#[derive(Debug, Default)]
struct Failures {
    attempts: u32,
    /// Those that count towards `attempts_max`.
    counted: u32,
    /// Whether the last one was the target's fault.
    target: bool,
    /// Set once it is given up on and could not be put among the dead letters yet.
    dying: Option<DeadReason>,
    notes: VecDeque<AttemptNote>,
}

impl Plan {
    /// An empty plan.
    pub fn new(rules: Rules) -> Self {
        Self { rules, lanes: Lanes::new(rules.concurrency), recoveries_seen: 0, left_out: HashMap::new() }
    }

    /// How many more envelopes it takes.
    pub fn room(&self) -> usize {
        PLAN_ENVELOPES_MAX.saturating_sub(self.lanes.len())
    }

    /// How many wait or are under way.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether nothing waits or is under way.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// How many attempts are under way.
    pub const fn in_flight(&self) -> usize {
        self.lanes.in_flight()
    }

    /// Takes an envelope into the plan; one that is there already is left as it is, one whose lane is full is left out
    /// until [`Plan::read_again`]. Requests have no order.
    pub fn offer(&mut self, now: Moment, entry: &Entry, health: &Health) {
        let key = if entry.kind.is_request() { None } else { entry.order.under(self.rules.order) };
        if let Some(key) = key
            && !self.lanes.contains(entry.seq)
            && (self.left_out.contains_key(&key) || self.lanes.lane_len(key) >= LANE_ENVELOPES_MAX)
        {
            self.left_out.entry(key).or_insert(entry.seq);
            return;
        }
        let Entry { kind, received_at, .. } = *entry;
        let job = Job { kind, received_at, successes_seen: health.successes(), failures: None };
        self.lanes.offer(now, entry.seq, key, job);
    }

    /// From which envelope on the log is to be offered again, because a lane that left some out has room; once.
    /// Ask only while every commit is on its way, or what has ended would be offered as well.
    pub fn read_again(&mut self) -> Option<Seq> {
        let has_room = |key: &u64| self.lanes.lane_len(*key) <= LANE_ENVELOPES_MAX / 2;
        if !self.left_out.keys().any(has_room) {
            return None;
        }
        std::mem::take(&mut self.left_out).into_values().min()
    }

    /// Counts an attempt that somebody else made: the next one says so.
    pub fn tried_before(&mut self, seq: Seq) {
        if let Some(job) = self.lanes.get_mut(seq) {
            let failures = job.failures.get_or_insert_default();
            failures.attempts = failures.attempts.saturating_add(1);
        }
    }

    /// What to do now. What it returns counts as under way until one of the methods below ends it.
    pub fn next(&mut self, health: &mut Health, now: Moment, wall: WallMs) -> Step {
        if self.recoveries_seen != health.recoveries() {
            self.recoveries_seen = health.recoveries();
            self.hasten(now);
        }
        let tries = !matches!(health.down(), Some(Down::Held | Down::BreakerOpen));
        let oldest = if tries { None } else { self.oldest(wall) };
        if let Some((seq, Duration::ZERO)) = oldest {
            self.lanes.start(seq);
            return Step::Bury { seq, reason: DeadReason::AgeMax };
        }
        // Nothing may end or change before the oldest is too old.
        let no_later = oldest.map(|(_, left)| now + left);
        let wait = |until: Option<Moment>| Step::Wait([until, no_later].into_iter().flatten().min());
        let Some(seq) = self.lanes.next(now) else { return wait(self.lanes.next_due()) };
        if let Some(reason) = self.given_up(seq, health, wall) {
            self.lanes.start(seq);
            return Step::Bury { seq, reason };
        }
        let probe = match health.pass_event(now) {
            Pass::Free => false,
            Pass::Probe => true,
            Pass::Wait(until) => return wait(until),
        };
        let job = self.lanes.start(seq).expect("the lanes just named it");
        let attempt = job.failures.as_ref().map_or(1, |failures| failures.attempts.saturating_add(1));
        Step::Start { seq, attempt, probe }
    }

    /// The oldest head, and how long until it is too old. One that could not be buried has its own time.
    fn oldest(&self, wall: WallMs) -> Option<(Seq, Duration)> {
        let living = |job: &Job| job.failures.as_ref().is_none_or(|failures| failures.dying.is_none());
        let (seq, job) = self.lanes.oldest(living)?;
        Some((seq, self.rules.age_max.saturating_sub(wall.since(job.received_at))))
    }

    /// Whether the next head needs no further attempt: it was given up on before, or it is too old and either was
    /// tried or cannot be tried. Every envelope gets one attempt while its route is open.
    fn given_up(&mut self, seq: Seq, health: &Health, wall: WallMs) -> Option<DeadReason> {
        let age_max = self.rules.age_max;
        let job = self.lanes.get_mut(seq)?;
        if let Some(reason) = job.failures.as_ref().and_then(|failures| failures.dying) {
            return Some(reason);
        }
        let too_old = wall.since(job.received_at) >= age_max;
        let hopeless = match health.down() {
            Some(Down::Paused) => false,
            Some(Down::Held | Down::BreakerOpen) => true,
            None => job.failures.is_some(),
        };
        (too_old && hopeless).then_some(DeadReason::AgeMax)
    }

    /// Takes an attempt's end into account. After [`After::Commit`] the next of its lane may go; after
    /// [`After::Bury`] it waits for [`Plan::buried`].
    pub fn ended(
        &mut self,
        health: &mut Health,
        now: Moment,
        wall: WallMs,
        ended: &Ended,
        random: u32,
    ) -> (After, Option<Turn>) {
        let turn = health.note(now, ended.verdict, ended.probe, random);
        let after = match ended.verdict {
            Verdict::Done => self.commit(ended.seq, now, Outcome::Delivered),
            Verdict::Unhandled => self.commit(ended.seq, now, Outcome::Unhandled),
            Verdict::Poison => {
                self.note_failure(ended, wall);
                After::Bury(DeadReason::Poison)
            }
            Verdict::TargetFault | Verdict::Transient { .. } => self.failed(health, now, wall, ended, random),
        };
        (after, turn)
    }

    fn commit(&mut self, seq: Seq, now: Moment, outcome: Outcome) -> After {
        self.lanes.finish(seq, now);
        After::Commit(outcome)
    }

    fn note_failure(&mut self, ended: &Ended, wall: WallMs) {
        let Some(job) = self.lanes.get_mut(ended.seq) else { return };
        let failures = job.failures.get_or_insert_default();
        failures.attempts = failures.attempts.saturating_add(1);
        failures.target = ended.verdict == Verdict::TargetFault;
        if failures.notes.len() == ATTEMPT_NOTES_MAX {
            failures.notes.pop_front();
        }
        failures.notes.push_back(AttemptNote { at: wall, what: ended.words.clone() });
    }

    fn failed(&mut self, health: &Health, now: Moment, wall: WallMs, ended: &Ended, random: u32) -> After {
        self.note_failure(ended, wall);
        let rules = self.rules;
        let Some(job) = self.lanes.get_mut(ended.seq) else { return After::Retry };
        let failures = job.failures.get_or_insert_default();
        let mut pause = rules.retry.pause(failures.attempts, random);
        if let Verdict::Transient { retry_after } = ended.verdict {
            if job.successes_seen != health.successes() {
                failures.counted += 1;
            }
            job.successes_seen = health.successes();
            // Asked for none at all, the first pause still keeps the attempts apart.
            pause = retry_after.map_or(pause, |asked| asked.max(rules.retry.first / 2));
        } else if health.down() == Some(Down::BreakerOpen) {
            // The breaker spaces the probes; without a head that is due, there would be none.
            pause = pause.min(PROBE_PAUSE_MAX);
        }
        if failures.counted >= rules.attempts_max {
            return After::Bury(DeadReason::AttemptsMax);
        }
        if wall.since(job.received_at) >= rules.age_max {
            return After::Bury(DeadReason::AgeMax);
        }
        self.lanes.put_back(ended.seq, now + pause);
        After::Retry
    }

    /// An envelope's kind and the time it was read.
    pub fn filed(&mut self, seq: Seq) -> Option<(Kind, WallMs)> {
        self.lanes.get_mut(seq).map(|job| (job.kind, job.received_at))
    }

    /// What is known of an envelope's attempts, oldest first: for its dead letter.
    pub fn notes(&mut self, seq: Seq) -> Vec<AttemptNote> {
        self.lanes
            .get_mut(seq)
            .and_then(|job| job.failures.as_ref())
            .map_or_else(Vec::new, |failures| failures.notes.iter().cloned().collect())
    }

    /// An envelope is among the dead letters, or was found to be gone from the log: the next of its lane may go.
    pub fn buried(&mut self, seq: Seq, now: Moment) {
        self.lanes.finish(seq, now);
    }

    /// An envelope could not be put among the dead letters; it keeps its place and is put there later.
    pub fn bury_later(&mut self, seq: Seq, reason: DeadReason, at: Moment) {
        if let Some(job) = self.lanes.get_mut(seq) {
            job.failures.get_or_insert_default().dying = Some(reason);
        }
        self.lanes.put_back(seq, at);
    }

    /// An attempt could not be made for a reason on our side; it costs nothing.
    pub fn not_started(&mut self, seq: Seq, at: Moment) {
        self.lanes.put_back(seq, at);
    }

    /// What waits because of its target is due now: the target is back, or a person says so.
    fn hasten(&mut self, now: Moment) {
        self.lanes.hasten(now, |job| job.failures.as_ref().is_some_and(|failures| failures.target));
    }
}

#[cfg(test)]
mod tests;
