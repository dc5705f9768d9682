//! One tenant's delivery, ready to be fed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use taut_core::config::{DeliveryConfig, NetworkConfig, Span};
use taut_core::log::{Append, Log as _, NewEntry};
use taut_core::order::OrderKeys;
use taut_core::request::{Answer, NewRequest, Requests};
use taut_core::{Board, Clock as _, Envelope, Epoch, Moment, RouteName, TenantId};
use taut_delivery::{
    BadRoute, DeliveryDeps, DeliveryEnd, DeliveryHandle, DeliveryMetrics, RouteSpec, Router, Signer,
    TenantDelivery,
};
use taut_net::clock::BootClock;
use taut_net::dial::{Dialer, Way};
use taut_net::http::{HttpClient, HttpLimits};
use taut_vault::SigningSecret;

use crate::log::{MemDeadLetters, MemLog, shared};

pub(crate) const SECRET: &str = "bridge-test-secret-0001";

pub(crate) struct Bench {
    pub(crate) log: Arc<MemLog>,
    pub(crate) dead: Arc<MemDeadLetters>,
    pub(crate) board: Arc<Board>,
    pub(crate) handle: DeliveryHandle,
    pub(crate) router: Arc<Router>,
    pub(crate) requests: Arc<dyn Requests>,
}

/// A route as configuration has it; `more` are further members of its JSON object.
pub(crate) fn route(name: &str, url: &str, more: &str) -> RouteSpec {
    let json = format!(r#"{{"name":"{name}","target":{{"http":"{url}"}}{more}}}"#);
    RouteSpec { config: serde_json::from_str(&json).expect("a route"), number: 0 }
}

pub(crate) fn http() -> HttpClient {
    let dialer = Dialer::new(&NetworkConfig::default(), None).expect("a dialer");
    HttpClient::new(dialer, Way::Direct, HttpLimits::default())
}

/// Limits with pauses that a test can wait for.
pub(crate) fn quick() -> DeliveryConfig {
    let (retry_first, retry_max) = (Span(Duration::from_millis(10)), Span(Duration::from_millis(100)));
    DeliveryConfig { retry_first, retry_max, ..DeliveryConfig::default() }
}

impl Bench {
    /// Routes get numbers 0, 1, … in order.
    pub(crate) fn start(routes: Vec<RouteSpec>) -> Self {
        Self::start_on(Arc::default(), routes, Vec::new(), quick())
    }

    pub(crate) fn try_start(routes: Vec<RouteSpec>) -> Result<Self, BadRoute> {
        Self::build(Arc::default(), routes, Vec::new(), quick())
    }

    pub(crate) fn start_on(
        log: Arc<MemLog>,
        routes: Vec<RouteSpec>,
        removed: Vec<(u8, RouteName)>,
        config: DeliveryConfig,
    ) -> Self {
        Self::build(log, routes, removed, config).expect("usable routes")
    }

    fn build(
        log: Arc<MemLog>,
        routes: Vec<RouteSpec>,
        removed: Vec<(u8, RouteName)>,
        config: DeliveryConfig,
    ) -> Result<Self, BadRoute> {
        let (dead, board) = parts();
        let deps = deps(&log, &dead, &board, routes, removed, config);
        Self::spawn(deps, log, dead, board)
    }

    /// With the tenant, or some of its routes, paused from the start.
    pub(crate) fn start_paused(
        log: &Arc<MemLog>,
        routes: Vec<RouteSpec>,
        suspended: bool,
        paused: Vec<RouteName>,
    ) -> Self {
        let (dead, board) = parts();
        let deps = deps(log, &dead, &board, routes, Vec::new(), quick());
        let deps = DeliveryDeps { suspended, paused, ..deps };
        Self::spawn(deps, Arc::clone(log), dead, board).expect("usable routes")
    }

    fn spawn(
        deps: DeliveryDeps,
        log: Arc<MemLog>,
        dead: Arc<MemDeadLetters>,
        board: Arc<Board>,
    ) -> Result<Self, BadRoute> {
        let handle = TenantDelivery::spawn(deps)?;
        let requests = handle.requests();
        Ok(Self { router: handle.router(), log, dead, board, handle, requests })
    }

    /// Goes on with other routes, numbered 0, 1, … in order.
    pub(crate) async fn exchange(
        &mut self,
        routes: Vec<RouteSpec>,
        deadline: Moment,
    ) -> Result<DeliveryEnd, BadRoute> {
        let deps = deps(&self.log, &self.dead, &self.board, routes, Vec::new(), quick());
        let intake = (&mut self.router, &mut self.requests);
        let serve = |router, requests| (*intake.0, *intake.1) = (router, requests);
        self.handle.exchange(deps, deadline, serve).await
    }

    /// Stores an envelope as intake does.
    pub(crate) fn store(&self, frame: &str) -> (Arc<Envelope>, BoxFuture<'static, Append>) {
        let frame = Bytes::copy_from_slice(frame.as_bytes());
        let envelope = Envelope::from_frame(&frame).expect("an envelope");
        let facts = envelope.facts();
        let (routes, answering) = self.router.bits(envelope.kind, &facts);
        let stored = self.log.append(vec![NewEntry {
            tenant: tenant(),
            epoch: Epoch(7),
            frame,
            kind: envelope.kind,
            dedup: Some(envelope.dedup()),
            order: OrderKeys::of(&facts),
            routes,
            answering,
            received_at: BootClock.wall(),
        }]);
        drop(facts);
        (Arc::new(envelope), stored.map(|mut answers| answers.remove(0)).boxed())
    }

    /// Stores an event.
    pub(crate) async fn event(&self, id: &str, channel: &str) {
        let append = self.store(&event(id, channel)).1.await;
        assert!(matches!(append, Append::Stored(_)), "{append:?}");
    }

    /// Stores a request and begins it, read `age` ago.
    pub(crate) fn request(&self, frame: &str, age: Duration) -> BoxFuture<'static, Answer> {
        let (envelope, stored) = self.store(frame);
        self.begin(envelope, stored, age)
    }

    pub(crate) fn begin(
        &self,
        envelope: Arc<Envelope>,
        stored: BoxFuture<'static, Append>,
        age: Duration,
    ) -> BoxFuture<'static, Answer> {
        let (_, answering) = self.router.bits(envelope.kind, &envelope.facts());
        self.requests.begin(NewRequest {
            tenant: tenant(),
            envelope,
            answering,
            received: BootClock.now() - age,
            stored,
        })
    }

    pub(crate) fn attempts(&self, outcome: &str) -> u64 {
        self.board.counters.attempts.at(outcome).get()
    }
}

