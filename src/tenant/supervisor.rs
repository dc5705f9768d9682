//! The supervisor's loop: start, wait, obey, restart, drain.

use std::sync::Arc;
use std::time::Duration;

use super::asked::{Inbox, Next};
use super::parts::Running;
use super::{Drain, Order, Shared, Wanted, show};
use crate::admin::{RouteOrder, TenantOrder};
use crate::facts;
use crate::reload::TenantChange;
use taut_core::config::TenantConfig;
use taut_core::log::TenantFacts;
use taut_core::{Board, Clock, Moment, Reason, RouteName, TenantId, TenantState};
use taut_delivery::DeliveryEnd;
use taut_net::retry::Backoff;
use taut_socket::{Desired, LineEnd};

/// How often missing secrets are looked for.
const SECRETS_EVERY: Duration = Duration::from_secs(30);
/// Pause before the first restart of a tenant's tasks; doubles, jittered.
const RESTART_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before a restart.
const RESTART_MAX: Duration = Duration::from_mins(1);
/// A tenant that ran for so long counts as well again.
const STABLE_AFTER: Duration = Duration::from_mins(10);
/// How long the requests of a lost part may take to their end: their own deadline is 2.5 s, and a write follows.
const LAST_REQUESTS_MAX: Duration = Duration::from_secs(5);

pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) config: Arc<TenantConfig>,
    pub(super) board: Arc<Board>,
    inbox: Inbox,
    pub(super) paused: bool,
    /// What a reload could not do: the next one tries again.
    pub(super) behind: TenantChange,
    restarts: Backoff,
    /// When its parts were last started.
    started: Moment,
}

/// What the supervisor woke up for.
enum Wake {
    Changed(Box<Wanted>),
    Order(Order),
    Drain(Drain),
    LineEnded(LineEnd),
    DeliveryEnded(DeliveryEnd),
    Time,
    Gone,
}

impl Supervisor {
    /// A supervisor that has started nothing yet.
    pub(super) fn new(
        shared: Arc<Shared>,
        config: Arc<TenantConfig>,
        board: Arc<Board>,
        inbox: Inbox,
    ) -> Self {
        Self {
            paused: config.paused,
            behind: TenantChange::default(),
            restarts: Backoff::new(RESTART_FIRST, RESTART_MAX, seed_of(&config.id)),
            started: shared.clock.now(),
            shared,
            config,
            board,
            inbox,
        }
    }

