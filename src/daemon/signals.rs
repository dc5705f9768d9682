//! SIGTERM and SIGINT: the first drains, a second one ends the drain safely. SIGHUP reloads.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::watch::Watch;
use super::{Daemon, RunEnd};
use crate::reload::Reloader;

/// The signals a worker listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    /// Starts listening; from here on the default action (to die at once) is off.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: Some(signal(SignalKind::hangup())?),
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Reloads at each SIGHUP; several that come meanwhile are one.
async fn reload_on(mut hang_up: Signal, reloader: Arc<Reloader>) {
    while hang_up.recv().await.is_some() {
        Watch::reloading();
        // Its outcome is in the log, the status and the metrics: nobody waits here.
        let _told = reloader.reload().await;
        Watch::reloaded();
    }
}

/// Waits for the reason to end, then drains.
pub(super) async fn until_the_end(daemon: &Daemon, signals: &mut Signals) -> RunEnd {
    let main = daemon.watch.main();
    let reloads =
        signals.hang_up.take().map(|hang_up| tokio::spawn(reload_on(hang_up, Arc::clone(&daemon.reloader))));
    let wait = async {
        tokio::select! {
            () = signals.next() => false,
            () = daemon.drain_asked() => false,
            cause = daemon.failed() => {
                tracing::error!(cause, "the store failed for good: giving the tenants up and exiting with 1");
                true
            }
        }
    };
    let store_failed = main.beside(wait).await;
    daemon.watch.stopping();
    let hurry = CancellationToken::new();
    if store_failed {
        hurry.cancel();
    }
    let stop = async {
        let drain = daemon.drain(hurry.clone());
        tokio::pin!(drain);
        tokio::select! {
            end = &mut drain => end,
            () = signals.next() => {
                tracing::warn!("asked again to stop: ending the drain; what is stored stays in the log");
                hurry.cancel();
                drain.await
            }
        }
    };
    let end = main.beside(stop).await;
    if let Some(reloads) = reloads {
        reloads.abort();
    }
    if store_failed { RunEnd::Failed } else { end }
}
