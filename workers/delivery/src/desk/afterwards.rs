//! What is left to do once a request has its answer.

use futures::future::BoxFuture;
use taut_core::log::{Append, Change, Entry, Outcome};
use taut_core::order::OrderKeys;
use taut_core::request::SilentReason;
use taut_core::{RouteBits, Seq};

use super::course::{Attempt, Subject, Told};
use super::response_url;
use super::settle::commit_until_durable;
use crate::pure::answer::late_post;
use crate::pure::request::posts_late;
use crate::pure::verdict::Verdict;
use crate::route::{Posted, Route};
use crate::shared::Handed;

/// Lets a handler that is still running come to its end, and uses what it says.
pub(super) async fn handler_ends(subject: &Subject, route: &Route, attempt: Option<Attempt>, told: Told) {
    let shared = &subject.shared;
    let mut taken = None;
    let tried = attempt.is_some();
    if let Some(Attempt { posting, probe, ended, _permit }) = attempt {
        let late = ended.is_none();
        let posted = match ended {
            Some(posted) => posted,
            None => posting.await,
        };
        let now = shared.clock.now();
        let turn = route.health.lock().note(now, posted.verdict, probe, rand::random());
        shared.tell(route, turn, &posted.words);
        if probe {
            // The delivery task may be waiting for what this probe came to.
            shared.wake.notify_one();
        }
        // Of a request that was let go, a late answer is its delivery's first.
        let expired = late && !matches!(told, Told::Released(_));
        let outcome = if expired { "expired" } else { posted.verdict.name() };
        shared.board.counters.attempts.at(outcome).one();
        if late && told != Told::Silence(SilentReason::NotStored) {
            post_late(subject, &posted);
        }
        taken = taken_as(posted.verdict);
    }
    let Told::Released(seq) = told else { return };
    let Some(outcome) = taken else {
        shared.hand_over(Handed { entry: entry(subject, seq, route.bit), tried });
        return;
    };
    if outcome == Outcome::Delivered {
        shared.board.counters.delivered.one();
    }
    commit_until_durable(shared, Change::Commit { seq, routes: route.bit, outcome }).await;
    shared.unhold(seq);
}

/// How a released request ends with this verdict; `None` if its handler has not taken it.
const fn taken_as(verdict: Verdict) -> Option<Outcome> {
    match verdict {
        Verdict::Done => Some(Outcome::Delivered),
        Verdict::Unhandled => Some(Outcome::Unhandled),
        Verdict::TargetFault | Verdict::Transient { .. } | Verdict::Poison => None,
    }
}

fn post_late(subject: &Subject, posted: &Posted) {
    if !posts_late(subject.envelope.kind) {
        return;
    }
    let said = posted.answer.as_ref().and_then(|answer| late_post(&answer.as_handler_answer()));
    if let Some(json) = said {
        response_url::post(&subject.shared, &subject.envelope, json);
    }
}

/// Closes a request that was not acked, as soon as it is known to be stored.
pub(super) async fn expire_if_silent(
    subject: &Subject,
    answering: RouteBits,
    append: Option<Append>,
    stored: BoxFuture<'static, Append>,
    told: Told,
) {
    let Told::Silence(_) = told else { return };
    if answering.is_empty() {
        return;
    }
    let append = match append {
        Some(append) => append,
        None => stored.await,
    };
    // A duplicate's entry is its first copy's to close.
    if let Append::Stored(seq) = append {
        let commit = Change::Commit { seq, routes: answering, outcome: Outcome::Expired };
        commit_until_durable(&subject.shared, commit).await;
        subject.shared.unhold(seq);
    }
}

/// A released request as the backlog shows it.
fn entry(subject: &Subject, seq: Seq, routes: RouteBits) -> Entry {
    Entry {
        seq,
        kind: subject.envelope.kind,
        order: OrderKeys::default(),
        routes,
        bytes: u32::try_from(subject.envelope.frame.len()).unwrap_or(u32::MAX),
        received_at: subject.received_at(),
    }
}
