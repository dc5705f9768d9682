//! Full queues: the oldest become dead letters before anything takes their place.
//!
//! ```text
//! admit: no room ─► parked, with all that comes later for the same tenants ─► who must leave ─► undertaker
//!    ▲                                                                                            │
//!    └───────── their entries are committed as dead letters, the parked go first ◄────────────────┘
//! ```

use std::collections::VecDeque;

use taut_core::TenantId;
use taut_core::log::{Append, Change, Outcome};

use super::{GROUP_BYTES_MAX, GROUP_ENTRIES_MAX, Writer};
use crate::admit::{Leaving, Offer, Plan, Situation};
use crate::hash::{Map, Set};
use crate::inbox::{AppendJob, Buried};
use crate::record::ChangeItem;

/// Most entries that may wait for room; beyond, appends are answered [`Append::Unavailable`].
const PARKED_ENTRIES_MAX: usize = 65_536;
/// Most bytes of their frames.
const PARKED_BYTES_MAX: usize = 64 << 20;

/// One tenant may have this part of them.
const SHARE: usize = 4;

/// Batches whose next entry waits for room, in the order they came.
#[derive(Default)]
pub(super) struct Parked {
    jobs: VecDeque<AppendJob>,
    /// Whose entries are in them, what comes later for these waits behind; with entries and bytes of whose batches
    /// they are.
    tenants: Map<TenantId, (usize, usize)>,
    /// Of these some were offered again in vain, before others of the parked: they are first in the queue.
    ahead: Set<TenantId>,
    entries: usize,
    bytes: usize,
    /// The undertaker is at work.
    burying: bool,
}

impl Parked {
    /// Whether what comes for this tenant has to wait behind what came before.
    pub(super) fn holds(&self, tenant: &TenantId, ahead: bool) -> bool {
        // Mostly nobody waits: then there is nothing to hash.
        if ahead {
            !self.ahead.is_empty() && self.ahead.contains(tenant)
        } else {
            !self.tenants.is_empty() && self.tenants.contains_key(tenant)
        }
    }

    pub(super) const fn is_burying(&self) -> bool {
        self.burying
    }

    /// Marks a batch of the group under way: it goes no further until there is room.
    pub(super) fn mark(&mut self, job: &mut AppendJob) {
        job.parked = true;
        self.hold(job);
    }

    fn hold(&mut self, job: &AppendJob) {
        for entry in job.rest() {
            self.tenants.entry(entry.tenant.clone()).or_default();
            if job.ahead {
                self.ahead.insert(entry.tenant.clone());
            }
        }
    }

    /// Keeps a marked batch, or answers it where too much waits already.
    pub(super) fn put(&mut self, job: AppendJob) {
        let (entries, bytes) = size(&job);
        let (own_entries, own_bytes) = self.tenants.get(&job.tenant).copied().unwrap_or_default();
        let too_much = |(entries, bytes): (usize, usize), share: usize| {
            entries > PARKED_ENTRIES_MAX / share || bytes > PARKED_BYTES_MAX / share
        };
        let full = own_entries > 0 && too_much((own_entries + entries, own_bytes + bytes), SHARE)
            || self.entries > 0 && too_much((self.entries + entries, self.bytes + bytes), 1);
        if full {
            job.answer();
            return;
        }
        self.count(&job);
        // The elders stay before all others, in the order they came.
        let place =
            if job.ahead { self.jobs.iter().take_while(|job| job.ahead).count() } else { self.jobs.len() };
        self.jobs.insert(place, job);
    }

    fn count(&mut self, job: &AppendJob) {
        let size = size(job);
        (self.entries, self.bytes) = add((self.entries, self.bytes), size);
        let own = self.tenants.entry(job.tenant.clone()).or_default();
        *own = add(*own, size);
    }

    /// Takes all batches; nobody waits any more.
    pub(super) fn take_jobs(&mut self) -> VecDeque<AppendJob> {
        let taken = std::mem::take(self);
        self.burying = taken.burying;
        taken.jobs
    }

