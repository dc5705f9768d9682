//! Acks whose socket is gone and whose replacement has not said hello yet.

use std::collections::VecDeque;
use std::time::Duration;

use taut_core::Moment;

/// Acks kept for the next socket; beyond, the oldest is given up.
const LATE_MAX: usize = 64;

/// Late acks in the order they came, each until Slack stops waiting for it.
#[derive(Debug)]
pub(crate) struct LateAcks<T> {
    queue: VecDeque<(Moment, T)>,
    keep: Duration,
}

impl<T> LateAcks<T> {
    /// Keeps each ack for so long after its envelope was read.
    pub(crate) const fn new(keep: Duration) -> Self {
        Self { queue: VecDeque::new(), keep }
    }

    /// Keeps one; the oldest if there is no room for both.
    #[must_use]
    pub(crate) fn push(&mut self, received: Moment, ack: T) -> Option<T> {
        let oldest = if self.queue.len() >= LATE_MAX { self.queue.pop_front() } else { None };
        self.queue.push_back((received + self.keep, ack));
        oldest.map(|(_, ack)| ack)
    }

    /// Takes all: there is a socket, or there will be none.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.queue).into_iter().map(|(_, ack)| ack)
    }

    /// Takes those nobody waits for any more.
    pub(crate) fn expired(&mut self, now: Moment) -> Vec<T> {
        let (late, kept) = std::mem::take(&mut self.queue).into_iter().partition(|(until, _)| *until <= now);
        self.queue = kept;
        let late: VecDeque<(Moment, T)> = late;
        late.into_iter().map(|(_, ack)| ack).collect()
    }

    /// When the next one expires.
    pub(crate) fn next_expiry(&self) -> Option<Moment> {
        self.queue.iter().map(|(until, _)| *until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Moment {
        Moment::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn late_acks_wait_in_order_until_nobody_wants_them() {
        let mut late = LateAcks::new(Duration::from_secs(3));
        for n in 1..4 {
            assert_eq!(late.push(at(n), n), None);
        }
        assert_eq!(late.next_expiry(), Some(at(4)));
        assert_eq!(late.expired(at(4)), [1]);
        assert_eq!(late.take().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(late.next_expiry(), None);
    }

    #[test]
    fn late_acks_are_bounded() {
        let mut late = LateAcks::new(Duration::from_secs(3));
        let given_up: Vec<_> = (0..100).filter_map(|n| late.push(at(1), n)).collect();
        assert_eq!(given_up, (0..36).collect::<Vec<_>>());
        assert_eq!(late.take().count(), LATE_MAX);
    }
}
