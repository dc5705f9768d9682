//! What is remembered of recent requests, so that a duplicate gets the first one's answer.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use taut_core::{DedupKey, Moment};

/// Most requests remembered for one tenant.
pub const RECENT_MAX: usize = 256;
/// How long a request is remembered. Slack itself forgets one after 3 s.
pub const RECENT_AGE_MAX: Duration = Duration::from_mins(1);

/// Recent requests by their dedup key, bounded in number and age.
#[derive(Debug)]
pub struct Recent<T> {
    by_key: HashMap<DedupKey, (Moment, T)>,
    by_age: VecDeque<(Moment, DedupKey)>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), by_age: VecDeque::new() }
    }
}

impl<T> Recent<T> {
    /// What is remembered of this key.
    pub fn get(&self, now: Moment, key: DedupKey) -> Option<&T> {
        let (since, value) = self.by_key.get(&key)?;
        (now.since(*since) < RECENT_AGE_MAX).then_some(value)
    }

    /// Remembers a key; the oldest goes where there are too many.
    pub fn insert(&mut self, now: Moment, key: DedupKey, value: T) {
        self.prune(now);
        while self.by_age.len() >= RECENT_MAX {
            self.drop_oldest();
        }
        self.by_key.insert(key, (now, value));
        self.by_age.push_back((now, key));
    }

    /// Forgets a key: a copy of it is new again.
    pub fn forget(&mut self, key: DedupKey) {
        if self.by_key.remove(&key).is_some() {
            self.by_age.retain(|(_, other)| *other != key);
        }
    }

    fn prune(&mut self, now: Moment) {
        while self.by_age.front().is_some_and(|(since, _)| now.since(*since) >= RECENT_AGE_MAX) {
            self.drop_oldest();
        }
        if self.by_key.is_empty() {
            // A quiet tenant keeps no capacity.
            *self = Self::default();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((since, key)) = self.by_age.pop_front() else { return };
        if self.by_key.get(&key).is_some_and(|(of, _)| *of == since) {
            self.by_key.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_nanos(1);

    #[test]
    fn a_key_is_remembered_for_a_minute() {
        let mut recent = Recent::default();
        recent.insert(NOW, DedupKey(1), 'a');
        assert_eq!(recent.get(NOW + Duration::from_secs(59), DedupKey(1)), Some(&'a'));
        assert_eq!(recent.get(NOW + RECENT_AGE_MAX, DedupKey(1)), None);
        recent.insert(NOW, DedupKey(2), 'b');
        recent.forget(DedupKey(2));
        assert_eq!(recent.get(NOW, DedupKey(2)), None);
    }

    #[test]
    fn the_oldest_goes_first_and_memory_is_bounded() {
        let mut recent = Recent::default();
        for key in 0..1_000 {
            recent.insert(NOW, DedupKey(key), key);
        }
        assert_eq!((recent.by_key.len(), recent.by_age.len()), (RECENT_MAX, RECENT_MAX));
        assert_eq!(recent.get(NOW, DedupKey(0)), None);
        assert_eq!(recent.get(NOW, DedupKey(999)), Some(&999));
        recent.insert(NOW + RECENT_AGE_MAX, DedupKey(5_000), 0);
        assert_eq!(recent.by_key.len(), 1);
    }
}
