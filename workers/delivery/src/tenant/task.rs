//! The delivery task: one for each tenant. While there is nothing to deliver it is parked, and all that follows does
//! not exist.
//!
//! ```text
//! wake ─► fill: log.backlog ─► plans (one for each route) ─► attempts ─► verdict ─┬─► commits (batched)
//!                                ▲───────────── retry ───────────────────────────┤
//!                                                                                └─► burial ─► commits
//! ```

mod ends;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{self, BoxFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use taut_core::log::{Change, DeadLettersError, DeadReason, Entry, LogError};
use taut_core::{Envelope, Moment, Seq, WallMs};

use super::orphans::{self, Orphans};
use crate::pure::plan::{Plan, Step};
use crate::route::{Posted, Terms};
use crate::shared::{Handed, Shared};

/// Most entries asked of the log at once.
const PULL_ENTRIES: usize = 256;
/// Most entries one route reads in one turn, so that a long backlog does not keep a thread from other tenants.
const PULLS_PER_TURN: usize = 8;
/// Commits collected beyond which no attempt starts: the store is not keeping up.
const COMMITS_PENDING_MAX: usize = 1_024;
/// Pause after a commit that the store refused.
const COMMIT_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Pause after dead letters that could not be kept.
pub(super) const BURY_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// One attempt's end, with what its consequences need.
struct AttemptEnd {
    lane: usize,
    seq: Seq,
    probe: bool,
    envelope: Envelope,
    received_at: WallMs,
    posted: Posted,
}

struct BurialEnd {
    lane: usize,
    seq: Seq,
    reason: DeadReason,
    result: Result<(), DeadLettersError>,
}

struct CommitEnd {
    changes: Vec<Change>,
    result: Result<(), LogError>,
}

/// One route's plan, and how far it has read the backlog.
struct Lane {
    plan: Plan,
    cursor: Seq,
}

/// Delivers the tenant's backlog until a drain has been asked for and everything under way has ended.
pub(super) async fn run(shared: Arc<Shared>) {
    let waker = Arc::clone(&shared.wake);
    shared.log.subscribe(&shared.tenant, Arc::new(move || waker.notify_one()));
    loop {
        // Boxed: a parked tenant holds nothing of it.
        Box::pin(Task::new(Arc::clone(&shared)).deliver()).await;
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.wake.notified() => {}
        }
    }
}

/// See the module.
pub(super) struct Task {
    shared: Arc<Shared>,
    /// One for each route, in the routes' order.
    lanes: Vec<Lane>,
    orphans: Orphans,
    /// Whether the log may have entries that a plan with room has not seen.
    unread: bool,
    attempts: FuturesUnordered<BoxFuture<'static, AttemptEnd>>,
    burials: FuturesUnordered<BoxFuture<'static, BurialEnd>>,
    orphan_burials: FuturesUnordered<BoxFuture<'static, orphans::Buried>>,
    commits: FuturesUnordered<BoxFuture<'static, CommitEnd>>,
    pending: Vec<Change>,
    /// Set from a refused commit to the next durable one: when to try again. Nothing starts meanwhile.
    commit_at: Option<Moment>,
    /// Dead letters that no log line has told of yet, and when one last did.
    untold: u64,
    told_at: Option<Moment>,
}

impl Task {
    fn new(shared: Arc<Shared>) -> Self {
        let lanes =
            shared.routes.iter().map(|route| Lane { plan: Plan::new(route.rules), cursor: Seq(0) }).collect();
        Self {
            shared,
            lanes,
            orphans: Orphans::default(),
            unread: true,
            attempts: FuturesUnordered::new(),
            burials: FuturesUnordered::new(),
            orphan_burials: FuturesUnordered::new(),
            commits: FuturesUnordered::new(),
            pending: Vec::new(),
            commit_at: None,
            untold: 0,
            told_at: None,
        }
    }

