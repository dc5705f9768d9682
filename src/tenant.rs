//! One tenant's supervisor: reads its secrets, starts its line and its delivery, and restarts them, and only them,
//! when one ends on its own.
//!
//! ```text
//! incomplete ──secrets read──► running ──line or delivery ended──► back-off ──► running
//!      └────── looks again every 30 s          └── drain ──► line closed, then delivery finished
//! ```
//! A panic, a bad token or a dead handler of one tenant ends here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use taut_core::config::{Config, Environment, TenantConfig};
use taut_core::log::{DeadLetters, Log, Registry, TenantFacts};
use taut_core::{Board, Clock, Reason, RouteName, TenantId, TenantState, WallMs};
use taut_delivery::{
    DeliveryDeps, DeliveryEnd, DeliveryHandle, DeliveryMetrics, RouteSpec, Signer, TenantDelivery,
};
use taut_net::dial::Dialer;
use taut_net::gate::StartGate;
use taut_net::http::HttpClient;
use taut_net::retry::Backoff;
use taut_net::slack::SlackApi;
use taut_socket::{Desired, LineDeps, LineEnd, LineHandle, LineMetrics, Router, TenantLine};
use taut_vault::{AppToken, SigningSecret};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{RouteOrder, TenantOrder};
use crate::causes::with_causes;
use crate::facts;
use crate::fleet::Apps;

/// Orders that may wait for one tenant; more are refused.
const ORDERS_MAX: usize = 16;
/// How often missing secrets are looked for.
const SECRETS_EVERY: Duration = Duration::from_secs(30);
/// Pause before the first restart of a tenant's tasks; doubles, jittered.
const RESTART_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before a restart.
const RESTART_MAX: Duration = Duration::from_mins(1);

/// What all tenants share.
pub struct Shared {
    pub(crate) config: Config,
    pub(crate) secrets_base: PathBuf,
    pub(crate) api: SlackApi,
    pub(crate) dialer: Dialer,
    pub(crate) gate: Arc<StartGate>,
    /// The way to handlers.
    pub(crate) handlers: HttpClient,
    /// The way to handlers behind the proxy, and to `response_url`s.
    pub(crate) outside: HttpClient,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) line_metrics: LineMetrics,
    pub(crate) delivery_metrics: DeliveryMetrics,
    pub(crate) loopback_response_urls: bool,
    pub(crate) apps: Apps,
}

/// What an operator may order.
#[derive(Debug)]
pub enum Order {
    /// For the whole tenant.
    Tenant(TenantOrder),
    /// For one route.
    Route(RouteName, RouteOrder),
}

/// The outside of a tenant's supervisor.
pub struct TenantHandle {
    /// Its routes, in order.
    pub routes: Vec<RouteName>,
    /// Its environment.
    pub environment: Environment,
    orders: mpsc::Sender<Order>,
    drain: mpsc::Sender<Drain>,
}

struct Drain {
    timeout: Duration,
    hurry: CancellationToken,
    done: tokio::sync::oneshot::Sender<bool>,
}

impl TenantHandle {
    /// Gives an order.
    ///
    /// # Errors
    /// If too many wait already, or the supervisor has ended.
    pub fn order(&self, order: Order) -> Result<(), String> {
        self.orders.try_send(order).map_err(|_| "the tenant takes no orders just now; try again".into())
    }

    /// Drains the tenant: nothing new, what is held is finished, its sockets are closed. Whether nothing was cut off.
    pub async fn drain(&self, timeout: Duration, hurry: CancellationToken) -> bool {
        let (done, outcome) = tokio::sync::oneshot::channel();
        if self.drain.send(Drain { timeout, hurry, done }).await.is_err() {
            return true;
        }
        outcome.await.unwrap_or(false)
    }
}

/// Starts a tenant's supervisor.
///
/// The task ends with the drain. It holds no lock and owns nothing another tenant needs; should it panic itself, the
/// tenant shows `parked: supervisor` and the others go on.
pub fn supervise(
    shared: Arc<Shared>,
    config: TenantConfig,
    board: Arc<Board>,
) -> (TenantHandle, JoinHandle<()>) {
    let (orders, order_queue) = mpsc::channel(ORDERS_MAX);
    let (drain, drains) = mpsc::channel(1);
    let handle = TenantHandle {
        routes: config.routes.iter().map(|route| route.name.clone()).collect(),
        environment: config.environment,
        orders,
        drain,
    };
    let supervisor = Supervisor {
        paused: config.paused,
        restarts: Backoff::new(RESTART_FIRST, RESTART_MAX, seed_of(&config.id)),
        shared,
        config,
        board: Arc::clone(&board),
        orders: order_queue,
        drains,
    };
    let clock = Arc::clone(&supervisor.shared.clock);
    let task = tokio::spawn(async move {
        let run = tokio::spawn(supervisor.run());
        if let Err(error) = run.await {
            tracing::error!(tenant = %board.tenant, %error, "the tenant's supervisor ended");
            show(
                &board,
                clock.wall(),
                TenantState::Parked,
                "supervisor",
                "A bug in taut ended this tenant's supervisor: restart the worker, and report it.",
            );
        }
    });
    (handle, task)
}

