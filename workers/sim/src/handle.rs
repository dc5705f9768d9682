//! How a test or a demo drives one app of the simulator.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::act::{Act, Sockets};
use crate::app::{AckOutcome, App, Unanswered};
use crate::envelope::Push;
use crate::faults::{OpenFailure, UpgradeFailure};
use crate::journal::Totals;
use crate::load::{self, Load, LoadHandle};
use crate::shared::{Shared, TokenKind};

/// One app of a simulator; cheap to clone. Faults concern all its sockets, or one after [`AppHandle::on`].
#[derive(Debug, Clone)]
pub struct AppHandle {
    pub(crate) sim: Arc<Shared>,
    pub(crate) app: Arc<App>,
    pub(crate) sockets: Sockets,
}

/// What one socket has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SocketInfo {
    pub id: u64,
    #[serde(rename = "age_ms", serialize_with = "crate::duration::as_millis")]
    pub age: Duration,
    pub helloed: bool,
    /// Envelopes handed to it.
    pub sent: u64,
    /// Of those, acked in time.
    pub acked: u64,
}

/// A pushed event or request.
#[derive(Debug)]
pub struct Pushed {
    /// Id of the first attempt's envelope.
    pub envelope_id: Uuid,
    /// The `event_id`, else the envelope id.
    pub dedup_id: Arc<str>,
    answer: oneshot::Receiver<AckOutcome>,
}

impl Pushed {
    /// Waits for the ack of any attempt, or for the simulator to give up, at most `limit`.
    pub async fn wait_ack(self, limit: Duration) -> AckOutcome {
        let open = |reason| AckOutcome::Unacked { reason, attempts: 0 };
        match timeout(limit, self.answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => open(Unanswered::Stopped),
            Err(_) => open(Unanswered::StillOpen),
        }
    }
}

impl AppHandle {
    /// The app's id, `A…`.
    pub fn id(&self) -> &str {
        &self.app.id
    }

    /// The same app, with faults limited to one socket.
    #[must_use]
    pub fn on(&self, connection: u64) -> Self {
        Self { sockets: Sockets::Only(connection), ..self.clone() }
    }

    /// Pushes a sample or a payload to one random socket; events are retried on Slack's schedule.
    pub fn push(&self, push: impl Into<Push>) -> Pushed {
        let (waiter, answer) = oneshot::channel();
        let (envelope_id, dedup_id) = self.app.produce(&self.sim, &push.into(), Some(waiter));
        Pushed { envelope_id, dedup_id, answer }
    }

    /// A socket URL with a fresh ticket, past `apps.connections.open` and its rate; for benches and raw clients.
    pub fn socket_url(&self) -> String {
        self.app.fresh_url(&self.sim)
    }

    /// Starts a load on this app alone.
    pub fn load(&self, load: Load) -> LoadHandle {
        load::start(&self.sim, vec![self.app.clone()], load)
    }

    /// Carries out any order.
    pub fn act(&self, act: &Act) {
        act.apply(&self.sim, &self.app, self.sockets);
    }

    /// The app's open sockets, oldest first.
    pub fn connections(&self) -> Vec<SocketInfo> {
        let state = self.app.state.lock();
        let info = |connection: &Arc<crate::socket::Connection>| SocketInfo {
            id: connection.id,
            age: connection.opened.elapsed(),
            helloed: connection.is_helloed(),
            sent: connection.sent(),
            acked: connection.acked(),
        };
        state.connections.iter().map(info).collect()
    }

    /// Exact counts of this app.
    pub fn totals(&self) -> Totals {
        self.sim.journal.totals(Some(&self.app.id))
    }

    /// Envelopes sent and neither acked nor past their deadline.
    pub fn unacked(&self) -> usize {
        self.app.state.lock().unacked()
    }