    /// Delivers until nothing is left to deliver, or a drain has been asked for and everything under way has ended.
    async fn deliver(mut self) {
        let wake = Arc::clone(&self.shared.wake);
        let stop = self.shared.stop.clone();
        loop {
            let now = self.shared.clock.now();
            self.flush_commits(now);
            if self.fill(now) {
                tokio::task::yield_now().await;
            }
            let next = self.start_due(now);
            if self.is_idle() && (stop.is_cancelled() || self.is_done()) {
                return;
            }
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep(now.until(at)).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                Some(end) = self.attempts.next(), if !self.attempts.is_empty() => self.take_ends(end),
                Some(end) = self.burials.next(), if !self.burials.is_empty() => self.take_burial(end),
                Some(end) = self.orphan_burials.next(), if !self.orphan_burials.is_empty() => {
                    let changes = self.orphans.buried(&self.shared, self.shared.clock.now(), end);
                    self.pending.extend(changes);
                }
                Some(end) = self.commits.next(), if !self.commits.is_empty() => self.take_commit(end),
                () = wake.notified() => {
                    self.unread = true;
                    self.orphans.look_again();
                }
                () = stop.cancelled(), if !stop.is_cancelled() => {}
                () = timer => {}
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.attempts.is_empty()
            && self.burials.is_empty()
            && self.orphan_burials.is_empty()
            && self.commits.is_empty()
            && (self.pending.is_empty() || self.commit_at.is_some())
    }

    /// Whether nothing is left that this task would have to remember: it may end, and start anew at the next wake.
    fn is_done(&self) -> bool {
        let waits = self.unread || !self.pending.is_empty() || self.commit_at.is_some();
        !waits && self.lanes.iter().all(|lane| lane.plan.is_empty()) && self.orphans.are_done(&self.shared)
    }

    /// Reads the backlog into every plan that has room; true if there is more to read at once.
    ///
    /// Not while commits wait to be submitted, whose end comes back here: the log still shows what they end, and a
    /// plan that reads it again, or later than it was handed over, would take it for new.
    fn fill(&mut self, now: Moment) -> bool {
        if !self.pending.is_empty() || self.commit_at.is_some() {
            return false;
        }
        self.go_back();
        if !self.unread {
            return false;
        }
        self.unread = false;
        for Handed { entry, tried } in self.shared.handed() {
            let owing = self.lanes.iter_mut().zip(&self.shared.routes);
            for (lane, route) in owing.filter(|(_, route)| entry.routes.contains(route.bit)) {
                // The desk's attempt has ended.
                self.shared.log.attempt(&self.shared.tenant, entry.seq, route.bit, false);
                lane.plan.offer(now, &entry, &route.health.lock());
                if tried {
                    lane.plan.tried_before(entry.seq);
                }
            }
        }
        let mut more = false;
        for index in 0..self.lanes.len() {
            more |= self.fill_lane(index, now);
        }
        if more {
            self.unread = true;
            self.shared.wake.notify_one();
        }
        more
    }

    /// Reads from further back where a lane left envelopes out and has room for them.
    fn go_back(&mut self) {
        for lane in &mut self.lanes {
            if let Some(first) = lane.plan.read_again() {
                lane.cursor = lane.cursor.min(Seq(first.0.saturating_sub(1)));
                self.unread = true;
            }
        }
    }

    fn fill_lane(&mut self, index: usize, now: Moment) -> bool {
        let (shared, lane, route) = (&self.shared, &mut self.lanes[index], &self.shared.routes[index]);
        for _ in 0..PULLS_PER_TURN {
            let most = lane.plan.room().min(PULL_ENTRIES);
            if most == 0 {
                self.unread = true;
                return false;
            }
            let entries = shared.log.backlog(&shared.tenant, lane.cursor, most);
            let Some(last) = entries.last() else { return false };
            lane.cursor = last.seq;
            let owes = |entry: &&Entry| {
                entry.routes.contains(route.bit)
                    && !(entry.kind.is_request() && shared.is_held(entry.seq, route.bit))
            };
            let health = route.health.lock();
            for entry in entries.iter().filter(owes) {
                lane.plan.offer(now, entry, &health);
            }
        }
        true
    }

    /// Starts whatever is due; returns when to look again.
    fn start_due(&mut self, now: Moment) -> Option<Moment> {
        if self.shared.stop.is_cancelled() {
            return None;
        }
        if let Some(at) = self.commit_at {
            // A commit under way ends by itself.
            return self.commits.is_empty().then_some(at);
        }
        if self.pending.len() >= COMMITS_PENDING_MAX {
            return None;
        }
        let wall = self.shared.clock.wall();
        let mut soonest: Option<Moment> = None;
        for index in 0..self.lanes.len() {
            let until = loop {
                let mut health = self.shared.routes[index].health.lock();
                let step = self.lanes[index].plan.next(&mut health, now, wall);
                drop(health);
                match step {
                    Step::Start { seq, attempt, probe } => self.start(index, seq, attempt, probe),
                    Step::Bury { seq, reason } => self.bury(index, seq, reason, None),
                    Step::Wait(until) => break until,
                }
            };
            soonest = [soonest, until].into_iter().flatten().min();
        }
        if let Some(batch) = self.orphans.next(&self.shared, now) {
            self.orphan_burials.push(batch);
        }
        [soonest, self.orphans.again_at()].into_iter().flatten().min()
    }

    fn start(&mut self, lane: usize, seq: Seq, attempt: u32, probe: bool) {
        let Some(envelope) = self.envelope(lane, seq) else {
            if probe {
                self.shared.routes[lane].health.lock().give_back(self.shared.clock.now());
            }
            return;
        };
        let Some((_, received_at)) = self.lanes[lane].plan.filed(seq) else { return };
        let shared = Arc::clone(&self.shared);
        if !shared.log.attempt(&shared.tenant, seq, shared.routes[lane].bit, true) {
            // A full queue is letting it go; when it has gone, it cannot be read.
            let now = shared.clock.now();
            if probe {
                shared.routes[lane].health.lock().give_back(now);
            }
            self.lanes[lane].plan.not_started(seq, now + COMMIT_AGAIN_AFTER);
            return;
        }
        self.attempts.push(Box::pin(async move {
            let route = &shared.routes[lane];
            let terms = Terms { attempt, timeout: route.timeout, left: route.timeout, received_at };
            let posted = route.post(&envelope, terms, &shared.signer, &*shared.clock).await;
            AttemptEnd { lane, seq, probe, envelope, received_at, posted }
        }));
    }

    /// An envelope has left the log otherwise, as when a full queue makes room. No end of anything may follow, so what
    /// has no room in the plan so far is looked for now.
    fn gone(&mut self, lane: usize, seq: Seq, now: Moment) {
        self.lanes[lane].plan.buried(seq, now);
        self.shared.wake.notify_one();
    }

    /// Reads an envelope back. One that is gone, damaged or not readable now ends here or waits; nobody is to blame.
    fn envelope(&mut self, lane: usize, seq: Seq) -> Option<Envelope> {
        let now = self.shared.clock.now();
        let (frame, damaged) = match self.shared.log.read(&self.shared.tenant, seq) {
            Ok(Some(frame)) => match Envelope::from_frame(&frame) {
                Ok(envelope) => return Some(envelope),
                Err(_) => (frame, true),
            },
            Ok(None) => {
                self.gone(lane, seq, now);
                return None;
            }
            Err(LogError::Read { .. }) => (Bytes::new(), true),
            Err(LogError::Unavailable { .. }) => (Bytes::new(), false),
        };
        if damaged {
            self.bury(lane, seq, DeadReason::Damaged, Some(frame));
        } else {
            self.lanes[lane].plan.not_started(seq, now + COMMIT_AGAIN_AFTER);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_delivery_stays_small() {
        let bytes = of_one(run);
        assert!(bytes <= 256, "a parked delivery's task takes {bytes} bytes");
    }

    /// The size of an async function's future, in bytes.
    fn of_one<A, F>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }
}
