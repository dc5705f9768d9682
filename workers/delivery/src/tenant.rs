//! One tenant's delivery: its parts, its handle, its end.

mod burial;
mod orphans;
mod task;

use std::sync::Arc;

use taut_core::config::{DeliveryConfig, Environment, Target};
use taut_core::log::{DeadLetters, Log};
use taut_core::request::Requests;
use taut_core::{Board, Clock, Epoch, Moment, RouteName, TenantId};
use taut_net::http::HttpClient;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::allow::AllowHosts;
use crate::allow::response::ResponseHosts;
use crate::desk::RequestDesk;
use crate::metrics::DeliveryMetrics;
use crate::pure::health::Down;
use crate::route::{BadRoute, Route, Surroundings};
use crate::router::{RouteSpec, Router};
use crate::shared::{REQUESTS_MAX, Shared};
use crate::signer::Signer;
use crate::target::exec::ExecPool;

/// What one tenant's delivery is made of.
pub struct DeliveryDeps {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is for: whether logs may quote what its programs say.
    pub environment: Environment,
    /// Its routes in order, with their numbers.
    pub routes: Vec<RouteSpec>,
    /// Numbers whose route is no longer configured: what they still owe becomes dead letters.
    pub removed: Vec<(u8, RouteName)>,
    /// Whether the whole tenant is paused from the start.
    pub suspended: bool,
    /// Routes that are paused from the start.
    pub paused: Vec<RouteName>,
    /// Where its envelopes are.
    pub log: Arc<dyn Log>,
    /// Where those go that are given up on.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// To handlers, straight.
    pub http: HttpClient,
    /// To handlers of routes with `proxy = true`. Must judge addresses as `http` does wherever it goes straight.
    pub http_by_proxy: HttpClient,
    /// To a `response_url`, through the proxy where there is one.
    pub outside: HttpClient,
    /// The host's room for programs.
    pub programs: ExecPool,
    /// Signs its deliveries.
    pub signer: Signer,
    /// The worker's limits.
    pub config: DeliveryConfig,
    /// Its board.
    pub board: Arc<Board>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The owner's epoch, told to handlers.
    pub epoch: Epoch,
    /// The worker's metrics.
    pub metrics: DeliveryMetrics,
    /// Where a `response_url` may lead.
    pub response_hosts: ResponseHosts,
}

/// One tenant's delivery. Start it with [`TenantDelivery::spawn`].
pub struct TenantDelivery;

impl TenantDelivery {
    /// Starts delivering the tenant's backlog. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`BadRoute`] if a target cannot or must not be used; nothing was started.
    pub fn spawn(deps: DeliveryDeps) -> Result<DeliveryHandle, BadRoute> {
        Ok(DeliveryHandle::over(shared(deps, None)?))
    }
}

/// What the parts of a delivery share; a successor takes over what its predecessor knows of requests.
fn shared(deps: DeliveryDeps, before: Option<&Shared>) -> Result<Arc<Shared>, BadRoute> {
    let router = Arc::new(Router::new(&deps.routes));
    let allowed = AllowHosts::parse(&deps.config.allow_hosts).map_err(BadRoute::AllowHosts)?;
    let (slots, stop) = (deps.programs.slots(), CancellationToken::new());
    let route_of = |spec: &RouteSpec| {
        if let Target::Http(url) = &spec.config.target {
            let refused = |source| BadRoute::Target { route: spec.config.name.clone(), source };
            allowed.check(url).map_err(refused)?;
        }
        let client = if spec.config.proxy { &deps.http_by_proxy } else { &deps.http };
        let around = Surroundings {
            tenant: &deps.tenant,
            environment: deps.environment,
            epoch: deps.epoch,
            client: client.clone(),
            config: &deps.config,
            slots: slots.clone(),
            stop: stop.clone(),
        };
        Route::new(spec, &around)
    };
    // Sized first: a collected vector has room for four, and a route is large.
    let mut built = Vec::with_capacity(deps.routes.len());
    for spec in &deps.routes {
        let route = route_of(spec)?;
        let mut health = route.health.lock();
        if deps.suspended {
            health.suspend(true);
        }
        if deps.paused.contains(&route.name) {
            health.pause();
        }
        drop(health);
        built.push(route);
    }
    let shared = Arc::new(Shared {
        tenant: deps.tenant,
        routes: built,
        removed: deps.removed,
        router,
        log: deps.log,
        dead_letters: deps.dead_letters,
        signer: deps.signer,
        outside: deps.outside,
        response_hosts: deps.response_hosts,
        board: deps.board,
        clock: deps.clock,
        metrics: deps.metrics,
        wake: before.map(|before| Arc::clone(&before.wake)).unwrap_or_default(),
        stop,
        // A drain waits for the requests that the predecessor began, too.
        tasks: before.map(|before| before.tasks.clone()).unwrap_or_default(),
        requests: before
            .map_or_else(|| Arc::new(Semaphore::new(REQUESTS_MAX)), |before| Arc::clone(&before.requests)),
        recent: before.map(|before| Arc::clone(&before.recent)).unwrap_or_default(),
        released: before.map(|before| Arc::clone(&before.released)).unwrap_or_default(),
    });
    if let Some(before) = before {
        keep_health(before, &shared);
    }
    Ok(shared)
}

/// A pause, of a route or of the tenant, is an operator's word: it outlives the exchange. Whatever else the old target
/// did is no judgement on the new one, so breaker and hold start anew.
fn keep_health(before: &Shared, after: &Shared) {
    let suspended = before.routes.iter().any(|old| old.health.lock().is_suspended());
    for route in &after.routes {
        let mut health = route.health.lock();
        if suspended {
            health.suspend(true);
        }
        if before.routes.iter().any(|old| old.name == route.name && old.health.lock().is_paused()) {
            health.pause();
        }
    }
}