    /// Waits until exactly `count` sockets have said hello; whether that happened within `limit`.
    pub async fn wait_connected(&self, count: usize, limit: Duration) -> bool {
        self.wait_until(limit, |app| {
            app.connections().iter().filter(|socket| socket.helloed).count() == count
        })
        .await
    }

    /// Waits until every event and request produced so far has its end; whether that happened within `limit`.
    pub async fn wait_settled(&self, limit: Duration) -> bool {
        self.wait_until(limit, |app| app.totals().open() == 0).await
    }

    /// Waits for any state of this app; whether it came within `limit`.
    pub async fn wait_until(&self, limit: Duration, reached: impl Fn(&Self) -> bool) -> bool {
        const LOOK_EVERY: Duration = Duration::from_millis(2);
        let end = Instant::now() + limit;
        while !reached(self) {
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// `disconnect` / `refresh_requested`, then the close.
    pub fn refresh(&self) {
        self.act(&Act::Refresh);
    }

    /// `disconnect` / `warning`, then the close about 10 s later.
    pub fn warn_then_close(&self) {
        self.act(&Act::Warn);
    }

    /// `disconnect` with any reason, then the close.
    pub fn disconnect(&self, reason: &str) {
        self.act(&Act::Disconnect { reason: reason.to_owned(), close: true });
    }

    /// Socket Mode is switched off: `disconnect` / `link_disabled`, and later opens carry the `[WARN]` message.
    pub fn link_disabled(&self) {
        self.act(&Act::LinkDisabled);
    }

    /// Only the setting in the app's configuration.
    pub fn socket_mode(&self, on: bool) {
        self.act(&Act::SocketMode { on });
    }

    /// TCP ends without a close frame.
    pub fn drop_tcp(&self) {
        self.act(&Act::Drop);
    }

    /// A TCP reset.
    pub fn reset_tcp(&self) {
        self.act(&Act::Reset);
    }

    /// The sockets neither read, write nor ping, while TCP stays open.
    pub fn silence(&self) {
        self.act(&Act::Silence);
    }

    /// Ends silence and drip.
    pub fn resume(&self) {
        self.act(&Act::Resume);
    }

    /// One text frame with these words.
    pub fn send_raw(&self, text: &str) {
        self.act(&Act::SendText { text: text.to_owned() });
    }

    /// One binary frame of this length.
    pub fn send_binary(&self, bytes: usize) {
        self.act(&Act::SendBinary { bytes });
    }

    /// Every use of the app-level token answers this code, until [`AppHandle::restore_token`].
    pub fn revoke_token(&self, code: &str) {
        self.act(&Act::RevokeToken { code: code.to_owned() });
    }

    /// The app-level token works again.
    pub fn restore_token(&self) {
        self.act(&Act::RestoreToken);
    }

    /// A further app-level token; all of them share the app's sockets and events.
    pub fn add_app_token(&self, token: impl Into<String>) {
        self.sim.add_token(&self.app, token.into(), TokenKind::App);
    }

    /// This one token becomes unknown: `invalid_auth`.
    pub fn forget_token(&self, token: &str) {
        self.sim.remove_token(token);
    }

    /// The next `times` calls of `apps.connections.open` fail.
    pub fn fail_next_opens(&self, times: u32, failure: OpenFailure) {
        self.act(&Act::FailOpens { times, failure });
    }

    /// The next `times` upgrades fail, or their sockets begin badly.
    pub fn fail_next_upgrades(&self, times: u32, failure: UpgradeFailure) {
        self.act(&Act::FailUpgrades { times, failure });
    }

    /// New sockets are not greeted until [`AppHandle::release_hello`].
    pub fn hold_hello(&self) {
        self.act(&Act::HoldHello);
    }

    /// Greets those that wait, and new ones again.
    pub fn release_hello(&self) {
        self.act(&Act::ReleaseHello);
    }

    /// Sockets of somebody else that count; with `take` they also take their share of the envelopes.
    pub fn ghosts(&self, count: u32, take: bool) {
        self.act(&Act::Ghosts { count, take });
    }
}
