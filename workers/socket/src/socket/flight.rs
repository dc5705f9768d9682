//! What was read from a socket and is not yet acked: batches being stored, requests being answered.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use taut_core::log::Append;
use taut_core::request::{AckChoice, Answer, SilentReason};
use taut_core::{Board, Kind, Moment, ack_fits, ack_frame, push_ack};
use taut_net::ws::Text;

use super::ack::{Ack, Settle};
use crate::shared::Shared;

/// Most bytes of frames read and not yet acked, per socket, but for a single longer frame; reading waits beyond.
/// `slack.unacked_max` counts envelopes alone, and one tenant's large ones must take no memory from the others.
pub(super) const UNACKED_BYTES_MAX: usize = 4 << 20;

/// Events whose acks are owed once they are stored: the frames to write, one behind the other.
#[derive(Default)]
pub(super) struct Owed {
    frames: String,
    /// Of each event its kind, and where its frame ends.
    events: Vec<(Kind, usize)>,
    /// Length of the events' own frames.
    bytes: usize,
}

impl Owed {
    /// Adds one whose own frame is `bytes` long.
    pub(super) fn push(&mut self, envelope_id: &str, kind: Kind, bytes: usize) {
        self.bytes += bytes;
        push_ack(&mut self.frames, envelope_id, None);
        self.events.push((kind, self.frames.len()));
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }
}

/// A batch being stored. The log decides batches in the order it was given them.
struct Group {
    appended: BoxFuture<'static, Vec<Append>>,
    owed: Owed,
    received: Moment,
}

/// A request being stored and answered.
struct Pending {
    answer: BoxFuture<'static, Answer>,
    envelope_id: String,
    kind: Kind,
    /// Length of its frame.
    bytes: usize,
    received: Moment,
    refused: Refused,
}

/// Whether a request's append was refused and counted: its silence is then not counted again.
pub(super) type Refused = Arc<AtomicBool>;

impl Future for Pending {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.as_mut().poll(cx).map(|answer| Answered {
            answer,
            envelope_id: mem::take(&mut self.envelope_id),
            kind: self.kind,
            bytes: self.bytes,
            received: self.received,
            refused: Arc::clone(&self.refused),
        })
    }
}

/// A request whose course has ended.
struct Answered {
    answer: Answer,
    envelope_id: String,
    kind: Kind,
    /// Length of its frame.
    bytes: usize,
    received: Moment,
    refused: Refused,
}

/// Everything unacked of one socket. Intake stops reading before it grows beyond `slack.unacked_max`.
#[derive(Default)]
pub(super) struct Flight {
    groups: VecDeque<Group>,
    requests: FuturesUnordered<Pending>,
    events: usize,
    bytes: usize,
}

impl Flight {
    /// Envelopes read and neither acked nor given up.
    pub(super) fn unacked(&self) -> usize {
        self.events + self.requests.len()
    }

    /// Whether as much is unacked as may be, with so many envelopes and bytes read beyond what is in flight.
    pub(super) fn is_full(&self, unacked_max: u32, more: usize, more_bytes: usize) -> bool {
        self.unacked() + more >= unacked_max as usize || self.bytes + more_bytes >= UNACKED_BYTES_MAX
    }

    /// Whether a request waits for its answer.
    pub(super) fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// A batch has been given to the log.
    pub(super) fn add_batch(
        &mut self,
        appended: BoxFuture<'static, Vec<Append>>,
        owed: Owed,
        received: Moment,
    ) {
        self.events += owed.len();
        self.bytes += owed.bytes;
        self.groups.push_back(Group { appended, owed, received });
    }

    /// A request has been given to delivery.
    pub(super) fn add_request(
        &mut self,
        answer: BoxFuture<'static, Answer>,
        (envelope_id, kind, bytes): (String, Kind, usize),
        received: Moment,
        refused: Refused,
    ) {
        self.bytes += bytes;
        self.requests.push(Pending { answer, envelope_id, kind, bytes, received, refused });
    }

    /// Waits until something is decided; all acks that are owed by then. May be empty: not everything is acked.
    /// Pends forever while nothing is in flight. Cancel safe.
    pub(super) async fn ready(&mut self, shared: &Shared) -> Vec<Ack> {
        poll_fn(|cx| self.poll_ready(cx, shared)).await
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<Vec<Ack>> {
        let mut acks = Vec::new();
        let mut decided = false;
        while let Some(group) = self.groups.front_mut() {
            let Poll::Ready(appends) = group.appended.as_mut().poll(cx) else { break };
            if let Some(group) = self.groups.pop_front() {
                self.events -= group.owed.len();
                self.bytes -= group.owed.bytes;
                acks.reserve(group.owed.len());
                stored(&shared.board, group, &appends, &mut acks);
            }
            decided = true;
        }
        while let Poll::Ready(Some(request)) = self.requests.poll_next_unpin(cx) {
            self.bytes -= request.bytes;
            acks.extend(answered(&shared.board, request));
            decided = true;
        }
        if decided { Poll::Ready(acks) } else { Poll::Pending }
    }

    /// Gives up what is still in flight: no ack can be of use any more.
    pub(super) fn cut(&mut self, shared: &Shared) {
        shared.board.counters.requests_cut.add(self.requests.len() as u64);
        self.requests.clear();
        self.groups.clear();
        self.events = 0;
        self.bytes = 0;
    }
}

fn stored(board: &Board, group: Group, appends: &[Append], acks: &mut Vec<Ack>) {
    let received = group.received;
    let frames = Text::from(group.owed.frames);
    // A log that answers too little has promised nothing for the rest.
    let appends = appends.iter().copied().chain(std::iter::repeat(Append::Unavailable));
    let mut start = 0;
    for ((kind, end), append) in group.owed.events.into_iter().zip(appends) {
        if count_append(board, append)
            && let Some(frame) = frames.slice(start..end)
        {
            acks.push(Ack { frame, kind, received, settle: None });
        }
        start = end;
    }
}

/// Counts what became of an append; whether it may be acked.
pub(super) fn count_append(board: &Board, append: Append) -> bool {
    match append {
        Append::Stored(_) => true,
        Append::Duplicate(_) => {
            board.counters.duplicate.one();
            true
        }
        Append::Full(reason) => {
            board.counters.refused.at(reason.name()).one();
            false
        }
        Append::Unavailable => {
            board.counters.refused.at("store_unavailable").one();
            false
        }
    }
}

fn answered(board: &Board, request: Answered) -> Option<Ack> {
    let Answered { answer, envelope_id, kind, bytes: _, received, refused } = request;
    let settle = Settle::new(answer.settle);
    let payload = match answer.ack {
        AckChoice::Bare => None,
        AckChoice::Payload(text) => Some(text),
        AckChoice::Silent(reason) => {
            if !(reason == SilentReason::NotStored && refused.load(Relaxed)) {
                board.counters.refused.at(reason.name()).one();
            }
            return None;
        }
    };
    if payload.as_deref().is_some_and(|payload| !ack_fits(&envelope_id, payload)) {
        board.counters.refused.at(SilentReason::AnswerTooLarge.name()).one();
        return None;
    }
    let frame = ack_frame(&envelope_id, payload.as_deref()).into();
    Some(Ack { frame, kind, received, settle: Some(settle) })
}
