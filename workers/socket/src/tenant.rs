//! The line's task: feeds the machine, and does what it says.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc;
use taut_core::{AppId, Moment, Reason, TenantState, WallMs};
use taut_net::retry::Backoff;
use taut_vault::AppToken;
use tokio::task::{Id, JoinSet};
use tracing::{debug, error, info, warn};

use crate::handle::{ClaimApp, LineEnd, Wishes};
use crate::pure::deaf::Deaf;
use crate::pure::late::LateAcks;
use crate::pure::line::{Alarm, CloseWhy, Delays, Desired, Event, Generation, Input, Line, Output, Rules};
use crate::shared::Shared;
use crate::socket::{self, ACK_DEADLINE, Ack, Link, Order, Report};

/// First pause between attempts to open a socket; doubles, jittered …
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_mins(2);
/// Reports of sockets not yet taken, and one more for each socket; one that finds no room waits.
const REPORTS_MAX: usize = 32;
/// Orders a socket has not yet taken; late acks wait with the line beyond. More than it may hold for a new socket.
const ORDERS_MAX: usize = 80;
/// Without anything to wait for, the line looks again after this.
const IDLE: Duration = Duration::from_hours(1);

impl Delays for Backoff {
    fn next_delay(&mut self) -> Duration {
        Self::next_delay(self)
    }

    fn reset(&mut self) {
        Self::reset(self);
    }
}

/// What is the line's own at its start.
pub(crate) struct Setup {
    pub(crate) app_token: AppToken,
    pub(crate) app_id: Option<AppId>,
    pub(crate) desired: Desired,
    pub(crate) seed: u64,
    pub(crate) deaf_since: Option<WallMs>,
    pub(crate) claim_app: ClaimApp,
}

/// A socket's task, as long as it runs: it may outlive its socket to finish what is in flight.
struct Slot {
    generation: Generation,
    task: Id,
    orders: mpsc::Sender<Order>,
    abort: tokio::task::AbortHandle,
}

pub(crate) struct Tenant {
    shared: Arc<Shared>,
    wishes: Arc<Wishes>,
    token: Arc<AppToken>,
    line: Line<Backoff>,
    /// The socket that late acks go to.
    current: Option<Generation>,
    late: LateAcks<Box<Ack>>,
    deaf: Deaf,
    sockets: JoinSet<()>,
    slots: Vec<Slot>,
    /// Like the orders, a list and not tokio's channel: that one takes a block for 32 messages at once.
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    claim_app: ClaimApp,
    drain_by: Option<Moment>,
    first_wish: Desired,
}

impl Tenant {
    pub(crate) fn new(shared: Arc<Shared>, setup: Setup, wishes: Arc<Wishes>) -> Self {
        let rules =
            Rules { hello_timeout: shared.config.hello_timeout.0, app_id: setup.app_id, seed: setup.seed };
        let deaf_since = setup.deaf_since.filter(|_| setup.desired == Desired::Connected);
        if let Some(since) = deaf_since {
            shared.board.counters.deaf_ms.add(millis(shared.clock.wall().since(since)));
        }
        let deaf = Deaf::new(shared.clock.now(), deaf_since.is_some());
        Self {
            line: Line::new(rules, Backoff::new(RETRY_FIRST, RETRY_MAX, setup.seed)),
            wishes,
            token: Arc::new(setup.app_token),
            current: None,
            late: LateAcks::new(ACK_DEADLINE),
            deaf,
            sockets: JoinSet::new(),
            slots: Vec::new(),
            reports: mpsc::channel(REPORTS_MAX),
            claim_app: setup.claim_app,
            drain_by: None,
            first_wish: setup.desired,
            shared,
        }
    }

    /// Runs until drained. Boxed: an async function keeps a second copy of what it is given by value.
    pub(crate) async fn run(mut self: Box<Self>) -> LineEnd {
        self.feed(Input::Desired(self.first_wish));
        loop {
            if let Some(end) = self.drained() {
                return end;
            }
            let (wishes, pause) = (Arc::clone(&self.wishes), self.pause());
            tokio::select! {
                biased;
                () = wishes.changed.notified() => self.on_wishes(),
                Some(report) = self.reports.1.next() => self.on_report(report),
                Some(ended) = self.sockets.join_next_with_id() => match ended {
                    Ok((task, ())) => self.on_ended(task, false),
                    Err(error) => self.on_ended(error.id(), error.is_panic()),
                },
                () = tokio::time::sleep(pause) => self.feed(Input::Tick),
            }
        }
    }

