//! A bug of ours in one tenant's tasks, made by a log that panics for it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use taut_core::log::{
    Append, Backlog, Change, Entry, Log, LogError, NewEntry, QueueLimits, StoreStats, Wake,
};
use taut_core::{Board, Clock, DedupKey, Epoch, Moment, Seq, TenantId};
use taut_net::clock::BootClock;
use taut_sim::{AckOutcome, AppHandle, AppSpec, EchoConfig, EchoHandler, Sample, Sim, SimConfig, Switches};
use taut_store::{DiskOptions, DiskStore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{TenantHandle, supervise};
use crate::config::load;
use crate::daemon::shared;
use crate::live::{Live, limits};

const SOON: Duration = Duration::from_secs(30);

/// The real log, but what is called for the unlucky tenant panics as often as was ordered.
struct Unlucky {
    log: Arc<dyn Log>,
    tenant: TenantId,
    appends: AtomicU32,
    plans: AtomicU32,
    planned_at: Mutex<Vec<Moment>>,
}

impl Unlucky {
    fn step(&self, tenant: &TenantId, left: &AtomicU32) {
        let strikes =
            *tenant == self.tenant && left.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        assert!(!strikes, "as the test wants it");
    }
}

impl Log for Unlucky {
    fn append(&self, batch: Vec<NewEntry>) -> BoxFuture<'static, Vec<Append>> {
        for entry in &batch {
            self.step(&entry.tenant, &self.appends);
        }
        self.log.append(batch)
    }

    fn change(&self, tenant: &TenantId, changes: Vec<Change>) -> BoxFuture<'static, Result<(), LogError>> {
        self.log.change(tenant, changes)
    }

    fn knows(&self, tenant: &TenantId, dedup: DedupKey) -> Option<Seq> {
        self.log.knows(tenant, dedup)
    }

    fn backlog(&self, tenant: &TenantId, after: Seq, max: usize) -> Vec<Entry> {
        if *tenant == self.tenant && self.plans.load(Relaxed) > 0 {
            self.planned_at.lock().expect("no panic holds it").push(BootClock.now());
        }
        self.step(tenant, &self.plans);
        self.log.backlog(tenant, after, max)
    }

    fn read(&self, tenant: &TenantId, seq: Seq) -> Result<Option<Bytes>, LogError> {
        self.log.read(tenant, seq)
    }

    fn subscribe(&self, tenant: &TenantId, wake: Wake) {
        self.log.subscribe(tenant, wake);
    }

    fn set_limits(&self, tenant: &TenantId, limits: QueueLimits) {
        self.log.set_limits(tenant, limits);
    }

    fn stats(&self, tenant: &TenantId) -> Backlog {
        self.log.stats(tenant)
    }

    fn store_stats(&self) -> StoreStats {
        self.log.store_stats()
    }

    fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    fn tenants(&self) -> Vec<TenantId> {
        self.log.tenants()
    }
}

/// Two tenants of one worker, and the log that panics for the first.
struct Two {
    log: Arc<Unlucky>,
    boards: Vec<Arc<Board>>,
    apps: Vec<AppHandle>,
    handler: EchoHandler,
    supervisors: Vec<TenantHandle>,
    _sim: Sim,
}

