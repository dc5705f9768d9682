//! `taut status`: the worker and its tenants in one document, as JSON and as a table.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use taut_core::Board;

use super::Seen;
use super::health::Readiness;
use crate::reload::ConfigStatus;

/// The document behind `taut status --json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusReport {
    /// taut's version.
    pub version: String,
    /// The worker's name.
    pub worker: String,
    /// Its store.
    pub store: StoreStatus,
    /// Whether `/readyz` says 200, and what is missing.
    pub ready: Readiness,
    /// How it stands to its files.
    #[serde(default)]
    pub config: ConfigStatus,
    /// Its tenants.
    pub tenants: Vec<TenantStatus>,
    /// Tenants that are not configured and have acked envelopes in the log.
    #[serde(default)]
    pub unconfigured: Vec<Unconfigured>,
}

/// What is kept of a tenant that is not configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unconfigured {
    /// Its id.
    pub id: String,
    /// Acked envelopes that wait for it to be configured again.
    pub backlog_envelopes: u64,
    /// The same in bytes.
    pub backlog_bytes: u64,
    /// Age of the oldest of them.
    pub backlog_oldest_seconds: f64,
}

/// The store's part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoreStatus {
    /// What an ack survives.
    pub durability: String,
    /// Where it is.
    pub path: String,
    /// Whether appends can become durable now.
    pub writable: bool,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Failed writes and syncs since start.
    pub errors: u64,
    /// Ranges set aside as damaged at the last recovery.
    pub damaged_ranges: u64,
    /// What recovery found.
    pub recovery: String,
}

/// One tenant's part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TenantStatus {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// Why, as a code.
    pub reason: String,
    /// Why, as a sentence for the person who can act.
    pub reason_text: String,
    /// Seconds in this state.
    pub since_seconds: u64,
    /// Its Slack app.
    pub app_id: Option<String>,
    /// Sockets that have said hello.
    pub sockets: u32,
    /// Slack's own count of this app's sockets at the last hello.
    pub num_connections: Option<u32>,
    /// Sockets that are not ours.
    pub foreign_sockets: u64,
    /// Seconds since the last frame.
    pub last_frame_seconds: Option<f64>,
    /// Seconds without a live socket while one was wanted.
    pub deaf_seconds: f64,
    /// Envelopes read.
    pub received: u64,
    /// Acks written.
    pub acked: u64,
    /// Envelopes already stored.
    pub duplicates: u64,
    /// Envelopes not acked.
    pub refused: u64,
    /// Events no route wanted.
    pub unrouted: u64,
    /// Stored, not yet delivered.
    pub backlog_envelopes: u64,
    /// The same in bytes.
    pub backlog_bytes: u64,
    /// Age of the oldest of them.
    pub backlog_oldest_seconds: f64,
    /// Envelopes a handler took.
    pub delivered: u64,
    /// Envelopes kept for a person.
    pub dead_letters: u64,
    /// Routes that do not deliver, and why.
    pub routes_down: Vec<(String, String)>,
}

/// The present status.
pub fn report(seen: &Seen, ready: Readiness) -> StatusReport {
    let store = seen.log.store_stats();
    StatusReport {
        version: env!("CARGO_PKG_VERSION").into(),
        worker: seen.about.worker.clone(),
        store: StoreStatus {
            durability: seen.about.durability.into(),
            path: seen.about.store_path.clone(),
            writable: store.writable,
            disk_bytes: store.disk_bytes,
            errors: store.errors,
            damaged_ranges: store.damaged_ranges,
            recovery: seen.about.recovery.clone(),
        },
        ready,
        config: seen.config.lock().clone(),
        tenants: seen.boards().iter().map(|board| tenant(board, seen)).collect(),
        unconfigured: unconfigured(seen),
    }
}