    /// How long nothing is to be done by itself.
    fn pause(&self) -> Duration {
        let now = self.shared.clock.now();
        let next = self.line.wake_at().into_iter().chain(self.drain_by).chain(self.late.next_expiry()).min();
        next.map_or(IDLE, |at| now.until(at).min(IDLE))
    }

    fn drained(&self) -> Option<LineEnd> {
        let by = self.drain_by?;
        if self.line.is_empty() && self.sockets.is_empty() {
            return Some(LineEnd::Drained);
        }
        if self.shared.clock.now() < by {
            return None;
        }
        warn!(tenant = %self.shared.tenant, sockets = self.sockets.len(), "drain cut off at its deadline");
        Some(LineEnd::CutOff)
    }

    fn on_wishes(&mut self) {
        let pending = self.wishes.take();
        if let Some(token) = pending.token {
            self.token = Arc::new(token);
            self.feed(Input::TokenChanged);
        }
        if let Some(desired) = pending.desired.filter(|_| self.drain_by.is_none()) {
            self.feed(Input::Desired(desired));
        }
        if let Some(by) = pending.drain_by {
            self.drain_by = Some(by);
            self.feed(Input::Desired(Desired::Draining));
        }
        if let Some(still) = pending.still {
            let deaf = self.deaf.stood_still(self.shared.clock.now(), still);
            self.shared.board.counters.deaf_ms.add(millis(deaf));
            for slot in &mut self.slots {
                if slot.orders.try_send(Order::Look).is_err() {
                    debug!(tenant = %self.shared.tenant, socket = slot.generation.0, "busy or gone: not asked");
                }
            }
            self.feed(Input::Tick);
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Event(generation, event) => self.feed(Input::Socket(generation, event)),
            Report::LateAck(ack) => {
                let given_up = self.late.push(ack.received, ack);
                self.send_late(given_up);
            }
        }
    }

    /// Late acks go to the current socket, wait for room or the next one, or are cut where none will come in time.
    fn send_late(&mut self, given_up: Option<Box<Ack>>) {
        let mut cut: Vec<_> = given_up.into_iter().collect();
        cut.extend(self.late.expired(self.shared.clock.now()));
        let slot = self.slots.iter_mut().find(|slot| Some(slot.generation) == self.current);
        if let Some(slot) = slot {
            let waiting: Vec<_> = self.late.take().collect();
            for ack in waiting {
                if let Err(refused) = slot.orders.try_send(Order::Ack(ack))
                    && let Order::Ack(ack) = refused.into_inner()
                {
                    // Too busy, or gone itself: for its next free moment, or for the socket after it.
                    cut.extend(self.late.push(ack.received, ack));
                }
            }
        } else if !self.line.is_wanted() {
            cut.extend(self.late.take());
        }
        for ack in cut {
            ack.cut(&self.shared, "no socket takes it in time");
        }
    }

    fn on_ended(&mut self, task: Id, panicked: bool) {
        let Some(index) = self.slots.iter().position(|slot| slot.task == task) else { return };
        let generation = self.slots.swap_remove(index).generation;
        if panicked {
            error!(tenant = %self.shared.tenant, socket = generation.0, "a socket's task panicked; the line goes on");
        }
        // Usually its last report came first, and this is old news to the machine.
        self.feed(Input::Socket(generation, Event::Closed(CloseWhy::Lost)));
    }

