//! Carries a change out, in an order that keeps promises: limits, removed, changed, added.

use std::sync::Arc;

use futures::future::join_all;
use parking_lot::Mutex;
use taut_core::config::{Config, TenantConfig};
use taut_core::{Board, TenantId, metric};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Change, ConfigStatus, ReloadReport, TenantChange, diff};
use crate::config::{Breaches, Loaded};
use crate::fleet::Fleet;
use crate::live::limits;
use crate::logging;
use crate::seeing::Seen;
use crate::tenant::{Shared, supervise};

/// Reads the files again.
pub type Again = Arc<dyn Fn() -> Result<Loaded, Breaches> + Send + Sync>;

/// Reloads that may wait for one that is under way; more are refused.
const WAITING_MAX: usize = 4;

/// Carries reloads out, one at a time.
pub struct Reloader {
    again: Again,
    shared: Arc<Shared>,
    fleet: Arc<Fleet>,
    seen: Seen,
    /// Where the supervisors' tasks are tracked.
    tasks: TaskTracker,
    status: Arc<Mutex<ConfigStatus>>,
    one: tokio::sync::Mutex<()>,
    waiting: Semaphore,
}

impl Reloader {
    /// Nothing has been reloaded yet.
    pub(crate) fn new(
        again: Again,
        shared: Arc<Shared>,
        fleet: Arc<Fleet>,
        seen: Seen,
        tasks: TaskTracker,
    ) -> Self {
        let status = Arc::clone(&seen.config);
        let (one, waiting) = (tokio::sync::Mutex::new(()), Semaphore::new(WAITING_MAX));
        Self { again, shared, fleet, seen, tasks, status, one, waiting }
    }

    /// Starts every tenant of the configuration in force: the first change, from nothing.
    pub(crate) fn start_all(&self, tenants: Vec<TenantConfig>) {
        let routes_of =
            |tenant: &TenantConfig| tenant.routes.iter().map(|route| route.name.clone()).collect();
        let routes: Vec<(TenantId, Vec<_>)> =
            tenants.iter().map(|tenant| (tenant.id.clone(), routes_of(tenant))).collect();
        if let Err(error) = self.shared.registry.number_routes(&routes) {
            // Each tenant asks for its own as well, and says so where it gets none.
            tracing::warn!(error, "the routes' numbers could not be stored all at once");
        }
        for tenant in tenants {
            self.add(Arc::new(tenant));
        }
    }

