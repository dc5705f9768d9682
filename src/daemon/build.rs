//! Builds a worker: store, way out, tenants, listeners, in this order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::RwLock;
use taut_core::config::Config;
use taut_core::log::Log;
use taut_core::{Clock, metric};
use taut_delivery::allow::response::ResponseHosts;
use taut_delivery::{DeliveryMetrics, ExecPool};
use taut_net::clock::BootClock;
use taut_net::gate::StartGate;
use taut_socket::LineMetrics;
use taut_store::{DiskOptions, DiskStore, RecoveryReport};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::watch::Watch;
use super::{Daemon, upkeep};
use crate::admin::letters::Letters;
use crate::admin::server::{self as admin, Admin};
use crate::apps::Apps;
use crate::causes::with_causes;
use crate::config::Loaded;
use crate::fleet::Fleet;
use crate::live::Live;
use crate::reload::{Again, Reloader};
use crate::seeing::server::{self as seeing, Views};
use crate::seeing::{About, Seen, histograms};
use crate::tenant::Shared;
use crate::way_out::WayOut;
use crate::{facts, paths};

/// What an ack survives with the disk store.
const DURABILITY: &str = "synced to this host's disk: survives the end of the process and the loss of power, not the loss of the disk";

/// Opens the disk store where the configuration says.
///
/// # Errors
/// A sentence: another process holds it, the directory cannot be used, or its content cannot be recovered.
pub fn open_store(
    config: &Config,
    environment: &BTreeMap<String, String>,
    clock: Arc<dyn Clock>,
) -> Result<(DiskStore, RecoveryReport), String> {
    let path = paths::store(config, environment)?;
    let options = DiskOptions {
        total_bytes_max: config.queue.total_bytes_max.0,
        dedup_window: config.queue.dedup_window.0,
        dead_letters_bytes_max: config.dead_letters.bytes_max.0,
        segment_bytes: config.store.segment_bytes.0,
        ..DiskOptions::new(path)
    };
    DiskStore::open(&options, clock).map_err(|error| with_causes(&error))
}

pub(super) async fn build(loaded: Loaded, again: Again) -> Result<Daemon, String> {
    let environment = paths::environment();
    let mut config = loaded.config;
    // Each goes to its supervisor, which keeps the only copy.
    let configured = std::mem::take(&mut config.tenants);
    let live = Live::new(config.clone());
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    // Before anything else fetches handles; in a process with several workers the first one's serves all.
    let recorder = histograms::install().ok();

    let (store, recovery) = open_store(&config, &environment, Arc::clone(&clock))?;
    tracing::info!(durability = DURABILITY, recovery = words(&recovery), "the store is open");
    metrics::counter!(metric::REQUESTS_EXPIRED.name).increment(recovery.expired_requests);
    for range in &recovery.damaged {
        tracing::error!(
            ?range,
            "a part of the log that was durable once is damaged; it was set aside, the rest is served"
        );
    }
    let log: Arc<dyn Log> = Arc::new(store.clone());
    let seen = Seen::new(
        Arc::clone(&log),
        Arc::new(store.clone()),
        Arc::clone(&clock),
        about(&config, &environment, &recovery)?,
    );

    let admin_path = paths::admin_socket(&config, &environment)?;
    let admin_listener = admin::bind(&admin_path).await?;
    let (metrics_listener, metrics) = seeing::bind(&config.metrics.listen).await?;

    let background = TaskTracker::new();
    let stop = CancellationToken::new();
    let shared = Arc::new(shared(&live, loaded.base_dir, &store, &clock)?);
    let fleet = Arc::new(Fleet::default());
    let reloader = Arc::new(Reloader::new(
        again,
        Arc::clone(&shared),
        Arc::clone(&fleet),
        seen.clone(),
        background.clone(),
    ));
    reloader.start_all(configured);
    warn_of_the_unconfigured(&seen);
    let drain_asked = fleet.drain_asked();

    let views =
        Views { seen: seen.clone(), recorder: recorder.clone(), draining: Arc::new(AtomicBool::new(false)) };
    let letters = Letters {
        log,
        dead: Arc::new(store.clone()),
        registry: Arc::new(store.clone()),
        live: live.clone(),
        clock: Arc::clone(&clock),
    };
    let control = Admin {
        views: views.clone(),
        letters,
        store: store.clone(),
        control: Arc::clone(&fleet) as _,
        reloader: Arc::clone(&reloader),
    };
    // Said before anybody is answered: whoever was may look here for the addresses.
    tracing::info!(tenants = fleet.count(), %metrics, admin = %admin_path.display(), "running");
    // The listeners' end leaves the data path alone: it is logged where they are served.
    background.spawn(admin::serve(admin_listener, control, stop.clone()));
    background.spawn(seeing::serve(metrics_listener, views.clone(), stop.clone()));
    let asked = Arc::clone(&fleet);
    background.spawn(upkeep::notice_standstills(
        Arc::clone(&clock),
        move |still| asked.stood_still(still),
        stop.clone(),
    ));
    // Upkeep ends with `stop` alone; a panic in it is logged and costs no envelope.
    background.spawn(facts::save_each_minute(Arc::new(store.clone()), seen.clone(), stop.clone()));
    background.spawn(upkeep::expire_dead_letters(Arc::new(store.clone()), live.clone(), clock, stop.clone()));
    if let Some(recorder) = recorder {
        background.spawn(upkeep::fold_histograms(recorder, stop.clone()));
    }
    let watch = Watch::start(store.clone(), seen.clone())?;
    Ok(Daemon {
        fleet,
        store,
        seen,
        draining: Arc::clone(&views.draining),
        drain_asked,
        stop,
        background,
        live,
        reloader,
        watch,
        metrics,
        admin: admin_path,
        views,
    })
}

