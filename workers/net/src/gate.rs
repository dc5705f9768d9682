//! The start gate: paces `apps.connections.open`, for each app and for the worker.

mod pure;

use std::sync::Arc;

use parking_lot::Mutex;
use taut_core::config::OpenRate;
use taut_core::{Clock, Moment};

use self::pure::{Answer, Pace};

/// Where everybody waits before calling `apps.connections.open`. Shared by all tenants of a worker.
pub struct StartGate {
    pace: Mutex<Pace>,
    clock: Arc<dyn Clock>,
}

impl StartGate {
    /// A gate with a pace for each app and one for the whole worker.
    pub fn new(per_app: OpenRate, per_second: u32, clock: Arc<dyn Clock>) -> Self {
        Self { pace: Mutex::new(Pace::new(per_app, per_second)), clock }
    }

    /// Waits until this app may call `open`. `app_key` is whatever stands for the app: its token's fingerprint.
    ///
    /// Cancel safe: a caller that goes away gives up its place, at most one of the worker's slots is lost.
    pub async fn pass(&self, app_key: &str) {
        // The worker's place is taken once and kept while it is ahead, so that thousands who wait for the worker
        // wake one by one, not all for each slot.
        let mut place = None;
        loop {
            let answer = self.pace.lock().ask(self.clock.now(), app_key, place);
            match answer {
                Answer::Go => return,
                Answer::Worker(at) => {
                    place = Some(at);
                    self.sleep_until(at).await;
                }
                Answer::App(at) => {
                    place = None;
                    self.sleep_until(at).await;
                }
            }
        }
    }

    /// Lets this app wait until then: Slack's `Retry-After`. Other apps go on.
    pub fn hold(&self, app_key: &str, until: Moment) {
        self.pace.lock().hold(self.clock.now(), app_key, until);
    }

    async fn sleep_until(&self, at: Moment) {
        tokio::time::sleep(self.clock.now().until(at)).await;
    }
}

#[cfg(test)]
mod tests;
