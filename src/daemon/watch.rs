//! The watcher: a thread of its own that feeds systemd's watchdog while the process makes progress, and says what the
//! worker is doing.
//!
//! ```text
//! runtime's threads (poll counters) ─┐
//! main loop, timers (answer a call) ─┼─► Progress ─► WATCHDOG=1, or a log line and, in the end, WATCHDOG=trigger
//! log's writer thread (answers)     ─┘
//! ```
//!
//! What stops the feeding: a runtime thread in a call that does not return, timers or main loop that do not run, a
//! writer thread that hangs in a write. What does not: a full disk, an unreachable Slack, a tenant in trouble, load.
//! Without a service manager the same standstill is logged and counted, and nothing is ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use sd_notify::NotifyState;
use taut_core::{Clock, metric};
use taut_store::DiskStore;
use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::sync::Notify;

use super::progress::{Progress, Sign, Verdict};
use crate::seeing::Seen;

/// Span without progress that counts as a standstill where no service manager names one.
const SPAN: Duration = Duration::from_secs(20);
/// How long the timers' part sleeps before it answers: long enough to need a timer.
const TIMER: Duration = Duration::from_millis(1);

/// A part that answers when it is called.
#[derive(Default)]
pub(super) struct Pulse {
    asked: Notify,
    beats: AtomicU64,
}

impl Pulse {
    fn ask(&self) -> Sign {
        self.asked.notify_one();
        Sign::At(self.beats.load(Ordering::Relaxed), 0)
    }

    fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers calls for as long as `work` goes on, from the same task.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.asked.notified() => self.beat(),
            }
        }
    }
}

/// What the worker is doing, as systemd's states have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Draining,
    Over,
}

struct Watched {
    store: DiskStore,
    seen: Seen,
    clock: Arc<dyn Clock>,
    runtime: RuntimeMetrics,
    timers: Pulse,
    main: Pulse,
    phase: Mutex<Phase>,
    changed: Condvar,
}

/// The running watcher. Dropping it ends its thread.
pub(super) struct Watch {
    watched: Arc<Watched>,
    thread: Option<JoinHandle<()>>,
    timers: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// Starts watching, and tells systemd that the worker is up: its store works and its configuration is in force;
    /// tenants connect on their own.
    pub(super) fn start(store: DiskStore, seen: Seen) -> Result<Self, String> {
        let watched = Arc::new(Watched {
            store,
            clock: Arc::clone(&seen.clock),
            seen,
            runtime: Handle::current().metrics(),
            timers: Pulse::default(),
            main: Pulse::default(),
            phase: Mutex::new(Phase::Running),
            changed: Condvar::new(),
        });
        let beating = Arc::clone(&watched);
        // Ends with the watcher; should it end before, the watcher takes the timers for dead, which they may be.
        let timers = tokio::spawn(async move {
            loop {
                beating.timers.asked.notified().await;
                tokio::time::sleep(TIMER).await;
                beating.timers.beat();
            }
        });
        tell(&[NotifyState::Ready, NotifyState::Status(&watched.words(Phase::Running))]);
        let watching = Arc::clone(&watched);
        let thread = std::thread::Builder::new()
            .name("taut-watch".into())
            .spawn(move || watching.watch())
            .map_err(|error| format!("the watching thread could not be started: {error}"))?;
        Ok(Self { watched, thread: Some(thread), timers })
    }

    /// What the main loop answers calls with.
    pub(super) fn main(&self) -> &Pulse {
        &self.watched.main
    }

    /// Tells systemd that the worker stops; from here on its patience is extended while there is progress.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
        self.watched.turn(Phase::Draining);
    }

    /// Tells systemd that the configuration is being reloaded; `reloaded` must follow.
    pub(super) fn reloading() {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "systemd could not be told of the reload"),
        }
    }

    /// Tells systemd that the reload is over, however it ended.
    pub(super) fn reloaded() {
        tell(&[NotifyState::Ready]);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.timers.abort();
        self.watched.turn(Phase::Over);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watching thread panicked");
        }
    }
}

impl Watched {
    fn turn(&self, phase: Phase) {
        *self.phase.lock() = phase;
        self.changed.notify_all();
    }