    /// Its clock.
    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock)
    }

    /// Runs the tenant until it is drained.
    pub(super) async fn run(mut self: Box<Self>) {
        let mut facts = self.restored();
        self.paused |= facts.paused;
        let mut running: Option<Running> = None;
        let mut pause = Duration::ZERO;
        loop {
            if running.is_none() && pause.is_zero() {
                running = self.start(&facts);
                self.started = self.shared.clock.now();
                if running.is_none() {
                    pause = SECRETS_EVERY;
                } else {
                    // It was started with all of its configuration but for the app, which is a fact.
                    self.behind = TenantChange { app: self.behind.app, ..TenantChange::default() };
                }
            }
            match self.wake(running.as_mut(), pause).await {
                Wake::Order(order) => {
                    if matches!(order, Order::Tenant(TenantOrder::Resume)) {
                        pause = Duration::ZERO;
                    }
                    self.obey(order, running.as_mut());
                }
                Wake::Drain(drain) => {
                    // Boxed, like everything below that is rare: an idle supervisor holds no room for it.
                    Box::pin(self.drain(running, drain)).await;
                    return;
                }
                Wake::Changed(wanted) => {
                    // Whatever it waited for may be mended by what changed.
                    pause = Duration::ZERO;
                    let anew = Box::pin(self.change(*wanted, running.as_mut())).await;
                    if anew.parts {
                        facts = Box::pin(self.end(running.take())).await;
                    }
                    if anew.app {
                        self.shared.apps.release(&self.config.id);
                        // Without a pin it is learnt anew from the next hello.
                        facts.app_id.clone_from(&self.config.app_id);
                    }
                }
                Wake::Gone => return,
                Wake::Time => pause = Duration::ZERO,
                Wake::LineEnded(end) => {
                    tracing::error!(tenant = %self.config.id, ?end, "the tenant's line ended on its own; restarting it");
                    facts = Box::pin(self.end(running.take())).await;
                    pause = self.next_pause();
                }
                Wake::DeliveryEnded(end) => {
                    tracing::error!(tenant = %self.config.id, ?end, "the tenant's delivery ended on its own; restarting it");
                    facts = Box::pin(self.end(running.take())).await;
                    pause = self.next_pause();
                }
            }
        }
    }

    async fn wake(&mut self, running: Option<&mut Running>, pause: Duration) -> Wake {
        let parts = async {
            let Some(Running { line, delivery, .. }) = running else {
                Box::pin(tokio::time::sleep(pause)).await;
                return Wake::Time;
            };
            tokio::select! {
                end = line.join() => Wake::LineEnded(end),
                end = delivery.join() => Wake::DeliveryEnded(end),
            }
        };
        tokio::select! {
            biased;
            next = self.inbox.next() => match next {
                Next::Drain(drain) => Wake::Drain(drain),
                Next::Changed(wanted) => Wake::Changed(wanted),
                Next::Order(order) => Wake::Order(order),
                Next::Gone => Wake::Gone,
            },
            wake = parts => wake,
        }
    }

    fn restored(&self) -> TenantFacts {
        let mut facts = facts::restore(self.shared.registry.as_ref(), &self.board);
        if let Some(app_id) = &self.config.app_id {
            facts.app_id = Some(app_id.clone());
        }
        self.forget_gone_routes();
        facts
    }

    /// A pause goes with its route.
    pub(super) fn forget_gone_routes(&self) {
        let configured = |name: &RouteName| self.config.routes.iter().any(|route| route.name == *name);
        self.board.update(|status| status.paused_routes.retain(configured));
    }

    fn start(&self, facts: &TenantFacts) -> Option<Running> {
        let started = self.secrets().and_then(|secrets| self.parts(secrets, facts));
        match started {
            Ok(running) => Some(running),
            Err(reason) => {
                tracing::error!(tenant = %self.config.id, reason = reason.code, "{}", reason.text);
                show(
                    &self.board,
                    self.shared.clock.wall(),
                    TenantState::Incomplete,
                    &reason.code,
                    &reason.text,
                );
                None
            }
        }
    }

    /// The pause before the next restart; a tenant that ran well for a while begins anew.
    fn next_pause(&mut self) -> Duration {
        if self.shared.clock.now().since(self.started) >= STABLE_AFTER {
            self.restarts.reset();
        }
        self.restarts.next_delay()
    }

    fn obey(&mut self, order: Order, running: Option<&mut Running>) {
        if let Order::StoodStill(still) = order {
            if let Some(running) = running {
                running.line.stood_still(still);
            }
            return;
        }
        tracing::info!(tenant = %self.config.id, ?order, "ordered by an operator");
        self.remember(&order);
        match order {
            Order::Tenant(TenantOrder::Pause) => self.pause(running),
            Order::Tenant(TenantOrder::Resume) => self.resume(running),
            Order::Route(route, order) => {
                let Some(Running { delivery, .. }) = running else { return };
                let known = match order {
                    RouteOrder::Pause => delivery.pause(&route),
                    RouteOrder::Resume => delivery.resume(&route),
                    RouteOrder::ResetBreaker => delivery.reset_breaker(&route),
                };
                if !known {
                    tracing::warn!(tenant = %self.config.id, %route, "the route went before its order came");
                }
            }
            Order::StoodStill(_) => {}
        }
    }

    /// Notes what is paused where it outlives the process. An order that changes nothing writes nothing: the database
    /// takes one writer at a time, and those that wait for it hold threads that name lookups and reads need.
    pub(super) fn remember(&self, order: &Order) {
        let before = facts::of(&self.board);
        self.board.update(|status| match order {
            Order::Tenant(TenantOrder::Pause) => status.paused = true,
            Order::Tenant(TenantOrder::Resume) => status.paused = false,
            Order::Route(route, RouteOrder::Pause) if !status.paused_routes.contains(route) => {
                status.paused_routes.push(route.clone());
            }
            Order::Route(route, RouteOrder::Resume) => status.paused_routes.retain(|paused| paused != route),
            Order::Route(_, RouteOrder::Pause | RouteOrder::ResetBreaker) | Order::StoodStill(_) => {}
        });
        let after = facts::of(&self.board);
        if (before.paused, before.paused_routes) != (after.paused, after.paused_routes) {
            facts::save_one(Arc::clone(&self.shared.registry), Arc::clone(&self.board));
        }
    }

    pub(super) fn pause(&mut self, running: Option<&mut Running>) {
        self.paused = true;
        if let Some(running) = running {
            running.line.set_desired(Desired::Paused);
            running.delivery.suspend(true);
        }
    }

    pub(super) fn resume(&mut self, running: Option<&mut Running>) {
        self.paused = false;
        let Some(running) = running else { return };
        // A park is lifted by a person who mended something: most often a secret.
        if let Err(error) = self.renew(running) {
            tracing::error!(tenant = %self.config.id, "{error}");
        }
        running.line.set_desired(Desired::Connected);
        running.delivery.suspend(false);
    }

    /// Reads the secrets again and goes on with them.
    pub(super) fn renew(&self, running: &mut Running) -> Result<(), String> {
        match self.secrets() {
            Ok(secrets) => {
                running.renew(secrets);
                Ok(())
            }
            Err(Reason { code, text }) => Err(format!("{code}: {text}; the old secrets stay in use")),
        }
    }

    /// Ends what still runs of a tenant that lost a part: its requests under way get to their end, so that nothing of
    /// the old parts acts beside the new ones. The facts for the restart.
    async fn end(&self, running: Option<Running>) -> TenantFacts {
        if let Some(Running { line, mut delivery, .. }) = running {
            drop(line);
            let end = delivery.drain(self.shared.clock.now() + LAST_REQUESTS_MAX).await;
            tracing::debug!(tenant = %self.config.id, ?end, "the tenant's other part was ended too");
        }
        let facts = facts::of(&self.board);
        let since = self.shared.clock.wall();
        self.board.counters.restarts.one();
        self.board.update(|status| {
            // Its sockets went with its line; the silence until the next hello is counted from the last frame.
            status.sockets = 0;
            status.deaf_since = status.deaf_since.or(status.last_frame.filter(|_| status.wanted));
            status.state = TenantState::Starting;
            status.reason =
                Reason::new("restart", "a part of this tenant ended on its own; it is started anew");
            status.since = since;
        });
        facts
    }

    async fn drain(&self, running: Option<Running>, drain: Drain) {
        let Some(mut running) = running else {
            answer(drain.done, true);
            return;
        };
        let deadline = self.shared.clock.now() + drain.timeout;
        // The line first: what it still takes in while closing is stored, and its requests need their handlers.
        let finish = async {
            let line = running.line.drain(deadline).await;
            let delivery = running.delivery.drain(deadline).await;
            (line, delivery) == (LineEnd::Drained, DeliveryEnd::Drained)
        };
        let whole = tokio::select! {
            biased;
            () = drain.hurry.cancelled() => false,
            whole = finish => whole,
        };
        answer(drain.done, whole);
    }
}

fn answer(done: tokio::sync::oneshot::Sender<bool>, whole: bool) {
    // Whoever asked may have given up; the drain happened all the same.
    let _asker_gone: Result<(), bool> = done.send(whole);
}

/// Spreads pauses and renewals over tenants; the same for a tenant at every start.
pub(super) fn seed_of(tenant: &TenantId) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    tenant.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_stays_small() {
        let bytes = size_of::<Supervisor>() + of_one(Supervisor::run);
        assert!(bytes <= 1_000, "a supervisor takes {bytes} bytes: box what is rare");
    }

    /// The size of an async function's future, in bytes.
    fn of_one<A, F>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }
}
