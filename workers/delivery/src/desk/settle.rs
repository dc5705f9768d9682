//! How a request's copy of its answering route ends in the log.

use std::sync::Arc;
use std::time::Duration;

use taut_core::log::{Change, Outcome};
use taut_core::{RouteBits, Seq};
use tokio::runtime::Handle;

use crate::shared::Shared;

/// Pause before a commit that the store refused is tried again.
const COMMIT_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Commits tried before it is left to the next recovery, which closes open requests as expired.
const COMMITS_MAX: u32 = 30;

/// Commits the request once intake has told whether its ack was written; unheard of, it was not.
pub(super) fn settle(shared: &Arc<Shared>, seq: Seq, routes: RouteBits) -> Box<dyn FnOnce(bool) + Send> {
    let guard = Settle { shared: Arc::clone(shared), runtime: Handle::current(), seq, routes, done: false };
    Box::new(move |written| guard.settle(written))
}

/// Commits an acked request exactly once, whatever happens to the closure that holds it.
struct Settle {
    shared: Arc<Shared>,
    runtime: Handle,
    seq: Seq,
    routes: RouteBits,
    done: bool,
}

impl Settle {
    fn settle(mut self, written: bool) {
        self.commit(if written { Outcome::Delivered } else { Outcome::Expired });
    }

    fn commit(&mut self, outcome: Outcome) {
        self.done = true;
        if outcome == Outcome::Delivered {
            self.shared.board.counters.delivered.one();
        }
        let commit = Change::Commit { seq: self.seq, routes: self.routes, outcome };
        let shared = Arc::clone(&self.shared);
        let tasks = shared.tasks.clone();
        tasks.spawn_on(async move { commit_until_durable(&shared, commit).await }, &self.runtime);
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if !self.done {
            self.commit(Outcome::Expired);
        }
    }
}

/// Submits a commit, again and again if the store cannot write.
pub(super) async fn commit_until_durable(shared: &Shared, commit: Change) {
    for _ in 0..COMMITS_MAX {
        if shared.log.change(&shared.tenant, vec![commit]).await.is_ok() {
            return;
        }
        tokio::time::sleep(COMMIT_AGAIN_AFTER).await;
    }
}
