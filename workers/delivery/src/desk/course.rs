//! One request from its first copy to its answer.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{self, BoxFuture};
use taut_core::log::{Append, Change};
use taut_core::request::{AckChoice, Answer, NewRequest, SilentReason};
use taut_core::{Envelope, Moment, RouteBits, Seq, WallMs};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tracing::info;

use super::settle::settle;
use super::{Decided, afterwards, response_url, silent};
use crate::pure::answer::{Asked, Reply, reply};
use crate::pure::breaker::Pass;
use crate::pure::request::{Decision, Handler, RELEASE_DEADLINE, REQUEST_DEADLINE, decide};
use crate::route::{Posted, Route, Terms};
use crate::shared::Shared;

/// The request itself.
pub(super) struct Subject {
    pub(super) shared: Arc<Shared>,
    pub(super) envelope: Arc<Envelope>,
    /// As the log has it.
    pub(super) answering: RouteBits,
    pub(super) received: Moment,
}

/// See the module.
pub(super) struct Course {
    subject: Subject,
    stored: BoxFuture<'static, Append>,
    append: Option<Append>,
    books: watch::Sender<Option<Decided>>,
}

/// The handler's side of a course.
pub(super) struct Attempt {
    pub(super) posting: BoxFuture<'static, Posted>,
    pub(super) probe: bool,
    pub(super) ended: Option<Posted>,
    /// Held until the handler has ended.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// What the socket was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// To ack, which settles the request.
    Ack,
    /// To ack bare: the backlog owes the delivery, and the release is durable.
    Released(Seq),
    /// Not to ack.
    Silence(SilentReason),
}

impl Subject {
    /// Time until the deadline `span` after the frame was read.
    fn left_of(&self, span: Duration) -> Duration {
        self.shared.clock.now().until(self.received + span)
    }

    fn left(&self) -> Duration {
        self.left_of(REQUEST_DEADLINE)
    }

    /// When it was read, by the wall's clock.
    pub(super) fn received_at(&self) -> WallMs {
        let clock = &self.shared.clock;
        let age = u64::try_from(clock.now().since(self.received).as_millis()).unwrap_or(u64::MAX);
        WallMs(clock.wall().0.saturating_sub(age))
    }
}

impl Course {
    pub(super) fn new(
        shared: Arc<Shared>,
        request: NewRequest,
        books: watch::Sender<Option<Decided>>,
    ) -> Self {
        let NewRequest { envelope, answering, received, stored, tenant: _ } = request;
        Self { subject: Subject { shared, envelope, answering, received }, stored, append: None, books }
    }

    pub(super) async fn run(mut self, answer: oneshot::Sender<Answer>) {
        let shared = Arc::clone(&self.subject.shared);
        let answering = self.subject.answering;
        let Some(route) = shared.route_of(answering) else {
            let told = self.say(answer, silent(SilentReason::Unrouted));
            let Self { subject, stored, append, books: _ } = self;
            // Its route went while it was on its way here: it ends in the log as well.
            afterwards::expire_if_silent(&subject, answering, append, stored, told).await;
            return;
        };
        if self.was_closed_before().await {
            self.say(answer, silent(SilentReason::Closed));
            return;
        }
        let mut attempt = self.attempt(answering);
        let decision = self.wait(route, &mut attempt).await;
        let posted = attempt.as_ref().and_then(|attempt| attempt.ended.as_ref());
        let told = match decision {
            Decision::Reply(seq) => {
                let reply = self.reply(posted);
                self.answer(route, seq, reply, answer)
            }
            Decision::Defer(seq) => self.release(route, seq, answer).await,
            Decision::Silent(reason) => self.say(answer, silent(reason)),
        };
        let Self { subject, stored, append, books: _ } = self;
        // Side by side: neither a slow handler nor a slow store keeps the other's end from its record.
        future::join(
            afterwards::handler_ends(&subject, route, attempt, told),
            afterwards::expire_if_silent(&subject, route.bit, append, stored, told),
        )
        .await;
    }

    /// Whether an earlier copy, of which nothing is remembered, is stored. Where the key is known already, either
    /// that is so or our own append was quick: only the append's outcome tells.
    async fn was_closed_before(&mut self) -> bool {
        let Subject { shared, envelope, .. } = &self.subject;
        if shared.log.knows(&shared.tenant, envelope.dedup()).is_none() {
            return false;
        }
        self.append = tokio::time::timeout(self.subject.left(), &mut self.stored).await.ok();
        matches!(self.append, Some(Append::Duplicate(_)))
    }

