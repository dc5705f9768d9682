//! The site: three tenants whose handlers have three tempers, a load on each, and a store of tiny segments.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use taut_sim::{
    AppHandle, AppSpec, EchoAnswer, EchoConfig, EchoHandler, Load, LoadHandle, NoteKind, Outage, Push,
    Sample, SimConfig, Switches,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::ledger::{Account, Ledger};
use crate::support::{SOON, Site, signing_secret};

/// Attempts follow each other fast, backlogs overflow, segments fill within a moment and are compacted in the next.
const HEAD: &str = "[queue]\nenvelopes_max = 100\ntotal_bytes_max = \"64MiB\"\n\
    [delivery]\nretry_first = \"20ms\"\nretry_max = \"200ms\"\nattempts_max = 6\npoison_hold = 10000\n";
const SEGMENT: &str = "segment_bytes = \"64KiB\"";

const ACME: &str = "[[tenants.routes]]\nname = \"bot\"\ntarget = { http = \"URL\" }\ntimeout = \"1s\"\n\
    [[tenants.routes]]\nname = \"audit\"\ntarget = { http = \"AUDIT\" }\ntimeout = \"1s\"\norder = \"none\"\n\
    match = { event_types = [\"message\"] }\n";
const GLOBEX: &str = "[[tenants.routes]]\nname = \"bot\"\ntarget = { http = \"URL\" }\ntimeout = \"1s\"\n\
    match = { event_types = [\"message\"] }\n\
    [[tenants.routes]]\nname = \"audit\"\ntarget = { http = \"AUDIT\" }\ntimeout = \"1s\"\n\
    on_late_answer = \"ack_then_deliver\"\nmatch = { kinds = [\"slash_commands\"] }\n";
const INITECH: &str = "[[tenants.routes]]\nname = \"bot\"\ntarget = { http = \"URL\" }\ntimeout = \"1s\"\n";

/// Path of the route `audit`; any other is the route `bot`.
pub(crate) const AUDIT: &str = "/audit";
/// How often somebody gives a command.
const COMMAND_EVERY: Duration = Duration::from_millis(20);
/// Requests that a handler keeps between two looks at them.
const REQUESTS_MAX: usize = 200_000;
/// Envelopes that the journal keeps: all of a long run.
const JOURNAL_MAX: usize = 10_000_000;

/// How a handler behaves between two kills.
#[derive(Debug, Clone, Copy)]
enum Temper {
    Steady,
    Moody,
    MostlyDead,
}

impl Temper {
    fn outage(self, rng: &mut StdRng) -> Outage {
        let moods = [
            Outage::Status(503),
            Outage::Status(400),
            Outage::Status(429),
            Outage::Abort,
            Outage::Hang,
            Outage::Slow(Duration::from_millis(rng.random_range(1..300))),
        ];
        let mood = moods[rng.random_range(0..moods.len())].clone();
        let well = match self {
            Self::Steady => 0.8,
            Self::Moody => 0.4,
            Self::MostlyDead => 0.1,
        };
        match (rng.random_bool(well), self) {
            (true, _) => Outage::None,
            // What is sent on is refused rather than lost: the backlog has to overflow.
            (false, Self::MostlyDead) => Outage::Status(503),
            (false, Self::Steady | Self::Moody) => mood,
        }
    }
}

/// A tenant with its app and its handler.
pub(crate) struct Tenant {
    pub(crate) id: &'static str,
    pub(crate) app: AppHandle,
    pub(crate) handler: EchoHandler,
    temper: Temper,
    /// The text of each command, by the id of its envelope.
    commands: Arc<Mutex<HashMap<Uuid, Arc<str>>>>,
}

impl Tenant {
    /// The text of the command with this envelope.
    pub(crate) fn command(&self, envelope_id: Uuid) -> Arc<str> {
        let commands = self.commands.lock();
        commands.get(&envelope_id).expect("commands come from the rig alone").clone()
    }

