//! Which acks count: size, fragments, socket, payload and time, by the rules of the switches.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::delivery::{AckOutcome, Pending, answer};
use super::{App, AppState};
use crate::envelope::EnvelopeType;
use crate::journal::{Ack, AckFlaw, NoteKind};
use crate::shared::Shared;
use crate::socket::Connection;

/// An ack as read from a socket.
#[derive(Debug)]
pub(crate) struct AckFrame {
    pub envelope_id: Uuid,
    pub payload: Option<Bytes>,
    pub frame_bytes: usize,
    pub fragmented: bool,
}

impl App {
    /// Judges one ack frame by the rules of the switches.
    pub(crate) fn acked(&self, sim: &Shared, on: &Connection, frame: AckFrame) {
        let AckFrame { envelope_id, payload, frame_bytes, fragmented } = frame;
        let flaw = |flaw| sim.journal.flawed_ack(&self.id, Some(envelope_id), flaw, frame_bytes);
        if fragmented && !sim.switches.accept_fragmented_acks {
            return flaw(Some(AckFlaw::Fragmented));
        }
        if frame_bytes >= sim.switches.ack_bytes_limit {
            return flaw(Some(AckFlaw::Oversize));
        }
        let now = Instant::now();
        let mut state = self.state.lock();
        let Some(pending) = state.pending.get(&envelope_id) else {
            return flaw(None);
        };
        let after = now.saturating_duration_since(pending.sent_at);
        let on_other_socket = pending.connection.id != on.id;
        let unwanted_payload = payload.is_some() && !pending.item.accepts_payload;
        if on_other_socket && !sim.switches.accept_ack_on_other_socket {
            return flaw(Some(AckFlaw::OtherSocket));
        }
        if unwanted_payload {
            flaw(Some(AckFlaw::UnwantedPayload));
            if !sim.switches.accept_unwanted_payload {
                return;
            }
        }
        if after > sim.switches.ack_deadline {
            return flaw(Some(AckFlaw::Late)); // the scheduler takes it as missed in a moment
        }
        let Some(Pending { item, connection, .. }) = state.pending.remove(&envelope_id) else { return };
        if item.envelope_type == EnvelopeType::EventsApi {
            self.count_hour(sim, &mut state, false);
        }
        connection.count_acked();
        let ack = Ack {
            after,
            connection: on.id,
            frame_bytes,
            payload: payload.clone(),
            on_other_socket,
            unwanted_payload,
        };
        sim.journal.acked(&self.id, envelope_id, ack);
        let outcome = AckOutcome::Acked { payload, after, on_connection: on.id, retry_attempt: item.attempt };
        answer(item.waiter, outcome);
    }

    /// Slack switches off subscriptions when over 95 % of at least 1,000 attempts in an hour fail; here it is noted.
    pub(super) fn count_hour(&self, sim: &Shared, state: &mut AppState, failed: bool) {
        const HOUR: Duration = Duration::from_hours(1);
        let now = Instant::now();
        let hour = &mut state.hour;
        if now.saturating_duration_since(hour.began) >= HOUR {
            *hour = super::Hour { began: now, attempts: 0, failed: 0, noted: false };
        }
        hour.attempts += 1;
        hour.failed += u64::from(failed);
        if !hour.noted && hour.attempts >= 1_000 && hour.failed * 100 > hour.attempts * 95 {
            hour.noted = true;
            let (attempts, failed) = (hour.attempts, hour.failed);
            sim.journal.note(Some(&self.id), NoteKind::SubscriptionsWouldBeDisabled { attempts, failed });
        }
    }
}
