//! The catalogue of metrics: name, kind, labels, unit and help of each, in one place. `docs/metrics.md` is generated
//! from it.

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// Only grows; restarts at 0 with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets with these upper bounds (seconds).
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Full name, `taut_…`.
    pub name: &'static str,
    /// What it measures.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// One line for people.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

const fn histogram(
    name: &'static str,
    bounds: &'static [f64],
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: MetricKind::Histogram(bounds), labels, help }
}

/// Upper bounds for acks, in seconds. Slack waits 3 s for an ack
/// (<https://docs.slack.dev/apis/events-api/using-socket-mode>), so 3 is a bound.
pub const ACK_BOUNDS: [f64; 12] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 3.0];
/// Upper bounds for what may take minutes, in seconds.
pub const DELAY_BOUNDS: [f64; 12] =
    [0.005, 0.025, 0.1, 0.5, 1.0, 3.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 86_400.0];
/// Upper bounds for the store's steps, in seconds.
pub const STORE_BOUNDS: [f64; 10] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.3, 1.0, 2.5];

/// `taut_tenant_connected`.
pub const TENANT_CONNECTED: Metric =
    gauge("taut_tenant_connected", &["tenant"], "1 while a socket of the tenant has said hello, else 0");
/// `taut_tenant_state`.
pub const TENANT_STATE: Metric =
    gauge("taut_tenant_state", &["tenant", "state"], "1 for the state the tenant is in");
/// `taut_tenant_deaf_seconds_total`.
pub const TENANT_DEAF: Metric = counter(
    "taut_tenant_deaf_seconds_total",
    &["tenant"],
    "Seconds from the last frame on the last live socket to the next hello, while the tenant should be connected",
);
/// `taut_socket_opens_total`.
pub const SOCKET_OPENS: Metric = counter(
    "taut_socket_opens_total",
    &["tenant", "outcome"],
    "Attempts to open a socket, by how they ended",
);
/// `taut_socket_closes_total`.
pub const SOCKET_CLOSES: Metric =
    counter("taut_socket_closes_total", &["tenant", "reason"], "Sockets that ended after hello, by reason");
/// `taut_sockets_open`.
pub const SOCKETS_OPEN: Metric = gauge(
    "taut_sockets_open",
    &["tenant"],
    "WebSockets whose TCP connection this process holds open, those on their way out included",
);
/// `taut_socket_foreign`.
pub const SOCKET_FOREIGN: Metric = gauge(
    "taut_socket_foreign",
    &["tenant"],
    "Sockets of this app that are not ours, by Slack's count: ghosts, or somebody else who takes a share of the events",
);
/// `taut_envelopes_received_total`.
pub const ENVELOPES_RECEIVED: Metric =
    counter("taut_envelopes_received_total", &["tenant", "kind"], "Envelopes read from sockets");
/// `taut_envelopes_acked_total`.
pub const ENVELOPES_ACKED: Metric = counter(
    "taut_envelopes_acked_total",
    &["tenant", "kind"],
    "Acks written, each after its envelope was stored",
);
/// `taut_envelopes_duplicate_total`.
pub const ENVELOPES_DUPLICATE: Metric = counter(
    "taut_envelopes_duplicate_total",
    &["tenant"],
    "Envelopes already stored: acked, not stored again",
);
/// `taut_envelopes_refused_total`.
pub const ENVELOPES_REFUSED: Metric =
    counter("taut_envelopes_refused_total", &["tenant", "reason"], "Envelopes not acked, by reason");
/// `taut_envelopes_unrouted_total`.
pub const ENVELOPES_UNROUTED: Metric =
    counter("taut_envelopes_unrouted_total", &["tenant"], "Events that match no route: acked, not delivered");
