//! The task of one socket: writes what is in the outbox, reads acks, pings, and plays the faults.
//!
//! One task does both directions and never waits for one of them, so a client that stops reading still gets its acks
//! read, and a silent socket still obeys commands.

mod reading;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};

use reading::Fragments;

use super::{CloseStyle, Command, Connection};
use crate::app::{App, Opening, Seat};
use crate::faults::UpgradeFailure;
use crate::frame;
use crate::io::Io;
use crate::journal::NoteKind;
use crate::shared::Shared;

/// Room for one read; acks are small.
const READ_BYTES: usize = 4 << 10;

/// How long TCP stays open after a close handshake when the client does not end it.
const CLOSE_LINGER: Duration = Duration::from_mins(1);

/// Serves one socket from 101 to its end.
pub(crate) async fn serve(sim: Arc<Shared>, app: Arc<App>, io: Io, early: Bytes, seat: Seat) {
    let connection = seat.connection;
    sim.journal.note(Some(&app.id), NoteKind::Connected { connection: connection.id });
    let (reader, writer) = tokio::io::split(io);
    let mut session = Session {
        reader,
        writer,
        sim: sim.clone(),
        app: app.clone(),
        connection: connection.clone(),
        incoming: BytesMut::from(early),
        outgoing: BytesMut::new(),
        written: 0,
        commands: VecDeque::new(),
        fragments: None,
        timers: Timers::default(),
        drip: None,
        silent: false,
        phase: Phase::Open,
        unanswered_ping: None,
    };
    session.begin(seat.opening);
    let end = session.run().await;
    app.leave(&sim, &connection, end.orderly);
    if end.reset {
        session.reader.unsplit(session.writer).reset_on_drop();
    }
    sim.journal.note(Some(&app.id), NoteKind::Closed { connection: connection.id, why: end.why.to_owned() });
}

struct Session {
    reader: ReadHalf<Io>,
    writer: WriteHalf<Io>,
    sim: Arc<Shared>,
    app: Arc<App>,
    connection: Arc<Connection>,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// How much of `outgoing` is on the wire.
    written: usize,
    commands: VecDeque<Command>,
    /// A message whose last fragment has not come.
    fragments: Option<Fragments>,
    timers: Timers,
    drip: Option<(usize, Duration)>,
    silent: bool,
    phase: Phase,
    unanswered_ping: Option<Instant>,
}

#[derive(Default)]
struct Timers {
    ping: Option<Instant>,
    /// When the socket is warned because of its age.
    warn: Option<Instant>,
    close: Option<(Instant, CloseStyle)>,
    drip: Option<Instant>,
    linger: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// We sent a close frame first.
    CloseSent,
    /// The close handshake is over.
    Closed,
}

/// Why a socket's task ended.
#[derive(Debug, Clone, Copy)]
struct Finish {
    why: &'static str,
    orderly: bool,
    reset: bool,
}

const fn finish(why: &'static str, orderly: bool) -> Finish {
    Finish { why, orderly, reset: false }
}

impl Session {
    fn begin(&mut self, opening: Opening) {
        match opening {
            Opening::Hello => self.connection.command(Command::Hello),
            Opening::Held => {}
            Opening::TooMany => {
                if self.sim.switches.hello_before_too_many {
                    let text = self.app.say_hello(&self.sim, &self.connection);
                    self.connection.send_text(text.as_bytes());
                }
                self.disconnect("too_many_websockets", Duration::ZERO);
            }
            Opening::Fault(UpgradeFailure::Text { text }) => self.connection.send_text(text.as_bytes()),
            Opening::Fault(UpgradeFailure::Disconnect { reason }) => {
                let after = self.sim.switches.close_after_disconnect;
                self.disconnect(&reason, after);
            }
            Opening::Fault(UpgradeFailure::HelloOfApp { app_id }) => {
                let text = self.app.say_hello(&self.sim, &self.connection);
                self.connection.send_text(text.replace(&*self.app.id, &app_id).as_bytes());
                self.start_timers();
            }
            Opening::Fault(UpgradeFailure::DropAfterHello) => {
                self.connection.command(Command::Hello);
                self.connection.command(Command::Close { after: Duration::ZERO, style: CloseStyle::End });
            }
            Opening::Fault(
                UpgradeFailure::NoHello
                | UpgradeFailure::Status { .. }
                | UpgradeFailure::Html
                | UpgradeFailure::WrongAccept
                | UpgradeFailure::Hang
                | UpgradeFailure::Abort,
            ) => {}
        }
    }

    fn hello(&mut self) {
        let text = self.app.say_hello(&self.sim, &self.connection);
        // Before anything that was queued for a deliverable socket in the meantime.
        frame::put_text(&mut self.outgoing, text.as_bytes());
        self.start_timers();
    }

    fn start_timers(&mut self) {
        let now = Instant::now();
        let switches = &self.sim.switches;
        self.timers.ping = Some(now + switches.first_ping);
        self.timers.warn = Some(now + self.connection.life.saturating_sub(switches.close_after_warning));
    }

    fn disconnect(&mut self, reason: &str, after: Duration) {
        self.connection.send_disconnect(reason);
        let reason = reason.to_owned();
        self.sim
            .journal
            .note(Some(&self.app.id), NoteKind::Disconnect { connection: self.connection.id, reason });
        let style =
            if self.sim.switches.close_with_frame { CloseStyle::Frame(1001) } else { CloseStyle::End };
        self.connection.command(Command::Close { after, style });
    }

