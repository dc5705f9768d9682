//! One request from its first copy to the end of its handler.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{self, BoxFuture};
use taut_core::log::{Append, Change, Entry, Outcome};
use taut_core::order::OrderKeys;
use taut_core::request::{AckChoice, Answer, NewRequest, SilentReason};
use taut_core::{Envelope, Moment, RouteBits, Seq, WallMs};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tracing::info;

use super::settle::{commit_until_durable, settle};
use super::{Decided, response_url, silent};
use crate::pure::answer::{Asked, Reply, late_post, reply};
use crate::pure::breaker::Pass;
use crate::pure::request::{Decision, Handler, REQUEST_DEADLINE, decide, posts_late};
use crate::route::{Posted, Route};
use crate::shared::{Handed, Shared};

/// See the module.
pub(super) struct Course {
    shared: Arc<Shared>,
    envelope: Arc<Envelope>,
    received: Moment,
    stored: BoxFuture<'static, Append>,
    append: Option<Append>,
    books: watch::Sender<Option<Decided>>,
}

/// The handler's side of a course.
struct Attempt {
    posting: BoxFuture<'static, Posted>,
    probe: bool,
    ended: Option<Posted>,
    /// Held until the handler has ended.
    _permit: OwnedSemaphorePermit,
}

impl Course {
    pub(super) fn new(
        shared: Arc<Shared>,
        request: NewRequest,
        books: watch::Sender<Option<Decided>>,
    ) -> Self {
        let NewRequest { envelope, received, stored, tenant: _ } = request;
        Self { shared, envelope, received, stored, append: None, books }
    }

    pub(super) async fn run(mut self, answer: oneshot::Sender<Answer>) {
        let shared = Arc::clone(&self.shared);
        let (_, answering) = shared.router.bits(self.envelope.kind, &self.envelope.facts());
        let Some(route) = shared.route_of(answering) else {
            return self.say(answer, silent(SilentReason::Unrouted));
        };
        if self.was_closed_before().await {
            return self.say(answer, silent(SilentReason::Closed));
        }
        let mut attempt = self.attempt(answering);
        let decision = self.wait(route, &mut attempt).await;
        let said = attempt.as_ref().and_then(|attempt| attempt.ended.as_ref());
        let reply = self.reply(said);
        let deferred = self.act(route, decision, reply, answer).await;
        if let Some(attempt) = attempt {
            self.run_out(route, attempt, decision, deferred).await;
        } else if let Some(seq) = deferred {
            shared.hand_over(Handed { entry: self.entry(seq, route.bit), tried: false });
        }
        self.expire_unless_acked(route, decision, deferred).await;
    }

    fn deadline(&self) -> Moment {
        self.received + REQUEST_DEADLINE
    }

    fn left(&self) -> Duration {
        self.shared.clock.now().until(self.deadline())
    }

    /// Whether an earlier copy, of which nothing is remembered, is stored. Where the key is known already, either
    /// that is so or our own append was quick: only the append's outcome tells.
    async fn was_closed_before(&mut self) -> bool {
        if self.shared.log.knows(&self.shared.tenant, self.envelope.dedup()).is_none() {
            return false;
        }
        self.append = tokio::time::timeout(self.left(), &mut self.stored).await.ok();
        matches!(self.append, Some(Append::Duplicate(_)))
    }

    /// Starts the handler, unless the route takes nothing now or too many requests are under way.
    fn attempt(&self, answering: RouteBits) -> Option<Attempt> {
        let shared = Arc::clone(&self.shared);
        let permit = Arc::clone(&shared.requests).try_acquire_owned().ok()?;
        let pass = shared.route_of(answering)?.health.lock().pass_request(shared.clock.now());
        let probe = match pass {
            Pass::Free => false,
            Pass::Probe => true,
            Pass::Wait(_) => return None,
        };
        let (envelope, left) = (Arc::clone(&self.envelope), self.left());
        let posting = Box::pin(async move {
            let route = shared.route_of(answering).expect("found above");
            // Past the deadline the handler may go on: its late answer may still have somewhere to go.
            let timeout = route.timeout.max(left);
            route.post(&envelope, 1, (timeout, left), &shared.signer, &*shared.clock).await
        });
        Some(Attempt { posting, probe, ended: None, _permit: permit })
    }

    /// Waits for store and handler until the request can be decided.
    async fn wait(&mut self, route: &Route, attempt: &mut Option<Attempt>) -> Decision {
        let mut timer = std::pin::pin!(tokio::time::sleep(self.left()));
        let mut at_deadline = false;
        loop {
            let handler = match attempt {
                None => Handler::NoAnswer,
                Some(Attempt { ended: None, .. }) => Handler::Pending,
                Some(Attempt { ended: Some(posted), .. }) if posted.answer.is_some() => Handler::Answered,
                Some(_) => Handler::NoAnswer,
            };
            match decide(self.envelope.kind, route.late, self.append, handler, at_deadline) {
                Decision::Wait => {}
                decision @ (Decision::Reply(_) | Decision::Defer(_) | Decision::Silent(_)) => {
                    return decision;
                }
            }
            let posting = async {
                match attempt {
                    Some(Attempt { posting, ended: ended @ None, .. }) => *ended = Some(posting.await),
                    Some(_) | None => future::pending().await,
                }
            };
            tokio::select! {
                append = &mut self.stored, if self.append.is_none() => self.append = Some(append),
                () = posting => {}
                () = &mut timer, if !at_deadline => at_deadline = true,
            }
        }
    }

