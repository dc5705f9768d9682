//! Everything Slack has not confirmed, and every pace, in one struct.
//!
//! Slack documents the outline of Socket Mode (docs.slack.dev, "Using Socket Mode"); much of the rest is observed. Each field
//! names one such fact. The defaults are what was observed or, where nobody knows, what hurts a client least; a
//! test turns a switch to prove that its client stands the other answer too.

use std::time::Duration;

use serde::Deserialize;

use crate::duration;

/// How the simulated Slack behaves where the real one is paced, observed or unconfirmed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, set by name")]
pub struct Switches {
    /// Time from sending an envelope to the last moment its ack counts. Documented: 3 s.
    #[serde(with = "duration")]
    pub ack_deadline: Duration,
    /// Acks whose whole frame has this many bytes or more are discarded without a word. Observed: 20,480.
    pub ack_bytes_limit: usize,
    /// Whether an ack that comes in several WebSocket fragments counts. Observed: no.
    pub accept_fragmented_acks: bool,
    /// Whether an ack counts on another socket of the app than the envelope's. Unconfirmed; default yes.
    pub accept_ack_on_other_socket: bool,
    /// Whether an ack counts that carries a payload the envelope does not accept. Unconfirmed; default yes. It is
    /// recorded either way.
    pub accept_unwanted_payload: bool,
    /// Waits before the first, second and third retry of an event, counted from the missed deadline.
    /// Documented: nearly at once, 1 min, 5 min.
    #[serde(with = "duration::triple")]
    pub retry_waits: [Duration; 3],
    /// Divides `retry_waits`; 60 makes a minute a second. Must be above 0.
    pub speed: f64,
    /// Whether a retry carries a fresh `envelope_id`. Observed: yes; the `event_id` always stays.
    pub retry_with_new_envelope_id: bool,
    /// Whether events produced while no socket is open are retried. Observed: yes.
    pub retry_without_socket: bool,
    /// Whether first deliveries of events spell out `retry_attempt: 0` and `retry_reason: ""`. Observed: yes.
    pub spell_out_first_attempt: bool,
    /// Whether envelopes of `shortcut`, `message_action` and `view_closed` say that they accept a payload. Observed: no.
    pub shortcuts_accept_payload: bool,
    /// Life of an unused ticket. Undocumented.
    #[serde(with = "duration")]
    pub ticket_life: Duration,
    /// HTTP status of an upgrade whose ticket is unknown, used or expired. Undocumented.
    pub ticket_refused_status: u16,
    /// Uses of one `response_url`. Documented: 5.
    pub response_url_uses: u32,
    /// Life of a `response_url`. Documented: 30 min.
    #[serde(with = "duration")]
    pub response_url_life: Duration,
    /// Calls of `apps.connections.open` an app may make at once. Unconfirmed (reports name tiers 1 and 3).
    pub opens_burst: u32,
    /// How many further calls of `apps.connections.open` an app earns per minute.
    pub opens_per_minute: u32,
    /// Sockets an app may hold. Documented: 10.
    pub sockets_max: u32,
    /// Whether a socket above `sockets_max` hears `hello` before it is told `too_many_websockets`. Unconfirmed.
    pub hello_before_too_many: bool,
    /// A second upgrade of one app within this time of another gets HTTP 409. Zero: never. Observed now and then.
    #[serde(with = "duration")]
    pub upgrade_race: Duration,
    /// Time from hello to the first server ping. Observed: 3 to 4 s.
    #[serde(with = "duration")]
    pub first_ping: Duration,
    /// Time between server pings. Observed: 10 s.
    #[serde(with = "duration")]
    pub ping_every: Duration,
    /// A socket that answers no ping for this long is dropped. Observed: about two minutes.
    #[serde(with = "duration")]
    pub pong_timeout: Duration,
    /// What `hello` announces as `approximate_connection_time`, and when the socket is warned. Observed: 18,060 s.
    #[serde(with = "duration")]
    pub connection_life: Duration,
    /// Life of a socket whose URL carries `debug_reconnects=true`. Documented: 360 s.
    #[serde(with = "duration")]
    pub debug_connection_life: Duration,
    /// Time from `disconnect` / `warning` to the close. Documented: about 10 s.
    #[serde(with = "duration")]
    pub close_after_warning: Duration,
    /// Time from `disconnect` with any other reason to the close. Unconfirmed.
    #[serde(with = "duration")]
    pub close_after_disconnect: Duration,
    /// Whether a socket may receive envelopes before its hello. Unconfirmed; default no.
    pub deliver_before_hello: bool,
    /// Whether a socket still receives envelopes between `disconnect` and its close. Unconfirmed; default yes.
    pub deliver_after_disconnect: bool,
    /// Whether an announced close comes with a close frame; otherwise TCP just ends. Both were observed.
    pub close_with_frame: bool,
    /// Whether a client's close frame is answered. Observed: mostly.
    pub answer_close: bool,
    /// Whether TCP is closed after the close handshake. Observed: no, the client has to.
    pub close_tcp_after_handshake: bool,
    /// How long a socket that vanished without a close handshake still counts against `sockets_max`.
    #[serde(with = "duration")]
    pub dead_sockets_count_for: Duration,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            ack_deadline: Duration::from_secs(3),
            ack_bytes_limit: 20_480,
            accept_fragmented_acks: false,
            accept_ack_on_other_socket: true,
            accept_unwanted_payload: true,
            retry_waits: [Duration::from_secs(1), Duration::from_mins(1), Duration::from_mins(5)],
            speed: 1.0,
            retry_with_new_envelope_id: true,
            retry_without_socket: true,
            spell_out_first_attempt: true,
            shortcuts_accept_payload: false,
            ticket_life: Duration::from_secs(30),
            ticket_refused_status: 401,
            response_url_uses: 5,
            response_url_life: Duration::from_mins(30),
            opens_burst: 50,
            opens_per_minute: 50,
            sockets_max: 10,
            hello_before_too_many: false,
            upgrade_race: Duration::ZERO,
            first_ping: Duration::from_millis(3_500),
            ping_every: Duration::from_secs(10),
            pong_timeout: Duration::from_mins(2),
            connection_life: Duration::from_mins(301),
            debug_connection_life: Duration::from_mins(6),
            close_after_warning: Duration::from_secs(10),
            close_after_disconnect: Duration::from_secs(10),
            deliver_before_hello: false,
            deliver_after_disconnect: true,
            close_with_frame: true,
            answer_close: true,
            close_tcp_after_handshake: false,
            dead_sockets_count_for: Duration::ZERO,
        }
    }
}

impl Switches {
    /// The wait before retry `attempt` (1 to 3), or `None` when Slack has given up.
    pub(crate) fn retry_wait(&self, attempt: u8) -> Option<Duration> {
        let wait = self.retry_waits.get(usize::from(attempt).checked_sub(1)?)?;
        let speed = if self.speed > 0.0 { self.speed } else { 1.0 };
        Some(wait.div_f64(speed))
    }
}