fn unconfigured(seen: &Seen) -> Vec<Unconfigured> {
    let wall = seen.clock.wall();
    let left = seen.unconfigured().into_iter().map(|(tenant, backlog)| Unconfigured {
        id: tenant.to_string(),
        backlog_envelopes: backlog.envelopes,
        backlog_bytes: backlog.bytes,
        backlog_oldest_seconds: backlog.oldest.map_or(0.0, |oldest| wall.since(oldest).as_secs_f64()),
    });
    left.collect()
}

fn tenant(board: &Board, seen: &Seen) -> TenantStatus {
    let (now, wall) = (seen.clock.now(), seen.clock.wall());
    let status = board.status();
    let counters = &board.counters;
    let backlog = seen.log.stats(&board.tenant);
    TenantStatus {
        id: board.tenant.to_string(),
        state: status.state.name().into(),
        reason: status.reason.code,
        reason_text: status.reason.text,
        since_seconds: wall.since(status.since).as_secs(),
        app_id: status.app_id.map(|app_id| app_id.to_string()),
        sockets: status.sockets,
        num_connections: status.num_connections,
        foreign_sockets: counters.socket_foreign.get(),
        last_frame_seconds: status.last_frame.map(|last| now.since(last).as_secs_f64()),
        deaf_seconds: board.deaf_ms(now) as f64 / 1000.0,
        received: counters.received.total(),
        acked: counters.acked.total(),
        duplicates: counters.duplicate.get(),
        refused: counters.refused.total(),
        unrouted: counters.unrouted.get(),
        backlog_envelopes: backlog.envelopes,
        backlog_bytes: backlog.bytes,
        backlog_oldest_seconds: backlog.oldest.map_or(0.0, |oldest| wall.since(oldest).as_secs_f64()),
        delivered: counters.delivered.get(),
        dead_letters: seen.dead_letters.stats(&board.tenant).count,
        routes_down: status.routes_down,
    }
}

impl StatusReport {
    /// The report as a table for people.
    pub fn table(&self) -> String {
        let width = self.tenants.iter().map(|tenant| tenant.id.len()).max().unwrap_or(0).max("tenant".len());
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            text.write_fmt(line).and_then(|()| text.write_char('\n')).expect("a String takes every write");
        };
        let store = &self.store;
        let writable = if store.writable { "writable" } else { "NOT WRITABLE" };
        line(format_args!("worker {}  taut {}  {}", self.worker, self.version, self.ready.sentence()));
        line(format_args!(
            "store  {}  {writable}, {:.1} MiB on disk; an ack means: {}",
            store.path,
            store.disk_bytes as f64 / 1_048_576.0,
            store.durability
        ));
        if let Some(refused) = &self.config.refused {
            line(format_args!(
                "config the last reload was refused, the one before it is in force:\n{refused}"
            ));
        }
        if !self.config.needs_restart.is_empty() {
            line(format_args!("config waits for a restart: {}", self.config.needs_restart.join(", ")));
        }
        line(format_args!(
            "\n{:<width$} {:<11} {:<24} {:>9} {:>9} {:>8} {:>9} {:>6} {:>8}",
            "tenant", "state", "reason", "received", "acked", "backlog", "delivered", "dead", "deaf s"
        ));
        for t in &self.tenants {
            line(format_args!(
                "{:<width$} {:<11} {:<24} {:>9} {:>9} {:>8} {:>9} {:>6} {:>8.1}",
                t.id,
                t.state,
                t.reason,
                t.received,
                t.acked,
                t.backlog_envelopes,
                t.delivered,
                t.dead_letters,
                t.deaf_seconds
            ));
            if !t.reason_text.is_empty() && t.state != "connected" {
                line(format_args!("  └ {}", t.reason_text));
            }
            for (route, why) in &t.routes_down {
                line(format_args!("  └ route {route}: {why}"));
            }
        }
        for left in &self.unconfigured {
            line(format_args!(
                "{:<width$} not configured: {} acked envelopes wait in the log; configure it again to deliver them",
                left.id, left.backlog_envelopes
            ));
        }
        text
    }
}
