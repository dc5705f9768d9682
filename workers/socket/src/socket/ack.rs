//! Acks on their way out.

use std::time::Duration;

use taut_core::{Kind, Moment};
use taut_net::ws::Text;
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
    /// The frame to write.
    pub(crate) frame: Text,
    pub(crate) kind: Kind,
    /// When the envelope was read.
    pub(crate) received: Moment,
    /// Set for requests.
    pub(crate) settle: Option<Settle>,
}

impl Ack {
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
    let mut run = Run::default();
    for ack in acks {
        let waited = now.since(ack.received);
        match ack.settle {
            Some(settle) => {
                shared.board.counters.acked.at(ack.kind.name()).one();
                shared.metrics.answer_latency.record(waited.as_secs_f64());
                settle.say(waited < ACK_DEADLINE);
            }
            None if run.continues(ack.kind, waited) => run.acks += 1,
            None => std::mem::replace(&mut run, Run { kind: Some(ack.kind), waited, acks: 1 }).count(shared),
        }
    }
    run.count(shared);
}

/// Acks of one kind that waited equally long, as those of one batch do: they are counted together.
#[derive(Default)]
struct Run {
    kind: Option<Kind>,
    waited: Duration,
    acks: usize,
}

impl Run {
    fn continues(&self, kind: Kind, waited: Duration) -> bool {
        self.kind == Some(kind) && self.waited == waited
    }

    fn count(self, shared: &Shared) {
        let Some(kind) = self.kind else { return };
        shared.board.counters.acked.at(kind.name()).add(self.acks as u64);
        shared.metrics.ack_latency.record_many(self.waited.as_secs_f64(), self.acks);
    }
}
