//! SIGTERM and SIGINT: the first drains, a second one ends the drain safely.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Daemon, RunEnd, upkeep};

/// The signals a worker listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts listening; from here on the default action (to die at once) is off.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for the reason to end, then drains.
pub(super) async fn until_the_end(daemon: &Daemon, signals: &mut Signals) -> RunEnd {
    let store_failed = tokio::select! {
        () = signals.next() => false,
        () = daemon.drain_asked() => false,
        cause = daemon.failed() => {
            tracing::error!(cause, "the store failed for good: giving the tenants up and exiting with 1");
            true
        }
    };
    upkeep::tell_systemd_stopping();
    let hurry = CancellationToken::new();
    if store_failed {
        hurry.cancel();
    }
    let drain = daemon.drain(hurry.clone());
    tokio::pin!(drain);
    let end = tokio::select! {
        end = &mut drain => end,
        () = signals.next() => {
            tracing::warn!("asked again to stop: ending the drain; what is stored stays in the log");
            hurry.cancel();
            drain.await
        }
    };
    if store_failed { RunEnd::Failed } else { end }
}
