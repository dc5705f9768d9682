//! What a line is told, and what it says to do.

use std::time::Duration;

use taut_core::envelope::Hello;
use taut_core::{AppId, Moment, Reason, TenantState};

/// One socket of a line. Numbers grow; what arrives from a socket the line has given up is dropped by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Generation(pub(crate) u32);

/// What the operator, or the process, wants of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Desired {
    /// One live socket at all times. Said again, it also lifts a park and probes at once.
    Connected,
    /// No socket; closed politely.
    Paused,
    /// No socket, because the process stops; closed politely.
    Draining,
    /// No socket; cut off at once.
    Quarantined,
}

/// One input of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// What is wanted.
    Desired(Desired),
    /// There is another app-level token.
    TokenChanged,
    /// Another tenant holds the app that this line's socket named.
    AppTaken,
    /// Time has passed.
    Tick,
    /// Something happened to a socket.
    Socket(Generation, Event),
}

/// What happened to a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Slack gave a ticket.
    Opened {
        /// It warned that Socket Mode is not turned on.
        socket_mode_off: bool,
    },
    /// `apps.connections.open` was refused or failed.
    OpenFailed(Refusal),
    /// Slack's socket host was not reached, or did not upgrade; the reason says at which step.
    DialFailed(Reason),
    /// The upgrade was answered with this status.
    UpgradeRefused {
        /// HTTP status.
        status: u16,
        /// Whether the answer looks like a proxy's.
        proxy_like: bool,
    },
    /// The socket is open; Slack has not said hello.
    Upgraded,
    /// Before hello came something that no working socket sends.
    Useless,
    /// Slack said hello.
    Hello(Hello),
    /// Slack said that it will close the socket; its reason.
    Disconnect(String),
    /// An envelope arrived (said once per socket).
    EnvelopeSeen,
    /// The socket is gone.
    Closed(CloseWhy),
}

/// Why `apps.connections.open` gave no ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What to do about it.
    pub(crate) class: RefusalClass,
    /// Slack's error code, or ours.
    pub(crate) code: String,
    /// For people: whose fault it is and what to do.
    pub(crate) text: String,
    /// How long Slack wants us to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// What a refusal calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalClass {
    /// A person has to act.
    Park,
    /// It passes, in minutes or hours.
    Wait,
    /// Try again with back-off.
    Retry,
}

/// The label in `taut_socket_opens_total{outcome}` for a failure on the way, by its reason's code; `other` for the rest.
pub(crate) fn outcome_on_the_way(code: &str, other: &'static str) -> &'static str {
    let steps =
        [("dns_", "dns_failed"), ("tcp_", "tcp_failed"), ("proxy_", "proxy_failed"), ("tls_", "tls_failed")];
    steps.iter().find(|(step, _)| code.starts_with(step)).map_or(other, |(_, outcome)| outcome)
}

/// How a socket ended, seen from its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseWhy {
    /// Slack closed it.
    Peer,
    /// The stream failed.
    Transport,
    /// Silence.
    Quiet,
    /// A frame beyond `slack.frame_bytes_max`; closed with 1009.
    FrameTooLarge,
    /// Our own close is done.
    Retired,
    /// Its task ended without a word.
    Lost,
}

impl CloseWhy {
    /// The label in `taut_socket_closes_total{reason}`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer_closed",
            Self::Transport => "transport",
            Self::Quiet => "quiet",
            Self::FrameTooLarge => "frame_too_large",
            Self::Retired | Self::Lost => "other",
        }
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Ask for a ticket and open this socket.
    Open(Generation),
    /// Close it politely: wait until no request is unacked, send the close frame, read on for a moment.
    Retire(Generation),
    /// Drop its stream at once.
    Abort(Generation),
    /// The first hello named this app: claim it for this tenant, or answer [`Input::AppTaken`].
    Claim(AppId),
    /// Slack wants no `apps.connections.open` of this app before this moment.
    HoldOpens(Moment),
    /// This socket said hello and is the line's current one; Slack's count of the app's sockets.
    Current(Generation, Option<u32>),
    /// The tenant's state is another one.
    State(TenantState, Reason),
    /// An attempt to open ended so; a label of `taut_socket_opens_total{outcome}`.
    OpenEnded(&'static str),
    /// A socket that had said hello ended so; a label of `taut_socket_closes_total{reason}`.
    SocketEnded(&'static str),
    /// Sockets of this app that are not ours.
    Foreign(u32),
    /// A person should know.
    Alarm(Alarm),
}

/// What a person should know at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// Slack refuses further sockets of this app.
    TooManyWebsockets,
    /// So many sockets of this app are not ours: ghosts, or somebody who takes a share of the events.
    ForeignSockets(u32),
    /// The socket belongs to another app than the tenant's.
    ForeignApp {
        /// The app of the hello.
        found: String,
    },
    /// Another tenant already holds the app.
    DuplicateApp,
    /// Slack sent a frame beyond the limit.
    FrameTooLarge,
}

/// Numbers of a line that are configuration or the tenant's own.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// How long `hello` may take after the upgrade.
    pub(crate) hello_timeout: Duration,
    /// The app the tenant is, where known.
    pub(crate) app_id: Option<AppId>,
    /// Spreads what should not happen at one time on all tenants.
    pub(crate) seed: u64,
}

/// Where pauses between attempts come from: jittered, growing, capped.
pub(crate) trait Delays {
    /// The next pause.
    fn next_delay(&mut self) -> Duration;
    /// Start again from the shortest.
    fn reset(&mut self);
}
