//! The gate's arithmetic: a token bucket for each app and one for the worker, kept as the moment each is full again.
//!
//! Pure: time comes in. An app whose bucket is full and that is not held is the same as an unknown app, so it is
//! forgotten.

use std::collections::HashMap;
use std::time::Duration;

use taut_core::Moment;
use taut_core::config::OpenRate;

/// Most apps that are remembered at once; twice the default `worker.tenants_max`. Beyond, a new app waits one interval.
pub(super) const APPS_MAX: usize = 20_000;

/// Below this many apps there is no sweep for idle ones.
const SWEEP_MIN: usize = 64;

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Go, and the app's pace counts it.
    Go,
    /// The worker's turn for this caller comes then; ask again with it as the place.
    Worker(Moment),
    /// The app may not go before then; ask again without a place.
    App(Moment),
}

/// A token bucket as the moment when it is full again.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at: Moment,
}

impl Bucket {
    /// When one more may go.
    fn free_at(self, burst: u32, each: Duration) -> Moment {
        self.full_at - each.saturating_mul(burst.saturating_sub(1))
    }

    /// Counts one that goes at `at`.
    fn take(&mut self, at: Moment, each: Duration) {
        self.full_at = self.full_at.max(at) + each;
    }
}

#[derive(Debug, Clone, Copy)]
struct App {
    bucket: Bucket,
    held_until: Moment,
}

impl App {
    fn is_idle(self, now: Moment) -> bool {
        self.bucket.full_at <= now && self.held_until <= now
    }
}

/// The pace of one worker's opens.
#[derive(Debug)]
pub(super) struct Pace {
    per_app: OpenRate,
    worker_each: Duration,
    worker: Bucket,
    apps: HashMap<Box<str>, App>,
    sweep_at: usize,
}

impl Pace {
    pub(super) fn new(per_app: OpenRate, per_second: u32) -> Self {
        Self {
            per_app,
            worker_each: Duration::from_secs(1) / per_second.max(1),
            worker: Bucket { full_at: Moment::ZERO },
            apps: HashMap::new(),
            sweep_at: SWEEP_MIN,
        }
    }

    /// Asks for one open of `app`. `place` is what an earlier [`Answer::Worker`] named.
    pub(super) fn ask(&mut self, now: Moment, app: &str, place: Option<Moment>) -> Answer {
        let free_at = self.app_free_at(now, app);
        if free_at > now {
            return Answer::App(free_at);
        }
        let turn = place.unwrap_or_else(|| self.take_place(now));
        if turn > now {
            return Answer::Worker(turn);
        }
        let each = self.per_app.each;
        self.entry(now, app).bucket.take(now, each);
        Answer::Go
    }

    /// Lets `app` wait until then; the later of several holds counts. Nothing, if the map is full and the app unknown.
    pub(super) fn hold(&mut self, now: Moment, app: &str, until: Moment) {
        if self.apps.len() >= APPS_MAX && !self.apps.contains_key(app) {
            return;
        }
        let known = self.entry(now, app);
        known.held_until = known.held_until.max(until);
    }

    fn app_free_at(&mut self, now: Moment, app: &str) -> Moment {
        if let Some(known) = self.apps.get(app) {
            return known.held_until.max(known.bucket.free_at(self.per_app.burst, self.per_app.each));
        }
        self.sweep(now);
        if self.apps.len() >= APPS_MAX { now + self.per_app.each } else { now }
    }

    /// The next of the worker's slots, which are not saved up.
    fn take_place(&mut self, now: Moment) -> Moment {
        let turn = self.worker.full_at.max(now);
        self.worker.take(now, self.worker_each);
        turn
    }

    fn entry(&mut self, now: Moment, app: &str) -> &mut App {
        self.sweep(now);
        self.apps
            .entry(app.into())
            .or_insert(App { bucket: Bucket { full_at: now }, held_until: Moment::ZERO })
    }

    /// Forgets idle apps each time their number has doubled.
    fn sweep(&mut self, now: Moment) {
        if self.apps.len() >= self.sweep_at {
            self.apps.retain(|_, app| !app.is_idle(now));
            self.sweep_at = (self.apps.len() * 2).clamp(SWEEP_MIN, APPS_MAX);
        }
    }

    #[cfg(test)]
    pub(super) fn apps(&self) -> usize {
        self.apps.len()
    }
}
