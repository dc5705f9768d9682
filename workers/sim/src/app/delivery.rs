//! Envelopes out, acks in: one random socket for each, 3 s to ack, three retries for events.
//!
//! Source: docs.slack.dev `/apis/events-api/` and `/apis/events-api/using-socket-mode`; what they leave open is a
//! switch. Nothing here waits: deadlines and retries come back through the scheduler.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::opening::fresh_uuid;
use super::{App, AppState};
use crate::clock::Tick;
use crate::envelope::{self, EnvelopeType, Header, Push, Routing, Shape, Source};
use crate::journal::{End, Missed, SentEnvelope};
use crate::shared::Shared;
use crate::socket::Connection;
use crate::template::Stamp;

/// How one pushed event or request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AckOutcome {
    Acked {
        /// The response payload as the client spelt it.
        payload: Option<Bytes>,
        /// From sending the acked attempt to its ack.
        after: Duration,
        on_connection: u64,
        retry_attempt: u8,
    },
    Unacked {
        reason: Unanswered,
        /// Attempts made, 0 when the push was refused.
        attempts: u8,
    },
}

/// Why there is no ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// A request found no socket: the user sees `dispatch_failed`.
    DispatchFailed,
    /// A request was not acked in time: the user sees `operation_timeout`.
    OperationTimeout,
    /// An event was given up after its last retry.
    GivenUp,
    /// Somebody else's socket took it.
    Stolen,
    /// The same envelope id was pushed again before it was acked.
    Superseded,
    /// The simulator holds too many unacked envelopes of this app.
    Refused,
    /// Nothing is decided yet; the caller waited less than Slack does.
    StillOpen,
    /// The simulator stopped first.
    Stopped,
}

impl Unanswered {
    /// The word for it: Slack's own where a user would see one.
    pub const fn code(self) -> &'static str {
        match self {
            Self::DispatchFailed => "dispatch_failed",
            Self::OperationTimeout => "operation_timeout",
            Self::GivenUp => "given_up",
            Self::Stolen => "stolen",
            Self::Superseded => "superseded",
            Self::Refused => "simulator_full",
            Self::StillOpen => "not_acked_yet",
            Self::Stopped => "simulator_stopped",
        }
    }
}

pub(crate) type Waiter = oneshot::Sender<AckOutcome>;

/// An event or request on its way through its attempts.
#[derive(Debug)]
pub(crate) struct Item {
    dedup_id: Arc<str>,
    envelope_id: Uuid,
    name: &'static str,
    pub(super) envelope_type: EnvelopeType,
    pub(super) accepts_payload: bool,
    payload: Bytes,
    shape: Shape,
    pub(super) attempt: u8,
    pub(super) waiter: Option<Waiter>,
}

/// Sent, not yet acked.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) item: Item,
    pub(super) connection: Arc<Connection>,
    pub(super) sent_at: Instant,
}

impl App {
    /// Makes an event or request and its first attempt. The ids are the envelope's and the dedup id.
    pub(crate) fn produce(
        self: &Arc<Self>,
        sim: &Shared,
        push: &Push,
        waiter: Option<Waiter>,
    ) -> (Uuid, Arc<str>) {
        let mut state = self.state.lock();
        let item = self.item(sim, &mut state, push, waiter);
        let ids = (item.envelope_id, item.dedup_id.clone());
        if state.pending.len() + state.retrying >= sim.unacked_max {
            sim.journal.count(&self.id, |totals| totals.refused += 1);
            answer(item.waiter, AckOutcome::Unacked { reason: Unanswered::Refused, attempts: 0 });
        } else {
            self.attempt(sim, &mut state, item);
        }
        ids
    }

    pub(crate) fn retry(self: &Arc<Self>, sim: &Shared, mut item: Item) {
        let mut state = self.state.lock();
        state.retrying = state.retrying.saturating_sub(1);
        if sim.switches.retry_with_new_envelope_id {
            item.envelope_id = fresh_uuid(&mut state.rng);
        }
        self.attempt(sim, &mut state, item);
    }

    fn item(&self, sim: &Shared, state: &mut AppState, push: &Push, waiter: Option<Waiter>) -> Item {
        let envelope_id = push.envelope_id.unwrap_or_else(|| fresh_uuid(&mut state.rng));
        let (payload, name, envelope_type, accepts, event_id) = match &push.source {
            Source::Sample(sample) => {
                let serial = format!("{:010X}", sim.next_serial());
                let payload = self.stamp(sim, state, push, &serial);
                let envelope_type = sample.envelope_type();
                if envelope_type != EnvelopeType::EventsApi {
                    sim.response_urls.lock().issue(&serial, Instant::now());
                }
                let has_event_id =
                    envelope_type == EnvelopeType::EventsApi && *sample != crate::Sample::AppRateLimited;
                let event_id = has_event_id.then(|| format!("Ev{serial}").into());
                (payload, sample.name(), envelope_type, sample.accepts_payload(&sim.switches), event_id)
            }
            Source::Raw(raw) => {
                let Routing { envelope_type, event_id } = Routing::of(raw);
                let accepts = envelope_type != EnvelopeType::EventsApi;
                (raw.clone(), "raw", envelope_type, accepts, event_id.map(Into::into))
            }
        };
        Item {
            dedup_id: event_id.unwrap_or_else(|| envelope_id.to_string().into()),
            envelope_id,
            name,
            envelope_type: push.envelope_type.clone().unwrap_or(envelope_type),
            accepts_payload: push.accepts_payload.unwrap_or(accepts),
            payload,
            shape: push.shape,
            attempt: 0,
            waiter,
        }
    }

