//! One task that watches every ack deadline and every retry of the simulator.
//!
//! Ack deadlines all have the same length, so a queue in order of sending is enough for them; retries go through a heap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use crate::app::{App, Item};
use crate::shared::Shared;

#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    queues: Mutex<Queues>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queues {
    deadlines: VecDeque<(Instant, Arc<App>, Uuid)>,
    retries: BinaryHeap<Reverse<Retry>>,
    /// Breaks ties, so that retries due at once keep their order.
    retry_number: u64,
}

#[derive(Debug)]
struct Retry {
    at: Instant,
    number: u64,
    app: Arc<App>,
    item: Item,
}

impl Retry {
    const fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Retry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Retry {}

impl PartialOrd for Retry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Retry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// What has come due.
#[derive(Debug)]
enum Due {
    Deadline(Arc<App>, Uuid),
    Retry(Arc<App>, Item),
}

impl Scheduler {
    /// Watches for the ack of one envelope. Deadlines must be added in order.
    pub(crate) fn deadline(&self, at: Instant, app: &Arc<App>, envelope_id: Uuid) {
        let mut queues = self.queues.lock();
        queues.deadlines.push_back((at, app.clone(), envelope_id));
        if queues.deadlines.len() == 1 {
            self.changed.notify_one();
        }
    }

    pub(crate) fn retry(&self, at: Instant, app: &Arc<App>, item: Item) {
        let mut queues = self.queues.lock();
        queues.retry_number += 1;
        let number = queues.retry_number;
        queues.retries.push(Reverse(Retry { at, number, app: app.clone(), item }));
        self.changed.notify_one();
    }

    fn next_due(&self) -> Option<Instant> {
        let queues = self.queues.lock();
        let deadline = queues.deadlines.front().map(|(at, ..)| *at);
        let retry = queues.retries.peek().map(|Reverse(retry)| retry.at);
        deadline.into_iter().chain(retry).min()
    }

    /// Takes at most a thousand due things at once, so that locks are held briefly.
    fn take_due(&self, now: Instant) -> Vec<Due> {
        const BATCH_MAX: usize = 1_000;
        let mut queues = self.queues.lock();
        let mut due = Vec::new();
        while due.len() < BATCH_MAX && queues.deadlines.front().is_some_and(|(at, ..)| *at <= now) {
            due.extend(queues.deadlines.pop_front().map(|(_, app, id)| Due::Deadline(app, id)));
        }
        while due.len() < BATCH_MAX && queues.retries.peek().is_some_and(|Reverse(retry)| retry.at <= now) {
            due.extend(queues.retries.pop().map(|Reverse(retry)| Due::Retry(retry.app, retry.item)));
        }
        due
    }
}

/// Runs until the simulator stops.
pub(crate) async fn run(sim: Arc<Shared>) {
    loop {
        let next = sim.scheduler.next_due();
        let wait = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = sim.stop.cancelled() => return,
            () = wait => {}
            () = sim.scheduler.changed.notified() => {}
        }
        for due in sim.scheduler.take_due(Instant::now()) {
            match due {
                Due::Deadline(app, id) => app.deadline_passed(&sim, id),
                Due::Retry(app, item) => app.retry(&sim, item),
            }
        }
    }
}
