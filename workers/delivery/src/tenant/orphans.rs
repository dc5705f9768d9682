//! Copies owed to routes that are no longer configured: they become dead letters `route_removed`.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use taut_core::log::{Change, DeadLettersError, DeadReason, Entry, LogError, Outcome};
use taut_core::{Moment, RouteBits, Seq};
use tracing::{info, warn};

use super::burial::{self, Epitaph};
use super::task::BURY_AGAIN_AFTER;
use crate::shared::Shared;

/// Most copies that go among the dead letters at once.
const BATCH: usize = 64;

/// Finds and buries the copies of removed routes, a batch at a time.
#[derive(Default)]
pub(super) struct Orphans {
    cursor: Seq,
    again_at: Option<Moment>,
    under_way: bool,
    seen_all: bool,
}

/// A batch that was put among the dead letters, or could not be.
pub(super) struct Buried {
    changes: Vec<Change>,
    last: Seq,
    result: Result<(), DeadLettersError>,
}

impl Orphans {
    /// Something came: an envelope that was on its way into the log when its route was removed may be among it.
    pub(super) const fn look_again(&mut self) {
        self.seen_all = false;
    }

    /// The next batch to bury. Each entry is looked at once.
    pub(super) fn next(&mut self, shared: &Shared, now: Moment) -> Option<BoxFuture<'static, Buried>> {
        let too_soon = self.again_at.is_some_and(|at| now < at);
        if self.seen_all || self.under_way || too_soon || shared.removed.is_empty() {
            return None;
        }
        self.again_at = None;
        loop {
            let entries = shared.log.backlog(&shared.tenant, self.cursor, BATCH);
            let Some(last) = entries.last().map(|entry| entry.seq) else {
                self.seen_all = true;
                return None;
            };
            let owed: Vec<_> = entries.iter().flat_map(|entry| owed(shared, entry)).collect();
            if owed.is_empty() {
                self.cursor = last;
                continue;
            }
            self.under_way = true;
            return Some(bury(shared, owed, last));
        }
    }

    /// Takes a batch's end: its commits, or none and another try later.
    pub(super) fn buried(&mut self, shared: &Shared, now: Moment, batch: Buried) -> Vec<Change> {
        self.under_way = false;
        let tenant = &shared.tenant;
        match batch.result {
            Ok(()) => {
                self.cursor = batch.last;
                let copies = batch.changes.len();
                info!(%tenant, copies, "copies of a removed route are dead letters now");
                batch.changes
            }
            Err(error) => {
                warn!(%tenant, %error, "copies of a removed route stay in the backlog");
                self.again_at = Some(now + BURY_AGAIN_AFTER);
                Vec::new()
            }
        }
    }

    /// Whether every copy of a removed route has been seen to.
    pub(super) const fn are_done(&self, shared: &Shared) -> bool {
        shared.removed.is_empty() || (self.seen_all && !self.under_way)
    }

    /// When to try again.
    pub(super) const fn again_at(&self) -> Option<Moment> {
        self.again_at
    }
}

fn owed<'a>(shared: &'a Shared, entry: &'a Entry) -> impl Iterator<Item = (Entry, RouteBits, Epitaph)> + 'a {
    shared
        .removed
        .iter()
        .filter(|(number, _)| entry.routes.contains(RouteBits::one(*number)))
        .map(|(number, name)| (*entry, RouteBits::one(*number), Epitaph::of_removed(entry, name.clone())))
}

fn bury(shared: &Shared, owed: Vec<(Entry, RouteBits, Epitaph)>, last: Seq) -> BoxFuture<'static, Buried> {
    let mut changes = Vec::with_capacity(owed.len());
    let mut letters = Vec::with_capacity(owed.len());
    for (entry, routes, mut epitaph) in owed {
        let frame = match shared.log.read(&shared.tenant, entry.seq) {
            Ok(Some(frame)) => frame,
            // Unreadable now: it stays where it is until the next start.
            Ok(None) | Err(LogError::Unavailable { .. }) => continue,
            Err(LogError::Read { .. }) => {
                epitaph.reason = DeadReason::Damaged;
                bytes::Bytes::new()
            }
        };
        changes.push(Change::Commit { seq: entry.seq, routes, outcome: Outcome::DeadLetter });
        letters.push(epitaph.into_letter(shared, frame));
    }
    burial::put(&shared.dead_letters, letters).map(move |result| Buried { changes, last, result }).boxed()
}