    /// One input, and everything that follows from it.
    fn feed(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let now = self.shared.clock.now();
            for output in self.line.step(now, input) {
                next = next.or(self.act(now, output));
            }
        }
        self.note();
        self.send_late(None);
    }

    /// Does one thing; the machine's next input, if it follows at once.
    fn act(&mut self, now: Moment, output: Output) -> Option<Input> {
        let counters = &self.shared.board.counters;
        match output {
            Output::Open(generation) => self.open(generation),
            Output::Retire(generation) => self.order(generation, Order::Retire),
            Output::Abort(generation) => self.order(generation, Order::Abort),
            Output::Claim(app_id) => {
                let ours = (self.claim_app)(&app_id);
                self.shared.board.update(|status| status.app_id = Some(app_id));
                return (!ours).then_some(Input::AppTaken);
            }
            Output::HoldOpens(until) => self.shared.gate.hold(&self.token.fingerprint(), until),
            Output::Current(generation, num_connections) => {
                self.current = Some(generation);
                counters.deaf_ms.add(millis(self.deaf.hello(now)));
                self.shared.board.update(|status| {
                    status.num_connections = num_connections;
                    status.settled = true;
                });
            }
            Output::State(state, reason) => self.show(state, reason),
            Output::OpenEnded(outcome) => counters.socket_opens.at(outcome).one(),
            Output::SocketEnded(reason) => counters.socket_closes.at(reason).one(),
            Output::Foreign(count) => counters.socket_foreign.set(u64::from(count)),
            Output::Alarm(alarm) => self.alarm(&alarm),
        }
        None
    }

    fn open(&mut self, generation: Generation) {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let link = Link {
            generation,
            reports: self.reports.0.clone(),
            orders: inbox,
            token: Arc::clone(&self.token),
            app_id: self.line.app_id().cloned(),
        };
        let abort = self.sockets.spawn(socket::run(Arc::clone(&self.shared), link));
        self.slots.push(Slot { generation, task: abort.id(), orders, abort });
    }

    fn order(&mut self, generation: Generation, order: Order) {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.generation == generation) else { return };
        if slot.orders.try_send(order).is_err_and(|refused| refused.is_full()) {
            // A socket that takes no orders is stuck. One whose inbox is closed is winding up by itself.
            slot.abort.abort();
        }
    }

    /// Brings the board up to date after a step.
    fn note(&mut self) {
        let now = self.shared.clock.now();
        let board = &self.shared.board;
        // First what is wanted: a socket given up because nobody wants it is no loss.
        board.counters.deaf_ms.add(millis(self.deaf.want(now, self.line.is_wanted())));
        if !self.line.is_live() {
            self.current = None;
            self.deaf.lost(board.status().last_frame.unwrap_or(now));
        }
        let (sockets, deaf_since) = (self.line.sockets(), self.deaf.since());
        let wanted = self.drain_by.is_none().then(|| self.line.is_wanted());
        board.update(|status| {
            status.sockets = sockets;
            status.wanted = wanted.unwrap_or(status.wanted);
            status.trying_since = status.trying_since.or(wanted.filter(|wanted| *wanted).map(|_| now));
            status.deaf_since = deaf_since;
        });
    }

    fn show(&self, state: TenantState, reason: Reason) {
        let tenant = &self.shared.tenant;
        let (name, code, text) = (state.name(), reason.code.as_str(), reason.text.as_str());
        match state {
            TenantState::Waiting | TenantState::Parked => {
                warn!(%tenant, state = name, reason = code, text, "state changed");
            }
            TenantState::Starting
            | TenantState::Connected
            | TenantState::Moving
            | TenantState::Paused
            | TenantState::Quarantined
            | TenantState::Incomplete
            | TenantState::Unplaced => info!(%tenant, state = name, reason = code, text, "state changed"),
        }
        let since = self.shared.clock.wall();
        self.shared.board.update(|status| {
            if status.state != state {
                status.since = since;
            }
            status.settled |= matches!(state, TenantState::Waiting | TenantState::Parked);
            status.state = state;
            status.reason = reason;
        });
    }

    fn alarm(&self, alarm: &Alarm) {
        let tenant = &self.shared.tenant;
        match alarm {
            Alarm::TooManyWebsockets => {
                warn!(%tenant, "Slack refuses further sockets of this app; nothing is opened for a while");
            }
            Alarm::ForeignSockets(count) => {
                warn!(%tenant, count, "sockets of this app that are not ours take a share of its events");
            }
            Alarm::ForeignApp { found } => {
                error!(%tenant, found, "the app-level token belongs to another app than the tenant's");
            }
            Alarm::DuplicateApp => error!(%tenant, "another tenant already holds this app"),
            Alarm::FrameTooLarge => {
                warn!(%tenant, limit = %self.shared.config.frame_bytes_max, "Slack sent a frame beyond the limit");
            }
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