struct Supervisor {
    shared: Arc<Shared>,
    config: TenantConfig,
    board: Arc<Board>,
    orders: mpsc::Receiver<Order>,
    drains: mpsc::Receiver<Drain>,
    paused: bool,
    restarts: Backoff,
}

/// What the supervisor woke up for.
enum Wake {
    Order(Order),
    Drain(Drain),
    LineEnded(LineEnd),
    DeliveryEnded(DeliveryEnd),
    Time,
    Gone,
}

/// A tenant's running parts.
struct Running {
    line: LineHandle,
    delivery: DeliveryHandle,
}

struct Secrets {
    app_token: AppToken,
    signing_secret: SigningSecret,
}

impl Supervisor {
    async fn run(mut self) {
        let mut facts = self.restored();
        let mut running: Option<Running> = None;
        let mut pause = Duration::ZERO;
        loop {
            if running.is_none() && pause.is_zero() {
                running = self.start(&facts);
                if running.is_none() {
                    pause = SECRETS_EVERY;
                }
            }
            match self.wake(running.as_mut(), pause).await {
                Wake::Order(order) => self.obey(order, running.as_ref()),
                Wake::Drain(drain) => {
                    self.drain(running, drain).await;
                    return;
                }
                Wake::Gone => return,
                Wake::Time => pause = Duration::ZERO,
                Wake::LineEnded(end) => {
                    tracing::error!(tenant = %self.config.id, ?end, "the tenant's line ended on its own; restarting it");
                    facts = self.end(running.take()).await;
                    pause = self.restarts.next_delay();
                }
                Wake::DeliveryEnded(end) => {
                    tracing::error!(tenant = %self.config.id, ?end, "the tenant's delivery ended on its own; restarting it");
                    facts = self.end(running.take()).await;
                    pause = self.restarts.next_delay();
                }
            }
        }
    }

    async fn wake(&mut self, running: Option<&mut Running>, pause: Duration) -> Wake {
        let parts = async {
            let Some(Running { line, delivery }) = running else {
                tokio::time::sleep(pause).await;
                return Wake::Time;
            };
            tokio::select! {
                end = line.join() => Wake::LineEnded(end),
                end = delivery.join() => Wake::DeliveryEnded(end),
            }
        };
        tokio::select! {
            biased;
            drain = self.drains.recv() => drain.map_or(Wake::Gone, Wake::Drain),
            order = self.orders.recv() => order.map_or(Wake::Gone, Wake::Order),
            wake = parts => wake,
        }
    }

    fn restored(&self) -> TenantFacts {
        let mut facts = facts::restore(self.shared.registry.as_ref(), &self.board);
        if let Some(app_id) = &self.config.app_id {
            facts.app_id = Some(app_id.clone());
        }
        facts
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

    fn secrets(&self) -> Result<Secrets, Reason> {
        let mut ages = Vec::new();
        let mut read = |key: &'static str, reference| {
            let resolved = taut_vault::resolve(reference, &self.shared.secrets_base)
                .map_err(|error| Reason::new("secret_missing", format!("{key}: {error}")))?;
            if let Some(warning) = &resolved.warning {
                tracing::warn!(tenant = %self.config.id, which = key, "{warning}");
            }
            ages.extend(resolved.set_at.map(|set_at| (key, set_at)));
            Ok(resolved.secret)
        };
        let app_token = AppToken::new(read("app_token", &self.config.app_token)?);
        let signing_secret = SigningSecret::new(read("signing_secret", &self.config.signing_secret)?);
        self.board.update(|status| status.secrets = ages);
        Ok(Secrets { app_token, signing_secret })
    }

