//! Intake: from frames to appends and requests. Nothing here waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures::FutureExt as _;
use taut_core::envelope::Hello;
use taut_core::log::{Append, NewEntry};
use taut_core::order::OrderKeys;
use taut_core::request::{NewRequest, SilentReason};
use taut_core::{AppId, Arrival, Epoch, Incoming, Kind, Moment, RouteBits, WallMs};
use taut_net::ws::{Text, WebSocket, WsEvent};
use tracing::{error, warn};

use super::flight::{Owed, count_append};
use super::{End, Socket};
use crate::pure::line::{CloseWhy, Event};
use crate::router::RouteFn;

/// Frames taken at once, if so many have arrived …
const BATCH_FRAMES_MAX: usize = 64;
/// … and so many bytes.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// Envelopes taken before hello; a socket that brings more is useless …
const BEFORE_HELLO_MAX: u32 = 64;
/// … and so is one that brings more bytes of those that wait for hello to say whose they are.
const HELD_BYTES_MAX: usize = 1 << 20;

/// What one read gives: everything that had arrived, at one moment.
struct Batch {
    now: Moment,
    wall: WallMs,
    epoch: Epoch,
    route: Arc<RouteFn>,
    entries: Vec<NewEntry>,
    owed: Owed,
    bytes: usize,
    /// Events that happened in one second, and that second.
    happened: Option<(u64, usize)>,
}

/// Handles `first` and what else has arrived, and gives the envelopes to the log. Events for the line are left in
/// `socket.news`.
pub(super) fn read(socket: &mut Socket, ws: &mut WebSocket, first: WsEvent) -> Option<End> {
    let shared = &socket.shared;
    let (now, wall) = (shared.clock.now(), shared.clock.wall());
    let mut batch = Batch {
        now,
        wall,
        epoch: shared.log.epoch(),
        route: shared.router.current(),
        entries: Vec::new(),
        owed: Owed::default(),
        bytes: 0,
        happened: None,
    };
    let mut next = Some(first);
    let mut end = None;
    let mut frames = 0;
    let mut alive = false;
    while let Some(event) = next.take() {
        alive |= !matches!(event, WsEvent::Failed(_));
        end = socket.on_frame(&mut batch, event);
        frames += 1;
        let room = frames < BATCH_FRAMES_MAX
            && batch.bytes < BATCH_BYTES_MAX
            && !socket.flight.is_full(socket.shared.config.unacked_max, batch.owed.len(), batch.bytes);
        if end.is_none() && room {
            next = ws.try_next();
        }
    }
    if alive {
        socket.liveness.frame(now);
        socket.shared.board.update(|status| {
            status.last_frame = Some(now);
            status.last_frame_at = Some(wall);
        });
    }
    socket.count_delay(&mut batch, None);
    socket.submit(&mut batch);
    end
}

impl Socket {
    fn on_frame(&mut self, batch: &mut Batch, event: WsEvent) -> Option<End> {
        match event {
            WsEvent::Text(text) => self.on_text(batch, &text),
            WsEvent::Binary(bytes) => {
                self.count_unreadable(batch.now, "binary", bytes);
                None
            }
            WsEvent::Ping | WsEvent::Pong => None,
            WsEvent::Closed { .. } => Some(End::Closed(CloseWhy::Peer)),
            WsEvent::TooLarge => Some(End::Closed(CloseWhy::FrameTooLarge)),
            WsEvent::Failed(_) => Some(End::Closed(CloseWhy::Transport)),
        }
    }

    fn on_text(&mut self, batch: &mut Batch, text: &Text) -> Option<End> {
        let bytes = text.as_str().len();
        batch.bytes += bytes;
        match Incoming::read(text.as_str()) {
            Ok(Incoming::Envelope(arrival)) if self.hello => self.on_envelope(batch, text, arrival),
            Ok(Incoming::Envelope(arrival)) => self.before_hello(batch, text, arrival),
            Ok(Incoming::Hello(hello)) if !self.hello => self.on_hello(batch, hello),
            Ok(Incoming::Hello(_) | Incoming::Other) => None,
            Ok(Incoming::Disconnect(reason)) => {
                self.news.push(Event::Disconnect(reason.into_owned()));
                None
            }
            Err(_) if !self.hello => Some(End::Useless),
            Err(_) => {
                self.count_unreadable(batch.now, "text", bytes);
                None
            }
        }
    }

    fn on_hello(&mut self, batch: &mut Batch, hello: Hello) -> Option<End> {
        self.hello = true;
        let found = hello.app_id.clone();
        self.news.push(Event::Hello(hello));
        if self.link.app_id.is_none() {
            self.link.app_id = found.as_deref().and_then(|text| AppId::new(text).ok());
        }
        // The line says so too, but neither what waited for this frame nor what follows it may count as this tenant's.
        if self.is_foreign(found.as_deref()) {
            return Some(End::Aborted);
        }
        for (received, text) in std::mem::take(&mut self.held) {
            let Ok(Incoming::Envelope(arrival)) = Incoming::read(text.as_str()) else { continue };
            // Slack counts from its sending: the wait for hello is part of the deadline.
            let now = std::mem::replace(&mut batch.now, received);
            let end = self.on_envelope(batch, &text, arrival);
            self.submit(batch);
            batch.now = now;
            if end.is_some() {
                return end;
            }
        }
        None
    }

