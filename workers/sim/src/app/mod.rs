//! One simulated Slack app: its settings, its sockets, and what it has not acked.

mod acks;
mod delivery;
mod opening;

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use acks::AckFrame;
pub(crate) use delivery::Item;
pub use delivery::{AckOutcome, Unanswered};
pub(crate) use opening::{OpenAnswer, Opening, Seat, SeatRefused};

use crate::clock::Tick;
use crate::config::AppSpec;
use crate::faults::{OpenFailure, UpgradeFailure};
use crate::journal::NoteKind;
use crate::shared::Shared;
use crate::socket::Connection;

#[derive(Debug)]
pub(crate) struct App {
    pub id: Arc<str>,
    pub team_id: Box<str>,
    pub channels: Vec<Box<str>>,
    /// The opaque `app_id` of socket URLs: 64 hex digits.
    pub url_hash: String,
    pub state: Mutex<AppState>,
}

#[derive(Debug)]
pub(crate) struct AppState {
    pub rng: SmallRng,
    pub scopes: Vec<String>,
    pub socket_mode: bool,
    /// Set: every use of the app-level token answers this code.
    pub token_error: Option<String>,
    /// Open sockets, those without hello included.
    pub connections: Vec<Arc<Connection>>,
    /// Until when sockets that vanished without a close handshake still count.
    pub dead_until: Vec<Instant>,
    /// Sockets of somebody else.
    pub ghosts: u32,
    /// Whether ghosts take (and ack) their share of the envelopes.
    pub ghosts_take: bool,
    pub hold_hello: bool,
    /// Calls of `apps.connections.open` with a token of this app.
    pub opens_made: u64,
    pub hellos_said: u64,
    /// Text frames that every new socket receives before its hello.
    pub before_hello: Vec<String>,
    pub open_failures: VecDeque<OpenFailure>,
    pub upgrade_failures: VecDeque<UpgradeFailure>,
    tickets: HashMap<Uuid, Instant>,
    opens: Bucket,
    last_upgrade: Option<Instant>,
    pending: HashMap<Uuid, delivery::Pending>,
    /// Events that wait for their next attempt.
    retrying: usize,
    last_tick: Tick,
    hour: Hour,
    scratch: String,
}

/// Calls an app may still make, refilled with time.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    refilled: Instant,
}

/// Attempts and failures of the current hour, for Slack's 95 % rule.
#[derive(Debug)]
struct Hour {
    began: Instant,
    attempts: u64,
    failed: u64,
    noted: bool,
}

impl App {
    pub(crate) fn new(sim: &Shared, spec: &AppSpec, number: u64) -> Self {
        let now = Instant::now();
        let state = AppState {
            rng: SmallRng::seed_from_u64(sim.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            scopes: spec.app_token_scopes.clone(),
            socket_mode: spec.socket_mode,
            token_error: None,
            connections: Vec::new(),
            dead_until: Vec::new(),
            ghosts: 0,
            ghosts_take: false,
            hold_hello: false,
            opens_made: 0,
            hellos_said: 0,
            before_hello: Vec::new(),
            open_failures: VecDeque::new(),
            upgrade_failures: VecDeque::new(),
            tickets: HashMap::new(),
            opens: Bucket { tokens: f64::from(sim.switches.opens_burst), refilled: now },
            last_upgrade: None,
            pending: HashMap::new(),
            retrying: 0,
            last_tick: Tick { seconds: 0, micros: 0 },
            hour: Hour { began: now, attempts: 0, failed: 0, noted: false },
            scratch: String::new(),
        };
        Self {
            id: spec.app_id.as_str().into(),
            team_id: spec.team_id.as_str().into(),
            channels: spec.channels.iter().map(|channel| channel.as_str().into()).collect(),
            url_hash: hex(
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spec.app_id.as_bytes()).as_ref()
            ),
            state: Mutex::new(state),
        }
    }

    /// Forgets a socket that is gone.
    pub(crate) fn leave(&self, sim: &Shared, connection: &Connection, orderly: bool) {
        let mut state = self.state.lock();
        let before = state.connections.len();
        state.connections.retain(|held| held.id != connection.id);
        if !orderly && before > state.connections.len() && !sim.switches.dead_sockets_count_for.is_zero() {
            state.dead_until.push(Instant::now() + sim.switches.dead_sockets_count_for);
        }
    }

    /// Says hello on a socket: from here it may receive envelopes. Returns the text.
    pub(crate) fn say_hello(&self, sim: &Shared, connection: &Connection) -> String {
        let mut state = self.state.lock();
        let num_connections = state.socket_count(Instant::now());
        state.hellos_said += 1;
        connection.set_helloed();
        sim.journal.note(Some(&self.id), NoteKind::Hello { connection: connection.id, num_connections });
        let life = connection.life.as_secs();
        format!(
            r#"{{"type":"hello","num_connections":{num_connections},"debug_info":{{"host":"{}","build_number":118,"approximate_connection_time":{life}}},"connection_info":{{"app_id":"{}"}}}}"#,
            connection.host(),
            self.id,
        )
    }
}

impl AppState {
    /// Sockets that count against the app's limit.
    pub(crate) fn socket_count(&mut self, now: Instant) -> u32 {
        self.dead_until.retain(|until| *until > now);
        let own = self.connections.len() + self.dead_until.len();
        self.ghosts.saturating_add(u32::try_from(own).unwrap_or(u32::MAX))
    }

    pub(crate) fn unacked(&self) -> usize {
        self.pending.len()
    }
}

impl Bucket {
    /// Takes one token, or says how long until there is one.
    fn take(&mut self, now: Instant, burst: u32, per_minute: u32) -> Result<(), Duration> {
        let per_second = f64::from(per_minute) / 60.0;
        let earned = now.saturating_duration_since(self.refilled).as_secs_f64() * per_second;
        self.tokens = (self.tokens + earned).min(f64::from(burst));
        self.refilled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = if per_second > 0.0 { (1.0 - self.tokens) / per_second } else { 3_600.0 };
        Err(Duration::from_secs_f64(wait.min(3_600.0)))
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to memory cannot fail");
        text
    })
}