    /// Commands without end, each with a text of its own, for its user has nothing else to know it by.
    async fn command_forever(app: AppHandle, commands: Arc<Mutex<HashMap<Uuid, Arc<str>>>>) {
        for number in 0_u64.. {
            sleep(COMMAND_EVERY).await;
            let text = format!("n{number}");
            let payload = serde_json::json!({
                "command": "/line", "text": text, "api_app_id": app.id(), "team_id": "T0SIM", "user_id": "U0SIM",
                "channel_id": "C0COMMANDS", "trigger_id": format!("1.2.{number}"),
            });
            let mut commands = commands.lock();
            let pushed = app.push(Push::raw(payload.to_string()));
            commands.insert(pushed.envelope_id, text.into());
        }
    }

    /// The routes that want a sample.
    pub(crate) fn wanted_by(&self, sample: &str) -> &'static [&'static str] {
        match (self.id, sample) {
            ("acme", "message") => &["bot", "audit"],
            ("acme" | "initech", _) | ("globex", "message") => &["bot"],
            ("globex", "slash_command") => &["audit"],
            _ => &[],
        }
    }
}

pub(crate) struct Rig {
    pub(crate) site: Site,
    pub(crate) tenants: Vec<Tenant>,
    ledger: Ledger,
    loads: Vec<LoadHandle>,
    users: Vec<JoinHandle<()>>,
    rng: StdRng,
    began: Instant,
    early: u32,
}

impl Rig {
    pub(crate) async fn start(seed: u64) -> Self {
        let waits = [20, 500, 3_000].map(Duration::from_millis);
        let switches = Switches {
            retry_waits: waits,
            ack_deadline: Duration::from_secs(2),
            opens_burst: 1_000_000,
            ..Switches::default()
        };
        let config = SimConfig { switches, seed, journal_envelopes_max: JOURNAL_MAX, ..SimConfig::default() };
        let mut site = Site::with_sim(HEAD, config).await;
        site.store(SEGMENT);
        let mut tenants = Vec::new();
        for (number, (id, routes, temper)) in [
            ("acme", ACME, Temper::Steady),
            ("globex", GLOBEX, Temper::Moody),
            ("initech", INITECH, Temper::MostlyDead),
        ]
        .into_iter()
        .enumerate()
        {
            let handler = recorder(id).await;
            let routes = routes.replace("URL", &handler.url()).replace("AUDIT", &handler.url_of(AUDIT));
            let number = u32::try_from(number).expect("three") + 1;
            let channels = (1..=4).map(|channel| format!("C{number}CHANNEL{channel}")).collect();
            let app = site.add_app(AppSpec { channels, ..AppSpec::numbered(number) }, id, &routes);
            tenants.push(Tenant { id, app, handler, temper, commands: Arc::default() });
        }
        let apps: Vec<_> = tenants.iter().map(|tenant| &tenant.app).collect();
        site.start_connected(&apps).await;
        // An orderly end stores when each tenant was last heard: from here on deaf time is counted over restarts.
        assert!(site.worker.terminate().await.expect("it stops").0, "{}", site.worker.log_tail());
        let loads = tenants.iter().map(load).collect();
        let users = tenants.iter().filter(|tenant| tenant.id != "initech");
        let users = users
            .map(|tenant| tokio::spawn(Tenant::command_forever(tenant.app.clone(), tenant.commands.clone())))
            .collect();
        let rng = StdRng::seed_from_u64(seed);
        Self { site, tenants, ledger: Ledger::default(), loads, users, rng, began: Instant::now(), early: 0 }
    }

    /// One life of the worker: one in four ends while it starts, the others somewhere under load.
    pub(crate) async fn kill_once(&mut self) {
        for tenant in &self.tenants {
            tenant.handler.outage(tenant.temper.outage(&mut self.rng));
        }
        if self.rng.random_bool(0.25) {
            let span = Duration::from_millis(self.rng.random_range(1..150));
            self.early += u32::from(timeout(span, self.site.worker.start()).await.is_err());
        } else {
            let before = self.acked();
            if let Err(error) = self.site.worker.start().await {
                panic!("{error}\n{}", self.site.worker.log_tail());
            }
            let any = &self.tenants[0].app;
            let reached = any.wait_until(SOON, |_| self.acked() > before).await;
            assert!(reached, "no ack after a restart\n{}", self.site.worker.log_tail());
            sleep(Duration::from_millis(self.rng.random_range(0..400))).await;
        }
        self.site.worker.kill().await.expect("it runs");
        self.harvest();
    }

