//! Builds a worker from its configuration and joins the roles: read this to know the data path.
//!
//! ```text
//! store ─┬─► tenant × N:  line (socket, intake) ─► log ─► delivery ─► handler
//!        │                   └─ requests ─► desk ────────────┘
//!        ├─► facts (each minute), dead letters' expiry (each hour)
//!        └─► seeing (/metrics, /livez, /readyz)   admin (Unix socket)
//! ```
//! Start order: store, way out, tenants, listeners. Stop order: [`crate::daemon::Daemon::drain`].

mod build;
mod progress;
mod signals;
mod upkeep;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use taut_core::log::Registry;
use taut_store::DiskStore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::build::open_store;
#[cfg(test)]
pub(crate) use self::build::shared;
use self::watch::Watch;
use crate::config::Loaded;
use crate::facts;
use crate::fleet::Fleet;
use crate::live::Live;
use crate::reload::{Again, Reloader};
use crate::seeing::Seen;
use crate::seeing::server::Views;

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// It drained: nothing was cut off.
    Drained,
    /// The drain was cut short, or the store failed for good.
    Failed,
}

/// A running worker.
pub struct Daemon {
    fleet: Arc<Fleet>,
    store: DiskStore,
    seen: Seen,
    draining: Arc<AtomicBool>,
    drain_asked: CancellationToken,
    stop: CancellationToken,
    background: TaskTracker,
    live: Live,
    reloader: Arc<Reloader>,
    watch: Watch,
    /// Where `/metrics`, `/livez` and `/readyz` are.
    pub metrics: SocketAddr,
    /// The admin socket's file.
    pub admin: PathBuf,
    /// What the listener serves, for tests and the short form's greeting.
    pub views: Views,
}

impl Daemon {
    /// Starts a worker; `again` reads its configuration anew for a reload.
    ///
    /// # Errors
    /// A sentence: what could not be opened, whose fault it is, and what to do.
    pub async fn start(loaded: Loaded, again: Again) -> Result<Self, String> {
        build::build(loaded, again).await
    }

    /// Resolves when somebody asked over the admin socket for the drain.
    pub async fn drain_asked(&self) {
        self.drain_asked.cancelled().await;
    }

    /// Resolves with the cause once the store has failed for good.
    pub async fn failed(&self) -> String {
        self.store.fatal().await
    }

    /// Drains: every tenant takes nothing new, finishes what is held and closes its sockets; then the store is
    /// synced and closed. `hurry` cuts it short.
    ///
    /// Bounded by `worker.drain_timeout`; what was not finished stays in the log for the next start.
    pub async fn drain(&self, hurry: CancellationToken) -> RunEnd {
        self.draining.store(true, Ordering::Relaxed);
        let timeout = self.live.config().worker.drain_timeout.0;
        tracing::info!(?timeout, "draining: no new envelopes, finishing what is held");
        let tenants = self.fleet.close();
        let drains = tenants.iter().map(|tenant| tenant.drain(timeout, hurry.clone()));
        let cut = futures::future::join_all(drains).await.into_iter().filter(|whole| !whole).count();
        let end = self.close().await;
        if cut > 0 {
            tracing::warn!(tenants = cut, "the drain was cut short; what was stored stays in the log");
            return RunEnd::Failed;
        }
        end
    }

    async fn close(&self) -> RunEnd {
        let (store, seen) = (self.store.clone(), self.seen.clone());
        let closed = tokio::task::spawn_blocking(move || {
            let registry: &dyn Registry = &store;
            facts::save(registry, &seen);
            let whole = seen.log.store_stats().writable;
            store.close();
            whole
        });
        let closed = closed.await;
        self.stop.cancel();
        self.background.close();
        self.background.wait().await;
        if let Err(error) = tokio::fs::remove_file(&self.admin).await {
            tracing::debug!(%error, "the admin socket's file was gone already");
        }
        match closed {
            Ok(true) => {
                tracing::info!("stopped: everything stored is on disk");
                RunEnd::Drained
            }
            Ok(false) => {
                tracing::error!(
                    "the store could not write at the end; the next start recovers what was synced"
                );
                RunEnd::Failed
            }
            Err(error) => {
                tracing::error!(%error, "closing the store panicked; the next start recovers it");
                RunEnd::Failed
            }
        }
    }
}

/// Runs a worker until a signal, an operator or the store ends it.
///
/// # Errors
/// If it cannot start.
pub fn run_to_end(loaded: Loaded, again: Again) -> Result<RunEnd, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("taut-run")
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let end = runtime.block_on(async {
        let mut signals = signals::Signals::listen().map_err(|error| error.to_string())?;
        let daemon = Daemon::start(loaded, again).await?;
        Ok::<_, String>(signals::until_the_end(&daemon, &mut signals).await)
    })?;
    // Nothing that matters is left on the runtime; a handler that never answers must not hold the exit.
    runtime.shutdown_background();
    Ok(end)
}
