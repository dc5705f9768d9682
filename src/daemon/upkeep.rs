//! What a worker does now and then: expiry of dead letters, upkeep of histograms, systemd's notices.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use taut_core::log::DeadLetters;
use taut_core::{Clock, WallMs};
use tokio_util::sync::CancellationToken;

use crate::admin::letters;

/// How often dead letters are looked at for their age.
const EXPIRE_EVERY: Duration = Duration::from_hours(1);
/// How often histograms are folded; without it their buffers grow while nobody scrapes.
const FOLD_EVERY: Duration = Duration::from_secs(5);

/// Removes dead letters older than `age_max`, at start and each hour, until `stop`.
pub(super) async fn expire_dead_letters(
    dead: Arc<dyn DeadLetters>,
    age_max: Duration,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    loop {
        let age_ms = u64::try_from(age_max.as_millis()).unwrap_or(u64::MAX);
        let before = WallMs(clock.wall().0.saturating_sub(age_ms));
        let letters = Arc::clone(&dead);
        match tokio::task::spawn_blocking(move || letters.expire(before)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => {
                letters::count_ended("retention", count);
                tracing::info!(count, "dead letters older than dead_letters.age_max removed");
            }
            Ok(Err(error)) => tracing::warn!(%error, "dead letters could not be expired"),
            Err(error) => tracing::error!(%error, "expiring dead letters panicked"),
        }
        if wait(EXPIRE_EVERY, &stop).await {
            return;
        }
    }
}

/// Folds the histograms until `stop`.
pub(super) async fn fold_histograms(recorder: PrometheusHandle, stop: CancellationToken) {
    while !wait(FOLD_EVERY, &stop).await {
        recorder.run_upkeep();
    }
}

/// Waits; whether `stop` came first.
async fn wait(span: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => true,
        () = tokio::time::sleep(span) => false,
    }
}

/// Tells systemd that the worker is up (its store works; tenants connect on their own).
pub(super) fn tell_systemd_ready() {
    tell(&[sd_notify::NotifyState::Ready]);
}

/// Tells systemd that the worker stops.
pub(super) fn tell_systemd_stopping() {
    tell(&[sd_notify::NotifyState::Stopping]);
}

fn tell(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