    /// Sends the answer; returns the entry that the backlog is to deliver after a bare ack.
    async fn act(
        &mut self,
        route: &Route,
        decision: Decision,
        reply: Reply,
        answer: oneshot::Sender<Answer>,
    ) -> Option<Seq> {
        match decision {
            Decision::Reply(seq) => {
                self.note_oddity(route, &reply);
                if let Some(json) = reply.post {
                    response_url::post(&self.shared, &self.envelope, json);
                }
                let settle = match reply.ack {
                    AckChoice::Bare | AckChoice::Payload(_) => Some(settle(&self.shared, seq, route.bit)),
                    AckChoice::Silent(_) => None,
                };
                self.say(answer, Answer { ack: reply.ack, settle });
                None
            }
            Decision::Defer(seq) => self.defer(seq, answer).await,
            Decision::Silent(reason) => {
                self.say(answer, silent(reason));
                None
            }
            Decision::Wait => None,
        }
    }

    /// What the handler's answer, if there is one, makes of the ack.
    fn reply(&self, posted: Option<&Posted>) -> Reply {
        let posted = posted.and_then(|posted| posted.answer.as_ref());
        let refused = Reply { ack: AckChoice::Silent(SilentReason::Refused), post: None, oddity: None };
        posted.map_or(refused, |answer| {
            let asked = Asked {
                kind: self.envelope.kind,
                envelope_id: &self.envelope.envelope_id,
                accepts_payload: self.envelope.accepts_response_payload,
                has_response_url: self.envelope.facts().response_url.is_some(),
            };
            reply(&asked, &answer.as_handler_answer())
        })
    }

    fn note_oddity(&self, route: &Route, reply: &Reply) {
        if let Some(oddity) = reply.oddity {
            let (tenant, kind) = (&self.shared.tenant, self.envelope.kind.name());
            info!(%tenant, route = %route.name, kind, "a handler's answer is odd: {}", oddity.words());
        }
    }

    /// Records that the bare ack is owed, then acks bare.
    async fn defer(&mut self, seq: Seq, answer: oneshot::Sender<Answer>) -> Option<Seq> {
        self.shared.hold(seq);
        let released = self.shared.log.change(&self.shared.tenant, vec![Change::Release { seq }]).await;
        if released.is_err() {
            self.shared.unhold(seq);
            self.say(answer, silent(SilentReason::NotStored));
            return None;
        }
        self.say(answer, Answer { ack: AckChoice::Bare, settle: None });
        Some(seq)
    }

    /// Hands the answer to intake and to the duplicates.
    fn say(&self, to: oneshot::Sender<Answer>, answer: Answer) {
        if answer.ack == AckChoice::Silent(SilentReason::NotStored) {
            // Nothing is stored, so a copy of it is no duplicate.
            self.shared.forget(self.envelope.dedup());
        }
        self.books.send_replace(Some(Decided { ack: answer.ack.clone() }));
        if let Err(unheard) = to.send(answer) {
            // The socket is gone, and with it the way for the ack: dropping `settle` says so.
            drop(unheard);
        }
    }

    /// Lets a handler that is still running come to its end, and uses what it says.
    async fn run_out(&mut self, route: &Route, attempt: Attempt, decision: Decision, deferred: Option<Seq>) {
        let Attempt { posting, probe, ended, _permit } = attempt;
        let late = ended.is_none();
        let posted = match ended {
            Some(posted) => posted,
            None => posting.await,
        };
        let (shared, now) = (&self.shared, self.shared.clock.now());
        let turn = route.health.lock().note(now, posted.verdict, probe, rand::random());
        shared.tell(route, turn, &posted.words);
        let outcome = if late { "expired" } else { posted.verdict.name() };
        shared.board.counters.attempts.at(outcome).one();
        if late && posts_late(self.envelope.kind) && decision != Decision::Silent(SilentReason::NotStored) {
            let said = posted.answer.as_ref().and_then(|answer| late_post(&answer.as_handler_answer()));
            if let Some(json) = said {
                response_url::post(shared, &self.envelope, json);
            }
        }
        let Some(seq) = deferred else { return };
        if posted.verdict.is_success() {
            let commit = Change::Commit { seq, routes: route.bit, outcome: Outcome::Delivered };
            commit_until_durable(shared, commit).await;
            shared.unhold(seq);
        } else {
            shared.hand_over(Handed { entry: self.entry(seq, route.bit), tried: true });
        }
    }

    /// Closes a request that was not acked, as soon as it is known to be stored.
    async fn expire_unless_acked(&mut self, route: &Route, decision: Decision, deferred: Option<Seq>) {
        let silent = match decision {
            Decision::Silent(_) => true,
            Decision::Defer(_) => deferred.is_none(),
            Decision::Reply(_) => {
                matches!(self.books.borrow().as_ref().map(|decided| &decided.ack), Some(AckChoice::Silent(_)))
            }
            Decision::Wait => false,
        };
        if !silent {
            return;
        }
        let append = match self.append {
            Some(append) => append,
            None => (&mut self.stored).await,
        };
        if let Append::Stored(seq) = append {
            let commit = Change::Commit { seq, routes: route.bit, outcome: Outcome::Expired };
            commit_until_durable(&self.shared, commit).await;
        }
    }

    /// The released request as the backlog shows it.
    fn entry(&self, seq: Seq, routes: RouteBits) -> Entry {
        let clock = &self.shared.clock;
        let age = u64::try_from(clock.now().since(self.received).as_millis()).unwrap_or(u64::MAX);
        Entry {
            seq,
            kind: self.envelope.kind,
            order: OrderKeys::default(),
            routes,
            bytes: u32::try_from(self.envelope.frame.len()).unwrap_or(u32::MAX),
            received_at: WallMs(clock.wall().0.saturating_sub(age)),
        }
    }
}
