//! What a worker does now and then: expiry of dead letters, upkeep of histograms.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use taut_core::log::DeadLetters;
use taut_core::{Clock, WallMs, metric};
use tokio_util::sync::CancellationToken;

use crate::admin::letters;
use crate::live::Live;

/// How often dead letters are looked at for their age.
const EXPIRE_EVERY: Duration = Duration::from_hours(1);
/// How often histograms are folded; without it their buffers grow while nobody scrapes.
const FOLD_EVERY: Duration = Duration::from_secs(5);

/// How often standstills are looked for …
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// … and from how long on they count: shorter ones are a busy host's.
const STANDSTILL_MIN: Duration = Duration::from_secs(2);

/// Removes dead letters older than `dead_letters.age_max`, at start and each hour, until `stop`.
pub(super) async fn expire_dead_letters(
    dead: Arc<dyn DeadLetters>,
    live: Live,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    loop {
        let age_max = live.config().dead_letters.age_max.0;
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

/// Looks twice a second whether more time has passed than that: the host slept, a hypervisor or a signal stopped the
/// process, or the CPU was taken away. Timers do not count such time, and sockets may have died in it, so `look` is
/// told. Until `stop`.
pub(super) async fn notice_standstills(
    clock: Arc<dyn Clock>,
    look: impl Fn(Duration),
    stop: CancellationToken,
) {
    let mut looked = clock.now();
    while !wait(LOOK_EVERY, &stop).await {
        let now = clock.now();
        if let Some(still) = stood_still(now.since(looked)) {
            metrics::counter!(metric::STANDSTILL_SECONDS.name).increment(still.as_secs());
            tracing::warn!(
                ?still,
                "the host slept or this process stood still: asking every socket whether it lives"
            );
            look(still);
        }
        looked = now;
    }
}

/// How long a process stood still that meant to look after [`LOOK_EVERY`].
fn stood_still(passed: Duration) -> Option<Duration> {
    let still = passed.saturating_sub(LOOK_EVERY);
    (still >= STANDSTILL_MIN).then_some(still)
}

/// Waits; whether `stop` came first.
async fn wait(span: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => true,
        () = tokio::time::sleep(span) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use taut_core::Moment;

    use super::*;

    /// A boottime that a test moves by hand, beside tokio's timers, which do not see it.
    #[derive(Default)]
    struct Host(AtomicU64);

    impl Clock for Host {
        fn now(&self) -> Moment {
            Moment::ZERO + Duration::from_millis(self.0.load(Relaxed))
        }

        fn wall(&self) -> WallMs {
            WallMs(self.0.load(Relaxed))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspend_that_no_timer_saw_is_noticed_at_the_next_look() {
        let (host, looks) = (Arc::new(Host::default()), Arc::new(AtomicU64::new(0)));
        let (stop, counted) = (CancellationToken::new(), Arc::clone(&looks));
        let look = move |_| {
            counted.fetch_add(1, Relaxed);
        };
        let task = tokio::spawn(notice_standstills(Arc::clone(&host) as _, look, stop.clone()));
        for (passed_ms, looked) in [(500, 0), (2_400, 0), (60_000, 1), (500, 1), (2_500, 2)] {
            tokio::task::yield_now().await;
            host.0.fetch_add(passed_ms, Relaxed);
            tokio::time::sleep(LOOK_EVERY).await;
            tokio::task::yield_now().await;
            assert_eq!(looks.load(Relaxed), looked, "after {passed_ms} ms");
        }
        stop.cancel();
        task.await.expect("it ends");
    }
}
