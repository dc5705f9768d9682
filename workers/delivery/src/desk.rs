//! The request desk: one request's handler starts at once, and its ack waits for store and handler, up to a deadline.
//!
//! ```text
//! begin ─► first copy?  ─ no ─► the first one's answer
//!            │ yes
//!            ├─► append (intake's) ──┐
//!            └─► handler ────────────┴─► decide ─► ack ─► settle: Commit Delivered or Expired
//!                   └── late ─► response_url, or the backlog delivers it
//! ```

mod afterwards;
mod course;
pub(crate) mod response_url;
mod settle;

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use taut_core::log::{Append, Change, Outcome};
use taut_core::request::{AckChoice, Answer, NewRequest, Requests, SilentReason};
use taut_core::{DedupKey, Moment};
use tokio::sync::{oneshot, watch};

use self::course::Course;
use self::settle::commit_until_durable;
use crate::pure::request::REQUEST_DEADLINE;
use crate::shared::Shared;

/// What a request came to; kept for its duplicates.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    ack: AckChoice,
}

/// One tenant's desk.
pub(crate) struct RequestDesk {
    shared: Arc<Shared>,
}

impl RequestDesk {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Opens the books on a key: the first copy gets the sender, later ones the receiver.
    fn enter(&self, now: Moment, key: DedupKey) -> Result<watch::Sender<Option<Decided>>, Earlier> {
        let mut recent = self.shared.recent.lock();
        if let Some(earlier) = recent.get(now, key) {
            return Err(Earlier(earlier.clone()));
        }
        let (sender, receiver) = watch::channel(None);
        recent.insert(now, key, receiver);
        Ok(sender)
    }
}

impl Requests for RequestDesk {
    fn begin(&self, request: NewRequest) -> BoxFuture<'static, Answer> {
        let now = self.shared.clock.now();
        let left = now.until(request.received + REQUEST_DEADLINE);
        match self.enter(now, request.envelope.dedup()) {
            Ok(books) => {
                let (answer, answered) = oneshot::channel();
                let course = Course::new(Arc::clone(&self.shared), request, books);
                // A task of its own: the handler runs on if the socket goes, and its verdict still counts.
                self.shared.tasks.spawn(course.run(answer));
                answered.map(|answer| answer.unwrap_or_else(|_| silent(SilentReason::Late))).boxed()
            }
            Err(earlier) => {
                self.shared.tasks.spawn(end_copy(Arc::clone(&self.shared), request, earlier.clone()));
                Box::pin(earlier.answer(left))
            }
        }
    }
}

/// Hears what became of a copy's own append. Where the first copy's was refused it may be the one that is stored, and
/// then nobody else ends it.
async fn end_copy(shared: Arc<Shared>, request: NewRequest, mut first: Earlier) {
    let Append::Stored(seq) = request.stored.await else { return };
    let refused = matches!(first.decided().await, Some(AckChoice::Silent(SilentReason::NotStored)));
    if refused && !request.answering.is_empty() {
        let commit = Change::Commit { seq, routes: request.answering, outcome: Outcome::Expired };
        commit_until_durable(&shared, commit).await;
    }
}

/// An earlier copy of the same request.
#[derive(Clone)]
struct Earlier(watch::Receiver<Option<Decided>>);

impl Earlier {
    async fn answer(mut self, left: std::time::Duration) -> Answer {
        let ack = tokio::time::timeout(left, self.decided()).await.ok().flatten();
        Answer { ack: ack.unwrap_or(AckChoice::Silent(SilentReason::Late)), settle: None }
    }

    /// What it came to; `None` if its task is gone without a word.
    async fn decided(&mut self) -> Option<AckChoice> {
        let decided = self.0.wait_for(Option::is_some).await.ok()?;
        decided.as_ref().map(|decided| decided.ack.clone())
    }
}

const fn silent(reason: SilentReason) -> Answer {
    Answer { ack: AckChoice::Silent(reason), settle: None }
}