/// `taut_frames_unreadable_total`.
pub const FRAMES_UNREADABLE: Metric = counter(
    "taut_frames_unreadable_total",
    &["tenant"],
    "Frames that could not be read; the socket lives on",
);
/// `taut_requests_cut_total`.
pub const REQUESTS_CUT: Metric = counter(
    "taut_requests_cut_total",
    &["tenant"],
    "Requests that arrived while their socket was being closed and could not be answered",
);
/// `taut_backlog_envelopes`.
pub const BACKLOG_ENVELOPES: Metric =
    gauge("taut_backlog_envelopes", &["tenant"], "Stored, not yet delivered, in envelopes");
/// `taut_backlog_bytes`.
pub const BACKLOG_BYTES: Metric =
    gauge("taut_backlog_bytes", &["tenant"], "Stored, not yet delivered, in bytes");
/// `taut_backlog_oldest_seconds`.
pub const BACKLOG_OLDEST: Metric =
    gauge("taut_backlog_oldest_seconds", &["tenant"], "Age of the oldest envelope not yet delivered");
/// `taut_delivery_attempts_total`.
pub const DELIVERY_ATTEMPTS: Metric =
    counter("taut_delivery_attempts_total", &["tenant", "outcome"], "Requests to handlers, by verdict");
/// `taut_dead_letters`.
pub const DEAD_LETTERS: Metric =
    gauge("taut_dead_letters", &["tenant"], "Envelopes given up on and kept for a person");
/// `taut_dead_letters_ended_total`.
pub const DEAD_LETTERS_ENDED: Metric = counter(
    "taut_dead_letters_ended_total",
    &["end"],
    "Dead letters that are no longer kept: replay, drop or retention",
);
/// `taut_requests_expired_total`.
pub const REQUESTS_EXPIRED: Metric = counter(
    "taut_requests_expired_total",
    &[],
    "Stored requests that a crash left unanswered, closed at recovery",
);
/// `taut_secret_age_seconds`.
pub const SECRET_AGE: Metric = gauge(
    "taut_secret_age_seconds",
    &["tenant", "secret"],
    "Seconds since the secret was set, where its place tells: the last change of its file",
);
/// `taut_tenant_restarts_total`.
pub const TENANT_RESTARTS: Metric = counter(
    "taut_tenant_restarts_total",
    &["tenant"],
    "Times a part of the tenant ended on its own, by a bug in taut, and was started anew",
);
/// `taut_panics_total`.
pub const PANICS: Metric =
    counter("taut_panics_total", &[], "Panics in this process: bugs in taut, each in the log");
/// `taut_log_lines_lost_total`.
pub const LOG_LINES_LOST: Metric = counter(
    "taut_log_lines_lost_total",
    &[],
    "Log lines that the systemd journal did not take: it was full or gone; nothing waited for it",
);
/// `taut_standstill_seconds_total`.
pub const STANDSTILL_SECONDS: Metric = counter(
    "taut_standstill_seconds_total",
    &[],
    "Whole seconds this process stood still: the host slept, or a hypervisor, a signal or a lack of CPU stopped it",
);
/// `taut_tenants`.
pub const TENANTS: Metric = gauge("taut_tenants", &["state"], "Tenants of this worker in each state");
/// `taut_ack_latency_seconds`.
pub const ACK_LATENCY: Metric = histogram(
    "taut_ack_latency_seconds",
    &ACK_BOUNDS,
    &[],
    "From reading an envelope that is acked when stored to handing its ack to the kernel",
);
/// `taut_answer_latency_seconds`.
pub const ANSWER_LATENCY: Metric = histogram(
    "taut_answer_latency_seconds",
    &ACK_BOUNDS,
    &[],
    "From reading a request to handing its ack, which carries the handler's answer, to the kernel",
);
/// `taut_delivery_latency_seconds`.
pub const DELIVERY_LATENCY: Metric = histogram(
    "taut_delivery_latency_seconds",
    &DELAY_BOUNDS,
    &[],
    "From reading an event to the handler's successful answer",
);
/// `taut_event_delay_seconds`.
pub const EVENT_DELAY: Metric = histogram(
    "taut_event_delay_seconds",
    &DELAY_BOUNDS,
    &[],
    "From Slack's event_time (whole seconds) to reading the envelope",
);
/// `taut_store_latency_seconds`.
pub const STORE_LATENCY: Metric =
    histogram("taut_store_latency_seconds", &STORE_BOUNDS, &["op"], "Time of the store's operations");
