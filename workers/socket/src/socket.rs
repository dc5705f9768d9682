//! One socket's task: opens it, reads and stores what comes, writes acks, and closes it.
//!
//! ```text
//!  opening ──► open ──Retire──► retiring ──► close sent ──► gone ──► finish what is in flight
//!                │  (reads, acks)  (until no request is unacked)  (reads on for 1 s)      (late acks, by the line)
//!                └── lost, silent, cut off ─────────────────────────►
//! ```
//!
//! Invariant: whatever ends the socket, appends and requests in flight are awaited, so that what was stored is acked
//! on the replacement where that is allowed, and every request's `settle` is called.

mod ack;
mod flight;
mod intake;
mod opening;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt as _, StreamExt as _};
use taut_core::{AppId, Board, Moment};
use taut_net::ws::{Text, WebSocket};
use taut_vault::AppToken;
use tracing::debug;

pub(crate) use self::ack::Ack;
use self::flight::Flight;
use crate::pure::line::{CloseWhy, Event, Generation};
use crate::pure::liveness::{Liveness, Verdict};
use crate::pure::pace::Pace;
use crate::shared::Shared;

/// A socket we close waits so long for the answers to its requests.
const REQUESTS_WAIT: Duration = Duration::from_secs(3);
/// After our close frame we read on for so long.
const READ_ON: Duration = Duration::from_secs(1);
/// After its socket is gone, a task waits so long for what is in flight: beyond it no ack is of use.
const FINISH_MAX: Duration = Duration::from_secs(3);
/// Slack's own deadline for an ack (<https://docs.slack.dev/apis/events-api/using-socket-mode>).
pub(crate) const ACK_DEADLINE: Duration = Duration::from_secs(3);
/// WebSocket close codes.
const CLOSE_NORMAL: u16 = 1000;
const CLOSE_TOO_LARGE: u16 = 1009;

/// What the line tells a socket.
pub(crate) enum Order {
    /// Close politely.
    Retire,
    /// Drop the stream.
    Abort,
    /// Time has passed that no timer saw: ask the peer whether it is there.
    Look,
    /// Write this ack of a socket that is gone.
    Ack(Box<Ack>),
}

/// What a socket tells the line.
pub(crate) enum Report {
    /// For the machine.
    Event(Generation, Event),
    /// An ack that could not be written here.
    LateAck(Box<Ack>),
}

/// A socket's side of the line.
pub(crate) struct Link {
    pub(crate) generation: Generation,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) token: Arc<AppToken>,
    /// The app that envelopes must belong to, where known.
    pub(crate) app_id: Option<AppId>,
}

impl Link {
    /// A closed line takes its sockets along, so a report nobody takes is no loss.
    async fn report(&mut self, report: Report) {
        if self.reports.send(report).await.is_err() {
            debug!(socket = self.generation.0, "the line is gone");
        }
    }

    async fn event(&mut self, event: Event) {
        self.report(Report::Event(self.generation, event)).await;
    }
}

/// Runs one socket from its ticket to its last ack.
pub(crate) async fn run(shared: Arc<Shared>, mut link: Link) {
    // Boxed, here and below: what happens once, or rarely, needs far more room than an idle socket may keep.
    let Some(mut ws) = Box::pin(opening::open(&shared, &mut link)).await else { return };
    let open = Open::new(&shared.board);
    let now = shared.clock.now();
    let mut socket = Socket {
        liveness: Liveness::new(now, shared.config.ping_after.0, shared.config.quiet_max.0),
        flight: Flight::default(),
        phase: Phase::Open,
        hello: false,
        before_hello: 0,
        held: Vec::new(),
        envelope_seen: false,
        unreadable: Pace::default(),
        foreign: Pace::default(),
        news: Vec::new(),
        shared,
        link,
    };
    let end = socket.serve(&mut ws).await;
    Box::pin(wind_up(socket, (ws, open), end)).await;
}

/// Counts a WebSocket as open for as long as its TCP connection is held, however that ends.
struct Open(Arc<Board>);

impl Open {
    fn new(board: &Arc<Board>) -> Self {
        board.counters.sockets_open.one();
        Self(Arc::clone(board))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.sockets_open.less(1);
    }
}

