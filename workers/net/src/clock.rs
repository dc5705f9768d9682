//! The clocks behind [`taut_core::Clock`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use taut_core::{Clock, Moment, WallMs};

/// The host's `CLOCK_BOOTTIME`: goes on while the host sleeps, never jumps with the wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Moment {
        let at = clock_gettime(ClockId::Boottime);
        let secs = u64::try_from(at.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(at.tv_nsec).unwrap_or(0);
        Moment::ZERO + Duration::new(secs, nanos)
    }

    fn wall(&self) -> WallMs {
        wall_now()
    }
}

/// Follows tokio's timers, so that a test that pauses tokio's time owns this clock too.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    started: tokio::time::Instant,
    started_wall: WallMs,
}

/// Where a [`TokioClock`] starts: away from zero, so that a test may look back.
const TOKIO_CLOCK_START: Moment = Moment::from_nanos(1_000_000_000_000);

impl TokioClock {
    /// A clock that starts here. Needs a tokio runtime.
    pub fn new() -> Self {
        Self { started: tokio::time::Instant::now(), started_wall: wall_now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        TOKIO_CLOCK_START + self.started.elapsed()
    }

    fn wall(&self) -> WallMs {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        WallMs(self.started_wall.0.saturating_add(passed))
    }
}

/// The host's wall clock; the epoch itself if the host believes it is earlier.
fn wall_now() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_clock_goes_forward() {
        let first = BootClock.now();
        assert!(first > Moment::ZERO);
        assert!(BootClock.now() >= first);
        assert!(BootClock.wall().seconds() > 1_700_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn tokio_clock_follows_paused_time() {
        let clock = TokioClock::new();
        let (moment, wall) = (clock.now(), clock.wall());
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now().since(moment), Duration::from_secs(90));
        assert_eq!(clock.wall().since(wall), Duration::from_secs(90));
    }
}