fn parts() -> (Arc<MemDeadLetters>, Arc<Board>) {
    (Arc::default(), Arc::new(Board::new(tenant(), BootClock.wall())))
}

fn deps(
    log: &Arc<MemLog>,
    dead: &Arc<MemDeadLetters>,
    board: &Arc<Board>,
    mut routes: Vec<RouteSpec>,
    removed: Vec<(u8, RouteName)>,
    config: DeliveryConfig,
) -> DeliveryDeps {
    for (number, route) in (0..).zip(&mut routes) {
        route.number = number;
    }
    DeliveryDeps {
        environment: taut_core::config::Environment::Dev,
        programs: taut_delivery::ExecPool::new(8),
        tenant: tenant(),
        routes,
        removed,
        suspended: false,
        paused: Vec::new(),
        log: shared(log),
        dead_letters: dead.clone(),
        http: http(),
        http_by_proxy: http(),
        outside: http(),
        signer: Signer::new(&SigningSecret::from(SECRET)),
        config,
        board: Arc::clone(board),
        clock: Arc::new(BootClock),
        epoch: Epoch(7),
        metrics: DeliveryMetrics::new(),
        response_hosts: taut_delivery::allow::response::ResponseHosts::new(&[], "http://127.0.0.1/api/")
            .expect("an empty list"),
    }
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new("acme").expect("a tenant id")
}

/// An event's frame.
pub(crate) fn event(id: &str, channel: &str) -> String {
    format!(
        r#"{{"envelope_id":"env-{id}","type":"events_api","accepts_response_payload":false,"retry_attempt":0,"retry_reason":"","payload":{{"type":"event_callback","team_id":"T1","event_id":"{id}","event":{{"type":"message","channel":"{channel}","text":"{id}"}}}}}}"#
    )
}

/// A slash command's frame.
pub(crate) fn command(id: &str, response_url: &str) -> String {
    format!(
        r#"{{"envelope_id":"{id}","type":"slash_commands","accepts_response_payload":true,"payload":{{"command":"/echo","text":"{id}","response_url":"{response_url}"}}}}"#
    )
}

/// An interactive frame of this payload type.
pub(crate) fn interactive(id: &str, payload_type: &str) -> String {
    format!(
        r#"{{"envelope_id":"{id}","type":"interactive","accepts_response_payload":true,"payload":{{"type":"{payload_type}","view":{{"callback_id":"v"}}}}}}"#
    )
}

/// Waits until `state` holds.
pub(crate) async fn until(what: &str, mut state: impl FnMut() -> bool) {
    let waiting = async {
        while !state() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap_or_else(|_| panic!("never came: {what}"));
}
