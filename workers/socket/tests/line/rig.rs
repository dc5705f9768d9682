//! One tenant's line, wired to one app of a simulated Slack.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use taut_core::config::{Deadlines, NetworkConfig, OpenRate, SlackConfig, Span};
use taut_core::log::Append;
use taut_core::request::{AckChoice, Answer, NewRequest, Requests, SilentReason};
use taut_core::{AppId, Board, Clock, Moment, RouteBits, TenantId, WallMs};
use taut_net::clock::BootClock;
use taut_net::dial::{Dialer, Way};
use taut_net::gate::StartGate;
use taut_net::http::{HttpClient, HttpLimits};
use taut_net::slack::SlackApi;
use taut_sim::{AckOutcome, AppHandle, AppSpec, NoteKind, Push, Sim, SimConfig, Switches};
use taut_socket::{Desired, LineDeps, LineHandle, LineMetrics, Routed, Router, TenantLine};
use taut_vault::AppToken;

use crate::log::MemoryLog;

/// Long enough for anything that works.
pub(crate) const SOON: Duration = Duration::from_secs(8);
pub(crate) const APP: &str = "A0ACME0001";
pub(crate) const TOKEN: &str = "xapp-1-A0ACME0001-1-a";

/// What the scripted handler does with each request.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) ack: AckChoice,
    pub(crate) after: Duration,
    pub(crate) panics: bool,
}

/// Delivery's side, scripted. Keeps what `settle` said.
pub(crate) struct Handler {
    pub(crate) script: Mutex<Script>,
    pub(crate) settled: Arc<Mutex<Vec<bool>>>,
    pub(crate) begun: AtomicU32,
}

impl Handler {
    pub(crate) fn answer(&self, ack: AckChoice, after: Duration) {
        *self.script.lock().expect("no panic holds it") = Script { ack, after, panics: false };
    }

    pub(crate) fn settled(&self) -> Vec<bool> {
        self.settled.lock().expect("no panic holds it").clone()
    }
}

impl Requests for Handler {
    fn begin(&self, request: NewRequest) -> BoxFuture<'static, Answer> {
        self.begun.fetch_add(1, Relaxed);
        let script = self.script.lock().expect("no panic holds it").clone();
        assert!(!script.panics, "as the test wants it");
        let settled = Arc::clone(&self.settled);
        async move {
            tokio::time::sleep(script.after).await;
            let ack = match request.stored.await {
                Append::Stored(_) | Append::Duplicate(_) => script.ack,
                Append::Full(_) | Append::Unavailable => AckChoice::Silent(SilentReason::NotStored),
            };
            let note = move |written| settled.lock().expect("no panic holds it").push(written);
            Answer { ack, settle: Some(Box::new(note)) }
        }
        .boxed()
    }
}

pub(crate) struct Rig {
    pub(crate) sim: Sim,
    pub(crate) app: AppHandle,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) handler: Arc<Handler>,
    pub(crate) router: Arc<Router>,
    pub(crate) board: Arc<Board>,
    pub(crate) line: LineHandle,
}

/// How a test wants its rig.
pub(crate) struct Setup {
    pub(crate) switches: Switches,
    pub(crate) slack: SlackConfig,
    /// How long a call of the Web API and an upgrade may take.
    pub(crate) patience: Span,
    pub(crate) app_id: Option<&'static str>,
    pub(crate) desired: Desired,
    /// How long ago an earlier process last heard from Slack.
    pub(crate) deaf_for: Option<Duration>,
    /// What claiming the app says; `None` panics.
    pub(crate) ours: Option<bool>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The host's clock, and the sleep of a host that no timer has seen.
#[derive(Default)]
pub(crate) struct SleepyClock(AtomicU32);

impl SleepyClock {
    pub(crate) fn sleep(&self, span: Duration) {
        self.0.fetch_add(u32::try_from(span.as_secs()).expect("a short sleep"), Relaxed);
    }

    fn slept(&self) -> Duration {
        Duration::from_secs(self.0.load(Relaxed).into())
    }
}

impl Clock for SleepyClock {
    fn now(&self) -> Moment {
        BootClock.now() + self.slept()
    }

    fn wall(&self) -> WallMs {
        WallMs(BootClock.wall().0 + u64::try_from(self.slept().as_millis()).expect("a short sleep"))
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            switches: Switches::default(),
            slack: SlackConfig::default(),
            patience: span(5000),
            app_id: Some(APP),
            desired: Desired::Connected,
            deaf_for: None,
            ours: Some(true),
            clock: Arc::new(BootClock),
        }
    }
}

