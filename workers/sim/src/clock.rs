//! The simulator's two times: elapsed for deadlines, wall for the stamps inside payloads.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A wall-clock stamp such as Slack's `ts`: whole seconds and microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick {
    pub seconds: u64,
    pub micros: u32,
}

impl Tick {
    /// The wall clock, but always after `last`, so that stamps of one app are unique and in order.
    pub(crate) fn after(last: Self) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let read = Self { seconds: wall.as_secs(), micros: wall.subsec_micros() };
        let next = if last.micros == 999_999 {
            Self { seconds: last.seconds + 1, micros: 0 }
        } else {
            Self { seconds: last.seconds, micros: last.micros + 1 }
        };
        read.max(next)
    }
}

/// Elapsed time since the simulator started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epoch(Instant);

impl Epoch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn since_start(self, at: Instant) -> Duration {
        at.saturating_duration_since(self.0)
    }
}
