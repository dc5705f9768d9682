//! An independent Request URL handler for demos and tests: it verifies, records and answers as a Bolt app would.
//!
//! It shares nothing with what it receives from: it has its own signature check, its own form decoding and its own
//! view of what Slack sends (docs.slack.dev `/authentication/verifying-requests-from-slack`).

mod answer;
mod record;
mod server;
mod verify;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

pub use answer::EchoAnswer;
pub use record::{EchoRequest, EchoTotals};

use crate::error::SimError;
use server::Server;

/// How to start an echo handler.
#[derive(Clone)]
pub struct EchoConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The signing secret for every path without one of its own; none accepts everything and counts it as unverified.
    pub signing_secret: Option<Vec<u8>>,
    /// Whole requests kept, the newest ones.
    pub requests_max: usize,
    /// Keys (event ids, idempotency keys) remembered; further ones are counted but not told apart.
    pub keys_max: usize,
}

impl Default for EchoConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            signing_secret: None,
            requests_max: 1_000,
            keys_max: 1_000_000,
        }
    }
}

/// How the handler fails. It ends when another outage, or none, is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Outage {
    /// None: it works.
    #[default]
    None,
    /// Every request gets this status and no body.
    Status(u16),
    /// Nothing listens on the port.
    Refuse,
    /// Connections are accepted and requests read; no answer ever comes.
    Hang,
    /// Right answers, this much later.
    Slow(Duration),
    /// Connections end as soon as a request is read.
    Abort,
    /// Status 200, `application/json`, and a body that is not JSON.
    Garbage,
    /// Status 200 and a text of this many bytes.
    Oversized(usize),
}

/// A running handler. It ends when this is dropped or stopped.
#[derive(Debug)]
pub struct EchoHandler {
    server: Arc<Server>,
}

impl EchoHandler {
    /// Listens and answers until stopped.
    ///
    /// # Errors
    /// [`SimError::Listen`].
    pub async fn start(config: EchoConfig) -> Result<Self, SimError> {
        let addr = config.listen;
        let listen = |source| SimError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let server = Arc::new(Server::new(config, bound));
        server.tasks.spawn(server::accept(server.clone(), listener));
        Ok(Self { server })
    }

    /// The Request URL: Bolt's default path. Any other path is answered alike.
    pub fn url(&self) -> String {
        self.url_of("/slack/events")
    }

    /// The URL of a path, such as one for each tenant.
    pub fn url_of(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.bound)
    }

    /// Gives a path a signing secret of its own, and returns its URL.
    pub fn add_path(&self, path: &str, signing_secret: impl Into<Vec<u8>>) -> String {
        self.server.add_secret(path, signing_secret.into());
        self.url_of(path)
    }

    /// Begins or ends an outage. Open connections are closed when nothing is to listen.
    pub fn outage(&self, outage: Outage) {
        self.server.outage.send_replace(outage);
    }

    /// Answers one kind of request (an event type, an interactive type, `slash_commands`) like this from now on; none
    /// returns to the built-in answer.
    pub fn answer(&self, kind: &str, answer: Option<EchoAnswer>) {
        self.server.set_answer(kind, answer);
    }

    /// The newest requests, oldest first.
    pub fn requests(&self) -> Vec<EchoRequest> {
        self.server.log.lock().requests()
    }

    /// Time since the handler started: what its requests' times count from.
    pub fn elapsed(&self) -> Duration {
        self.server.began.elapsed()
    }

    /// Takes out the requests kept so far, oldest first; totals and keys stay. For long runs, in which they would not all
    /// fit.
    pub fn take_requests(&self) -> Vec<EchoRequest> {
        self.server.log.lock().take_requests()
    }

    pub fn totals(&self) -> EchoTotals {
        self.server.log.lock().totals()
    }

    /// How often a key (an event id, else an idempotency key) was answered 200.
    pub fn answered(&self, key: &str) -> u32 {
        self.server.log.lock().answered(key)
    }

    /// Every key that was answered 200, with how often, in no order.
    pub fn keys(&self) -> Vec<(Arc<str>, u32)> {
        self.server.log.lock().keys()
    }

    /// Waits for any state of the totals; whether it came within `limit`.
    pub async fn wait_until(&self, limit: Duration, reached: impl Fn(&EchoTotals) -> bool) -> bool {
        const LOOK_EVERY: Duration = Duration::from_millis(2);
        let end = Instant::now() + limit;
        while !reached(&self.totals()) {
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Ends every connection and waits for all tasks.
    pub async fn stop(self) {
        self.server.stop.cancel();
        self.server.tasks.close();
        self.server.tasks.wait().await;
    }
}

impl Drop for EchoHandler {
    fn drop(&mut self) {
        self.server.stop.cancel();
    }
}
