//! The writer: one thread that makes groups durable.
//!
//! A group is everything that waits, up to a bound: it is admitted (dedup, limits), written, synced once, shown in
//! the index, answered; in that order. Who needs room that others must leave is set aside until they have left, which
//! is the undertaker's work: the rest does not wait for the database. After a failure nothing of the group is promised and nobody is acked: the log
//! goes on in a new segment that says where the durable part ended, with back-off while that fails too.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use taut_core::log::{Append, Wake};
use taut_core::{Moment, TenantId};

use crate::admit::{AnswerAt, Offer, Plan, Situation};
use crate::compact::{Compactor, put_changes, put_keys};
use crate::dead::DeadLetterBox;
use crate::hash::Set;
use crate::inbox::{AppendJob, ChangeJob, Work};
use crate::index::Segment;
use crate::place::Place;
use crate::record::{self, ChangeItem, EntryHead, KeyItem};
use crate::shared::Shared;
use crate::tail::{Outlook, Tail};

mod group;
mod heal;
mod overflow;
pub(crate) mod undertaker;

use group::{Group, slot_of};
use heal::EndGuard;
use overflow::Parked;
pub(crate) use undertaker::Undertaker;

/// Most entries of one group: a bound on the time under the index's lock.
pub(crate) const GROUP_ENTRIES_MAX: usize = 4096;
/// Most bytes of frames of one group.
pub(crate) const GROUP_BYTES_MAX: usize = 8 << 20;
/// How often keys beyond their window are looked for, whatever the load.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// The writer's own state.
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub dead_letters: Arc<DeadLetterBox>,
    pub undertaker: Undertaker,
    pub tail: Tail,
    pub compactor: Compactor,
    pub next_seq: u64,
    /// Pause before the first attempt to go on after a failure.
    pub pause: Duration,
    pub state: State,
}

/// What the writer starts without.
#[derive(Default)]
pub(crate) struct State {
    queue: VecDeque<AppendJob>,
    /// Changes of failed groups: true in the index, still to be written.
    owed: Vec<(TenantId, ChangeItem)>,
    /// Keys whose records had to go while the disk was full: still to be written.
    owed_keys: Vec<(TenantId, KeyItem)>,
    /// Who waits for room.
    parked: Parked,
    failures: u32,
    /// The last failure was for want of space.
    disk_full: bool,
    /// Something was written since the last mark.
    unmarked: bool,
    /// When old keys were last looked for.
    swept_at: Moment,
}

impl State {
    /// Whether something is true in the index and not yet in the log.
    fn owes(&self) -> bool {
        !self.owed.is_empty() || !self.owed_keys.is_empty()
    }
}

impl Writer {
    /// Works until the inbox closes. Blocks on the disk: runs on its own thread.
    pub(crate) fn run(mut self) {
        let _guard = EndGuard(self.shared.clone());
        loop {
            let wanted = self.compactor.wanted(&self.shared.index.lock(), self.tail.segment_bytes());
            let pressing = wanted || !self.state.queue.is_empty() || self.state.owes();
            let burying = self.state.parked.is_burying();
            let goes_on = match self.shared.inbox.take(&mut self.state.queue, pressing, burying) {
                Work::Group(changes) => self.turn(changes),
                Work::Idle if pressing => self.turn(Vec::new()),
                Work::Idle => self.tidy(),
                Work::Close => break,
            };
            if !goes_on {
                return;
            }
            self.sweep();
        }
        if self.state.owes() && !self.turn(Vec::new()) {
            return;
        }
        if let Err(error) = self.mark().and_then(|()| self.tail.finish()) {
            tracing::warn!(%error, "could not finish the log; nothing is lost");
        }
    }

