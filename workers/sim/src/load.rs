//! Envelopes at a steady rate, spread over apps, channels and kinds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::envelope::Push;
use crate::sample::Sample;
use crate::shared::Shared;

/// How often the generator wakes to push what is due.
const TICK: Duration = Duration::from_millis(1);

/// Most envelopes pushed in one tick, so that the sockets' tasks get their turn.
const BURST_MAX: u64 = 2_000;

/// What a load consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Envelopes per second over all apps. Infinite: as many as `in_flight_max` lets through.
    pub rate: f64,
    /// Samples, taken in turn.
    pub kinds: Vec<Sample>,
    /// Unacked envelopes per app above which that app is passed over.
    pub in_flight_max: usize,
    /// Ends by itself after this many envelopes.
    pub count: Option<u64>,
    /// Ends by itself after this time.
    pub time: Option<Duration>,
}

impl Default for Load {
    fn default() -> Self {
        Self { rate: 10.0, kinds: vec![Sample::Message], in_flight_max: 1_000, count: None, time: None }
    }
}

/// A running load; it ends when this is dropped.
#[derive(Debug)]
pub struct LoadHandle {
    pushed: Arc<AtomicU64>,
    /// Pushes that found every app at its `in_flight_max`.
    held_back: Arc<AtomicU64>,
    stop: CancellationToken,
    done: CancellationToken,
}

impl LoadHandle {
    /// Envelopes pushed so far.
    pub fn pushed(&self) -> u64 {
        self.pushed.load(Ordering::Relaxed)
    }

    /// Ticks in which the rate could not be met because every app had too much in flight.
    pub fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }

    /// Waits for a load that ends by itself.
    pub async fn finished(&self) {
        self.done.cancelled().await;
    }

    /// Ends the load and says how many envelopes it pushed.
    pub async fn stop(self) -> u64 {
        self.stop.cancel();
        self.done.cancelled().await;
        self.pushed()
    }
}

impl Drop for LoadHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts a load over these apps, in turn.
pub(crate) fn start(sim: &Arc<Shared>, apps: Vec<Arc<App>>, load: Load) -> LoadHandle {
    let handle = LoadHandle {
        pushed: Arc::default(),
        held_back: Arc::default(),
        stop: sim.stop.child_token(),
        done: CancellationToken::new(),
    };
    let generator = Generator {
        sim: sim.clone(),
        apps,
        load,
        pushed: handle.pushed.clone(),
        held_back: handle.held_back.clone(),
        turn: 0,
        made: 0,
    };
    let (stop, done) = (handle.stop.clone(), handle.done.clone().drop_guard());
    sim.tasks.spawn(async move {
        generator.run(stop).await;
        drop(done);
    });
    handle
}

struct Generator {
    sim: Arc<Shared>,
    apps: Vec<Arc<App>>,
    load: Load,
    pushed: Arc<AtomicU64>,
    held_back: Arc<AtomicU64>,
    /// Whose turn it is, and how many had theirs: apps without room are passed over, kinds and channels are not.
    turn: usize,
    made: usize,
}

impl Generator {
    async fn run(mut self, stop: CancellationToken) {
        if self.apps.is_empty() || self.load.kinds.is_empty() {
            return;
        }
        let began = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Counted apart from `pushed`: what could not be pushed in its tick is not made up for by a burst later.
        let mut claimed: u64 = 0;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let elapsed = began.elapsed();
            if self.load.time.is_some_and(|time| elapsed >= time) {
                return;
            }
            let due = self.due(elapsed, claimed);
            claimed += due;
            for _ in 0..due {
                if !self.push_one() {
                    self.held_back.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                if self.load.count.is_some_and(|count| self.pushed.load(Ordering::Relaxed) >= count) {
                    return;
                }
            }
        }
    }

    fn due(&self, elapsed: Duration, claimed: u64) -> u64 {
        if self.load.rate.is_infinite() {
            return BURST_MAX;
        }
        let target = elapsed.as_secs_f64() * self.load.rate.max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative; a float saturates"
        )]
        let target = target as u64;
        target.saturating_sub(claimed).min(BURST_MAX)
    }

    /// Pushes to the next app that has room; false when none has.
    fn push_one(&mut self) -> bool {
        for _ in 0..self.apps.len() {
            let turn = self.turn;
            self.turn = self.turn.wrapping_add(1);
            let app = &self.apps[turn % self.apps.len()];
            if app.state.lock().unacked() >= self.load.in_flight_max {
                continue;
            }
            let round = self.made / self.apps.len();
            self.made = self.made.wrapping_add(1);
            let mut push = Push::from(self.load.kinds[round % self.load.kinds.len()]);
            if app.channels.len() > 1 {
                push = push.in_channel(&app.channels[round % app.channels.len()]);
            }
            app.produce(&self.sim, &push, None);
            self.pushed.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        false
    }
}
