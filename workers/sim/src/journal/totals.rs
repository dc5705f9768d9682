//! Exact counts per app.

use std::ops::Add;

use serde::Serialize;

use super::AckFlaw;

/// What happened to one app's (or all apps') envelopes since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Events and requests that came into being; retries are not counted again.
    pub produced: u64,
    /// Envelopes written to a socket, retries included.
    pub sent: u64,
    /// Attempts with `retry_attempt` above 0, whether a socket was there or not.
    pub retries: u64,
    /// Events and requests that were acked in time, on whichever attempt.
    pub acked: u64,
    /// Events given up after the last retry.
    pub events_lost: u64,
    /// Requests that found no socket; the user saw `dispatch_failed`.
    pub dispatch_failed: u64,
    /// Requests that were not acked in time; the user saw `operation_timeout`.
    pub operation_timeout: u64,
    /// Envelopes that went to a ghost, somebody else's socket.
    pub stolen: u64,
    /// Envelopes pushed again under the same envelope id while the first was unacked; the second one's end counts.
    pub superseded: u64,
    /// Pushes refused because the simulator held too many unacked envelopes.
    pub refused: u64,
    /// Acks whose payload the envelope did not accept.
    pub unwanted_payloads: u64,
    pub acks_duplicate: u64,
    pub acks_late: u64,
    pub acks_unknown: u64,
    pub acks_oversize: u64,
    pub acks_fragmented: u64,
    pub acks_on_other_socket: u64,
    pub acks_unreadable: u64,
}

impl Totals {
    /// Events and requests whose end is not yet known.
    pub const fn open(&self) -> u64 {
        let ended = self.acked
            + self.events_lost
            + self.dispatch_failed
            + self.operation_timeout
            + self.stolen
            + self.superseded;
        self.produced.saturating_sub(ended)
    }

    pub(super) const fn flawed(&mut self, flaw: AckFlaw) {
        let count = match flaw {
            AckFlaw::Duplicate => &mut self.acks_duplicate,
            AckFlaw::Late => &mut self.acks_late,
            AckFlaw::UnknownId => &mut self.acks_unknown,
            AckFlaw::Oversize => &mut self.acks_oversize,
            AckFlaw::Fragmented => &mut self.acks_fragmented,
            AckFlaw::OtherSocket => &mut self.acks_on_other_socket,
            AckFlaw::UnwantedPayload => &mut self.unwanted_payloads,
            AckFlaw::Unreadable => &mut self.acks_unreadable,
        };
        *count += 1;
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            produced: self.produced + other.produced,
            sent: self.sent + other.sent,
            retries: self.retries + other.retries,
            acked: self.acked + other.acked,
            events_lost: self.events_lost + other.events_lost,
            dispatch_failed: self.dispatch_failed + other.dispatch_failed,
            operation_timeout: self.operation_timeout + other.operation_timeout,
            stolen: self.stolen + other.stolen,
            superseded: self.superseded + other.superseded,
            refused: self.refused + other.refused,
            unwanted_payloads: self.unwanted_payloads + other.unwanted_payloads,
            acks_duplicate: self.acks_duplicate + other.acks_duplicate,
            acks_late: self.acks_late + other.acks_late,
            acks_unknown: self.acks_unknown + other.acks_unknown,
            acks_oversize: self.acks_oversize + other.acks_oversize,
            acks_fragmented: self.acks_fragmented + other.acks_fragmented,
            acks_on_other_socket: self.acks_on_other_socket + other.acks_on_other_socket,
            acks_unreadable: self.acks_unreadable + other.acks_unreadable,
        }
    }
}
