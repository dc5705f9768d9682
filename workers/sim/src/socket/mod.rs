//! One simulated socket: what others see of it, and the task that serves it.

mod outbox;
mod session;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use outbox::Outbox;
pub(crate) use outbox::{CloseStyle, Command};
pub(crate) use session::serve;

use crate::frame;
use crate::switches::Switches;

/// The shared side of one socket.
#[derive(Debug)]
pub(crate) struct Connection {
    pub id: u64,
    pub opened: Instant,
    /// What hello announces as `approximate_connection_time`.
    pub life: Duration,
    outbox: Mutex<Outbox>,
    wake: Notify,
    helloed: AtomicBool,
    disconnect_sent: AtomicBool,
    sent: AtomicU64,
    acked: AtomicU64,
}

impl Connection {
    pub(crate) fn new(id: u64, life: Duration) -> Self {
        Self {
            id,
            opened: Instant::now(),
            life,
            outbox: Mutex::default(),
            wake: Notify::new(),
            helloed: AtomicBool::new(false),
            disconnect_sent: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            acked: AtomicU64::new(0),
        }
    }

    /// The host name that pings, hello and disconnect report.
    pub(crate) fn host(&self) -> String {
        format!("applink-{}", self.id % 16)
    }

    /// Whether it may be handed an envelope.
    pub(crate) fn is_deliverable(&self, switches: &Switches) -> bool {
        (switches.deliver_before_hello || self.is_helloed())
            && (switches.deliver_after_disconnect || !self.disconnect_sent.load(Ordering::Relaxed))
            && self.outbox.lock().has_room()
    }

    pub(crate) fn is_helloed(&self) -> bool {
        self.helloed.load(Ordering::Acquire)
    }

    pub(crate) fn set_helloed(&self) {
        self.helloed.store(true, Ordering::Release);
    }

    /// Appends frames to what goes out next.
    pub(crate) fn send_with(&self, put: impl FnOnce(&mut BytesMut)) {
        self.outbox.lock().put(put);
        self.wake.notify_one();
    }

    pub(crate) fn send_text(&self, text: &[u8]) {
        self.send_with(|out| frame::put_text(out, text));
    }

    pub(crate) fn send_binary(&self, payload: &[u8]) {
        self.send_with(|out| frame::put_frame(out, OpCode::Data(Data::Binary), payload));
    }

    /// Sends a disconnect message.
    pub(crate) fn send_disconnect(&self, reason: &str) {
        self.disconnect_sent.store(true, Ordering::Relaxed);
        let text = serde_json::json!({
            "type": "disconnect",
            "reason": reason,
            "debug_info": { "host": self.host() },
        });
        self.send_text(text.to_string().as_bytes());
    }

    /// Has the socket's task do something once everything sent so far is written.
    pub(crate) fn command(&self, command: Command) {
        self.outbox.lock().command(command);
        self.wake.notify_one();
    }

    /// Has the socket's task do something at once, even if the client reads nothing.
    pub(crate) fn command_now(&self, command: Command) {
        self.outbox.lock().urgent(command);
        self.wake.notify_one();
    }

    pub(crate) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_acked(&self) {
        self.acked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }
}
