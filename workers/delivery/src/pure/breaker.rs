//! Stops attempts at a target that is wrong or away, and finds out when it is back.

use std::time::Duration;

use taut_core::Moment;

use super::schedule::Retry;

/// Longest pause between probes, so that a handler that is back is noticed soon.
pub const PROBE_PAUSE_MAX: Duration = Duration::from_secs(15);

/// A probe that was never heard of again counts as lost after this long, and the next one may go.
pub const PROBE_LOST_AFTER: Duration = Duration::from_mins(1);

/// What an attempt may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Go.
    Free,
    /// Go, alone: the target's state hangs on it.
    Probe,
    /// Not before this moment; `None`: not until somebody changes something.
    Wait(Option<Moment>),
}

/// A route's breaker: opens after some target faults in a row; then only probes pass, until one succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    faults_max: u32,
    faults: u32,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    probes: u32,
    next: Moment,
}

impl Breaker {
    /// A closed breaker that opens at `faults_max` (at least 1) target faults in a row.
    pub const fn new(faults_max: u32) -> Self {
        Self { faults_max: if faults_max == 0 { 1 } else { faults_max }, faults: 0, open: None }
    }

    /// Whether only probes pass.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether an attempt may start. An answer of [`Pass::Probe`] takes the probe.
    pub fn pass(&mut self, now: Moment) -> Pass {
        match &mut self.open {
            None => Pass::Free,
            Some(open) if open.next <= now => {
                open.next = now + PROBE_LOST_AFTER;
                Pass::Probe
            }
            Some(open) => Pass::Wait(Some(open.next)),
        }
    }

    /// A probe was taken and not sent: another may go at once.
    pub const fn give_back(&mut self, now: Moment) {
        if let Some(open) = &mut self.open {
            open.next = now;
        }
    }

    /// A target fault; true if it opened the breaker.
    pub fn fault(&mut self, now: Moment, probe: bool, retry: &Retry, random: u32) -> bool {
        self.faults = self.faults.saturating_add(1);
        if self.open.is_some() {
            if probe {
                self.plan_probe(now, retry, random);
            }
            return false;
        }
        if self.faults < self.faults_max {
            return false;
        }
        self.open = Some(Open { probes: 0, next: now });
        self.plan_probe(now, retry, random);
        true
    }

    /// The target answered, but neither well nor as one that is away: an open breaker stays open.
    pub fn unclear(&mut self, now: Moment, probe: bool, retry: &Retry, random: u32) {
        self.faults = 0;
        if probe {
            self.plan_probe(now, retry, random);
        }
    }

    /// A success; true if it closed the breaker.
    pub const fn success(&mut self) -> bool {
        self.faults = 0;
        self.open.take().is_some()
    }

    fn plan_probe(&mut self, now: Moment, retry: &Retry, random: u32) {
        if let Some(open) = &mut self.open {
            open.probes = open.probes.saturating_add(1);
            let retry = Retry { max: retry.max.min(PROBE_PAUSE_MAX), ..*retry };
            open.next = now + retry.pause(open.probes, random);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry { first: Duration::from_secs(1), max: Duration::from_mins(5) };
    const START: Moment = Moment::from_nanos(1_000_000_000);

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(3);
        assert!(!breaker.fault(START, false, &RETRY, u32::MAX));
        assert!(!breaker.fault(START, false, &RETRY, u32::MAX));
        assert!(breaker.fault(START, false, &RETRY, u32::MAX));
        breaker
    }

    #[test]
    fn opens_after_faults_in_a_row_only() {
        let mut breaker = Breaker::new(3);
        for _ in 0..10 {
            assert!(!breaker.fault(START, false, &RETRY, 0));
            assert!(!breaker.fault(START, false, &RETRY, 0));
            breaker.success();
        }
        assert_eq!(breaker.pass(START), Pass::Free);
    }

    #[test]
    fn one_probe_at_a_time_with_growing_pauses() {
        let mut breaker = opened();
        let mut now = START;
        for pause in [1, 2, 4, 8, 15, 15] {
            assert_eq!(breaker.pass(now), Pass::Wait(Some(now + Duration::from_secs(pause))));
            now = now + Duration::from_secs(pause);
            assert_eq!(breaker.pass(now), Pass::Probe);
            assert!(matches!(breaker.pass(now), Pass::Wait(Some(_))));
            breaker.fault(now, true, &RETRY, u32::MAX);
        }
    }

    #[test]
    fn a_success_closes_and_unclear_answers_do_not() {
        let mut breaker = opened();
        let now = START + Duration::from_secs(1);
        assert_eq!(breaker.pass(now), Pass::Probe);
        breaker.unclear(now, true, &RETRY, 0);
        assert!(breaker.is_open());
        assert!(breaker.success());
        assert_eq!(breaker.pass(now), Pass::Free);
    }

    #[test]
    fn a_lost_probe_does_not_block_for_good() {
        let mut breaker = opened();
        let now = START + Duration::from_secs(1);
        assert_eq!(breaker.pass(now), Pass::Probe);
        assert_eq!(breaker.pass(now + PROBE_LOST_AFTER), Pass::Probe);
    }

    #[test]
    fn a_probe_that_was_not_sent_may_go_again() {
        let mut breaker = opened();
        let now = START + Duration::from_secs(1);
        assert_eq!(breaker.pass(now), Pass::Probe);
        breaker.give_back(now);
        assert_eq!(breaker.pass(now), Pass::Probe);
    }

    #[test]
    fn late_faults_of_earlier_attempts_do_not_put_the_probe_off() {
        let mut breaker = opened();
        breaker.fault(START + Duration::from_millis(900), false, &RETRY, u32::MAX);
        assert_eq!(breaker.pass(START + Duration::from_secs(1)), Pass::Probe);
    }
}