    /// Looks until it is over. Blocks: runs on its own thread.
    fn watch(&self) {
        let watchdog = sd_notify::watchdog_enabled().filter(|span| !span.is_zero());
        let mut progress = Progress::new(watchdog.unwrap_or(SPAN));
        let mut last = self.clock.now();
        let mut said = String::new();
        let mut stalled = None;
        loop {
            let phase = {
                let mut phase = self.phase.lock();
                if *phase != Phase::Over {
                    self.changed.wait_for(&mut phase, progress.every());
                }
                *phase
            };
            if phase == Phase::Over {
                return;
            }
            let now = self.clock.now();
            let verdict = progress.look(&self.signs(), now.since(last));
            last = now;
            stalled = Self::report(verdict, stalled);
            if watchdog.is_some() {
                feed(verdict, phase, progress.every() * 8);
            }
            let words = match stalled {
                None => self.words(phase),
                Some(part) => format!("no progress: {}", Self::part(part)),
            };
            if words != said {
                tell(&[NotifyState::Status(&words)]);
                said = words;
            }
        }
    }

    /// What every part shows: the main loop, the timers, the log's writer, then the runtime's threads.
    fn signs(&self) -> Vec<Sign> {
        let log = self.store.sign_of_life().map_or(Sign::Resting, |sign| Sign::At(sign, 0));
        [self.main.ask(), self.timers.ask(), log].into_iter().chain(threads(&self.runtime)).collect()
    }

    fn part(part: usize) -> &'static str {
        match part {
            0 => "main",
            1 => "timers",
            2 => "log",
            _ => "runtime",
        }
    }

    /// Logs and counts a standstill once; the part that stands still.
    fn report(verdict: Verdict, before: Option<usize>) -> Option<usize> {
        match verdict {
            Verdict::Feed => {
                if before.is_some() {
                    tracing::warn!("there is progress again");
                }
                None
            }
            Verdict::Hold(part) | Verdict::Trigger(part) => {
                let name = Self::part(part);
                if before != Some(part) {
                    metrics::counter!(metric::STALLS.name, "part" => name).increment(1);
                    tracing::error!(part = name, number = part, "a part of the process makes no progress");
                }
                Some(part)
            }
        }
    }

    /// The worker in one line, for `systemctl status`.
    fn words(&self, phase: Phase) -> String {
        let boards = self.seen.boards();
        let connected = boards.iter().filter(|board| board.status().sockets > 0).count();
        let store = if self.seen.log.store_stats().writable { "writable" } else { "NOT WRITABLE" };
        let doing = match phase {
            Phase::Running => "running",
            Phase::Draining | Phase::Over => "draining",
        };
        format!("{doing}: {connected} of {} tenants connected, store {store}", boards.len())
    }
}

/// What the runtime's threads show.
fn threads(runtime: &RuntimeMetrics) -> impl Iterator<Item = Sign> {
    (0..runtime.num_workers()).map(|worker| {
        let turns = runtime.worker_park_unpark_count(worker);
        // An odd count: it is parked. A busy one need not park, but counts its time every few dozen polls.
        if turns % 2 == 1 {
            return Sign::Resting;
        }
        let busy = runtime.worker_total_busy_duration(worker);
        Sign::At(turns, u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX))
    })
}

fn feed(verdict: Verdict, phase: Phase, span: Duration) {
    match verdict {
        Verdict::Feed if phase == Phase::Draining => {
            let span = u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
            tell(&[NotifyState::Watchdog, NotifyState::ExtendTimeoutUsec(span)]);
        }
        Verdict::Feed => tell(&[NotifyState::Watchdog]),
        Verdict::Hold(_) => {}
        Verdict::Trigger(_) => tell(&[NotifyState::WatchdogTrigger]),
    }
}

/// Tells systemd, if it wants to hear; a worker without it goes on all the same.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A span that a machine under load does not take for a standstill.
    const TEST_SPAN: Duration = Duration::from_secs(8);

    #[test]
    fn f66_one_runtime_thread_in_a_call_that_does_not_return_is_seen_beside_busy_ones() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (release, blocked) = mpsc::channel::<()>();
        runtime.spawn(async move { blocked.recv() });
        // The other thread is busy all the while.
        let busy = runtime.spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let metrics = runtime.metrics();
        let mut progress = Progress::new(TEST_SPAN);
        let (verdict, signs) = loop {
            let signs = threads(&metrics).collect::<Vec<_>>();
            let verdict = progress.look(&signs, progress.every());
            if verdict != Verdict::Feed {
                break (verdict, signs);
            }
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
        };
        let Verdict::Hold(stuck) = verdict else { panic!("held first: {verdict:?}") };
        assert!(matches!(signs[stuck], Sign::At(..)), "{signs:?}");
        release.send(()).expect("it waits");
        while progress.look(&threads(&metrics).collect::<Vec<_>>(), progress.every()) != Verdict::Feed {
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
        }
        busy.abort();
    }
}