pub(crate) fn span(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

/// Everything goes to route 0, which also answers requests.
pub(crate) fn route_all() -> Router {
    Router::new(|kind, _| {
        if kind.is_request() {
            Routed { routes: RouteBits::NONE, answering: RouteBits::one(0) }
        } else {
            Routed { routes: RouteBits::one(0), answering: RouteBits::NONE }
        }
    })
}

impl Rig {
    /// A connected line.
    pub(crate) async fn connected() -> Self {
        Self::connected_with(Setup::default()).await
    }

    pub(crate) async fn connected_with(setup: Setup) -> Self {
        let rig = Self::start(setup).await;
        rig.wait("connected").await;
        rig
    }

    pub(crate) async fn start(setup: Setup) -> Self {
        let config = SimConfig { switches: setup.switches.clone(), ..SimConfig::default() };
        let sim = Sim::start(config).await.expect("the simulator starts");
        let app = sim.add_app(AppSpec::new(APP, TOKEN));
        Self::over(sim, app, setup)
    }

    /// A line over a simulator that is already there.
    pub(crate) fn over(sim: Sim, app: AppHandle, setup: Setup) -> Self {
        let clock = setup.clock;
        let tenant = TenantId::new("acme").expect("a tenant id");
        let deadlines = Deadlines { upgrade: setup.patience, ..Deadlines::default() };
        let network = NetworkConfig { deadlines, ..NetworkConfig::default() };
        let dialer = Dialer::new(&network, None).expect("a dialer");
        let http = HttpClient::new(dialer.clone(), Way::Outside, HttpLimits::default());
        let script = Script { ack: AckChoice::Bare, after: Duration::ZERO, panics: false };
        let handler = Arc::new(Handler {
            script: Mutex::new(script),
            settled: Arc::default(),
            begun: AtomicU32::new(0),
        });
        let log = Arc::new(MemoryLog::default());
        let router = Arc::new(route_all());
        let board = Arc::new(Board::new(tenant.clone(), clock.wall()));
        let rate = OpenRate { burst: 1000, each: Duration::from_millis(1) };
        let ours = setup.ours;
        let ago =
            |span: Duration| WallMs(clock.wall().0 - u64::try_from(span.as_millis()).expect("a short span"));
        let deaf_since = setup.deaf_for.map(ago);
        let line = TenantLine::spawn(LineDeps {
            tenant,
            app_token: token(TOKEN),
            app_id: setup.app_id.map(|id| AppId::new(id).expect("an app id")),
            desired: setup.desired,
            api: SlackApi::new(http, &sim.api_url()).expect("an API URL").with_timeout(setup.patience.0),
            dialer,
            gate: Arc::new(StartGate::new(rate, 1000, Arc::clone(&clock))),
            log: Arc::clone(&log) as Arc<_>,
            requests: Arc::clone(&handler) as Arc<_>,
            router: Arc::clone(&router),
            board: Arc::clone(&board),
            clock,
            config: Arc::new(setup.slack),
            metrics: LineMetrics::new(),
            seed: 42,
            deaf_since,
            claim_app: Arc::new(move |_| ours.expect("as the test wants it")),
        });
        Self { sim, app, log, handler, router, board, line }
    }

    /// Waits for a state, written `state` or `state: code`.
    pub(crate) async fn wait(&self, wanted: &str) {
        self.until(wanted, |rig| rig.state() == wanted || rig.state().starts_with(&format!("{wanted}:")))
            .await;
    }

    pub(crate) fn state(&self) -> String {
        let status = self.board.status();
        format!("{}: {}", status.state.name(), status.reason.code)
    }

    /// Waits for anything.
    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let wait = async {
            while !reached(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(
            tokio::time::timeout(SOON, wait).await.is_ok(),
            "waited in vain for {what}; the tenant is {}",
            self.state()
        );
    }

    /// Pushes and waits for the ack; its payload as text.
    pub(crate) async fn acked(&self, push: impl Into<Push>) -> Option<String> {
        match self.app.push(push).wait_ack(SOON).await {
            AckOutcome::Acked { payload, .. } => {
                payload.map(|bytes| String::from_utf8(bytes.to_vec()).expect("JSON text"))
            }
            AckOutcome::Unacked { reason, .. } => {
                panic!("not acked: {reason:?}; the tenant is {}", self.state())
            }
        }
    }

    /// How often `apps.connections.open` was called.
    pub(crate) fn opens(&self) -> usize {
        self.notes(|kind| matches!(kind, NoteKind::Open { .. }))
    }

    pub(crate) fn notes(&self, wanted: impl Fn(&NoteKind) -> bool) -> usize {
        self.sim.journal().notes(Some(APP)).iter().filter(|note| wanted(&note.kind)).count()
    }
}

pub(crate) fn token(text: &str) -> AppToken {
    AppToken::from(text)
}
