//! Failed writes and syncs: promise nothing, and go on when the disk lets us.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::group::Group;
use super::{Writer, register};
use crate::shared::Shared;

/// Failures in a row after which the process should end.
const FAILURES_MAX: u32 = 3;
/// Longest pause between attempts to go on.
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Writer {
    /// Promises nothing of a group that failed.
    pub(super) fn abandon(&mut self, group: Group) {
        self.compactor.step_back();
        let mut index = self.shared.index.lock();
        for tenant in &group.plan.tenants {
            index.end_plan(tenant);
        }
        drop(index);
        self.state.owed = group.items;
        self.state.owed_keys = group.keys;
        self.finish_jobs(group.jobs);
        for done in group.changes.into_iter().filter_map(|job| job.done) {
            done.send(Err(self.shared.unavailable())).unwrap_or_default();
        }
    }

    /// Goes on in a new segment, as soon as the disk lets us; false if the store closes before.
    pub(super) fn go_on(&mut self) -> bool {
        let mut pause = self.pause;
        loop {
            self.refuse_what_waits();
            if self.shared.inbox.pause(pause) {
                return false;
            }
            pause = (pause * 4).min(PAUSE_MAX);
            if self.state.disk_full {
                let keys = self.compactor.free_dead(&self.shared.index, &self.tail);
                self.state.owed_keys.extend(keys);
            }
            match self.tail.reopen() {
                Ok(old) => {
                    let mut index = self.shared.index.lock();
                    if let Some(segment) = index.segments.get_mut(&old.number) {
                        segment.file = old.file;
                    }
                    register(&mut index.segments, &mut self.tail);
                    drop(index);
                    tracing::warn!("the log goes on in a new segment");
                    self.shared.writable.store(true, Ordering::Release);
                    return true;
                }
                Err(error) => self.note_failure(&error),
            }
        }
    }

    /// Nobody waits for a disk that fails; changes are kept for when it works again.
    fn refuse_what_waits(&mut self) {
        let (appends, changes) = self.shared.inbox.take_all();
        let parked = self.state.parked.take_jobs();
        for job in parked.into_iter().chain(self.state.queue.drain(..)).chain(appends) {
            job.answer();
        }
        for job in changes {
            self.state.owed.extend(job.items.into_iter().map(|item| (job.tenant.clone(), item)));
            if let Some(done) = job.done {
                done.send(Err(self.shared.unavailable())).unwrap_or_default();
            }
        }
    }

    pub(super) fn note_failure(&mut self, error: &io::Error) {
        self.shared.errors.fetch_add(1, Ordering::Relaxed);
        self.shared.meters.append_errors.increment(1);
        *self.shared.cause.lock() = error.to_string();
        self.shared.writable.store(false, Ordering::Release);
        tracing::error!(%error, "the log could not be written: nothing is acked until it can be");
        // A full disk is no reason to end: a new process would find it just as full, and this one heals by itself.
        self.state.disk_full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if !self.state.disk_full {
            self.state.failures += 1;
        }
        if self.state.failures >= FAILURES_MAX {
            self.shared
                .fatal
                .send_replace(Some(format!("the log failed {FAILURES_MAX} times in a row: {error}")));
        }
    }
}

/// However the writer ends, nobody goes on believing that it writes.
pub(super) struct EndGuard(pub(super) Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.writable.store(false, Ordering::Release);
        self.0.ended.store(true, Ordering::Release);
        "the store is closed".clone_into(&mut self.0.cause.lock());
        if std::thread::panicking() {
            self.0.fatal.send_replace(Some("the log's writer panicked".to_owned()));
        }
        self.0.inbox.close();
        // Dropped without an answer, appends read as unavailable.
        drop(self.0.inbox.take_all());
    }
}