    /// Takes as many batches as a group holds, the oldest first; the others wait on.
    fn take_group(&mut self) -> VecDeque<AppendJob> {
        let (mut taken, mut sum) = (VecDeque::new(), (0, 0));
        let mut jobs = self.take_jobs();
        while sum.0 < GROUP_ENTRIES_MAX && sum.1 < GROUP_BYTES_MAX {
            let Some(job) = jobs.pop_front() else { break };
            sum = add(sum, size(&job));
            taken.push_back(job);
        }
        for job in jobs {
            self.hold(&job);
            self.count(&job);
            self.jobs.push_back(job);
        }
        taken
    }
}

/// Entries and bytes of what is left of a batch.
fn size(job: &AppendJob) -> (usize, usize) {
    job.rest().fold((0, 0), |sum, entry| add(sum, (1, entry.frame.len())))
}

const fn add(left: (usize, usize), right: (usize, usize)) -> (usize, usize) {
    (left.0 + right.0, left.1 + right.1)
}

impl Writer {
    /// Sends those to the undertaker who must leave for the parked; one burial at a time.
    pub(super) fn make_room(&mut self) {
        if self.state.parked.burying || self.state.parked.jobs.is_empty() || self.elders_wait() {
            return;
        }
        let leaving = self.who_leaves();
        if leaving.is_empty() {
            // Others have left by themselves meanwhile.
            self.unpark(None);
            return;
        }
        self.state.parked.burying = true;
        self.undertaker.bury(leaving);
    }

    /// Plans a group of the parked as if they could all go at once, only to see who leaves for it.
    fn who_leaves(&mut self) -> Vec<Leaving> {
        let now = self.shared.clock.wall();
        let mut situation = Situation { now, dead_letter_room: self.dead_letters.room() };
        let (mut plan, mut seq) = (Plan::making_room(), self.next_seq);
        let mut index = self.shared.index.lock();
        'parked: for entry in self.state.parked.jobs.iter().flat_map(AppendJob::rest) {
            match plan.offer(&mut index, &mut situation, &mut seq, entry.clone(), super::AnswerAt::default())
            {
                Offer::Later(_) | Offer::NeedsRoom(_) => break 'parked,
                Offer::Planned if plan.is_full() => break 'parked,
                Offer::Planned | Offer::Answer(_) => {}
            }
        }
        for tenant in &plan.tenants {
            index.end_plan(tenant);
        }
        plan.leaving
    }

    /// Commits what was buried, and lets the parked go first.
    pub(super) fn take_buried(&mut self) {
        if self.elders_wait() {
            return;
        }
        let Some(Buried { leaving, outcome }) = self.shared.inbox.take_buried() else { return };
        self.state.parked.burying = false;
        if outcome.is_ok() {
            let mut index = self.shared.index.lock();
            for Leaving { tenant, slot } in leaving {
                let change =
                    Change::Commit { seq: slot.seq, routes: slot.routes, outcome: Outcome::DeadLetter };
                if index.apply(&tenant, change) {
                    self.state.owed.push((tenant, ChangeItem(change)));
                }
            }
        }
        self.unpark(outcome.err());
    }

    /// Whether some that were parked before are still to be offered again: nobody goes before them, and so there are
    /// never more of them than a group holds.
    fn elders_wait(&self) -> bool {
        self.state.queue.front().is_some_and(|job| job.ahead)
    }

    /// The parked, as many as a group holds, are offered again before all others; without room their answer is
    /// `no_room`.
    fn unpark(&mut self, no_room: Option<Append>) {
        let mut jobs = self.state.parked.take_group();
        for job in &mut jobs {
            (job.parked, job.ahead, job.no_room) = (false, true, no_room);
        }
        jobs.append(&mut self.state.queue);
        self.state.queue = jobs;
    }
}
