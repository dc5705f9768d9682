//! Pace of a log line that the other side can provoke.

use std::time::Duration;

use taut_core::Moment;

/// At most one line each interval; the ones in between are counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    last: Option<Moment>,
    held_back: u64,
}

impl Pace {
    const EACH: Duration = Duration::from_secs(10);

    /// `Some(n)` if a line may be written now, `n` being how many were held back since the last one.
    pub(crate) fn pass(&mut self, now: Moment) -> Option<u64> {
        if self.last.is_some_and(|last| now.since(last) < Self::EACH) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_becomes_one_each_interval_with_a_count() {
        let mut pace = Pace::default();
        let at = |secs: u64| Moment::from_nanos(secs * 1_000_000_000);
        assert_eq!(pace.pass(at(1)), Some(0));
        assert_eq!((pace.pass(at(2)), pace.pass(at(3))), (None, None));
        assert_eq!(pace.pass(at(11)), Some(2));
    }
}
