//! What waits for the writer: appends and changes, in the order they came.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use taut_core::log::{Append, LogError, NewEntry};
use taut_core::{Moment, TenantId};
use tokio::sync::oneshot;

use crate::admit::Leaving;
use crate::fair::{self, Batch};
use crate::record::ChangeItem;
use crate::writer::{GROUP_BYTES_MAX, GROUP_ENTRIES_MAX};

/// Most bytes of frames that may wait; beyond, appends are answered [`Append::Unavailable`].
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Most entries that may wait.
const WAITING_ENTRIES_MAX: usize = 262_144;
/// What of both one tenant may take up alone, so that there is room for the others: a quarter.
const SHARE: usize = 4;
/// How long changes alone wait for company: a lost commit costs a redelivery, no promise, and a sync of its own for
/// each costs more than its delivery.
const COMPANY: Duration = Duration::from_millis(20);
/// How often the writer looks after itself when nothing comes.
const TICK: Duration = Duration::from_secs(10);

/// A batch of entries and who waits for the answers.
pub(crate) struct AppendJob {
    pub entries: std::vec::IntoIter<NewEntry>,
    /// An entry that must wait for the next group.
    pub held_over: Option<NewEntry>,
    /// One for each entry offered so far; `Unavailable` until its group is durable.
    pub answers: Vec<Append>,
    /// Dropped without a word it means `Unavailable` for all.
    pub done: oneshot::Sender<Vec<Append>>,
    pub submitted: Moment,
    /// Its next entry waits for room to be made.
    pub parked: bool,
    /// It waited for room before: what comes for its tenants goes after it.
    pub ahead: bool,
    /// Room could not be made: the answer for entries that need it.
    pub no_room: Option<Append>,
    /// Whose batch it is: its first entry's tenant.
    pub tenant: TenantId,
    /// Bytes of its frames when it came.
    pub bytes: usize,
}

impl Batch for AppendJob {
    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn entries(&self) -> usize {
        self.entries.len()
    }
}

impl AppendJob {
    /// What has not been offered.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &NewEntry> {
        self.held_over.iter().chain(self.entries.as_slice())
    }

    pub(crate) fn next_entry(&mut self) -> Option<NewEntry> {
        self.held_over.take().or_else(|| self.entries.next())
    }

    pub(crate) fn is_offered_whole(&self) -> bool {
        self.held_over.is_none() && self.entries.len() == 0
    }

    /// Sends the answers; a batch that was not offered whole gets `Unavailable` for the rest.
    pub(crate) fn answer(mut self) {
        let rest = self.rest().count();
        self.answers.resize(self.answers.len() + rest, Append::Unavailable);
        // A caller that has gone needs no answer.
        self.done.send(self.answers).unwrap_or_default();
    }
}

/// Changes of one tenant, already applied to the index.
pub(crate) struct ChangeJob {
    pub tenant: TenantId,
    pub items: Vec<ChangeItem>,
    /// `None` once it has been answered: it is only written for the sake of the next start.
    pub done: Option<oneshot::Sender<Result<(), LogError>>>,
    /// Whether a request's ack waits for it.
    pub urgent: bool,
}

/// Entries that were to leave for the dead letters, and what became of that.
pub(crate) struct Buried {
    pub leaving: Vec<Leaving>,
    /// Else the answer for who needed their room.
    pub outcome: Result<(), Append>,
}

/// What the writer is to do next.
pub(crate) enum Work {
    /// Write what came; the appends were added to the writer's own queue.
    Group(Vec<ChangeJob>),
    /// Nothing came for a while.
    Idle,
    /// Everything that came has been handed out; stop.
    Close,
}

#[derive(Default)]
struct Waiting {
    appends: VecDeque<AppendJob>,
    entries: usize,
    bytes: usize,
    changes: Vec<ChangeJob>,
    buried: Option<Buried>,
    urgent: bool,
    closing: bool,
    /// The writer sleeps until it is woken; otherwise it works, or looks again within [`COMPANY`].
    asleep: bool,
}