/// `taut_store_bytes`.
pub const STORE_BYTES: Metric = gauge("taut_store_bytes", &[], "Bytes the store takes on disk");
/// `taut_store_errors_total`.
pub const STORE_ERRORS: Metric =
    counter("taut_store_errors_total", &["op"], "Failed operations of the store");
/// `taut_descriptors_open`.
pub const DESCRIPTORS_OPEN: Metric =
    gauge("taut_descriptors_open", &[], "Files and connections that the process holds open");
/// `taut_descriptors_max`.
pub const DESCRIPTORS_MAX: Metric =
    gauge("taut_descriptors_max", &[], "Files and connections that the process may open");
/// `taut_tasks`.
pub const TASKS: Metric = gauge(
    "taut_tasks",
    &[],
    "Tasks alive in the process: some for each tenant, socket and attempt, none left behind",
);
/// `taut_claims_owned`.
pub const CLAIMS_OWNED: Metric = gauge("taut_claims_owned", &[], "Tenants this worker owns");
/// `taut_clock_skew_seconds`.
pub const CLOCK_SKEW: Metric = gauge(
    "taut_clock_skew_seconds",
    &[],
    "Our wall clock minus Slack's, by the Date header of its last answer; handlers refuse signatures beyond 300 s",
);
/// `taut_config_reloads_total`.
pub const CONFIG_RELOADS: Metric =
    counter("taut_config_reloads_total", &["outcome"], "Reloads of the configuration: applied or refused");
/// `taut_config_refused`.
pub const CONFIG_REFUSED: Metric = gauge(
    "taut_config_refused",
    &[],
    "1 if the last reload was refused and the configuration before it is in force, else 0",
);
/// `taut_config_needs_restart`.
pub const CONFIG_NEEDS_RESTART: Metric =
    gauge("taut_config_needs_restart", &[], "Keys whose new value waits for a restart");
/// `taut_stalls_total`.
pub const STALLS: Metric = counter(
    "taut_stalls_total",
    &["part"],
    "Times a part of the process (main, timers, log, runtime) made no progress for half of the watchdog's span",
);
/// `taut_build_info`.
pub const BUILD_INFO: Metric = gauge("taut_build_info", &["version", "durability"], "Always 1");

/// Every metric this version exports.
pub const ALL: &[Metric] = &[
    TENANT_CONNECTED,
    TENANT_STATE,
    TENANT_DEAF,
    SOCKET_OPENS,
    SOCKET_CLOSES,
    SOCKETS_OPEN,
    SOCKET_FOREIGN,
    ENVELOPES_RECEIVED,
    ENVELOPES_ACKED,
    ENVELOPES_DUPLICATE,
    ENVELOPES_REFUSED,
    ENVELOPES_UNROUTED,
    FRAMES_UNREADABLE,
    REQUESTS_CUT,
    BACKLOG_ENVELOPES,
    BACKLOG_BYTES,
    BACKLOG_OLDEST,
    DELIVERY_ATTEMPTS,
    DEAD_LETTERS,
    DEAD_LETTERS_ENDED,
    REQUESTS_EXPIRED,
    SECRET_AGE,
    TENANT_RESTARTS,
    PANICS,
    LOG_LINES_LOST,
    STANDSTILL_SECONDS,
    TENANTS,
    ACK_LATENCY,
    ANSWER_LATENCY,
    DELIVERY_LATENCY,
    EVENT_DELAY,
    STORE_LATENCY,
    STORE_BYTES,
    STORE_ERRORS,
    DESCRIPTORS_OPEN,
    DESCRIPTORS_MAX,
    TASKS,
    CLAIMS_OWNED,
    CLOCK_SKEW,
    CONFIG_RELOADS,
    CONFIG_REFUSED,
    CONFIG_NEEDS_RESTART,
    STALLS,
    BUILD_INFO,
];