fn about(
    config: &Config,
    environment: &BTreeMap<String, String>,
    recovery: &RecoveryReport,
) -> Result<About, String> {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(About {
        worker: config.worker.name.clone().unwrap_or_else(host),
        durability_word: "disk",
        durability: DURABILITY,
        store_path: paths::store(config, environment)?.display().to_string(),
        recovery: words(recovery),
    })
}

/// What recovery found, in words.
fn words(recovery: &RecoveryReport) -> String {
    format!(
        "{} envelopes waiting, {} dedup keys, {} open requests expired, {} bytes of an unfinished group cut, {} damaged ranges",
        recovery.entries,
        recovery.keys,
        recovery.expired_requests,
        recovery.torn_bytes,
        recovery.damaged.len()
    )
}

pub(crate) fn shared(
    live: &Live,
    secrets_base: std::path::PathBuf,
    store: &DiskStore,
    clock: &Arc<dyn Clock>,
) -> Result<Shared, String> {
    let config = live.config();
    let way_out = RwLock::new(WayOut::of_host(&config, &secrets_base)?);
    Ok(Shared {
        secrets_base,
        way_out,
        gate: Arc::new(StartGate::new(
            config.slack.opens_per_app,
            config.slack.opens_per_second,
            Arc::clone(clock),
        )),
        log: Arc::new(store.clone()),
        dead_letters: Arc::new(store.clone()),
        registry: Arc::new(store.clone()),
        clock: Arc::clone(clock),
        line_metrics: LineMetrics::new(),
        delivery_metrics: DeliveryMetrics::new(),
        programs: ExecPool::new(config.delivery.exec_max),
        response_hosts: ResponseHosts::new(&config.slack.response_hosts, &config.slack.api_url)
            .map_err(|error| error.to_string())?,
        apps: Apps::default(),
        slack: Arc::new(config.slack.clone()),
        live: live.clone(),
    })
}

/// What is stored for a tenant that is configured no more waits for its return, and takes room: nobody else tells.
fn warn_of_the_unconfigured(seen: &Seen) {
    for (tenant, backlog) in seen.unconfigured() {
        tracing::warn!(
            %tenant, envelopes = backlog.envelopes, bytes = backlog.bytes,
            "the log holds acked envelopes of a tenant that is not configured: configure it again to deliver them"
        );
    }
}