    fn stamp(&self, sim: &Shared, state: &mut AppState, push: &Push, serial: &str) -> Bytes {
        let Source::Sample(sample) = &push.source else { return Bytes::new() };
        state.last_tick = Tick::after(state.last_tick);
        let first_channel = self.channels.first().map_or("C0SIMLINE01", |channel| channel);
        sample.template().fill(Stamp {
            app_id: &self.id,
            team_id: &self.team_id,
            serial,
            channel: push.channel.as_deref().unwrap_or(first_channel),
            hooks: &sim.origins().hooks,
            tick: state.last_tick,
        })
    }

    fn attempt(self: &Arc<Self>, sim: &Shared, state: &mut AppState, item: Item) {
        let now = Instant::now();
        let target = pick(sim, state);
        let connection = if let Target::Socket(connection) = &target { Some(connection.id) } else { None };
        sim.journal.attempt(SentEnvelope {
            app: self.id.clone(),
            envelope_id: item.envelope_id,
            dedup_id: item.dedup_id.clone(),
            envelope_type: item.envelope_type.clone(),
            name: item.name,
            accepts_response_payload: item.accepts_payload,
            retry_attempt: item.attempt,
            connection,
            at: sim.journal.since_start(now),
            end: End::Waiting,
        });
        match target {
            Target::Socket(connection) => {
                let header = Header {
                    envelope_id: item.envelope_id,
                    envelope_type: &item.envelope_type,
                    accepts_payload: item.accepts_payload,
                    retry_attempt: item.attempt,
                    shape: item.shape,
                };
                let scratch = &mut state.scratch;
                connection.send_with(|out| envelope::put(out, scratch, header, &item.payload, &sim.switches));
                connection.count_sent();
                sim.scheduler.deadline(now + sim.switches.ack_deadline, self, item.envelope_id);
                let (envelope_id, attempts) = (item.envelope_id, item.attempt + 1);
                let first = state.pending.insert(envelope_id, Pending { item, connection, sent_at: now });
                if let Some(Pending { item: Item { waiter, .. }, .. }) = first {
                    sim.journal.count(&self.id, |totals| totals.superseded += 1);
                    answer(waiter, AckOutcome::Unacked { reason: Unanswered::Superseded, attempts });
                }
            }
            Target::Ghost => {
                sim.journal.missed(item.envelope_id, Missed::Stolen);
                sim.journal.count(&self.id, |totals| totals.stolen += 1);
                let attempts = item.attempt + 1;
                answer(item.waiter, AckOutcome::Unacked { reason: Unanswered::Stolen, attempts });
            }
            Target::Nobody => self.attempt_failed(sim, state, item, Missed::NoSocket),
        }
    }

    /// The ack deadline of one envelope has passed.
    pub(crate) fn deadline_passed(self: &Arc<Self>, sim: &Shared, envelope_id: Uuid) {
        let mut state = self.state.lock();
        // A retry or duplicate may wait under the same id; only the one that is late is taken.
        let now = Instant::now();
        let is_late =
            |pending: &Pending| now.saturating_duration_since(pending.sent_at) >= sim.switches.ack_deadline;
        if state.pending.get(&envelope_id).is_some_and(is_late)
            && let Some(pending) = state.pending.remove(&envelope_id)
        {
            self.attempt_failed(sim, &mut state, pending.item, Missed::Deadline);
        }
    }

    fn attempt_failed(self: &Arc<Self>, sim: &Shared, state: &mut AppState, mut item: Item, missed: Missed) {
        sim.journal.missed(item.envelope_id, missed);
        let is_event = item.envelope_type == EnvelopeType::EventsApi;
        let retried = is_event && (missed != Missed::NoSocket || sim.switches.retry_without_socket);
        let wait = if retried { sim.switches.retry_wait(item.attempt + 1) } else { None };
        if is_event {
            self.count_hour(sim, state, true);
        }
        if let Some(wait) = wait {
            item.attempt += 1;
            state.retrying += 1;
            sim.scheduler.retry(Instant::now() + wait, self, item);
            return;
        }
        let reason = sim.journal.count(&self.id, |totals| {
            let (reason, count) = match missed {
                _ if is_event => (Unanswered::GivenUp, &mut totals.events_lost),
                Missed::NoSocket => (Unanswered::DispatchFailed, &mut totals.dispatch_failed),
                Missed::Deadline | Missed::Stolen => {
                    (Unanswered::OperationTimeout, &mut totals.operation_timeout)
                }
            };
            *count += 1;
            reason
        });
        answer(item.waiter, AckOutcome::Unacked { reason, attempts: item.attempt + 1 });
    }
}

#[derive(Debug)]
enum Target {
    Socket(Arc<Connection>),
    Ghost,
    Nobody,
}

/// Any one socket that has said hello and has room, at random, ghosts included when they take their share.
fn pick(sim: &Shared, state: &mut AppState) -> Target {
    let AppState { connections, rng, ghosts, ghosts_take, socket_mode, .. } = state;
    if !*socket_mode {
        return Target::Nobody; // such a socket says hello and hears nothing more
    }
    let fit = |connection: &&Arc<Connection>| connection.is_deliverable(&sim.switches);
    let own = connections.iter().filter(fit).count();
    let others = if *ghosts_take { *ghosts as usize } else { 0 };
    if own + others == 0 {
        return Target::Nobody;
    }
    let chosen = rng.random_range(0..own + others);
    connections.iter().filter(fit).nth(chosen).cloned().map_or(Target::Ghost, Target::Socket)
}

pub(super) fn answer(waiter: Option<Waiter>, outcome: AckOutcome) {
    if let Some(waiter) = waiter {
        drop(waiter.send(outcome)); // nobody waits any more: that is the caller's choice
    }
}