    /// One group, and what has to follow if it fails. False if the store closes while it cannot be written.
    fn turn(&mut self, changes: Vec<ChangeJob>) -> bool {
        self.take_buried();
        let mut group = self.admit(changes);
        match self.write(&mut group) {
            Ok(()) => {
                self.state.failures = 0;
                self.publish(group);
                self.make_room();
                true
            }
            Err(error) => {
                self.note_failure(&error);
                self.abandon(group);
                self.go_on()
            }
        }
    }

    /// Fills the next group from the queue.
    fn admit(&mut self, changes: Vec<ChangeJob>) -> Group {
        let now = self.shared.clock.wall();
        let mut situation = Situation { now, dead_letter_room: self.dead_letters.room() };
        let waiting: usize = self.state.queue.iter().map(|job| job.entries.len()).sum();
        let mut plan = Plan::with_room(waiting.min(GROUP_ENTRIES_MAX));
        let mut jobs = Vec::new();
        let mut index = self.shared.index.lock();
        'jobs: while let Some(mut job) = self.state.queue.pop_front() {
            while let Some(entry) = job.next_entry() {
                if self.state.parked.holds(&entry.tenant, job.ahead) {
                    job.held_over = Some(entry);
                    self.state.parked.mark(&mut job);
                    break;
                }
                let answer = AnswerAt { job: jobs.len(), entry: job.answers.len() };
                match plan.offer(&mut index, &mut situation, &mut self.next_seq, entry, answer) {
                    Offer::Answer(answer) => job.answers.push(answer),
                    Offer::Planned => job.answers.push(Append::Unavailable),
                    Offer::Later(entry) => {
                        job.held_over = Some(entry);
                        jobs.push(job);
                        break 'jobs;
                    }
                    Offer::NeedsRoom(entry) => {
                        let Some(answer) = job.no_room else {
                            job.held_over = Some(entry);
                            self.state.parked.mark(&mut job);
                            break;
                        };
                        job.answers.push(answer);
                    }
                }
                if plan.is_full() {
                    jobs.push(job);
                    break 'jobs;
                }
            }
            jobs.push(job);
        }
        drop(index);
        let mut items = std::mem::take(&mut self.state.owed);
        for job in &changes {
            items.extend(job.items.iter().map(|item| (job.tenant.clone(), *item)));
        }
        // Stable: changes of one tenant keep their order, and share a record.
        items.sort_by(|(left, _), (right, _)| left.cmp(right));
        let keys = std::mem::take(&mut self.state.owed_keys);
        Group { plan, jobs, changes, items, keys, moved: Vec::new() }
    }

    /// Writes and syncs the group.
    fn write(&mut self, group: &mut Group) -> io::Result<()> {
        let oldest = self.shared.index.lock().segments.keys().next().copied().unwrap_or(0);
        self.tail.begin_group(Outlook { next_seq: self.next_seq, oldest });
        put_changes(&mut self.tail, &group.items)?;
        put_keys(&mut self.tail, &group.keys)?;
        let mut keys = Vec::new();
        for item in &mut group.plan.items {
            let entry = &item.entry;
            if item.key_only {
                let key = entry.dedup.map(|key| KeyItem { key, seq: item.seq, at: entry.received_at });
                keys.extend(key.map(|key| (entry.tenant.clone(), key)));
                continue;
            }
            let head = EntryHead {
                kind: entry.kind,
                request: !entry.answering.is_empty(),
                damaged: false,
                epoch: entry.epoch,
                seq: item.seq,
                received_at: entry.received_at,
                dedup: entry.dedup,
                order: entry.order,
                routes: entry.routes,
                held: entry.answering,
            };
            let bytes = record::entry_bytes(entry.tenant.as_str(), entry.frame.len());
            item.place = self.tail.put(bytes, |buffer, seal| {
                record::put_entry(buffer, seal, &entry.tenant, &head, &entry.frame);
            })?;
        }
        put_keys(&mut self.tail, &keys)?;
        if self.compactor.wanted(&self.shared.index.lock(), self.tail.segment_bytes()) {
            let group_bytes = group.plan.frame_bytes as u64;
            group.moved = self.compactor.step(&self.shared.index, &mut self.tail, group_bytes)?;
        }
        if !self.tail.is_group_empty() {
            self.tail.commit()?;
            self.state.unmarked = true;
        }
        Ok(())
    }

    /// Shows a durable group in the index, then answers everybody who waits for it.
    fn publish(&mut self, mut group: Group) {
        let mut woken: Set<TenantId> = Set::default();
        let mut wakes: Vec<Wake> = Vec::new();
        let mut index = self.shared.index.lock();
        register(&mut index.segments, &mut self.tail);
        for tenant in &group.plan.tenants {
            index.end_plan(tenant);
        }
        for item in &group.plan.items {
            let tenant = &item.entry.tenant;
            if !item.key_only && index.insert(tenant, slot_of(item)) && !woken.contains(tenant) {
                woken.insert(tenant.clone());
            }
            if let Some(key) = item.entry.dedup {
                index.remember(tenant, KeyItem { key, seq: item.seq, at: item.entry.received_at });
            }
        }
        for moved in &group.moved {
            index.moved(&moved.tenant, moved.seq, moved.from, moved.to, moved.damaged);
        }
        woken.extend(group.changes.iter().filter(|job| job.urgent).map(|job| job.tenant.clone()));
        wakes.extend(woken.iter().filter_map(|tenant| index.tenants.get(tenant)?.wake.clone()));
        drop(index);

        group.answer_stored();
        let now = self.shared.clock.now();
        if let Some(first) = group.jobs.first() {
            self.shared.meters.append.record(now.since(first.submitted).as_secs_f64());
        }
        self.finish_jobs(group.jobs);
        for done in group.changes.into_iter().filter_map(|job| job.done) {
            done.send(Ok(())).unwrap_or_default();
        }
        for wake in wakes {
            // It is one tenant's code on everybody's thread.
            if std::panic::catch_unwind(AssertUnwindSafe(|| wake())).is_err() {
                tracing::error!("a subscriber of the log panicked");
            }
        }
    }

    fn finish_jobs(&mut self, jobs: Vec<AppendJob>) {
        for job in jobs {
            if job.is_offered_whole() {
                job.answer();
            } else if job.parked {
                self.state.parked.put(job);
            } else {
                self.state.queue.push_front(job);
            }
        }
    }

    /// What is done when nothing came for a while.
    fn tidy(&mut self) -> bool {
        if let Err(error) = self.mark() {
            self.note_failure(&error);
            return self.go_on();
        }
        true
    }

    fn sweep(&mut self) {
        let now = self.shared.clock.now();
        if now.since(self.state.swept_at) >= SWEEP_EVERY {
            self.state.swept_at = now;
            self.shared.index.lock().forget_old_keys(self.shared.clock.wall());
            self.compactor.unstick();
        }
    }

    /// Says in the log that everything before is durable, so that damage to it can never pass for a torn end.
    fn mark(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.state.unmarked) {
            return Ok(());
        }
        let oldest = self.shared.index.lock().segments.keys().next().copied().unwrap_or(0);
        self.tail.begin_group(Outlook { next_seq: self.next_seq, oldest });
        self.tail.put(record::HEAD_BYTES, record::put_mark)?;
        self.tail.flush()?;
        register(&mut self.shared.index.lock().segments, &mut self.tail);
        Ok(())
    }
}

/// Tells the index of segments that were begun, and how far the log is written.
pub(crate) fn register(segments: &mut BTreeMap<u32, Segment>, tail: &mut Tail) {
    for started in tail.take_started() {
        if let Some(end) = started.previous_end
            && let Some(previous) = segments.get_mut(&end.segment)
        {
            previous.used = u64::from(end.offset);
        }
        segments.insert(started.number, Segment { file: started.file, used: 0, live: 0 });
    }
    let Place { segment, offset } = tail.written();
    if let Some(active) = segments.get_mut(&segment) {
        active.used = u64::from(offset);
    }
}
