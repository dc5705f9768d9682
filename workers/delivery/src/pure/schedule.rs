//! Pauses between attempts: exponential, capped, jittered.

use std::time::Duration;

/// Doublings after which a pause no longer grows, whatever its cap.
const DOUBLINGS_MAX: u32 = 30;

/// A retry schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Ceiling of the first pause.
    pub first: Duration,
    /// Ceiling of every pause.
    pub max: Duration,
}

impl Retry {
    /// The pause after the `failures`th failure in a row (from 1): between half and all of a ceiling that doubles
    /// each time. `random` is any number; equal numbers give equal pauses.
    pub fn pause(&self, failures: u32, random: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.max);
        ceiling.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap() {
        let retry = Retry { first: Duration::from_secs(1), max: Duration::from_secs(10) };
        let longest: Vec<_> = (1..=6).map(|failures| retry.pause(failures, u32::MAX).as_secs()).collect();
        assert_eq!(longest, [1, 2, 4, 8, 10, 10]);
        assert_eq!(retry.pause(1, 0), Duration::from_millis(500));
    }

    proptest! {
        #[test]
        fn a_pause_is_never_zero_and_never_beyond_the_cap(failures: u32, random: u32) {
            let retry = Retry { first: Duration::from_secs(1), max: Duration::from_mins(5) };
            let pause = retry.pause(failures, random);
            prop_assert!(pause >= retry.first / 2 && pause <= retry.max);
        }
    }
}
