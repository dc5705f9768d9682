//! What every task of one simulator shares.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::clock::Epoch;
use crate::config::AppSpec;
use crate::http::ResponseUrls;
use crate::journal::Journal;
use crate::scheduler::Scheduler;
use crate::switches::Switches;

#[derive(Debug)]
pub(crate) struct Shared {
    pub switches: Switches,
    pub seed: u64,
    pub adopt_unknown_apps: bool,
    pub unacked_max: usize,
    pub journal: Journal,
    pub scheduler: Scheduler,
    pub epoch: Epoch,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    /// Set once the listener has its port.
    pub origins: OnceLock<Origins>,
    pub response_urls: Mutex<ResponseUrls>,
    apps: RwLock<Apps>,
    serial: AtomicU64,
    connection: AtomicU64,
}

/// Where the simulator can be reached.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    /// `http://host:port` or `https://host:port`.
    pub web: String,
    /// `ws://host:port` or `wss://host:port`.
    pub socket: String,
    /// `{web}/response`: stands for `https://hooks.slack.com` in payloads.
    pub hooks: String,
}

#[derive(Debug, Default)]
struct Apps {
    by_id: HashMap<Arc<str>, Arc<App>>,
    by_url_hash: HashMap<String, Arc<App>>,
    in_order: Vec<Arc<App>>,
    by_token: HashMap<String, (Arc<App>, TokenKind)>,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    App,
    Bot,
}

impl Shared {
    pub(crate) fn new(config: &crate::config::SimConfig) -> Self {
        let epoch = Epoch::start();
        Self {
            switches: config.switches.clone(),
            seed: config.seed,
            adopt_unknown_apps: config.adopt_unknown_apps,
            unacked_max: config.unacked_max,
            journal: Journal::new(epoch, config.journal_envelopes_max, config.journal_notes_max),
            scheduler: Scheduler::default(),
            epoch,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            origins: OnceLock::new(),
            response_urls: Mutex::default(),
            apps: RwLock::default(),
            // Event ids of another run must not look like duplicates to a client that remembers them.
            serial: AtomicU64::new(config.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 25),
            connection: AtomicU64::new(1),
        }
    }

    pub(crate) fn origins(&self) -> &Origins {
        self.origins.get().expect("set before the first connection is accepted")
    }

    /// Adds an app, or replaces the tokens of one that is there.
    pub(crate) fn add_app(self: &Arc<Self>, spec: AppSpec) -> Arc<App> {
        let mut apps = self.apps.write();
        let app = if let Some(app) = apps.by_id.get(&*spec.app_id) {
            app.clone()
        } else {
            let number = apps.in_order.len() as u64;
            let app = Arc::new(App::new(self, &spec, number));
            apps.by_id.insert(app.id.clone(), app.clone());
            apps.by_url_hash.insert(app.url_hash.clone(), app.clone());
            apps.in_order.push(app.clone());
            app
        };
        apps.by_token.insert(spec.app_token, (app.clone(), TokenKind::App));
        if let Some(token) = spec.bot_token {
            apps.by_token.insert(token, (app.clone(), TokenKind::Bot));
        }
        app
    }

    pub(crate) fn add_token(&self, app: &Arc<App>, token: String, kind: TokenKind) {
        self.apps.write().by_token.insert(token, (app.clone(), kind));
    }

    pub(crate) fn remove_token(&self, token: &str) {
        self.apps.write().by_token.remove(token);
    }

    pub(crate) fn app(&self, app_id: &str) -> Option<Arc<App>> {
        self.apps.read().by_id.get(app_id).cloned()
    }

    /// The app behind the opaque `app_id` of a socket URL.
    pub(crate) fn by_url_hash(&self, hash: &str) -> Option<Arc<App>> {
        self.apps.read().by_url_hash.get(hash).cloned()
    }

    /// All apps, in the order they were added.
    pub(crate) fn apps(&self) -> Vec<Arc<App>> {
        self.apps.read().in_order.clone()
    }

    pub(crate) fn by_token(&self, token: &str) -> Option<(Arc<App>, TokenKind)> {
        self.apps.read().by_token.get(token).cloned()
    }

    /// A number no other event of this simulator has.
    pub(crate) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.connection.fetch_add(1, Ordering::Relaxed)
    }
}