impl Waiting {
    /// Whether a batch is too much beside what waits. A batch alone, or its tenant's only one, is never too much.
    fn is_full_for(&self, job: &AppendJob) -> bool {
        let (bytes, entries) = (self.bytes + job.bytes, self.entries + job.entries());
        if self.entries > 0 && (bytes > WAITING_BYTES_MAX || entries > WAITING_ENTRIES_MAX) {
            return true;
        }
        if bytes <= WAITING_BYTES_MAX / SHARE && entries <= WAITING_ENTRIES_MAX / SHARE {
            return false;
        }
        let own = self.appends.iter().filter(|waiting| waiting.tenant == job.tenant);
        let (own_bytes, own_entries) = own
            .fold((0, 0), |(bytes, entries), waiting| (bytes + waiting.bytes, entries + waiting.entries()));
        own_entries > 0
            && (own_bytes + job.bytes > WAITING_BYTES_MAX / SHARE
                || own_entries + job.entries() > WAITING_ENTRIES_MAX / SHARE)
    }

    /// Fills the writer's queue up to a group. What a group left over there comes first.
    fn move_into(&mut self, queue: &mut VecDeque<AppendJob>) {
        let bytes = self.bytes + queue.iter().map(|job| job.bytes).sum::<usize>();
        let entries = self.entries + queue.iter().map(Batch::entries).sum::<usize>();
        if bytes <= GROUP_BYTES_MAX && entries <= GROUP_ENTRIES_MAX {
            queue.append(&mut self.appends);
            (self.bytes, self.entries) = (0, 0);
            return;
        }
        if !queue.is_empty() {
            return;
        }
        let taken = fair::take_group(&mut self.appends, GROUP_BYTES_MAX, GROUP_ENTRIES_MAX);
        self.bytes -= taken.iter().map(|job| job.bytes).sum::<usize>();
        self.entries -= taken.iter().map(Batch::entries).sum::<usize>();
        queue.extend(taken);
    }

    /// Takes all appends and changes.
    fn take(&mut self) -> Self {
        let left = Self { buried: self.buried.take(), closing: self.closing, ..Self::default() };
        std::mem::replace(self, left)
    }
}

/// The queue between callers and the writer. Changes are bounded by the stored entries they speak of.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    came: Condvar,
    /// Somebody wants to know whether the writer lives; changed under the lock of `waiting`.
    asked: AtomicBool,
    /// The writer's signs of life: it grows with every look the writer takes at what waits.
    signs: AtomicU64,
}

impl Inbox {
    /// Hands a batch over. If too much waits, of all or of its tenant, or the store is closing, it is dropped, which
    /// answers it.
    pub(crate) fn append(&self, job: AppendJob) {
        let mut waiting = self.waiting.lock();
        if waiting.closing || waiting.is_full_for(&job) {
            return;
        }
        waiting.entries += job.entries();
        waiting.bytes += job.bytes;
        waiting.appends.push_back(job);
        drop(waiting);
        self.came.notify_one();
    }

    /// Hands changes over. If the store is closing they are dropped, which answers them.
    pub(crate) fn change(&self, job: ChangeJob) {
        let mut waiting = self.waiting.lock();
        if waiting.closing {
            return;
        }
        waiting.urgent |= job.urgent;
        let wake = waiting.asleep || job.urgent;
        waiting.changes.push(job);
        drop(waiting);
        if wake {
            self.came.notify_one();
        }
    }

    /// Takes nothing more; the writer ends when it has written what came.
    pub(crate) fn close(&self) {
        self.waiting.lock().closing = true;
        self.came.notify_all();
    }

    /// Says what became of a burial; there is one at a time.
    pub(crate) fn buried(&self, buried: Buried) {
        self.waiting.lock().buried = Some(buried);
        self.came.notify_one();
    }

    /// Takes what became of the last burial.
    pub(crate) fn take_buried(&self) -> Option<Buried> {
        self.waiting.lock().buried.take()
    }

    /// The writer's signs of life so far; asks it for another one, which a writer that waits gives at once.
    pub(crate) fn ask(&self) -> u64 {
        let waiting = self.waiting.lock();
        self.asked.store(true, Ordering::Relaxed);
        drop(waiting);
        self.came.notify_all();
        self.signs.load(Ordering::Relaxed)
    }

    /// A sign of life, given by the writer.
    fn sign(&self) {
        self.asked.store(false, Ordering::Relaxed);
        self.signs.fetch_add(1, Ordering::Relaxed);
    }

    fn sign_if_asked(&self) {
        if self.asked.load(Ordering::Relaxed) {
            self.sign();
        }
    }

