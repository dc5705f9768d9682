//! P6 and P8 under weight: what one tenant does, and what the host runs out of, costs the others nothing they notice.

mod descriptors;
mod leaks;
mod memory;
mod quiet;
mod shares;
mod starts;
#[path = "../support/mod.rs"]
mod support;

/// A number from the environment, as `tests/long` gives it.
fn times(default: u64) -> u64 {
    std::env::var("TAUT_LONG_TIMES").map_or(default, |text| text.parse().expect("a number"))
}
