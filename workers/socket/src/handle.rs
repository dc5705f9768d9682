//! The outside of a line: what it needs, and the handle that owns it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use taut_core::config::SlackConfig;
use taut_core::log::Log;
use taut_core::request::Requests;
use taut_core::{AppId, Board, Clock, Moment, TenantId, WallMs};
use taut_net::dial::Dialer;
use taut_net::gate::StartGate;
use taut_net::slack::SlackApi;
use taut_vault::AppToken;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::metrics::LineMetrics;
use crate::pure::line::Desired;
use crate::router::Router;
use crate::shared::Shared;
use crate::tenant::Tenant;

/// Claims the app that a line's first hello named: `false` if another tenant holds it. Must not block.
pub type ClaimApp = Arc<dyn Fn(&AppId) -> bool + Send + Sync>;

/// Everything one tenant's line needs.
pub struct LineDeps {
    /// Whose line it is.
    pub tenant: TenantId,
    /// What opens its sockets.
    pub app_token: AppToken,
    /// The tenant's app, configured or learnt earlier; every hello is checked against it.
    pub app_id: Option<AppId>,
    /// What is wanted at first.
    pub desired: Desired,
    /// Slack's Web API.
    pub api: SlackApi,
    /// The way to Slack's sockets.
    pub dialer: Dialer,
    /// Paces opens.
    pub gate: Arc<StartGate>,
    /// Where envelopes are stored.
    pub log: Arc<dyn Log>,
    /// Who answers requests.
    pub requests: Arc<dyn Requests>,
    /// Which routes an envelope belongs to.
    pub router: Arc<Router>,
    /// Where the line writes what an operator sees.
    pub board: Arc<Board>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// `[slack]`.
    pub config: Arc<SlackConfig>,
    /// The worker's histograms.
    pub metrics: LineMetrics,
    /// Spreads pauses and renewals; another one for each tenant.
    pub seed: u64,
    /// When an earlier process last read a frame for this tenant, if it was wanted then: the gap counts as deaf.
    pub deaf_since: Option<WallMs>,
    /// Called with the app of the line's first hello.
    pub claim_app: ClaimApp,
}

/// Starts lines.
pub struct TenantLine;

impl TenantLine {
    /// Starts a tenant's line. Its tasks end with the handle.
    pub fn spawn(deps: LineDeps) -> LineHandle {
        let wishes = Arc::new(Wishes::default());
        let setup = crate::tenant::Setup {
            app_token: deps.app_token,
            app_id: deps.app_id,
            desired: deps.desired,
            seed: deps.seed,
            deaf_since: deps.deaf_since,
            claim_app: deps.claim_app,
        };
        let shared = Arc::new(Shared {
            tenant: deps.tenant,
            api: deps.api,
            dialer: deps.dialer,
            gate: deps.gate,
            log: deps.log,
            requests: deps.requests,
            router: deps.router,
            board: deps.board,
            clock: deps.clock,
            config: deps.config,
            metrics: deps.metrics,
        });
        // The task's end is the root's to judge: after a panic it starts the line anew.
        let tenant = Box::new(Tenant::new(shared, setup, Arc::clone(&wishes)));
        let task = tokio::spawn(tenant.run());
        LineHandle { wishes, task, end: None }
    }
}

/// What the handle wants and the line has not yet taken: the latest of each counts, so nothing piles up.
#[derive(Default)]
pub(crate) struct Wishes {
    pending: Mutex<Pending>,
    pub(crate) changed: Notify,
}

#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) desired: Option<Desired>,
    pub(crate) token: Option<AppToken>,
    pub(crate) drain_by: Option<Moment>,
    /// Time has passed in which nothing ran.
    pub(crate) still: Option<Duration>,
}

impl Wishes {
    pub(crate) fn take(&self) -> Pending {
        std::mem::take(&mut self.pending.lock())
    }

    fn put(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.pending.lock());
        self.changed.notify_one();
    }
}

/// How a line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    /// Drained: every socket was closed and nothing it had read is undecided.
    Drained,
    /// The drain's deadline came first: what was left was cut off.
    CutOff,
    /// A bug of ours: the line's task panicked. Its sockets are gone; start it anew.
    Panicked,
    /// The runtime ended it.
    Cancelled,
}

/// A running line. Dropping it cuts its sockets off.
pub struct LineHandle {
    wishes: Arc<Wishes>,
    task: JoinHandle<LineEnd>,
    end: Option<LineEnd>,
}

impl LineHandle {
    /// Changes what is wanted. [`Desired::Connected`] also lifts a park: an operator's "try again".
    pub fn set_desired(&self, desired: Desired) {
        self.wishes.put(|pending| pending.desired = Some(desired));
    }

    /// Opens a socket with this token, then closes the one of the old token.
    pub fn replace_token(&self, token: AppToken) {
        self.wishes.put(|pending| pending.token = Some(token));
    }

    /// The host slept, or the process stood still, for so long until now: asks every socket whether it still lives, and
    /// looks at what is due.
    pub fn stood_still(&self, still: Duration) {
        self.wishes.put(|pending| pending.still = Some(still));
    }

    /// Closes every socket politely and ends the line, by `deadline` at the latest. Cancel safe.
    pub async fn drain(&mut self, deadline: Moment) -> LineEnd {
        self.wishes.put(|pending| pending.drain_by = Some(deadline));
        self.join().await
    }

    /// Waits for the line's end. Cancel safe; once ended, it says so again.
    pub async fn join(&mut self) -> LineEnd {
        if let Some(end) = self.end {
            return end;
        }
        let end = match (&mut self.task).await {
            Ok(end) => end,
            Err(error) if error.is_panic() => LineEnd::Panicked,
            Err(_) => LineEnd::Cancelled,
        };
        self.end = Some(end);
        end
    }
}

impl Drop for LineHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
