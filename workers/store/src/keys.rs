//! The dedup keys of one tenant: which envelopes are durable, for the dedup window.

use std::collections::VecDeque;
use std::time::Duration;

use taut_core::{DedupKey, Seq, WallMs};

use crate::hash::Map;

/// Keys in the order they came, at most `max` and none older than the window.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: Map<DedupKey, Known>,
    order: VecDeque<(DedupKey, WallMs)>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    seq: Seq,
    at: WallMs,
}

impl Keys {
    /// The entry with this key, if it came inside the window.
    pub(crate) fn get(&self, key: DedupKey, now: WallMs, window: Duration) -> Option<Seq> {
        self.known.get(&key).filter(|known| now.since(known.at) < window).map(|known| known.seq)
    }

    /// Whether exactly this entry's key is remembered.
    pub(crate) fn remembers(&self, key: DedupKey, seq: Seq) -> bool {
        self.known.get(&key).is_some_and(|known| known.seq == seq)
    }

    /// Remembers a key; the oldest beyond `max` are forgotten.
    pub(crate) fn insert(&mut self, key: DedupKey, seq: Seq, at: WallMs, max: usize) {
        self.known.insert(key, Known { seq, at });
        self.order.push_back((key, at));
        while self.known.len() > max {
            self.forget_oldest();
        }
    }

    /// Forgets what is older than the window, and gives the memory back once nothing is left.
    pub(crate) fn expire(&mut self, now: WallMs, window: Duration) {
        while self.order.front().is_some_and(|(_, at)| now.since(*at) >= window) {
            self.forget_oldest();
        }
        if self.known.is_empty() && self.known.capacity() > 0 {
            *self = Self::default();
        } else if self.known.capacity() > 4 * self.known.len() + 32 {
            self.known.shrink_to_fit();
            self.order.shrink_to_fit();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    fn forget_oldest(&mut self) {
        let Some((key, at)) = self.order.pop_front() else { return };
        // The key may have come again after its window: then a later place in the order speaks for it.
        if self.known.get(&key).is_some_and(|known| known.at == at) {
            self.known.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(100);

    #[test]
    fn a_key_is_known_inside_its_window_only() {
        let mut keys = Keys::default();
        keys.insert(DedupKey(1), Seq(7), WallMs(1000), 10);
        assert_eq!(keys.get(DedupKey(1), WallMs(1099), WINDOW), Some(Seq(7)));
        assert_eq!(keys.get(DedupKey(1), WallMs(1100), WINDOW), None);
        keys.expire(WallMs(1100), WINDOW);
        assert_eq!(keys.len(), 0);
    }

    #[test]
    fn the_oldest_goes_beyond_the_limit() {
        let mut keys = Keys::default();
        for n in 1..=4u64 {
            keys.insert(DedupKey(u128::from(n)), Seq(n), WallMs(n), 3);
        }
        assert_eq!(keys.get(DedupKey(1), WallMs(4), WINDOW), None);
        assert_eq!(keys.get(DedupKey(2), WallMs(4), WINDOW), Some(Seq(2)));
    }

    #[test]
    fn a_key_that_came_again_is_not_forgotten_with_its_first_coming() {
        let mut keys = Keys::default();
        keys.insert(DedupKey(1), Seq(1), WallMs(0), 10);
        keys.insert(DedupKey(1), Seq(2), WallMs(150), 10);
        keys.expire(WallMs(160), WINDOW);
        assert_eq!(keys.get(DedupKey(1), WallMs(160), WINDOW), Some(Seq(2)));
    }
}