    /// Starts the handler, unless the route takes nothing now or too many requests are under way.
    fn attempt(&self, answering: RouteBits) -> Option<Attempt> {
        let shared = Arc::clone(&self.subject.shared);
        let permit = Arc::clone(&shared.requests).try_acquire_owned().ok()?;
        let pass = shared.route_of(answering)?.health.lock().pass_request(shared.clock.now());
        let probe = match pass {
            Pass::Free => false,
            Pass::Probe => true,
            Pass::Wait(_) => return None,
        };
        let (envelope, left) = (Arc::clone(&self.subject.envelope), self.subject.left());
        let received_at = self.subject.received_at();
        let posting = Box::pin(async move {
            let route = shared.route_of(answering).expect("found above");
            // Past the deadline the handler may go on: its late answer may still have somewhere to go.
            let timeout = route.timeout.max(left);
            let terms = Terms { attempt: 1, timeout, left, received_at };
            route.post(&envelope, terms, &shared.signer, &*shared.clock).await
        });
        Some(Attempt { posting, probe, ended: None, _permit: permit })
    }

    /// Waits for store and handler until the request can be decided.
    async fn wait(&mut self, route: &Route, attempt: &mut Option<Attempt>) -> Decision {
        let mut timer = std::pin::pin!(tokio::time::sleep(self.subject.left()));
        let mut at_deadline = false;
        loop {
            let handler = match attempt {
                None => Handler::NoAnswer,
                Some(Attempt { ended: None, .. }) => Handler::Pending,
                Some(Attempt { ended: Some(posted), .. }) if posted.answer.is_some() => Handler::Answered,
                Some(_) => Handler::NoAnswer,
            };
            let kind = self.subject.envelope.kind;
            if let Some(decision) = decide(kind, route.late, self.append, handler, at_deadline) {
                return decision;
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

    /// Answers as the handler did.
    fn answer(&self, route: &Route, seq: Seq, reply: Reply, answer: oneshot::Sender<Answer>) -> Told {
        let Subject { shared, envelope, .. } = &self.subject;
        if let Some(oddity) = reply.oddity {
            let (tenant, kind) = (&shared.tenant, envelope.kind.name());
            info!(%tenant, route = %route.name, kind, "a handler's answer is odd: {}", oddity.words());
        }
        if let Some(json) = reply.post {
            response_url::post(shared, envelope, json);
        }
        let settle = match reply.ack {
            AckChoice::Bare | AckChoice::Payload(_) => Some(settle(shared, seq, route.bit)),
            AckChoice::Silent(_) => None,
        };
        self.say(answer, Answer { ack: reply.ack, settle })
    }

    /// What the handler's answer, if there is one, makes of the ack.
    fn reply(&self, posted: Option<&Posted>) -> Reply {
        let envelope = &self.subject.envelope;
        let posted = posted.and_then(|posted| posted.answer.as_ref());
        let refused = Reply { ack: AckChoice::Silent(SilentReason::Refused), post: None, oddity: None };
        posted.map_or(refused, |answer| {
            let asked = Asked {
                kind: envelope.kind,
                envelope_id: &envelope.envelope_id,
                accepts_payload: envelope.accepts_response_payload,
                has_response_url: envelope.facts().response_url.is_some(),
            };
            reply(&asked, &answer.as_handler_answer())
        })
    }

    /// Records that the bare ack is owed, then acks bare. The delivery task leaves the request alone until its first
    /// attempt has ended.
    async fn release(&mut self, route: &Route, seq: Seq, answer: oneshot::Sender<Answer>) -> Told {
        let shared = &self.subject.shared;
        shared.hold(seq, route.bit);
        let released = shared.log.change(&shared.tenant, vec![Change::Release { seq }]);
        let in_time = tokio::time::timeout(self.subject.left_of(RELEASE_DEADLINE), released).await;
        if let Ok(Ok(())) = in_time {
            self.say(answer, Answer { ack: AckChoice::Bare, settle: None });
            Told::Released(seq)
        } else {
            self.say(answer, silent(SilentReason::NotStored))
        }
    }

    /// Hands the answer to intake and to the duplicates.
    fn say(&self, to: oneshot::Sender<Answer>, answer: Answer) -> Told {
        let told = match answer.ack {
            AckChoice::Silent(reason) => Told::Silence(reason),
            AckChoice::Bare | AckChoice::Payload(_) => Told::Ack,
        };
        if told == Told::Silence(SilentReason::NotStored) {
            // Nothing is stored, so a copy of it is no duplicate.
            self.subject.shared.forget(self.subject.envelope.dedup());
        }
        self.books.send_replace(Some(Decided { ack: answer.ack.clone() }));
        if let Err(unheard) = to.send(answer) {
            // The socket is gone, and with it the way for the ack: dropping `settle` says so.
            drop(unheard);
        }
        told
    }
}