    /// Waits for work and takes it: all changes, and of the appends as many as a group has room for, each tenant its
    /// fair part. With `pressing` work of its own the writer does not wait; while it is `burying` it does not close.
    ///
    /// Deliveries follow appends, so their commits come soon after a group: the writer looks again by itself before it
    /// sleeps, and a lone commit wakes nobody.
    pub(crate) fn take(&self, queue: &mut VecDeque<AppendJob>, pressing: bool, burying: bool) -> Work {
        let mut waiting = self.waiting.lock();
        let empty = |waiting: &Waiting| waiting.appends.is_empty() && waiting.changes.is_empty();
        let closing = |waiting: &Waiting| waiting.closing && !burying;
        self.sign();
        let nothing = |waiting: &mut Waiting| {
            self.sign_if_asked();
            empty(waiting) && waiting.buried.is_none() && !closing(waiting)
        };
        let none_hurries = |waiting: &mut Waiting| {
            waiting.appends.is_empty() && waiting.buried.is_none() && !waiting.urgent && !waiting.closing
        };
        if !pressing {
            self.came.wait_while_for(&mut waiting, none_hurries, COMPANY);
            if nothing(&mut waiting) {
                waiting.asleep = true;
                self.came.wait_while_for(&mut waiting, nothing, TICK);
                waiting.asleep = false;
                if !waiting.changes.is_empty() {
                    self.came.wait_while_for(&mut waiting, none_hurries, COMPANY);
                }
            }
        }
        if nothing(&mut waiting) {
            return Work::Idle;
        }
        if closing(&waiting) && empty(&waiting) && waiting.buried.is_none() && queue.is_empty() {
            return Work::Close;
        }
        waiting.move_into(queue);
        waiting.urgent = false;
        Work::Group(std::mem::take(&mut waiting.changes))
    }

    /// Takes all appends and changes without waiting.
    pub(crate) fn take_all(&self) -> (VecDeque<AppendJob>, Vec<ChangeJob>) {
        let mut waiting = self.waiting.lock();
        let taken = waiting.take();
        (taken.appends, taken.changes)
    }

    /// Waits `span`, or until the store closes; says whether it closes.
    pub(crate) fn pause(&self, span: Duration) -> bool {
        let mut waiting = self.waiting.lock();
        self.sign();
        let open = |waiting: &mut Waiting| {
            self.sign_if_asked();
            !waiting.closing
        };
        self.came.wait_while_for(&mut waiting, open, span);
        waiting.closing
    }
}

#[cfg(test)]
mod tests {
    use taut_core::WallMs;

    use super::*;
    use crate::testing::{event, tenant};

    /// A batch that says it has so many bytes, and its answer.
    fn job(name: &str, entries: usize, bytes: usize) -> (AppendJob, oneshot::Receiver<Vec<Append>>) {
        let (done, answers) = oneshot::channel();
        let job = AppendJob {
            entries: vec![event(name, "x", WallMs(1)); entries].into_iter(),
            held_over: None,
            answers: Vec::new(),
            done,
            submitted: Moment::from_nanos(0),
            parked: false,
            ahead: false,
            no_room: None,
            tenant: tenant(name),
            bytes,
        };
        (job, answers)
    }

    /// Whether the inbox takes it; what it does not take is answered at once.
    fn takes(inbox: &Inbox, name: &str, entries: usize, bytes: usize) -> bool {
        let (job, mut answers) = job(name, entries, bytes);
        inbox.append(job);
        answers.try_recv() == Err(oneshot::error::TryRecvError::Empty)
    }

    #[test]
    fn what_waits_for_the_writer_is_bounded_for_all_and_for_each_tenant() {
        const MIB: usize = 1 << 20;
        let names = ["globex", "initech", "umbrella"];
        for (entries, bytes) in [(1, 10 * MIB), (40_000, 1)] {
            let inbox = Inbox::default();
            assert!(takes(&inbox, "acme", entries, bytes));
            assert!(!takes(&inbox, "acme", entries, bytes), "beyond a tenant's quarter");
            let taken = (0..20).filter(|n| takes(&inbox, &format!("t{n}"), entries, bytes)).count();
            assert_eq!(taken, 5, "beyond the whole");
            assert!(names.iter().all(|name| !takes(&inbox, name, entries, bytes)));
            drop(inbox.take_all());
            assert!(takes(&inbox, "acme", entries, bytes), "once the writer has taken what waited");
        }
        let inbox = Inbox::default();
        assert!(takes(&inbox, "acme", 1, 1 << 30), "a batch alone is never too much");
    }
}