    fn acked(&self) -> u64 {
        self.tenants.iter().map(|tenant| tenant.app.totals().acked).sum()
    }

    fn harvest(&mut self) {
        for tenant in &self.tenants {
            let requests = tenant.handler.take_requests();
            assert!(requests.len() < REQUESTS_MAX, "the handler may have forgotten some");
            self.ledger.add(tenant.id, requests);
        }
    }

    /// A line for people who wait.
    pub(crate) fn so_far(&self) -> String {
        let mut line = format!("{:.0?},", self.began.elapsed());
        for tenant in &self.tenants {
            let totals = tenant.app.totals();
            write!(line, " {}: {} produced, {} acked;", tenant.id, totals.produced, totals.acked)
                .expect("a String takes every write");
        }
        line
    }

    /// The last start: everybody is well, everything comes to its end, and the books are opened.
    pub(crate) async fn settle(mut self) -> Account {
        for tenant in &self.tenants {
            tenant.handler.outage(Outage::None);
        }
        self.site.start().await;
        for load in std::mem::take(&mut self.loads) {
            load.stop().await;
        }
        for user in &self.users {
            user.abort();
        }
        for tenant in &self.tenants {
            assert!(tenant.app.wait_settled(SOON).await, "{}: {:?}", tenant.id, tenant.app.totals());
            self.site.until_tenant(tenant.id, "an empty backlog", |seen| seen.backlog_envelopes == 0).await;
        }
        self.harvest();
        let dead = self.site.dead_letters().await;
        let mut account = Account::new(self.early);
        for tenant in &self.tenants {
            account.reconcile(&self.site.sim.journal(), tenant, &self.ledger, &dead);
            self.check_deaf_time(tenant, &mut account).await;
        }
        let status = self.site.status().await;
        if status.store.damaged_ranges > 0 || status.store.errors > 0 || !status.store.writable {
            account.breaches.push(format!("the store is not well: {:?}", status.store));
        }
        for tenant in &status.tenants {
            let sane = tenant.acked <= tenant.received && tenant.foreign_sockets == 0 && tenant.sockets == 1;
            if !sane {
                account.breaches.push(format!("counters contradict each other: {tenant:?}"));
            }
        }
        account
    }

    /// The deaf time shown is no less than the gap that Slack saw, and no more than the run took.
    async fn check_deaf_time(&self, tenant: &Tenant, account: &mut Account) {
        let notes = self.site.sim.journal().notes(Some(tenant.app.id()));
        let last = |wanted: fn(&NoteKind) -> bool| notes.iter().rev().find(|note| wanted(&note.kind));
        let closed = last(|kind| matches!(kind, NoteKind::Closed { .. })).expect("a socket ended");
        let hello = last(|kind| matches!(kind, NoteKind::Hello { .. })).expect("a socket began");
        let gap = hello.at.saturating_sub(closed.at).as_secs_f64();
        let seen = self.site.tenant(tenant.id).await.deaf_seconds;
        // The wall clock joins two processes: whole milliseconds.
        if seen + 0.005 < gap || seen > self.began.elapsed().as_secs_f64() + 5.0 {
            account.breaches.push(format!("{}: {seen} s deaf shown, {gap} s without a socket", tenant.id));
        }
    }
}

async fn recorder(tenant: &str) -> EchoHandler {
    let config = EchoConfig {
        signing_secret: Some(signing_secret(tenant).into()),
        requests_max: REQUESTS_MAX,
        ..EchoConfig::default()
    };
    let handler = EchoHandler::start(config).await.expect("the handler listens");
    let unhandled = serde_json::json!({ "error": "unhandled request" });
    handler.answer("reaction_added", Some(EchoAnswer { status: 404, ..EchoAnswer::json(&unhandled) }));
    handler
}

fn load(tenant: &Tenant) -> LoadHandle {
    let kinds = match tenant.id {
        "acme" => vec![Sample::Message, Sample::Message, Sample::ReactionAdded],
        "globex" => vec![Sample::Message, Sample::Message, Sample::AppMention],
        _ => vec![Sample::Message],
    };
    tenant.app.load(Load { rate: 150.0, kinds, in_flight_max: 60, ..Load::default() })
}
