//! Pauses between attempts: exponential, capped, fully jittered.
//!
//! The only file that imports the `backoff` crate. The crate computes the ceilings; the jitter is ours because its
//! own is not seedable and, at ±50 %, too narrow to spread a herd.

use std::fmt;
use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// How much longer each ceiling is than the one before.
const GROWTH: f64 = 2.0;

/// A schedule of pauses that never ends: each is drawn evenly from zero to a ceiling that doubles up to a maximum.
pub struct Backoff {
    ceilings: ExponentialBackoff,
    rng: SmallRng,
}

impl Backoff {
    /// A schedule whose ceilings go from `first`, doubling, up to `max`. Equal seeds give equal pauses.
    pub fn new(first: Duration, max: Duration, seed: u64) -> Self {
        let ceilings = ExponentialBackoffBuilder::new()
            .with_initial_interval(first)
            .with_max_interval(max)
            .with_multiplier(GROWTH)
            .with_randomization_factor(0.0)
            // The crate's default gives up after 15 minutes.
            .with_max_elapsed_time(None)
            .build();
        Self { ceilings, rng: SmallRng::seed_from_u64(seed) }
    }

    /// The pause before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let max = self.ceilings.max_interval;
        let ceiling = self.ceilings.next_backoff().unwrap_or(max).min(max);
        ceiling.mul_f64(self.rng.random::<f64>())
    }

    /// Starts over from the first ceiling: call it after a success that lasted, not after any success.
    pub fn reset(&mut self) {
        self.ceilings.reset();
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff").field("ceiling", &self.ceilings.current_interval).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_mins(1);

    #[test]
    fn pauses_stay_under_doubling_ceilings() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(FIRST, MAX, seed);
            for ceiling in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
                let pause = backoff.next_delay();
                assert!(pause <= Duration::from_secs(ceiling), "{pause:?} over {ceiling} s");
            }
        }
    }

    #[test]
    fn pauses_spread_over_the_whole_span() {
        let pauses: Vec<_> = (0..1000).map(|seed| Backoff::new(FIRST, MAX, seed).next_delay()).collect();
        let below = |share: f64| pauses.iter().filter(|pause| **pause < FIRST.mul_f64(share)).count();
        assert!((150..350).contains(&below(0.25)), "{}", below(0.25));
        assert!((400..600).contains(&below(0.5)), "{}", below(0.5));
    }

    #[test]
    fn reset_starts_over() {
        let mut backoff = Backoff::new(FIRST, MAX, 7);
        for _ in 0..20 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= FIRST);
    }

    #[test]
    fn equal_seeds_give_equal_pauses() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(FIRST, MAX, seed);
            (0..5).map(|_| backoff.next_delay()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(3), pauses(3));
        assert_ne!(pauses(3), pauses(4));
    }

    #[test]
    fn schedule_never_ends() {
        let mut backoff = Backoff::new(Duration::from_nanos(1), Duration::from_nanos(3), 1);
        for _ in 0..10_000 {
            assert!(backoff.next_delay() <= Duration::from_nanos(3));
        }
    }
}
