//! Dead letters on their way: put durably first, committed afterwards.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use taut_core::log::{AttemptNote, DeadLetter, DeadLetters, DeadLettersError, DeadReason, Entry};
use taut_core::{Kind, RouteName, Seq, WallMs};

use crate::shared::Shared;

/// What a dead letter says beside its frame.
pub(super) struct Epitaph {
    pub(super) seq: Seq,
    pub(super) kind: Kind,
    pub(super) received_at: WallMs,
    pub(super) route: RouteName,
    pub(super) reason: DeadReason,
    pub(super) notes: Vec<AttemptNote>,
}

impl Epitaph {
    /// Of a copy that no configured route owes any more.
    pub(super) fn of_removed(entry: &Entry, route: RouteName) -> Self {
        let (seq, kind, received_at) = (entry.seq, entry.kind, entry.received_at);
        Self { seq, kind, received_at, route, reason: DeadReason::RouteRemoved, notes: Vec::new() }
    }

    pub(super) fn into_letter(self, shared: &Shared, frame: Bytes) -> (DeadLetter, Bytes) {
        let letter = DeadLetter {
            tenant: shared.tenant.clone(),
            seq: self.seq,
            route: self.route,
            kind: self.kind,
            reason: self.reason,
            received_at: self.received_at,
            died_at: shared.clock.wall(),
            attempts: self.notes,
            bytes: u32::try_from(frame.len()).unwrap_or(u32::MAX),
        };
        (letter, frame)
    }
}

/// Puts dead letters off the async threads.
pub(super) fn put(
    dead_letters: &Arc<dyn DeadLetters>,
    letters: Vec<(DeadLetter, Bytes)>,
) -> BoxFuture<'static, Result<(), DeadLettersError>> {
    let dead_letters = Arc::clone(dead_letters);
    Box::pin(async move {
        match tokio::task::spawn_blocking(move || dead_letters.put(letters)).await {
            Ok(result) => result,
            Err(error) => Err(DeadLettersError::Failed { cause: error.to_string() }),
        }
    })
}