/// Tells the line, lets go of the stream, and finishes what is in flight.
async fn wind_up(mut socket: Socket, (ws, open): (WebSocket, Open), end: End) {
    let event = match end {
        End::Closed(why) => Some(Event::Closed(why)),
        End::Useless => Some(Event::Useless),
        End::Aborted => None,
    };
    if let Some(event) = event {
        socket.link.event(event).await;
    }
    let let_go = async {
        match end {
            End::Closed(CloseWhy::Peer | CloseWhy::Retired) => drop(ws),
            End::Closed(CloseWhy::FrameTooLarge) => {
                // Unread bytes make the kernel send a reset on close, which would overtake our close frame.
                tokio::time::sleep(READ_ON).await;
                drop(ws);
            }
            End::Closed(CloseWhy::Transport | CloseWhy::Quiet | CloseWhy::Lost)
            | End::Useless
            | End::Aborted => ws.abort(),
        }
        drop(open);
    };
    tokio::join!(let_go, socket.finish());
}

/// How serving a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed(CloseWhy),
    /// Before hello came something no working socket sends.
    Useless,
    /// The line said so, or has to be let say so.
    Aborted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// To be closed once no request is unacked, or at this moment.
    Retiring(Moment),
    /// Our close frame is out; read on until this moment.
    CloseSent(Moment),
}

struct Socket {
    shared: Arc<Shared>,
    link: Link,
    liveness: Liveness,
    flight: Flight,
    phase: Phase,
    hello: bool,
    /// Envelopes taken before hello.
    before_hello: u32,
    /// Those of them that wait for hello to say whose they are, with when they were read.
    held: Vec<(Moment, Text)>,
    envelope_seen: bool,
    unreadable: Pace,
    foreign: Pace,
    /// Events for the line that one batch of frames brought.
    news: Vec<Event>,
}

impl Socket {
    async fn serve(&mut self, ws: &mut WebSocket) -> End {
        let timer = tokio::time::sleep(self.shared.config.ping_after.0);
        tokio::pin!(timer);
        loop {
            if self.phase != Phase::Open
                && let Some(end) = Box::pin(self.close_in_steps(ws)).await
            {
                return end;
            }
            let reading = self.is_reading();
            let end = tokio::select! {
                biased;
                order = self.link.orders.next() => {
                    let end = Box::pin(self.on_order(ws, order)).await;
                    timer.as_mut().reset(tokio::time::Instant::now() + self.pause());
                    end
                }
                acks = self.flight.ready(&self.shared) => Box::pin(self.write(ws, acks)).await,
                event = ws.next(), if reading => match intake::read(self, ws, event) {
                    None if self.news.is_empty() => None,
                    end => Box::pin(self.on_news(ws, end)).await,
                },
                () = &mut timer => {
                    let end = Box::pin(self.on_timer(ws, reading)).await;
                    timer.as_mut().reset(tokio::time::Instant::now() + self.pause());
                    end
                }
            };
            if let Some(end) = end {
                return end;
            }
            if self.phase != Phase::Open {
                timer.as_mut().reset(tokio::time::Instant::now() + self.pause());
            }
        }
    }

    /// Reading waits while too much is unacked, and at the end of a polite close until all is acked.
    fn is_reading(&self) -> bool {
        let room = !self.flight.is_full(self.shared.config.unacked_max, 0, 0);
        room && (self.flight.has_requests() || !matches!(self.phase, Phase::Retiring(_)))
    }

    async fn close_in_steps(&mut self, ws: &mut WebSocket) -> Option<End> {
        let now = self.shared.clock.now();
        match self.phase {
            Phase::Retiring(until) if self.flight.unacked() == 0 || now >= until => {
                if ws.close(CLOSE_NORMAL).await.is_err() {
                    return Some(End::Closed(CloseWhy::Retired));
                }
                self.phase = Phase::CloseSent(self.shared.clock.now() + READ_ON);
                None
            }
            Phase::CloseSent(until) if now >= until => Some(End::Closed(CloseWhy::Retired)),
            Phase::Open | Phase::Retiring(_) | Phase::CloseSent(_) => None,
        }
    }

