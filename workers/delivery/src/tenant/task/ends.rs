//! What follows from the ends of attempts, burials and commits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::stream::StreamExt as _;
use taut_core::log::{Change, DeadLettersError, DeadReason, LogError, Outcome};
use taut_core::{Moment, RouteName, Seq};
use tracing::warn;

use super::{AttemptEnd, BURY_AGAIN_AFTER, BurialEnd, COMMIT_AGAIN_AFTER, CommitEnd, Task};
use crate::desk::response_url;
use crate::pure::answer::late_post;
use crate::pure::plan::{After, Ended};
use crate::pure::request::posts_late;
use crate::route::Posted;
use crate::tenant::burial::{self, Epitaph};

/// Attempts whose ends are handled in one turn before the task looks at everything else again.
const ENDS_PER_TURN: usize = 64;
/// Most commit batches on their way to the disk at once; beyond, commits collect into one batch.
const COMMIT_BATCHES_MAX: usize = 8;
/// Pause between log lines about dead letters.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Task {
    /// Handles an attempt's end and those that are ready as well: their commits share a batch.
    pub(super) fn take_ends(&mut self, first: AttemptEnd) {
        self.take_end(first);
        for _ in 1..ENDS_PER_TURN {
            match self.attempts.next().now_or_never() {
                Some(Some(end)) => self.take_end(end),
                Some(None) | None => return,
            }
        }
    }

    fn take_end(&mut self, end: AttemptEnd) {
        let AttemptEnd { lane, seq, probe, envelope, received_at, posted } = end;
        let shared = Arc::clone(&self.shared);
        let route = &shared.routes[lane];
        let (now, wall) = (shared.clock.now(), shared.clock.wall());
        let Posted { verdict, words, answer } = posted;
        let ended = Ended { seq, probe, verdict, words };
        let plan = &mut self.lanes[lane].plan;
        let (after, turn) = plan.ended(&mut route.health.lock(), now, wall, &ended, rand::random());
        shared.board.counters.attempts.at(verdict.name()).one();
        shared.tell(route, turn, &ended.words);
        match after {
            After::Commit(outcome) => {
                self.pending.push(Change::Commit { seq, routes: route.bit, outcome });
                if outcome == Outcome::Delivered {
                    shared.board.counters.delivered.one();
                    shared.metrics.delivery_latency.record(wall.since(received_at).as_secs_f64());
                }
                let late = answer.filter(|_| posts_late(envelope.kind));
                if let Some(json) = late.and_then(|answer| late_post(&answer.as_handler_answer())) {
                    response_url::post_if_answering(&shared, route.bit, &envelope, json);
                }
            }
            After::Bury(reason) => self.bury(lane, seq, reason, Some(envelope.frame)),
            After::Retry => {
                shared.log.attempt(&shared.tenant, seq, route.bit, false);
            }
        }
    }

    /// Puts an envelope among the dead letters; `frame` if it is at hand.
    pub(super) fn bury(&mut self, lane: usize, seq: Seq, reason: DeadReason, frame: Option<Bytes>) {
        let shared = &self.shared;
        let plan = &mut self.lanes[lane].plan;
        let (frame, reason) =
            match frame.map_or_else(|| shared.log.read(&shared.tenant, seq), |f| Ok(Some(f))) {
                Ok(Some(frame)) => (frame, reason),
                Ok(None) => return self.gone(lane, seq, self.shared.clock.now()),
                Err(LogError::Unavailable { .. }) => {
                    return plan.bury_later(seq, reason, shared.clock.now() + BURY_AGAIN_AFTER);
                }
                Err(LogError::Read { .. }) => (Bytes::new(), DeadReason::Damaged),
            };
        let Some((kind, received_at)) = plan.filed(seq) else { return };
        let route = shared.routes[lane].name.clone();
        let epitaph = Epitaph { seq, kind, received_at, route, reason, notes: plan.notes(seq) };
        let put = burial::put(&shared.dead_letters, vec![epitaph.into_letter(shared, frame)]);
        self.burials.push(put.map(move |result| BurialEnd { lane, seq, reason, result }).boxed());
    }

    pub(super) fn take_burial(&mut self, end: BurialEnd) {
        let BurialEnd { lane, seq, reason, result } = end;
        let shared = Arc::clone(&self.shared);
        let (now, route) = (shared.clock.now(), &shared.routes[lane]);
        let plan = &mut self.lanes[lane].plan;
        if result.is_ok() {
            plan.buried(seq, now);
            self.pending.push(Change::Commit { seq, routes: route.bit, outcome: Outcome::DeadLetter });
        } else {
            plan.bury_later(seq, reason, now + BURY_AGAIN_AFTER);
            shared.log.attempt(&shared.tenant, seq, route.bit, false);
        }
        self.tell_burial(now, &route.name, seq, reason, result.err());
    }

    /// One line a second at most: a day-old backlog dies by the thousand.
    fn tell_burial(
        &mut self,
        now: Moment,
        route: &RouteName,
        seq: Seq,
        reason: DeadReason,
        error: Option<DeadLettersError>,
    ) {
        self.untold += 1;
        if self.told_at.is_some_and(|at| now.since(at) < TELL_EVERY) {
            return;
        }
        let (tenant, reason, more) = (&self.shared.tenant, reason.name(), self.untold - 1);
        match error {
            None => warn!(%tenant, %route, %seq, reason, more, "an envelope is a dead letter now"),
            Some(error) => warn!(
                %tenant, %route, %seq, reason, %error, more,
                "an envelope should be a dead letter and could not be kept as one; it stays in the backlog"
            ),
        }
        self.told_at = Some(now);
        self.untold = 0;
    }

    /// Submits collected commits as one batch.
    pub(super) fn flush_commits(&mut self, now: Moment) {
        let waiting = self.commit_at.is_some_and(|at| now < at);
        if self.pending.is_empty() || waiting || self.commits.len() >= COMMIT_BATCHES_MAX {
            return;
        }
        let changes = std::mem::take(&mut self.pending);
        let submitted = self.shared.log.change(&self.shared.tenant, changes.clone());
        self.commits.push(submitted.map(move |result| CommitEnd { changes, result }).boxed());
    }

    pub(super) fn take_commit(&mut self, end: CommitEnd) {
        let Err(error) = end.result else {
            self.commit_at = None;
            return;
        };
        if self.commit_at.is_none() {
            warn!(tenant = %self.shared.tenant, %error, "commits are not durable; nothing goes out until they are");
        }
        self.pending.extend(end.changes);
        self.commit_at = Some(self.shared.clock.now() + COMMIT_AGAIN_AFTER);
    }
}