    fn parts(&self, secrets: Secrets, facts: &TenantFacts) -> Result<Running, Reason> {
        let shared = &self.shared;
        let names: Vec<_> = self.config.routes.iter().map(|route| route.name.clone()).collect();
        let numbers = shared.registry.route_numbers(&self.config.id, &names).map_err(|error| {
            Reason::new("store", format!("the routes' numbers could not be read: {error}"))
        })?;
        let routes: Vec<_> = self
            .config
            .routes
            .iter()
            .zip(&numbers.current)
            .map(|(config, number)| RouteSpec { config: config.clone(), number: *number })
            .collect();
        let delivery = TenantDelivery::spawn(DeliveryDeps {
            tenant: self.config.id.clone(),
            routes,
            removed: numbers.removed,
            log: Arc::clone(&shared.log),
            dead_letters: Arc::clone(&shared.dead_letters),
            http: shared.handlers.clone(),
            outside: shared.outside.clone(),
            signer: Signer::new(&secrets.signing_secret),
            config: shared.config.delivery.clone(),
            board: Arc::clone(&self.board),
            clock: Arc::clone(&shared.clock),
            epoch: shared.log.epoch(),
            metrics: shared.delivery_metrics.clone(),
            loopback_response_urls: shared.loopback_response_urls,
        });
        let delivery = delivery.map_err(|error| Reason::new("route", with_causes(&error)))?;
        if self.paused {
            self.pause_routes(&delivery);
        }
        let table = delivery.router();
        let intake = Router::new(move |kind, facts| {
            let (routes, answering) = table.bits(kind, facts);
            taut_socket::Routed { routes, answering }
        });
        let (claims, tenant) = (Arc::clone(shared), self.config.id.clone());
        let line = TenantLine::spawn(LineDeps {
            tenant: self.config.id.clone(),
            app_token: secrets.app_token,
            app_id: facts.app_id.clone(),
            desired: if self.paused { Desired::Paused } else { Desired::Connected },
            api: shared.api.clone(),
            dialer: shared.dialer.clone(),
            gate: Arc::clone(&shared.gate),
            log: Arc::clone(&shared.log),
            requests: delivery.requests(),
            router: Arc::new(intake),
            board: Arc::clone(&self.board),
            clock: Arc::clone(&shared.clock),
            config: Arc::new(shared.config.slack.clone()),
            metrics: shared.line_metrics.clone(),
            seed: seed_of(&self.config.id),
            deaf_since: facts::deaf_since(facts),
            claim_app: Arc::new(move |app_id| claims.apps.take(app_id, &tenant)),
        });
        Ok(Running { line, delivery })
    }

    fn obey(&mut self, order: Order, running: Option<&Running>) {
        tracing::info!(tenant = %self.config.id, ?order, "ordered by an operator");
        match &order {
            Order::Tenant(TenantOrder::Pause) => self.paused = true,
            Order::Tenant(TenantOrder::Resume) => self.paused = false,
            Order::Route(..) => {}
        }
        let Some(running) = running else { return };
        match order {
            Order::Tenant(TenantOrder::Pause) => {
                running.line.set_desired(Desired::Paused);
                self.pause_routes(&running.delivery);
            }
            Order::Tenant(TenantOrder::Resume) => {
                running.line.set_desired(Desired::Connected);
                for route in &self.config.routes {
                    running.delivery.resume(&route.name);
                }
            }
            Order::Route(route, order) => {
                let known = match order {
                    RouteOrder::Pause => running.delivery.pause(&route),
                    RouteOrder::Resume => running.delivery.resume(&route),
                    RouteOrder::ResetBreaker => running.delivery.reset_breaker(&route),
                };
                debug_assert!(known, "the socket's server checks the route's name");
            }
        }
    }

    fn pause_routes(&self, delivery: &DeliveryHandle) {
        for route in &self.config.routes {
            delivery.pause(&route.name);
        }
    }

    /// Ends what still runs of a tenant that lost a part, at once: the rest is in the log. The facts for the restart.
    async fn end(&self, running: Option<Running>) -> TenantFacts {
        if let Some(Running { line, mut delivery }) = running {
            drop(line);
            let end = delivery.drain(self.shared.clock.now()).await;
            tracing::debug!(tenant = %self.config.id, ?end, "the tenant's other part was ended too");
        }
        let facts = facts::of(&self.board);
        let since = self.shared.clock.wall();
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

    async fn drain(self, running: Option<Running>, drain: Drain) {
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

/// Spreads pauses and renewals over tenants; the same for a tenant at every start.
fn seed_of(tenant: &TenantId) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    tenant.hash(&mut hasher);
    hasher.finish()
}
