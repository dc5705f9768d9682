//! From `apps.connections.open` to a seat: tickets, the rate of opens, the limit of sockets, the upgrade race.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;
use uuid::Uuid;

use super::{App, AppState};
use crate::faults::{OpenFailure, UpgradeFailure};
use crate::journal::NoteKind;
use crate::shared::Shared;
use crate::socket::Connection;

/// Unused tickets an app may hold; the oldest ones go first.
const TICKETS_MAX: usize = 1_000;

/// What `apps.connections.open` has to say.
#[derive(Debug)]
pub(crate) enum OpenAnswer {
    Ticket { url: String, socket_mode: bool },
    Error { code: String },
    MissingScope { provided: String },
    RateLimited { wait: Duration },
    Fault { failure: OpenFailure, url: String },
}

/// A place among the app's sockets, taken before 101 is sent.
#[derive(Debug)]
pub(crate) struct Seat {
    pub connection: Arc<Connection>,
    pub opening: Opening,
}

/// How a socket begins after 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opening {
    Hello,
    /// Hello waits for a command.
    Held,
    TooMany,
    Fault(UpgradeFailure),
}

/// Why there is no seat.
#[derive(Debug)]
pub(crate) enum SeatRefused {
    Status { status: u16, why: &'static str },
    Fault(UpgradeFailure),
}

impl App {
    /// One call of `apps.connections.open` with this app's token.
    pub(crate) fn open(&self, sim: &Shared) -> OpenAnswer {
        let answer = self.open_answer(sim);
        let outcome = match &answer {
            OpenAnswer::Ticket { .. } => "ok".to_owned(),
            OpenAnswer::Error { code } => code.clone(),
            OpenAnswer::MissingScope { .. } => "missing_scope".to_owned(),
            OpenAnswer::RateLimited { .. } => "ratelimited".to_owned(),
            OpenAnswer::Fault { failure, .. } => format!("fault: {failure:?}"),
        };
        sim.journal.note(Some(&self.id), NoteKind::Open { outcome });
        answer
    }

    fn open_answer(&self, sim: &Shared) -> OpenAnswer {
        let now = Instant::now();
        let switches = &sim.switches;
        let mut state = self.state.lock();
        state.opens_made += 1;
        if let Some(failure) = state.open_failures.pop_front() {
            let url = self.ticket_url(sim, &mut state, now);
            return OpenAnswer::Fault { failure, url };
        }
        if let Some(code) = &state.token_error {
            return OpenAnswer::Error { code: code.clone() };
        }
        if !state.scopes.iter().any(|scope| scope == "connections:write") {
            return OpenAnswer::MissingScope { provided: state.scopes.join(",") };
        }
        if let Err(wait) = state.opens.take(now, switches.opens_burst, switches.opens_per_minute) {
            return OpenAnswer::RateLimited { wait };
        }
        let url = self.ticket_url(sim, &mut state, now);
        OpenAnswer::Ticket { url, socket_mode: state.socket_mode }
    }

    /// A ticket without asking for the rate, the token or a fault.
    pub(crate) fn fresh_url(&self, sim: &Shared) -> String {
        self.ticket_url(sim, &mut self.state.lock(), Instant::now())
    }

    fn ticket_url(&self, sim: &Shared, state: &mut AppState, now: Instant) -> String {
        state.tickets.retain(|_, until| *until > now);
        if state.tickets.len() >= TICKETS_MAX
            && let Some(oldest) =
                state.tickets.iter().min_by_key(|(_, until)| **until).map(|(ticket, _)| *ticket)
        {
            state.tickets.remove(&oldest);
        }
        let ticket = fresh_uuid(&mut state.rng);
        state.tickets.insert(ticket, now + sim.switches.ticket_life);
        format!("{}/link/?ticket={ticket}&app_id={}", sim.origins().socket, self.url_hash)
    }

    /// Spends a ticket for a seat.
    pub(crate) fn seat(
        &self,
        sim: &Shared,
        ticket: Uuid,
        debug_reconnects: bool,
    ) -> Result<Seat, SeatRefused> {
        let now = Instant::now();
        let switches = &sim.switches;
        let mut state = self.state.lock();
        if state.tickets.remove(&ticket).is_none_or(|until| until <= now) {
            let status = switches.ticket_refused_status;
            return Err(SeatRefused::Status { status, why: "ticket unknown, used or expired" });
        }
        let raced = state
            .last_upgrade
            .is_some_and(|last| now.saturating_duration_since(last) < switches.upgrade_race);
        state.last_upgrade = Some(now);
        if raced {
            return Err(SeatRefused::Status { status: 409, why: "two upgrades of one app at once" });
        }
        let fault = state.upgrade_failures.pop_front();
        if let Some(before_101) = fault.clone().filter(UpgradeFailure::comes_before_101) {
            return Err(SeatRefused::Fault(before_101));
        }
        let life = if debug_reconnects { switches.debug_connection_life } else { switches.connection_life };
        let connection = Arc::new(Connection::new(sim.next_connection(), life));
        for text in &state.before_hello {
            connection.send_text(text.as_bytes());
        }
        let opening = match fault {
            Some(fault) => Opening::Fault(fault),
            None if state.socket_count(now) >= switches.sockets_max => Opening::TooMany,
            None if state.hold_hello => Opening::Held,
            None => Opening::Hello,
        };
        if opening != Opening::TooMany {
            state.connections.push(connection.clone());
        }
        Ok(Seat { connection, opening })
    }
}

impl UpgradeFailure {
    const fn comes_before_101(&self) -> bool {
        match self {
            Self::Status { .. } | Self::Html | Self::WrongAccept | Self::Hang | Self::Abort => true,
            Self::Text { .. }
            | Self::NoHello
            | Self::DropAfterHello
            | Self::Disconnect { .. }
            | Self::HelloOfApp { .. } => false,
        }
    }
}

pub(super) fn fresh_uuid(rng: &mut impl Rng) -> Uuid {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