/// How a tenant's delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// A drain: every attempt came to its end.
    Drained,
    /// The drain's deadline: attempts were cut off and will be repeated.
    CutOff,
    /// Its task panicked: the tenant's supervisor starts it again.
    Panicked,
}

/// A route as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteStatus {
    /// Its name.
    pub name: RouteName,
    /// Why nothing, or nothing but probes, goes out; `None` if all is well.
    pub down: Option<&'static str>,
}

/// Steers a running delivery. Dropping it leaves the task running; end it with [`DeliveryHandle::drain`].
pub struct DeliveryHandle {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    /// Set once the task's end is known: a join handle tells it once.
    end: Option<DeliveryEnd>,
}

impl DeliveryHandle {
    fn over(shared: Arc<Shared>) -> Self {
        shared.show_routes();
        // Its end is the tenant's supervisor's to judge, by `join`.
        let task = tokio::spawn(task::run(Arc::clone(&shared)));
        Self { shared, task, end: None }
    }

    /// Goes on with other routes or limits, over the same backlog.
    ///
    /// No attempt starts until those under way have ended, or `deadline` has come and cut them off: no lane has two
    /// attempts at once, and none loses its order. Requests wait for nobody: `serve` is called at once with the new
    /// router and the new desk, and those begun before are answered by the old routes. As at a restart, the attempts
    /// an envelope has had are counted anew, and a route that is paused stays so.
    ///
    /// # Errors
    /// [`BadRoute`] if a target cannot or must not be used; everything goes on as it was, and `serve` is not called.
    pub async fn exchange(
        &mut self,
        deps: DeliveryDeps,
        deadline: Moment,
        serve: impl FnOnce(Arc<Router>, Arc<dyn Requests>),
    ) -> Result<DeliveryEnd, BadRoute> {
        let after = shared(deps, Some(&self.shared))?;
        serve(Arc::clone(&after.router), Arc::new(RequestDesk::new(Arc::clone(&after))));
        self.shared.stop.cancel();
        let left = self.shared.clock.now().until(deadline);
        let end = if let Ok(end) = tokio::time::timeout(left, self.join()).await {
            end
        } else {
            self.task.abort();
            self.join().await;
            DeliveryEnd::CutOff
        };
        // Requests under way keep the old routes; their files are the new ones' from here.
        for route in &self.shared.routes {
            route.let_go();
        }
        *self = Self::over(after);
        Ok(end)
    }

    /// Which routes an envelope belongs to, for intake.
    pub fn router(&self) -> Arc<Router> {
        Arc::clone(&self.shared.router)
    }

    /// Who answers the tenant's requests, for intake.
    pub fn requests(&self) -> Arc<dyn Requests> {
        Arc::new(RequestDesk::new(Arc::clone(&self.shared)))
    }

    /// Its routes, in order.
    pub fn routes(&self) -> Vec<RouteStatus> {
        let status = |route: &Route| RouteStatus {
            name: route.name.clone(),
            down: route.health.lock().down().map(Down::name),
        };
        self.shared.routes.iter().map(status).collect()
    }

    /// Pauses every route with the tenant, or lifts that; routes that were paused one by one stay so.
    pub fn suspend(&self, suspended: bool) {
        for route in &self.shared.routes {
            route.health.lock().suspend(suspended);
        }
        self.shared.show_routes();
        self.shared.wake.notify_one();
    }

    /// Sends nothing to a route until it is resumed; false if there is no such route.
    pub fn pause(&self, route: &RouteName) -> bool {
        self.on_route(route, |route| route.health.lock().pause())
    }

    /// Ends a pause or a hold; false if there is no such route.
    pub fn resume(&self, route: &RouteName) -> bool {
        self.on_route(route, |route| route.health.lock().resume())
    }

    /// Closes a route's breaker and ends a hold; false if there is no such route.
    pub fn reset_breaker(&self, route: &RouteName) -> bool {
        self.on_route(route, |route| route.health.lock().reset())
    }

    fn on_route(&self, name: &RouteName, order: impl Fn(&Route)) -> bool {
        let Some(route) = self.shared.routes.iter().find(|route| route.name == *name) else { return false };
        order(route);
        self.shared.show_routes();
        self.shared.wake.notify_one();
        true
    }

    /// Starts no further attempt, and waits until those under way have ended and their commits are durable; requests
    /// still get their answers. At the deadline what is left is cut off.
    pub async fn drain(&mut self, deadline: Moment) -> DeliveryEnd {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        let left = self.shared.clock.now().until(deadline);
        let tasks = self.shared.tasks.clone();
        let ended = async {
            let end = self.join().await;
            tasks.wait().await;
            end
        };
        if let Ok(end) = tokio::time::timeout(left, ended).await {
            return end;
        }
        self.task.abort();
        DeliveryEnd::CutOff
    }

    /// Waits until the task ends, which it does by a drain or by a panic alone. Cancel safe.
    pub async fn join(&mut self) -> DeliveryEnd {
        if let Some(end) = self.end {
            return end;
        }
        let end = match (&mut self.task).await {
            Ok(()) => DeliveryEnd::Drained,
            Err(error) if error.is_panic() => DeliveryEnd::Panicked,
            Err(_) => DeliveryEnd::CutOff,
        };
        self.end = Some(end);
        end
    }
}
