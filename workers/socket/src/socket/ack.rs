//! Acks on their way out.

use std::time::Duration;

use taut_core::{Kind, Moment, ack_fits, ack_frame};
use tracing::debug;

use super::ACK_DEADLINE;
use crate::shared::Shared;

/// Tells delivery whether a request's ack was written; dropped unsaid, it says no.
pub(crate) struct Settle(Option<Box<dyn FnOnce(bool) + Send>>);

impl Settle {
    pub(crate) const fn new(settle: Option<Box<dyn FnOnce(bool) + Send>>) -> Self {
        Self(settle)
    }

    fn say(mut self, written: bool) {
        if let Some(settle) = self.0.take() {
            settle(written);
        }
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if let Some(settle) = self.0.take() {
            settle(false);
        }
    }
}

/// An ack that is owed: its envelope is stored, or its handler has answered.
pub(crate) struct Ack {
    pub(crate) envelope_id: String,
    pub(crate) kind: Kind,
    /// When the envelope was read.
    pub(crate) received: Moment,
    /// JSON text, for requests.
    pub(crate) payload: Option<String>,
    /// Set for requests.
    pub(crate) settle: Option<Settle>,
}

impl Ack {
    /// The frame to write.
    pub(crate) fn frame(&self) -> String {
        ack_frame(&self.envelope_id, self.payload.as_deref())
    }

    /// Whether Slack takes a frame of this size.
    pub(crate) fn fits(&self) -> bool {
        self.payload.as_deref().is_none_or(|payload| ack_fits(&self.envelope_id, payload))
    }

    /// It will not be written. An event comes again from Slack and is known then; a request is cut.
    pub(crate) fn cut(self, shared: &Shared, why: &'static str) {
        let waited = shared.clock.now().since(self.received);
        debug!(tenant = %shared.tenant, kind = self.kind.name(), ?waited, why, "an ack is given up");
        if self.settle.is_some() {
            shared.board.counters.requests_cut.one();
        }
    }
}

/// These acks have been handed to the kernel.
pub(super) fn written(shared: &Shared, acks: Vec<Ack>) {
    let now = shared.clock.now();
    let mut run: Option<(Moment, usize)> = None;
    let record = |run: Option<(Moment, usize)>| {
        if let Some((received, count)) = run {
            shared.metrics.ack_latency.record_many(now.since(received).as_secs_f64(), count);
        }
    };
    for ack in acks {
        shared.board.counters.acked.at(ack.kind.name()).one();
        match ack.settle {
            Some(settle) => {
                let waited: Duration = now.since(ack.received);
                shared.metrics.answer_latency.record(waited.as_secs_f64());
                settle.say(waited < ACK_DEADLINE);
            }
            // Events of one batch were read at one moment: one record for all of them.
            None => match &mut run {
                Some((received, count)) if *received == ack.received => *count += 1,
                Some(_) | None => record(run.replace((ack.received, 1))),
            },
        }
    }
    record(run);
}