    async fn run(&mut self) -> Finish {
        let stop = self.sim.stop.clone();
        let connection = self.connection.clone();
        let mut timer = pin!(sleep_until(self.next_due()));
        loop {
            if let Some(end) = self.refill() {
                return end;
            }
            let due = self.next_due();
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            if self.incoming.capacity() - self.incoming.len() < READ_BYTES / 4 {
                self.incoming.reserve(READ_BYTES);
            }
            let can_write = !self.outgoing.is_empty() && !self.silent && self.timers.drip.is_none();
            let chunk =
                self.drip.map_or(usize::MAX, |(bytes, _)| bytes).min(self.outgoing.len() - self.written);
            let chunk = self.written..self.written + chunk;
            tokio::select! {
                biased;
                () = stop.cancelled() => return finish("the simulator stopped", true),
                wrote = self.writer.write(&self.outgoing[chunk]), if can_write => match wrote {
                    Ok(bytes) => self.wrote(bytes).await,
                    Err(_) => return finish("the client is gone", false),
                },
                () = connection.wake.notified() => {}
                read = self.reader.read_buf(&mut self.incoming), if !self.silent => {
                    if let Some(end) = self.read(read.unwrap_or(0)) {
                        return end;
                    }
                }
                () = timer.as_mut() => if let Some(end) = self.tick(Instant::now()) {
                    return end;
                },
            }
        }
    }

    /// Fetches the next bytes and obeys commands, each after everything that was queued before it.
    fn refill(&mut self) -> Option<Finish> {
        loop {
            let urgent = self.connection.outbox.lock().take_urgent();
            if let Some(end) = urgent.and_then(|command| self.obey(command)) {
                return Some(end);
            }
            if !self.outgoing.is_empty() || self.silent {
                return None;
            }
            if let Some(command) = self.commands.pop_front() {
                if let Some(end) = self.obey(command) {
                    return Some(end);
                }
                continue;
            }
            let mut outbox = self.connection.outbox.lock();
            outbox.take_bytes(&mut self.outgoing);
            outbox.take_commands(&mut self.commands);
            if self.phase != Phase::Open {
                self.outgoing.clear(); // nothing follows a close frame
            }
            if self.outgoing.is_empty() && self.commands.is_empty() {
                return None;
            }
        }
    }

    async fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= self.outgoing.len() {
            self.outgoing.clear();
            self.written = 0;
            if self.outgoing.capacity() > 1 << 20 {
                self.outgoing = BytesMut::new();
            }
            // Plain TCP has nothing to flush; TLS may hold the last record.
            if self.writer.flush().await.is_err() {
                tracing::debug!("the client went away; the next read will tell");
            }
        }
        if let Some((_, every)) = self.drip {
            self.timers.drip = Some(Instant::now() + every);
        }
    }

    fn obey(&mut self, command: Command) -> Option<Finish> {
        match command {
            Command::Hello => {
                if !self.connection.is_helloed() {
                    self.hello();
                }
            }
            Command::Close { after, style } if after.is_zero() => return self.close(style),
            Command::Close { after, style } => self.timers.close = Some((Instant::now() + after, style)),
            Command::Silence => self.silent = true,
            Command::Resume => {
                self.silent = false;
                self.drip = None;
                self.timers.drip = None;
            }
            Command::Drip { bytes, every } => self.drip = Some((bytes.max(1), every)),
        }
        None
    }

    fn close(&mut self, style: CloseStyle) -> Option<Finish> {
        match style {
            CloseStyle::Frame(code) => {
                if self.phase == Phase::Open {
                    // From here on nothing is handed to this socket; what was, still goes out before the close.
                    self.app.leave(&self.sim, &self.connection, true);
                    self.connection.outbox.lock().append_bytes(&mut self.outgoing);
                    frame::put_close(&mut self.outgoing, code);
                    self.phase = Phase::CloseSent;
                    self.timers.linger = Some(Instant::now() + CLOSE_LINGER);
                }
                None
            }
            CloseStyle::End => Some(finish("ended by the simulator", true)),
            CloseStyle::Reset => Some(Finish { why: "reset by the simulator", orderly: true, reset: true }),
        }
    }

    fn next_due(&self) -> Instant {
        const IDLE: Duration = Duration::from_hours(24);
        let Timers { ping, warn, close, drip, linger } = &self.timers;
        let due = if self.silent {
            [None, None, close.map(|(at, _)| at), None, *linger]
        } else {
            [*ping, *warn, close.map(|(at, _)| at), *drip, *linger]
        };
        due.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + IDLE)
    }

    fn tick(&mut self, now: Instant) -> Option<Finish> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.timers.linger) {
            return Some(finish("closed; the client left TCP open", true));
        }
        if let Some((at, style)) = self.timers.close
            && at <= now
        {
            self.timers.close = None;
            return self.close(style);
        }
        if is_due(self.timers.drip) {
            self.timers.drip = None;
        }
        if is_due(self.timers.warn) {
            self.timers.warn = None;
            let after = self.sim.switches.close_after_warning;
            self.disconnect("warning", after);
        }
        if is_due(self.timers.ping) && !self.silent {
            return self.ping(now);
        }
        None
    }

    fn ping(&mut self, now: Instant) -> Option<Finish> {
        if self.phase != Phase::Open {
            self.timers.ping = None;
            return None;
        }
        let waiting_since = *self.unanswered_ping.get_or_insert(now);
        if now.saturating_duration_since(waiting_since) >= self.sim.switches.pong_timeout {
            return Some(finish("no pong", false));
        }
        let payload = format!("Ping from {}", self.connection.host());
        self.connection
            .send_with(|out| frame::put_frame(out, OpCode::Control(Control::Ping), payload.as_bytes()));
        self.timers.ping = Some(now + self.sim.switches.ping_every);
        None
    }
}
