//! What a tenant's tasks write and the status page, `/metrics` and `/readyz` read: counters without a registry.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::{AppId, Kind, Moment, Reason, RouteName, TenantId, TenantState, WallMs};

/// A plain counter. Relaxed: readers want totals, not an order between them.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Takes `n` off a gauge.
    pub fn less(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The total so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters of a labelled family: one for each name in a closed list.
#[derive(Debug)]
pub struct Family<const N: usize> {
    /// Shared by all tenants.
    names: &'static [&'static str; N],
    counts: [Count; N],
}

impl<const N: usize> Family<N> {
    fn new(names: &'static [&'static str; N]) -> Self {
        Self { names, counts: std::array::from_fn(|_| Count::default()) }
    }

    /// The counter of this label value; the last one (by convention `other`) for a name not in the list.
    pub fn at(&self, name: &str) -> &Count {
        let index = self.names.iter().position(|known| *known == name).unwrap_or(N - 1);
        &self.counts[index]
    }

    /// Label values and totals of those that ever happened.
    pub fn seen(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.names.iter().zip(&self.counts).map(|(name, count)| (*name, count.get())).filter(|(_, n)| *n > 0)
    }

    /// The sum over all label values.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(Count::get).sum()
    }
}

/// Outcomes of attempts to open a socket, `taut_socket_opens_total{outcome}`.
pub const OPEN_OUTCOMES: [&str; 13] = [
    "hello",
    "wait",
    "park",
    "retry",
    "rate_limited",
    "dns_failed",
    "tcp_failed",
    "proxy_failed",
    "tls_failed",
    "dial_failed",
    "upgrade_refused",
    "no_hello",
    "other",
];
/// Reasons of closed sockets, `taut_socket_closes_total{reason}`.
pub const CLOSE_REASONS: [&str; 13] = [
    "warning",
    "refresh_requested",
    "link_disabled",
    "too_many_websockets",
    "age",
    "quiet",
    "peer_closed",
    "transport",
    "frame_too_large",
    "foreign_app",
    "drain",
    "operator",
    "other",
];
/// Reasons of envelopes not acked, `taut_envelopes_refused_total{reason}`.
pub const REFUSED_REASONS: [&str; 13] = [
    "envelopes_max",
    "bytes_max",
    "total_bytes_max",
    "dead_letters_full",
    "store_unavailable",
    "not_stored",
    "late",
    "handler_refused",
    "answer_too_large",
    "unrouted",
    "closed",
    "foreign_app",
    "other",
];
/// Outcomes of delivery attempts, `taut_delivery_attempts_total{outcome}`.
pub const ATTEMPT_OUTCOMES: [&str; 7] =
    ["done", "unhandled", "target_fault", "transient", "poison", "expired", "other"];

/// A tenant's counters and gauges, rendered on `/metrics` only where something happened.
#[derive(Debug)]
pub struct Counters {
    /// `taut_socket_opens_total{outcome}`.
    pub socket_opens: Family<13>,
    /// `taut_socket_closes_total{reason}`.
    pub socket_closes: Family<13>,
    /// `taut_sockets_open`.
    pub sockets_open: Count,
    /// `taut_socket_foreign`: sockets of this app that are not ours, by Slack's last count.
    pub socket_foreign: Count,
    /// `taut_envelopes_received_total{kind}`.
    pub received: Family<13>,
    /// `taut_envelopes_acked_total{kind}`.
    pub acked: Family<13>,
    /// `taut_envelopes_duplicate_total`.
    pub duplicate: Count,
    /// `taut_envelopes_refused_total{reason}`.
    pub refused: Family<13>,
    /// `taut_envelopes_unrouted_total`.
    pub unrouted: Count,
    /// `taut_frames_unreadable_total`.
    pub unreadable: Count,
    /// `taut_requests_cut_total`: requests that arrived while we were closing their socket and got no answer.
    pub requests_cut: Count,
    /// `taut_delivery_attempts_total{outcome}`.
    pub attempts: Family<7>,
    /// Envelopes delivered by some route (for status; the metric is the attempts' `done`).
    pub delivered: Count,
    /// Whole milliseconds deaf so far, the present gap not included.
    pub deaf_ms: Count,
    /// `taut_tenant_restarts_total`.
    pub restarts: Count,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            socket_opens: Family::new(&OPEN_OUTCOMES),
            socket_closes: Family::new(&CLOSE_REASONS),
            sockets_open: Count::default(),
            socket_foreign: Count::default(),
            received: Family::new(&Kind::NAMES),
            acked: Family::new(&Kind::NAMES),
            duplicate: Count::default(),
            refused: Family::new(&REFUSED_REASONS),
            unrouted: Count::default(),
            unreadable: Count::default(),
            requests_cut: Count::default(),
            attempts: Family::new(&ATTEMPT_OUTCOMES),
            delivered: Count::default(),
            deaf_ms: Count::default(),
            restarts: Count::default(),
        }
    }
}

/// What is known of a tenant right now.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its state.
    pub state: TenantState,
    /// Why.
    pub reason: Reason,
    /// Since when, for people.
    pub since: WallMs,
    /// The app id its sockets said.
    pub app_id: Option<AppId>,
    /// Sockets that have said hello.
    pub sockets: u32,
    /// Slack's own count at the last hello.
    pub num_connections: Option<u32>,
    /// When the last frame of any socket was read.
    pub last_frame: Option<Moment>,
    /// The last frame's wall-clock time, for the record that survives restarts.
    pub last_frame_at: Option<WallMs>,
    /// Whether the tenant is meant to hear: neither paused nor parked. A drain leaves it as it was, for the next start.
    pub wanted: bool,
    /// Set while the tenant should be connected and is not: when the silence began.
    pub deaf_since: Option<Moment>,
    /// Whether a first hello or a first lasting refusal has been seen (for `/readyz`).
    pub settled: bool,
    /// Since when a first hello is tried for.
    pub trying_since: Option<Moment>,
    /// Routes whose breaker is open or that are held, each with a word for why.
    pub routes_down: Vec<(String, String)>,
    /// Whether an operator has paused the tenant by command, for the record that survives restarts.
    pub paused: bool,
    /// Routes that an operator has paused one by one, for the same.
    pub paused_routes: Vec<RouteName>,
    /// Its secrets, by their configuration key, with when each was set, where that is known.
    pub secrets: Vec<(&'static str, WallMs)>,
}

/// One tenant's board.
#[derive(Debug)]
pub struct Board {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its counters.
    pub counters: Counters,
    status: Mutex<Status>,
}

impl Board {
    /// A fresh board: the tenant is starting.
    pub fn new(tenant: TenantId, now: WallMs) -> Self {
        Self {
            tenant,
            counters: Counters::default(),
            status: Mutex::new(Status {
                state: TenantState::Starting,
                reason: Reason::new("start", ""),
                since: now,
                app_id: None,
                sockets: 0,
                num_connections: None,
                last_frame: None,
                last_frame_at: None,
                wanted: false,
                deaf_since: None,
                settled: false,
                trying_since: None,
                routes_down: Vec::new(),
                paused: false,
                paused_routes: Vec::new(),
                secrets: Vec::new(),
            }),
        }
    }

    /// A copy of the status.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the status. Keep `change` short: it runs under the lock.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Milliseconds deaf up to `now`, the present gap included.
    pub fn deaf_ms(&self, now: Moment) -> u64 {
        let present = self
            .status()
            .deaf_since
            .map_or(0, |since| u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX));
        self.counters.deaf_ms.get().saturating_add(present)
    }
}