    /// An envelope that names the tenant's app is taken at once; one that does not say whose it is, or of a tenant whose
    /// app is not known, waits for hello.
    fn before_hello(&mut self, batch: &mut Batch, text: &Text, arrival: Arrival<'_>) -> Option<End> {
        self.before_hello += 1;
        let held_bytes = self.held.iter().map(|(_, held)| held.as_str().len()).sum::<usize>();
        if self.before_hello > BEFORE_HELLO_MAX || held_bytes + text.as_str().len() > HELD_BYTES_MAX {
            return Some(End::Useless);
        }
        if self.link.app_id.is_some() && arrival.facts.api_app_id.is_some() {
            return self.on_envelope(batch, text, arrival);
        }
        self.held.push((batch.now, text.clone()));
        None
    }

    fn on_envelope(&mut self, batch: &mut Batch, text: &Text, arrival: Arrival<'_>) -> Option<End> {
        if !self.envelope_seen && self.hello {
            self.envelope_seen = true;
            self.news.push(Event::EnvelopeSeen);
        }
        let (kind, facts) = (arrival.kind, &arrival.facts);
        self.shared.board.counters.received.at(kind.name()).one();
        if self.is_foreign(facts.api_app_id.as_deref()) {
            self.shared.board.counters.refused.at("foreign_app").one();
            if let Some(held_back) = self.foreign.pass(batch.now) {
                let tenant = &self.shared.tenant;
                error!(%tenant, held_back, "an envelope of another app came over this tenant's socket; not acked");
            }
            return None;
        }
        if let (Kind::EventsApi, Some(event_time)) = (kind, facts.event_time) {
            self.count_delay(batch, Some(event_time));
        }
        let routed = (batch.route)(kind, facts);
        let entry = NewEntry {
            tenant: self.shared.tenant.clone(),
            epoch: batch.epoch,
            frame: text.to_bytes(),
            kind,
            dedup: Some(arrival.dedup()),
            order: OrderKeys::of(facts),
            routes: routed.routes,
            answering: routed.answering,
            received_at: batch.wall,
        };
        if kind.is_request() {
            self.on_request(batch, arrival, entry);
        } else {
            if routed.routes.is_empty() {
                self.shared.board.counters.unrouted.one();
            }
            batch.entries.push(NewEntry { answering: RouteBits::NONE, ..entry });
            batch.owed.push(&arrival.envelope_id, kind, text.as_str().len());
        }
        None
    }

    fn on_request(&mut self, batch: &mut Batch, arrival: Arrival<'_>, entry: NewEntry) {
        let shared = &self.shared;
        if entry.answering.is_empty() {
            shared.board.counters.refused.at(SilentReason::Unrouted.name()).one();
            return;
        }
        // What came before it is given to the log before it.
        self.submit(batch);
        let shared = &self.shared;
        let envelope = arrival.into_envelope(entry.frame.clone());
        let answering = entry.answering;
        let appended = shared.log.append(vec![entry]);
        let refused = Arc::new(AtomicBool::new(false));
        let (board, was_refused) = (Arc::clone(&shared.board), Arc::clone(&refused));
        let stored = async move {
            let append = appended.await.first().copied().unwrap_or(Append::Unavailable);
            was_refused.store(!count_append(&board, append), Relaxed);
            append
        };
        let owed = (envelope.envelope_id.clone(), envelope.kind, envelope.frame.len());
        let answer = shared.requests.begin(NewRequest {
            tenant: shared.tenant.clone(),
            envelope: Arc::new(envelope),
            answering,
            received: batch.now,
            stored: stored.boxed(),
        });
        self.flight.add_request(answer, owed, batch.now, refused);
    }

    /// Counts how late an event came; those of one second together. `None` counts what is left.
    fn count_delay(&self, batch: &mut Batch, event_time: Option<u64>) {
        match (&mut batch.happened, event_time) {
            (Some((second, events)), Some(event_time)) if *second == event_time => *events += 1,
            (happened, event_time) => {
                if let Some((second, events)) = std::mem::replace(happened, event_time.map(|at| (at, 1))) {
                    let delay = batch.wall.since(WallMs(second.saturating_mul(1000)));
                    self.shared.metrics.event_delay.record_many(delay.as_secs_f64(), events);
                }
            }
        }
    }

    /// Gives the batch so far to the log.
    fn submit(&mut self, batch: &mut Batch) {
        if batch.entries.is_empty() {
            return;
        }
        let appended = self.shared.log.append(std::mem::take(&mut batch.entries));
        self.flight.add_batch(appended, std::mem::take(&mut batch.owed), batch.now);
    }

    fn is_foreign(&self, app_id: Option<&str>) -> bool {
        match (&self.link.app_id, app_id) {
            (Some(ours), Some(found)) => ours.as_str() != found,
            (None, _) | (_, None) => false,
        }
    }

    fn count_unreadable(&mut self, now: Moment, what: &'static str, bytes: usize) {
        self.shared.board.counters.unreadable.one();
        if let Some(held_back) = self.unreadable.pass(now) {
            warn!(tenant = %self.shared.tenant, what, bytes, held_back, "a frame could not be read; it was skipped");
        }
    }
}