    async fn on_order(&mut self, ws: &mut WebSocket, order: Option<Order>) -> Option<End> {
        match order {
            None | Some(Order::Abort) => Some(End::Aborted),
            Some(Order::Retire) => {
                if self.phase == Phase::Open {
                    self.phase = Phase::Retiring(self.shared.clock.now() + REQUESTS_WAIT);
                }
                None
            }
            Some(Order::Look) if self.phase == Phase::Open && self.is_reading() => {
                self.liveness.ask(self.shared.clock.now());
                ping(ws).await
            }
            Some(Order::Look) => None,
            Some(Order::Ack(ack)) => self.write(ws, vec![*ack]).await,
        }
    }

    async fn on_timer(&mut self, ws: &mut WebSocket, reading: bool) -> Option<End> {
        let now = self.shared.clock.now();
        if !reading {
            // The silence is our own doing.
            self.liveness.frame(now);
        }
        match self.liveness.judge(now) {
            Verdict::Fine(_) => None,
            Verdict::Ping(_) if matches!(self.phase, Phase::CloseSent(_)) => None,
            Verdict::Ping(_) => ping(ws).await,
            Verdict::Dead => Some(End::Closed(CloseWhy::Quiet)),
        }
    }

    /// Until the timer has something to do.
    fn pause(&self) -> Duration {
        let now = self.shared.clock.now();
        // A copy judges: a ping that is due by now is the timer's to send, and must not count as sent.
        let mut liveness = self.liveness;
        let quiet = match liveness.judge(now) {
            Verdict::Fine(at) => at,
            Verdict::Ping(_) | Verdict::Dead => now,
        };
        let step = match self.phase {
            Phase::Open => quiet,
            Phase::Retiring(until) | Phase::CloseSent(until) => until,
        };
        now.until(quiet.min(step))
    }

    /// Writes acks with one flush. If the socket fails, they go to the line as late ones.
    async fn write(&mut self, ws: &mut WebSocket, acks: Vec<Ack>) -> Option<End> {
        if acks.is_empty() {
            return None;
        }
        if matches!(self.phase, Phase::CloseSent(_)) {
            self.hand_over(acks).await;
            return None;
        }
        let frames: Vec<_> = acks.iter().map(|ack| ack.frame.clone()).collect();
        match ws.send_all(frames.into_iter()).await {
            Ok(()) => {
                ack::written(&self.shared, acks);
                None
            }
            Err(error) => {
                debug!(tenant = %self.shared.tenant, socket = self.link.generation.0, %error, "acks not written");
                self.hand_over(acks).await;
                Some(End::Closed(CloseWhy::Transport))
            }
        }
    }

    /// Acks that this socket cannot write any more.
    async fn hand_over(&mut self, acks: Vec<Ack>) {
        for ack in acks {
            if self.shared.config.ack_on_replacement {
                self.link.report(Report::LateAck(Box::new(ack))).await;
            } else {
                ack.cut(&self.shared, "not sent on another socket");
            }
        }
    }

    /// The socket is gone: awaits what is in flight, for as long as an ack may still be of use.
    async fn finish(mut self) {
        self.link.orders.close();
        while let Ok(order) = self.link.orders.try_recv() {
            if let Order::Ack(ack) = order {
                self.hand_over(vec![*ack]).await;
            }
        }
        let deadline = tokio::time::sleep(FINISH_MAX);
        tokio::pin!(deadline);
        while self.flight.unacked() > 0 {
            let acks = tokio::select! {
                biased;
                acks = self.flight.ready(&self.shared) => acks,
                () = &mut deadline => break,
            };
            self.hand_over(acks).await;
        }
        self.flight.cut(&self.shared);
    }

    /// What was read ends the socket, or is for the line.
    async fn on_news(&mut self, ws: &mut WebSocket, end: Option<End>) -> Option<End> {
        for event in std::mem::take(&mut self.news) {
            self.link.event(event).await;
        }
        match end {
            Some(End::Closed(CloseWhy::FrameTooLarge)) => {
                if let Err(error) = ws.close(CLOSE_TOO_LARGE).await {
                    debug!(tenant = %self.shared.tenant, %error, "no close frame after an oversized one");
                }
                end
            }
            Some(End::Closed(CloseWhy::Peer)) if matches!(self.phase, Phase::CloseSent(_)) => {
                Some(End::Closed(CloseWhy::Retired))
            }
            end => end,
        }
    }
}

async fn ping(ws: &mut WebSocket) -> Option<End> {
    ws.ping(Bytes::from_static(b"taut")).await.err().map(|_| End::Closed(CloseWhy::Transport))
}
