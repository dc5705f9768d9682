//! Configuration as it stands after parsing: every key with its default. Checking and layering are the binary's.
//!
//! Secrets appear only as references ([`SecretRef`]); a value that is a secret has no place here.

mod tenant;
mod units;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::tenant::{
    Environment, KindMatch, LateAnswer, RouteConfig, RouteMatch, SecretRef, Target, TenantConfig,
    TenantNetwork,
};
pub use self::units::{OpenRate, Size, Span};
use crate::log::Overflow;

/// The whole configuration of one process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How to reach Slack.
    pub slack: SlackConfig,
    /// The way out.
    pub network: NetworkConfig,
    /// Where envelopes are stored.
    pub store: StoreConfig,
    /// This process.
    pub worker: WorkerConfig,
    /// Limits of the backlog.
    pub queue: QueueConfig,
    /// Limits of dead letters.
    pub dead_letters: DeadLettersConfig,
    /// Limits of delivery.
    pub delivery: DeliveryConfig,
    /// Log lines.
    pub log: LogConfig,
    /// The `/metrics`, `/livez` and `/readyz` listener.
    pub metrics: MetricsConfig,
    /// The command line's socket.
    pub admin: AdminConfig,
    /// Tenants of this host.
    pub tenants: Vec<TenantConfig>,
}

/// `[slack]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlackConfig {
    /// Base of the Web API, with its trailing slash.
    pub api_url: String,
    /// Hosts to which a `response_url` may lead, by name; the host of `api_url` always may.
    pub response_hosts: Vec<String>,
    /// Pace of `apps.connections.open` for one app: a burst, then one each interval.
    pub opens_per_app: OpenRate,
    /// Pace of `apps.connections.open` of this worker, all apps together.
    pub opens_per_second: u32,
    /// Largest frame read from a socket.
    pub frame_bytes_max: Size,
    /// Frames read but not yet acked, per socket; reading waits beyond.
    pub unacked_max: u32,
    /// Silence after which we ping.
    pub ping_after: Span,
    /// Silence after which a socket is dead.
    pub quiet_max: Span,
    /// How long `hello` may take after the upgrade.
    pub hello_timeout: Span,
    /// Whether an ack whose socket was replaced is sent on the replacement (unconfirmed at Slack).
    pub ack_on_replacement: bool,
}

impl Default for SlackConfig {
    fn default() -> Self {
        Self {
            api_url: "https://slack.com/api/".into(),
            response_hosts: vec!["hooks.slack.com".into(), "hooks.slack-gov.com".into()],
            opens_per_app: OpenRate::default(),
            opens_per_second: 100,
            frame_bytes_max: Size::mib(16),
            unacked_max: 64,
            ping_after: Span::secs(15),
            quiet_max: Span::secs(30),
            hello_timeout: Span::secs(15),
            ack_on_replacement: true,
        }
    }
}

/// `[network]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// CONNECT proxy for everything that goes to Slack. Unset: `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count.
    pub proxy: Option<String>,
    /// User for the proxy's basic auth.
    pub proxy_user: Option<String>,
    /// Password for the proxy's basic auth.
    pub proxy_password: Option<SecretRef>,
    /// PEM files with more roots, added to the system's.
    pub ca_files: Vec<PathBuf>,
    /// Deadlines of one dial.
    pub deadlines: Deadlines,
}

/// `[network.deadlines]`: each step of reaching a host has its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deadlines {
    /// Name resolution.
    pub dns: Span,
    /// TCP connect.
    pub tcp: Span,
    /// The proxy's answer to CONNECT.
    pub connect: Span,
    /// TLS handshake.
    pub tls: Span,
    /// WebSocket upgrade.
    pub upgrade: Span,
    /// A whole call of Slack's Web API.
    pub call: Span,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            dns: Span::secs(3),
            tcp: Span::secs(5),
            connect: Span::secs(5),
            tls: Span::secs(5),
            upgrade: Span::secs(5),
            call: Span::secs(10),
        }
    }
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Which engine.
    pub kind: StoreKind,
    /// Directory of the store. Unset: `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/taut`, else `~/.local/state/taut`.
    pub path: Option<PathBuf>,
    /// Size of one segment of the log.
    pub segment_bytes: Size,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { kind: StoreKind::default(), path: None, segment_bytes: Size::mib(64) }
    }
}

