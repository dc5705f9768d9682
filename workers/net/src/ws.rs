//! WebSocket: the upgrade, and frames in and out.

mod text;
mod upgrade;

use std::future::poll_fn;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::dial::Stream;

pub use self::text::Text;
pub use self::upgrade::{UpgradeError, connect};

/// Read from the kernel at once, in bytes; held by every socket for good, so small.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// Read at once where TLS is underneath: its own 4 KiB buffer is the one that the kernel fills.
const READ_BUFFER_BYTES_OVER_TLS: usize = 1024;

/// Frames that are collected before they go out without a flush, in bytes.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// Most bytes that wait for a peer that does not read.
const WRITE_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Limits of one WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WsLimits {
    /// Largest message that is read, in bytes, whether in one frame or several.
    pub frame_bytes_max: usize,
    /// How long one write may take before the peer counts as dead.
    pub write: Duration,
}

impl Default for WsLimits {
    fn default() -> Self {
        Self { frame_bytes_max: 16 << 20, write: Duration::from_secs(3) }
    }
}

impl WsLimits {
    fn config(&self, over_tls: bool) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(if over_tls { READ_BUFFER_BYTES_OVER_TLS } else { READ_BUFFER_BYTES })
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
            .max_message_size(Some(self.frame_bytes_max))
            .max_frame_size(Some(self.frame_bytes_max))
    }
}

/// What a socket brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WsEvent {
    /// A text message.
    Text(Text),
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

/// One WebSocket to a server.
#[derive(Debug)]
pub struct WebSocket {
    inner: WebSocketStream<Stream>,
    write_max: Duration,
}

impl WebSocket {
    /// The next event. Cancel safe. Keep calling it: it also sends what answers pings and closes.
    pub async fn next(&mut self) -> WsEvent {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// An event that has already arrived, without waiting: for coalescing. Call [`WebSocket::next`] after a `None`.
    pub fn try_next(&mut self) -> Option<WsEvent> {
        match self.poll_event(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        }
    }

    /// Sends each text as one unfragmented frame, with one flush at the end. Not cancel safe: what was not taken
    /// from the iterator is not sent.
    ///
    /// # Errors
    /// [`WsError`]; the socket is then of no more use.
    pub async fn send_all(&mut self, frames: impl Iterator<Item = Text>) -> Result<(), WsError> {
        within(self.write_max, async {
            for frame in frames {
                self.inner.feed(Message::Text(frame.into())).await?;
            }
            self.inner.flush().await
        })
        .await
    }

    /// Sends a ping with a payload of at most 125 bytes.
    ///
    /// # Errors
    /// [`WsError`]; the socket is then of no more use.
    pub async fn ping(&mut self, payload: Bytes) -> Result<(), WsError> {
        within(self.write_max, self.inner.send(Message::Ping(payload))).await
    }

    /// Sends a close frame. Read on with [`WebSocket::next`]: what the peer had sent still arrives.
    ///
    /// # Errors
    /// [`WsError`]; the socket is then of no more use.
    pub async fn close(&mut self, code: u16) -> Result<(), WsError> {
        let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::default() };
        within(self.write_max, self.inner.send(Message::Close(Some(frame)))).await
    }

    /// Ends the TCP connection at once, with a reset.
    pub fn abort(self) {
        self.inner.into_inner().abort();
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<WsEvent> {
        let event = match ready!(self.inner.poll_next_unpin(cx)) {
            Some(Ok(Message::Text(text))) => WsEvent::Text(text.into()),
            Some(Ok(Message::Binary(bytes))) => WsEvent::Binary(bytes.len()),
            Some(Ok(Message::Ping(_))) => return Poll::Ready(self.answered(cx, WsEvent::Ping)),
            Some(Ok(Message::Pong(_))) => WsEvent::Pong,
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map(|frame| frame.code.into());
                return Poll::Ready(self.answered(cx, WsEvent::Closed { code }));
            }
            Some(Ok(Message::Frame(_))) => WsEvent::Failed("a raw frame, which is only ever written".into()),
            Some(Err(Error::Capacity(_))) => WsEvent::TooLarge,
            Some(Err(error)) => WsEvent::Failed(error.to_string()),
            None => WsEvent::Failed("the connection has ended".into()),
        };
        Poll::Ready(event)
    }

    /// Sends the answer that the library has queued, as far as the peer takes it at once; the rest goes out with
    /// what is read or sent next.
    fn answered(&mut self, cx: &mut Context<'_>, event: WsEvent) -> WsEvent {
        match self.inner.poll_flush_unpin(cx) {
            Poll::Ready(Err(error)) if event == WsEvent::Ping => WsEvent::Failed(error.to_string()),
            // A peer that has closed may well be gone before our answer.
            Poll::Ready(_) | Poll::Pending => event,
        }
    }
}

/// Runs one write under its deadline.
async fn within(limit: Duration, write: impl Future<Output = Result<(), Error>>) -> Result<(), WsError> {
    match tokio::time::timeout(limit, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Error::WriteBufferFull(_))) | Err(_) => Err(WsError::Stalled { waited: limit }),
        Ok(Err(error)) => Err(WsError::Closed { text: error.to_string() }),
    }
}