impl Two {
    async fn start(dir: &Path) -> Self {
        let switches = Switches { speed: 120.0, ack_deadline: Duration::from_secs(1), ..Switches::default() };
        let sim =
            Sim::start(SimConfig { switches, ..SimConfig::default() }).await.expect("a simulated Slack");
        let handler = EchoHandler::start(EchoConfig::default()).await.expect("a handler");
        let head = format!("[slack]\napi_url = \"{}\"\nopens_per_app = \"100 then 1/1s\"\n", sim.api_url());
        let (mut texts, mut apps) = (vec![head], Vec::new());
        for (number, id) in [(1, "acme"), (2, "globex")] {
            let spec = AppSpec::numbered(number);
            std::fs::write(dir.join(id), &spec.app_token).expect("a file");
            texts.push(format!(
                "[[tenants]]\nid = \"{id}\"\napp_token = {{ file = \"{id}\" }}\nsigning_secret = {{ file = \"{id}\" }}\n\
                 [[tenants.routes]]\nname = \"bot\"\ntarget = {{ http = \"{}\" }}\n",
                handler.url()
            ));
            apps.push(sim.add_app(spec));
        }
        let path = dir.join("taut.toml");
        std::fs::write(&path, texts.concat()).expect("a file");
        let loaded = load(&[path], &std::collections::BTreeMap::new()).expect("a valid configuration");
        let clock: Arc<dyn Clock> = Arc::new(BootClock);
        let options = DiskOptions { segment_bytes: 64 << 10, ..DiskOptions::new(dir.join("store")) };
        let (store, _) = DiskStore::open(&options, Arc::clone(&clock)).expect("a store");
        let mut shared =
            shared(&Live::new(loaded.config.clone()), loaded.base_dir, &store, &clock).expect("a way out");
        let log = Arc::new(Unlucky {
            log: Arc::clone(&shared.log),
            tenant: loaded.config.tenants[0].id.clone(),
            appends: AtomicU32::new(0),
            plans: AtomicU32::new(0),
            planned_at: Mutex::default(),
        });
        shared.log = Arc::clone(&log) as _;
        let shared = Arc::new(shared);
        let (mut boards, mut supervisors, tasks) = (Vec::new(), Vec::new(), TaskTracker::new());
        for tenant in &loaded.config.tenants {
            log.set_limits(&tenant.id, limits(&loaded.config));
            let board = Arc::new(Board::new(tenant.id.clone(), clock.wall()));
            let handle = supervise(Arc::clone(&shared), Arc::new(tenant.clone()), Arc::clone(&board), &tasks);
            boards.push(board);
            supervisors.push(handle);
        }
        let two = Self { log, boards, apps, handler, supervisors, _sim: sim };
        for app in &two.apps {
            assert!(app.wait_connected(1, SOON).await);
        }
        two
    }

    async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let looking = async {
            while !reached(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(
            tokio::time::timeout(SOON, looking).await.is_ok(),
            "never: {what}; {:?}",
            self.boards[0].status()
        );
    }

    /// The other tenant is served at once, over the socket it has always had.
    async fn globex_notices_nothing(&self) {
        let app = &self.apps[1];
        let outcome = app.push(Sample::Message).wait_ack(Duration::from_secs(3)).await;
        assert!(matches!(outcome, AckOutcome::Acked { retry_attempt: 0, .. }), "{outcome:?}");
        let counters = &self.boards[1].counters;
        assert_eq!((counters.restarts.get(), counters.socket_opens.total()), (0, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f08_a_panic_in_one_tenants_parts_starts_that_tenant_anew_with_back_off_and_no_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let two = Two::start(dir.path()).await;
    two.log.plans.store(3, Relaxed);
    let pushed = two.apps[0].push(Sample::Message);
    two.until("three restarts", |two| two.boards[0].counters.restarts.get() == 3).await;
    two.globex_notices_nothing().await;
    let outcome = pushed.wait_ack(SOON).await;
    assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
    assert!(two.handler.wait_until(SOON, |totals| totals.keys == 2).await, "{:?}", two.handler.totals());
    let planned = two.log.planned_at.lock().expect("no panic holds it").clone();
    assert_eq!(planned.len(), 3, "one panic for each restart");
    two.until("connected", |two| two.boards[0].status().sockets == 1).await;
    for handle in &two.supervisors {
        assert!(handle.drain(SOON, CancellationToken::new()).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f08_a_panic_at_a_socket_costs_that_socket_and_what_it_held_comes_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let two = Two::start(dir.path()).await;
    two.log.appends.store(1, Relaxed);
    let outcome = two.apps[0].push(Sample::Message).wait_ack(SOON).await;
    assert!(matches!(outcome, AckOutcome::Acked { retry_attempt: 1.., .. }), "{outcome:?}");
    assert!(two.handler.wait_until(SOON, |totals| totals.keys == 1).await);
    let counters = &two.boards[0].counters;
    assert_eq!((counters.restarts.get(), counters.socket_opens.total()), (0, 2));
    two.globex_notices_nothing().await;
    for handle in &two.supervisors {
        assert!(handle.drain(SOON, CancellationToken::new()).await);
    }
}
