//! One tenant's supervisor: reads its secrets, starts its line and its delivery, and restarts them, and only them,
//! when one ends on its own.
//!
//! ```text
//! incomplete ──secrets read──► running ──line or delivery ended──► back-off ──► running
//!      └────── looks again every 30 s          ├── another configuration ──► secrets, routes, limits exchanged in place
//!                                              └── drain ──► line closed, then delivery finished
//! ```
//! A panic, a bad token or a dead handler of one tenant ends here.

mod asked;
mod change;
mod parts;
mod supervisor;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::RwLock;
use taut_core::config::{Environment, SlackConfig, TenantConfig};
use taut_core::log::{DeadLetters, Log, Registry};
use taut_core::{Board, Clock, Reason, RouteName, TenantState, WallMs};
use taut_delivery::allow::response::ResponseHosts;
use taut_delivery::{DeliveryMetrics, ExecPool};
use taut_net::gate::StartGate;
use taut_socket::LineMetrics;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::asked::{Asker, asked};
use self::supervisor::Supervisor;
use crate::admin::{RouteOrder, TenantOrder};
use crate::apps::Apps;
use crate::live::Live;
use crate::reload::TenantChange;
use crate::way_out::WayOut;

/// What all tenants share.
pub struct Shared {
    /// The worker's configuration; its tenants are their supervisors' own.
    pub(crate) live: Live,
    pub(crate) slack: Arc<SlackConfig>,
    pub(crate) secrets_base: PathBuf,
    /// The host's way out; a tenant with a `network` of its own goes another.
    pub(crate) way_out: RwLock<WayOut>,
    pub(crate) gate: Arc<StartGate>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) line_metrics: LineMetrics,
    pub(crate) delivery_metrics: DeliveryMetrics,
    /// Room for the programs of all tenants' routes.
    pub(crate) programs: ExecPool,
    pub(crate) response_hosts: ResponseHosts,
    pub(crate) apps: Apps,
}

/// What an operator may order.
#[derive(Debug)]
pub enum Order {
    /// For the whole tenant.
    Tenant(TenantOrder),
    /// For one route.
    Route(RouteName, RouteOrder),
    /// The host slept, or the process stood still, for so long: ask the sockets.
    StoodStill(Duration),
}

/// The outside of a tenant's supervisor.
pub struct TenantHandle {
    /// Its configuration, which its supervisor shares.
    config: RwLock<Arc<TenantConfig>>,
    asker: Asker,
}

/// A tenant's new configuration.
struct Wanted {
    config: Arc<TenantConfig>,
    change: TenantChange,
    done: oneshot::Sender<Result<(), String>>,
}

struct Drain {
    timeout: Duration,
    hurry: CancellationToken,
    done: oneshot::Sender<bool>,
}

impl TenantHandle {
    /// Its configuration.
    pub fn config(&self) -> Arc<TenantConfig> {
        Arc::clone(&self.config.read())
    }

    /// Its routes, in order.
    pub fn routes(&self) -> Vec<RouteName> {
        self.config.read().routes.iter().map(|route| route.name.clone()).collect()
    }

    /// Its environment.
    pub fn environment(&self) -> Environment {
        self.config.read().environment
    }

    /// Gives an order.
    ///
    /// # Errors
    /// If too many wait already, or the supervisor has ended.
    pub fn order(&self, order: Order) -> Result<(), String> {
        let taken = self.asker.order(order);
        taken.then_some(()).ok_or_else(|| "the tenant takes no orders just now; try again".into())
    }

    /// Goes on with another configuration; its secrets are read again in any case. Resolves when that is done.
    ///
    /// # Errors
    /// What could not be done, in words: the rest is in force.
    pub async fn change(&self, config: Arc<TenantConfig>, change: TenantChange) -> Result<(), String> {
        let (done, outcome) = oneshot::channel();
        let gone = || "its supervisor has ended".to_owned();
        if !self.asker.change(Box::new(Wanted { config: Arc::clone(&config), change, done })) {
            return Err(gone());
        }
        *self.config.write() = config;
        outcome.await.map_err(|_| gone())?
    }

    /// Drains the tenant: nothing new, what is held is finished, its sockets are closed. Whether nothing was cut off.
    pub async fn drain(&self, timeout: Duration, hurry: CancellationToken) -> bool {
        let (done, outcome) = oneshot::channel();
        if !self.asker.drain(Drain { timeout, hurry, done }) {
            return true;
        }
        outcome.await.unwrap_or(false)
    }
}

/// Starts a tenant's supervisor, as one of `tasks`.
///
/// The task ends with the drain. It holds no lock and owns nothing another tenant needs; should it panic itself, the
/// tenant shows `parked: supervisor` and the others go on.
pub fn supervise(
    shared: Arc<Shared>,
    config: Arc<TenantConfig>,
    board: Arc<Board>,
    tasks: &TaskTracker,
) -> TenantHandle {
    let (asker, inbox) = asked();
    let handle = TenantHandle { config: RwLock::new(Arc::clone(&config)), asker };
    let supervisor = Box::new(Supervisor::new(shared, config, Arc::clone(&board), inbox));
    let clock = supervisor.clock();
    // Not a task within a task, and no async block around it: either would hold a second copy of the whole.
    tasks.spawn(AssertUnwindSafe(supervisor.run()).catch_unwind().map(move |end| {
        if end.is_err() {
            tracing::error!(tenant = %board.tenant, "the tenant's supervisor panicked");
            show(
                &board,
                clock.wall(),
                TenantState::Parked,
                "supervisor",
                "A bug in taut ended this tenant's supervisor: restart the worker, and report it.",
            );
        }
    }));
    handle
}

fn show(board: &Board, now: WallMs, state: TenantState, code: &str, text: &str) {
    board.update(|status| {
        if status.state != state {
            status.since = now;
        }
        status.sockets = 0;
        status.state = state;
        status.reason = Reason::new(code, text);
        status.settled = true;
    });
}
