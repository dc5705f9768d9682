//! How a route's target fares: one judgement over everything sent to it, events and requests alike.

use taut_core::Moment;

use super::breaker::{Breaker, Pass};
use super::schedule::Retry;
use super::verdict::Verdict;

/// A turn in a route's health that people should hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Too many target faults in a row: only probes go out.
    Opened,
    /// A success closed the breaker.
    Closed,
    /// Too many poison verdicts in a row: nothing goes out until a person resumes the route.
    Held,
}

/// Why a route takes nothing at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// An operator paused it.
    Paused,
    /// Held after too many poison verdicts.
    Held,
    /// Its breaker is open.
    BreakerOpen,
}

impl Down {
    /// The word in status and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Held => "held",
            Self::BreakerOpen => "breaker_open",
        }
    }
}

/// A route's health.
#[derive(Debug, Clone)]
pub struct Health {
    breaker: Breaker,
    retry: Retry,
    poison_hold: u32,
    poison_row: u32,
    held: bool,
    paused: bool,
    /// With its tenant.
    suspended: bool,
    successes: u64,
    recoveries: u64,
}

impl Health {
    /// A healthy route. `poison_hold`: poison verdicts in a row, without a success, that hold it.
    pub const fn new(faults_max: u32, poison_hold: u32, retry: Retry) -> Self {
        Self {
            breaker: Breaker::new(faults_max),
            retry,
            poison_hold,
            poison_row: 0,
            held: false,
            paused: false,
            suspended: false,
            successes: 0,
            recoveries: 0,
        }
    }

    /// Why nothing, or nothing but probes, goes out; `None` if all is well.
    pub const fn down(&self) -> Option<Down> {
        if self.paused || self.suspended {
            Some(Down::Paused)
        } else if self.held {
            Some(Down::Held)
        } else if self.breaker.is_open() {
            Some(Down::BreakerOpen)
        } else {
            None
        }
    }

    /// Whether an event's attempt may start. [`Pass::Probe`] takes the probe.
    pub fn pass_event(&mut self, now: Moment) -> Pass {
        if self.paused || self.suspended || self.held { Pass::Wait(None) } else { self.breaker.pass(now) }
    }

    /// Whether a request's attempt may start. A hold is about stored events and does not stop requests.
    pub fn pass_request(&mut self, now: Moment) -> Pass {
        if self.paused || self.suspended { Pass::Wait(None) } else { self.breaker.pass(now) }
    }

    /// A probe was taken and not sent.
    pub const fn give_back(&mut self, now: Moment) {
        self.breaker.give_back(now);
    }

    /// Takes the verdict of one attempt into account.
    pub fn note(&mut self, now: Moment, verdict: Verdict, probe: bool, random: u32) -> Option<Turn> {
        match verdict {
            Verdict::Done | Verdict::Unhandled => {
                self.successes += 1;
                self.poison_row = 0;
                let closed = self.breaker.success();
                self.recoveries += u64::from(closed);
                closed.then_some(Turn::Closed)
            }
            Verdict::TargetFault => {
                self.breaker.fault(now, probe, &self.retry, random).then_some(Turn::Opened)
            }
            Verdict::Transient { .. } => {
                self.breaker.unclear(now, probe, &self.retry, random);
                None
            }
            Verdict::Poison => {
                self.breaker.unclear(now, probe, &self.retry, random);
                self.poison_row = self.poison_row.saturating_add(1);
                let hold = !self.held && self.poison_row >= self.poison_hold;
                self.held |= hold;
                hold.then_some(Turn::Held)
            }
        }
    }

    /// Successes so far: an envelope's failure costs an attempt only if this has grown since its last one.
    pub const fn successes(&self) -> u64 {
        self.successes
    }

    /// How often the target came back, or a person said that it is: what waits because of it is due then.
    pub const fn recoveries(&self) -> u64 {
        self.recoveries
    }

    /// Whether an operator paused the route.
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether the whole tenant is paused.
    pub const fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// An operator pauses the route.
    pub const fn pause(&mut self) {
        self.paused = true;
    }

    /// An operator resumes the route; also ends a hold.
    pub const fn resume(&mut self) {
        self.paused = false;
        self.recoveries += 1;
        self.end_hold();
    }

    /// The route's tenant is paused, or no more. The route's own pause stays as it is; the end also ends a hold.
    pub const fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
        if !suspended {
            self.recoveries += 1;
            self.end_hold();
        }
    }

    /// An operator closes the breaker; also ends a hold.
    pub const fn reset(&mut self) {
        self.breaker.success();
        self.recoveries += 1;
        self.end_hold();
    }

    const fn end_hold(&mut self) {
        self.held = false;
        self.poison_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Moment = Moment::from_nanos(1);

    fn health() -> Health {
        Health::new(2, 3, Retry { first: Duration::from_secs(1), max: Duration::from_mins(5) })
    }

    #[test]
    fn a_tenants_pause_leaves_the_routes_own_as_it_is() {
        let mut health = health();
        health.pause();
        health.suspend(true);
        health.suspend(false);
        assert_eq!(health.down(), Some(Down::Paused), "paused by itself");
        health.suspend(true);
        health.resume();
        assert_eq!(health.pass_request(NOW), Pass::Wait(None), "paused with its tenant");
        health.suspend(false);
        assert_eq!(health.pass_event(NOW), Pass::Free);
    }

    #[test]
    fn poison_in_a_row_holds_events_and_lets_requests_through() {
        let mut health = health();
        assert_eq!(health.note(NOW, Verdict::Poison, false, 0), None);
        assert_eq!(health.note(NOW, Verdict::Poison, false, 0), None);
        assert_eq!(health.note(NOW, Verdict::Poison, false, 0), Some(Turn::Held));
        assert_eq!(health.note(NOW, Verdict::Poison, false, 0), None);
        assert_eq!(health.pass_event(NOW), Pass::Wait(None));
        assert_eq!(health.pass_request(NOW), Pass::Free);
        health.resume();
        assert_eq!((health.pass_event(NOW), health.down()), (Pass::Free, None));
    }

    #[test]
    fn a_success_between_poison_verdicts_starts_the_count_again() {
        let mut health = health();
        for _ in 0..10 {
            health.note(NOW, Verdict::Poison, false, 0);
            health.note(NOW, Verdict::Poison, false, 0);
            health.note(NOW, Verdict::Unhandled, false, 0);
        }
        assert_eq!(health.down(), None);
    }

    #[test]
    fn requests_and_events_share_one_breaker() {
        let mut health = health();
        health.note(NOW, Verdict::TargetFault, false, 0);
        assert_eq!(health.note(NOW, Verdict::TargetFault, false, 0), Some(Turn::Opened));
        assert!(matches!(health.pass_request(NOW), Pass::Wait(Some(_))));
        assert_eq!(health.down(), Some(Down::BreakerOpen));
        assert_eq!(health.note(NOW, Verdict::Done, true, 0), Some(Turn::Closed));
    }

    #[test]
    fn a_paused_route_takes_nothing_until_it_is_resumed() {
        let mut health = health();
        health.pause();
        assert_eq!((health.pass_event(NOW), health.pass_request(NOW)), (Pass::Wait(None), Pass::Wait(None)));
        health.resume();
        assert_eq!(health.pass_event(NOW), Pass::Free);
    }
}