/// Which engine stores envelopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// Segments on this host's disk.
    #[default]
    Disk,
}

/// `[worker]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    /// This worker's name. Unset: the host's name.
    pub name: Option<String>,
    /// Most tenants of this worker.
    pub tenants_max: u32,
    /// Longest drain: what is unfinished then stays in the log.
    pub drain_timeout: Span,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self { name: None, tenants_max: 10_000, drain_timeout: Span::secs(25) }
    }
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Most envelopes in one tenant's backlog.
    pub envelopes_max: u64,
    /// Most bytes in one tenant's backlog.
    pub bytes_max: Size,
    /// Most bytes of all backlogs together.
    pub total_bytes_max: Size,
    /// What happens beyond.
    pub overflow: Overflow,
    /// Share of a tenant's limits that only requests may use.
    pub request_reserve_percent: u8,
    /// How long a dedup key is remembered.
    pub dedup_window: Span,
    /// Most dedup keys of one tenant.
    pub dedup_entries_max: u32,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            envelopes_max: 10_000,
            bytes_max: Size::mib(64),
            total_bytes_max: Size::mib(8 * 1024),
            overflow: Overflow::default(),
            request_reserve_percent: 10,
            dedup_window: Span::secs(15 * 60),
            dedup_entries_max: 100_000,
        }
    }
}

/// `[dead_letters]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLettersConfig {
    /// Most bytes of all dead letters.
    pub bytes_max: Size,
    /// How long they are kept.
    pub age_max: Span,
}

impl Default for DeadLettersConfig {
    fn default() -> Self {
        Self { bytes_max: Size::mib(1024), age_max: Span::secs(14 * 86_400) }
    }
}

/// `[delivery]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryConfig {
    /// Attempts after which an event becomes a dead letter.
    pub attempts_max: u32,
    /// Age at which an event becomes a dead letter.
    pub age_max: Span,
    /// What handlers' URLs may reach: `loopback`, `private`, a host name, `*.domain`, an address or a network.
    pub allow_hosts: Vec<String>,
    /// Which programs routes may run: files, or directories that end in a slash.
    pub exec_allow: Vec<String>,
    /// Most programs of all routes at once.
    pub exec_max: u32,
    /// Directories below which routes may append to files.
    pub file_dirs: Vec<String>,
    /// First pause between attempts; doubles, jittered, up to `retry_max`.
    pub retry_first: Span,
    /// Longest pause between attempts.
    pub retry_max: Span,
    /// Largest answer read from a handler.
    pub answer_bytes_max: Size,
    /// Target faults in a row that open a route's breaker.
    pub breaker_faults: u32,
    /// Poison verdicts in a row, without a success, that hold a route.
    pub poison_hold: u32,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            attempts_max: 8,
            age_max: Span::secs(86_400),
            allow_hosts: vec!["loopback".into(), "private".into()],
            exec_allow: Vec::new(),
            exec_max: 64,
            file_dirs: Vec::new(),
            retry_first: Span::secs(1),
            retry_max: Span::secs(300),
            answer_bytes_max: Size::mib(1),
            breaker_faults: 5,
            poison_hold: 20,
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Shape of the lines.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter like `info,taut_socket=debug`.
    pub level: String,
    /// Where the journal listens.
    pub journal_socket: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            level: "info".into(),
            journal_socket: "/run/systemd/journal/socket".into(),
        }
    }
}

/// Shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, the journal where stderr leads to it, else JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
    /// Entries with fields, straight to the systemd journal.
    Journald,
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Address of the listener.
    pub listen: String,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".into() }
    }
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// `unix:PATH`. Unset: `$RUNTIME_DIRECTORY/admin.sock`, else `admin.sock` in the store's directory.
    pub listen: Option<String>,
}
