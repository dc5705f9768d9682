//! WebSocket: the upgrade, and frames in and out.

use std::time::Duration;

use bytes::Bytes;

use crate::dial::{DialError, Dialer};
use crate::slack::TicketUrl;

/// Limits of one WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WsLimits {
    /// Largest message that is read, in bytes, whether in one frame or several.
    pub frame_bytes_max: usize,
    /// How long the upgrade may take, from the request to the 101.
    pub upgrade: Duration,
    /// How long one write may take before the peer counts as dead.
    pub write: Duration,
}

impl Default for WsLimits {
    fn default() -> Self {
        Self { frame_bytes_max: 16 << 20, upgrade: Duration::from_secs(5), write: Duration::from_secs(3) }
    }
}

/// Why there is no WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The host was not reached, TLS included.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The answer was not 101.
    #[error("the upgrade was answered with {status}{}", if *.proxy_like { ": something between this host and Slack does not let WebSockets through" } else { "" })]
    Refused {
        /// Its status.
        status: u16,
        /// It looks like a proxy's or an inspecting firewall's answer, not like Slack's.
        proxy_like: bool,
    },
    /// No answer in time.
    #[error("no answer to the upgrade within {limit:?}")]
    Timeout {
        /// The deadline.
        limit: Duration,
    },
    /// The answer broke the protocol, or the connection ended.
    #[error("the upgrade failed: {text}")]
    Broken {
        /// What was wrong.
        text: String,
    },
}

/// What a socket brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WsEvent {
    /// A text message; checked to be UTF-8, not copied.
    Text(Bytes),
    /// A binary message of so many bytes, dropped.
    Binary(usize),
    /// A ping; it has been answered.
    Ping,
    /// A pong.
    Pong,
    /// The peer's close frame, with its code if it has one. Nothing follows but [`WsEvent::Failed`].
    Closed {
        /// The close frame's code.
        code: Option<u16>,
    },
    /// A message larger than the limit; nothing more can be read. Close with 1009.
    TooLarge,
    /// The connection is gone; why, for a person.
    Failed(String),
}

/// Why a frame could not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WsError {
    /// The peer has not read for too long.
    #[error("the peer took no bytes within {waited:?}")]
    Stalled {
        /// The limit.
        waited: Duration,
    },
    /// A close frame has gone out or come in, or the connection is gone.
    #[error("the socket is closed: {text}")]
    Closed {
        /// The library's words.
        text: String,
    },
}

/// One WebSocket.
pub struct WebSocket {
    inner: (),
}

/// Dials and upgrades. The dialer's deadlines hold for its steps, `limits.upgrade` for the upgrade.
///
/// # Errors
/// [`UpgradeError`].
pub async fn connect(dialer: &Dialer, url: &TicketUrl, limits: WsLimits) -> Result<WebSocket, UpgradeError> {
    let _ = (dialer, limits);
    todo!("{url:?}")
}

impl WebSocket {
    /// The next event. Cancel safe.
    pub async fn next(&mut self) -> WsEvent {
        todo!("{:?}", self.inner)
    }

    /// An event that has already arrived, without waiting: for coalescing.
    pub fn try_next(&mut self) -> Option<WsEvent> {
        todo!("{:?}", self.inner)
    }

    /// Sends each text as one unfragmented frame, with one flush at the end.
    ///
    /// # Errors
    /// [`WsError`]; the socket is then of no more use.
    pub async fn send_all(&mut self, frames: impl Iterator<Item = String>) -> Result<(), WsError> {
        let _ = frames.count();
        todo!("{:?}", self.inner)
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// [`WsError`].
    pub async fn ping(&mut self, payload: Bytes) -> Result<(), WsError> {
        todo!("{payload:?}")
    }

    /// Sends a close frame. Read on with [`WebSocket::next`]: what the peer had sent still arrives.
    ///
    /// # Errors
    /// [`WsError`].
    pub async fn close(&mut self, code: u16) -> Result<(), WsError> {
        todo!("{code}")
    }

    /// Ends the TCP connection at once, with a reset.
    pub fn abort(self) {
        todo!("{:?}", self.inner)
    }
}