    /// Reads the files again and applies what changed.
    ///
    /// # Errors
    /// Everything that is wrong with the new configuration; nothing was changed.
    pub async fn reload(&self) -> Result<ReloadReport, String> {
        let _waiting = self.waiting.try_acquire().map_err(|_| {
            format!("{WAITING_MAX} reloads wait already; the last of them reads what the files say then")
        })?;
        let _one = self.one.lock().await;
        let again = Arc::clone(&self.again);
        let loaded = tokio::task::spawn_blocking(move || again()).await;
        let loaded = match loaded {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(breaches)) => return Err(self.refuse(breaches.to_string())),
            Err(error) => return Err(self.refuse(format!("reading the configuration panicked: {error}"))),
        };
        let Loaded { config, warnings, .. } = loaded;
        let change = diff(&self.shared.live.config(), &self.fleet.configs(), config);
        if change.keys.iter().any(|key| key == "log.level")
            && let Err(error) = logging::set_level(&change.in_force.log.level)
        {
            return Err(self.refuse(format!("log.level {error}")));
        }
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(self.apply(change).await)
    }

    fn refuse(&self, why: String) -> String {
        tracing::error!(error = why, "the configuration was not reloaded: the old one stays in force");
        self.status.lock().refused = Some(why.clone());
        count("refused", true, None);
        why
    }

    async fn apply(&self, change: Change) -> ReloadReport {
        let Change { in_force, keys, needs_restart, added, removed, kept } = change;
        let queue_limits = limits(&in_force);
        if keys.iter().any(|key| key == "delivery.allow_hosts") {
            self.readmit(&in_force);
        }
        let drain_timeout = in_force.worker.drain_timeout.0;
        self.shared.live.replace(in_force);
        for (tenant, _) in &kept {
            self.shared.log.set_limits(&tenant.id, queue_limits);
        }
        let mut report = ReloadReport { applied: keys, needs_restart, ..ReloadReport::default() };
        // First those that go: an app may have moved to another tenant's name.
        let drained = join_all(removed.iter().map(|tenant| self.remove(tenant, drain_timeout))).await;
        for (tenant, whole) in removed.iter().zip(drained) {
            report.applied.push(format!("tenant {tenant}: removed; {}", self.left_behind(tenant)));
            if !whole {
                report
                    .trouble
                    .push(format!("tenant {tenant}: its drain was cut short; what was stored is kept"));
            }
        }
        let told = join_all(kept.into_iter().map(|(tenant, change)| self.tell(tenant, change))).await;
        for (tenant, words, outcome) in told {
            if !words.is_empty() {
                report.applied.push(format!("tenant {tenant}: {words}"));
            }
            if let Err(trouble) = outcome {
                report.trouble.push(format!("tenant {tenant}: {trouble}"));
            }
        }
        for tenant in added {
            let id = tenant.id.clone();
            if self.add(tenant) {
                report.applied.push(format!("tenant {id}: added"));
            }
        }
        self.say(&report);
        report
    }

    /// Handlers' addresses are checked when they are dialled, by a rule that the clients hold.
    fn readmit(&self, config: &Config) {
        let mut way_out = self.shared.way_out.write();
        match way_out.readmitting(config) {
            Ok(other) => *way_out = other,
            Err(error) => tracing::error!(error, "the old delivery.allow_hosts stays in force"),
        }
    }

    fn say(&self, report: &ReloadReport) {
        let ReloadReport { applied, trouble, needs_restart } = report;
        tracing::info!(changes = applied.len(), "the configuration was reloaded");
        for line in applied {
            tracing::info!("reloaded: {line}");
        }
        for line in trouble {
            tracing::error!("reloaded, but {line}");
        }
        if !needs_restart.is_empty() {
            let keys = needs_restart.join(", ");
            tracing::warn!(keys, "these keys need a restart to change; their old values stay in force");
        }
        let status = ConfigStatus { refused: None, needs_restart: needs_restart.clone() };
        *self.status.lock() = status;
        count("applied", false, Some(needs_restart.len()));
    }

    /// Drains a tenant and lets go of it; whether nothing was cut off. Its backlog stays in the log.
    async fn remove(&self, tenant: &TenantId, timeout: std::time::Duration) -> bool {
        let Some(handle) = self.fleet.get(tenant) else { return true };
        let whole = handle.drain(timeout, CancellationToken::new()).await;
        self.fleet.remove(tenant);
        self.seen.remove(tenant);
        self.shared.apps.release(tenant);
        whole
    }

    fn left_behind(&self, tenant: &TenantId) -> String {
        let backlog = self.shared.log.stats(tenant);
        match backlog.envelopes {
            0 => "nothing of it is left to deliver".into(),
            count => format!("{count} acked envelopes of it stay in the log until it is configured again"),
        }
    }

    async fn tell(
        &self,
        tenant: Arc<TenantConfig>,
        change: TenantChange,
    ) -> (TenantId, String, Result<(), String>) {
        let (id, words) = (tenant.id.clone(), change.words());
        let outcome = match self.fleet.get(&id) {
            Some(handle) => handle.change(tenant, change).await,
            None => Ok(()),
        };
        (id, words, outcome)
    }

    /// Starts a tenant's supervisor; false if the worker is draining.
    fn add(&self, config: Arc<TenantConfig>) -> bool {
        let shared = &self.shared;
        shared.log.set_limits(&config.id, shared.live.limits());
        let board = Arc::new(Board::new(config.id.clone(), shared.clock.wall()));
        let id = config.id.clone();
        self.fleet.insert(&id, || {
            self.seen.add(Arc::clone(&board));
            supervise(Arc::clone(shared), config, board, &self.tasks)
        })
    }
}

fn count(outcome: &'static str, refused: bool, pending: Option<usize>) {
    metrics::counter!(metric::CONFIG_RELOADS.name, "outcome" => outcome).increment(1);
    metrics::gauge!(metric::CONFIG_REFUSED.name).set(f64::from(u8::from(refused)));
    if let Some(pending) = pending {
        metrics::gauge!(metric::CONFIG_NEEDS_RESTART.name).set(pending as f64);
    }
}
