//! What waits for the writer: appends and changes, in the order they came.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use taut_core::log::{Append, LogError, NewEntry};
use taut_core::{Moment, TenantId};
use tokio::sync::oneshot;

use crate::fair::{self, Batch};
use crate::record::ChangeItem;
use crate::writer::{GROUP_BYTES_MAX, GROUP_ENTRIES_MAX};

/// Most bytes of frames that may wait; beyond, appends are answered [`Append::Unavailable`].
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Most entries that may wait.
const WAITING_ENTRIES_MAX: usize = 262_144;
/// What of both one tenant may take up alone, so that there is room for the others: a quarter.
const SHARE: usize = 4;
/// How long changes alone wait for company: a lost commit costs a redelivery, no promise.
const COMPANY: Duration = Duration::from_millis(4);
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
    pub(crate) fn next_entry(&mut self) -> Option<NewEntry> {
        self.held_over.take().or_else(|| self.entries.next())
    }

    pub(crate) fn is_offered_whole(&self) -> bool {
        self.held_over.is_none() && self.entries.len() == 0
    }

    /// Sends the answers; a batch that was not offered whole gets `Unavailable` for the rest.
    pub(crate) fn answer(mut self) {
        let rest = self.entries.len() + usize::from(self.held_over.is_some());
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
    urgent: bool,
    closing: bool,
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
}

/// The queue between callers and the writer. Changes are bounded by the stored entries they speak of.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    came: Condvar,
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
        let first = waiting.changes.is_empty();
        waiting.urgent |= job.urgent;
        let wake = first || job.urgent;
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

    /// Waits for work and takes it: all changes, and of the appends as many as a group has room for, each tenant its
    /// fair part. With `pressing` work of its own the writer does not wait.
    pub(crate) fn take(&self, queue: &mut VecDeque<AppendJob>, pressing: bool) -> Work {
        let mut waiting = self.waiting.lock();
        let nothing = |waiting: &mut Waiting| {
            waiting.appends.is_empty() && waiting.changes.is_empty() && !waiting.closing
        };
        if !pressing {
            self.came.wait_while_for(&mut waiting, nothing, TICK);
            let changes_alone =
                |waiting: &mut Waiting| waiting.appends.is_empty() && !waiting.urgent && !waiting.closing;
            if !waiting.changes.is_empty() {
                self.came.wait_while_for(&mut waiting, changes_alone, COMPANY);
            }
        }
        if nothing(&mut waiting) {
            return Work::Idle;
        }
        if waiting.closing && waiting.appends.is_empty() && waiting.changes.is_empty() && queue.is_empty() {
            return Work::Close;
        }
        waiting.move_into(queue);
        waiting.urgent = false;
        Work::Group(std::mem::take(&mut waiting.changes))
    }

    /// Takes all appends and changes without waiting.
    pub(crate) fn take_all(&self) -> (VecDeque<AppendJob>, Vec<ChangeJob>) {
        let mut waiting = self.waiting.lock();
        let closing = waiting.closing;
        let taken = std::mem::replace(&mut *waiting, Waiting { closing, ..Waiting::default() });
        (taken.appends, taken.changes)
    }

    /// Waits `span`, or until the store closes; says whether it closes.
    pub(crate) fn pause(&self, span: Duration) -> bool {
        let mut waiting = self.waiting.lock();
        self.came.wait_while_for(&mut waiting, |waiting| !waiting.closing, span);
        waiting.closing
    }
}
