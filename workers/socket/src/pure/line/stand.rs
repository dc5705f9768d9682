//! When the line may open its next socket, and what it shows meanwhile.

use std::time::Duration;

use taut_core::{Moment, Reason};

use super::{Delays, Refusal, RefusalClass};

/// Shortest pause after a failed attempt: full jitter may say zero, a hot loop never.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Shortest pause before the next attempt when Slack says the cause passes on its own.
const WAIT_MIN: Duration = Duration::from_secs(30);
/// Losses and refreshes answered at once since the last stable socket; then back-off.
const EAGER_MAX: u8 = 3;
/// After `too_many_websockets` nothing is opened for this long.
const TOO_MANY_HOLD: Duration = Duration::from_secs(30);
/// After `link_disabled`: a probe each of these …
const PROBE_FAST: Duration = Duration::from_mins(5);
/// … for this long …
const PROBE_FAST_FOR: Duration = Duration::from_hours(1);
/// … and then one each of these. Parks that may end without us are probed as slowly.
const PROBE_SLOW: Duration = Duration::from_hours(1);
/// Parks that a change of network or policy may end without anybody telling us. The others end only with another
/// token or by an operator's word.
const PROBED_PARKS: [&str; 6] = [
    "accesslimited",
    "no_permission",
    "access_denied",
    "forbidden_team",
    "two_factor_setup_required",
    "enterprise_is_restricted",
];

/// What is shown while no socket is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Show {
    /// On the way; the reason is the last failure, or the start.
    Starting(Reason),
    /// Something outside has to pass.
    Waiting(Reason),
    /// A person has to act.
    Parked(Reason),
}

/// The line's stand towards opening.
#[derive(Debug, Clone)]
pub(super) struct Stand<D> {
    pub(super) show: Show,
    /// From when on a socket may be opened; `None`: not before somebody says so.
    retry_at: Option<Moment>,
    /// Slack's or our own hold, which not even an operator shortens.
    hold_until: Moment,
    eager: u8,
    link_disabled_since: Option<Moment>,
    delays: D,
}

impl<D: Delays> Stand<D> {
    pub(super) fn new(delays: D) -> Self {
        Self {
            show: Show::Starting(Reason::new("start", "")),
            retry_at: Some(Moment::ZERO),
            hold_until: Moment::ZERO,
            eager: EAGER_MAX,
            link_disabled_since: None,
            delays,
        }
    }

    /// When the next socket may be opened.
    pub(super) fn next_open(&self) -> Option<Moment> {
        self.retry_at.map(|at| at.max(self.hold_until))
    }

    /// Whether a person has to act first.
    pub(super) const fn parked(&self) -> bool {
        matches!(self.show, Show::Parked(_))
    }

    /// Whether nothing may be opened just now, whoever asks.
    pub(super) fn is_held(&self, now: Moment) -> bool {
        now < self.hold_until
    }

    /// An attempt failed in a way that another may not.
    pub(super) fn retry(&mut self, now: Moment, reason: Reason) {
        // A probe that fails on the way changes nothing about what is waited for.
        self.note(reason);
        self.retry_at = Some(now + self.delays.next_delay().max(RETRY_MIN));
    }

    /// What is on its way has another reason; a wait or a park keeps its own.
    pub(super) fn note(&mut self, reason: Reason) {
        if matches!(self.show, Show::Starting(_)) {
            self.show = Show::Starting(reason);
        }
    }

    /// A live socket was lost, or its end announced: another at once, unless that happens again and again.
    pub(super) fn lost(&mut self, now: Moment, reason: Reason) {
        if self.eager == 0 {
            return self.retry(now, reason);
        }
        self.eager -= 1;
        self.show = Show::Starting(reason);
        self.retry_at = Some(now);
    }

    /// Slack refused a ticket.
    pub(super) fn refused(&mut self, now: Moment, refusal: Refusal) {
        let reason = Reason::new(refusal.code, refusal.text);
        match refusal.class {
            RefusalClass::Retry => self.retry(now, reason),
            RefusalClass::Wait => {
                self.show = Show::Waiting(reason);
                self.retry_at = Some(now + self.delays.next_delay().max(WAIT_MIN));
            }
            RefusalClass::Park => self.park(now, reason),
        }
        if let Some(pause) = refusal.retry_after {
            self.hold_until = self.hold_until.max(now + pause);
        }
    }

    /// A person has to act; some causes are probed slowly all the same.
    pub(super) fn park(&mut self, now: Moment, reason: Reason) {
        let probed = PROBED_PARKS.contains(&reason.code.as_str());
        self.show = Show::Parked(reason);
        self.retry_at = probed.then(|| now + PROBE_SLOW);
    }

    /// Slack refuses further sockets: nothing is opened until that has passed, and ever later if it comes again.
    pub(super) fn too_many(&mut self, now: Moment) {
        self.show = Show::Waiting(Reason::new(
            "too_many_websockets",
            "Slack refuses further sockets of this app (10 are its limit): other programs or half-dead \
             connections use its app-level token; stop those, or wait until Slack notices the dead ones",
        ));
        let until = now + TOO_MANY_HOLD + self.delays.next_delay();
        self.hold_until = self.hold_until.max(until);
        self.retry_at = Some(until);
    }

    /// Socket Mode was switched off at Slack: probe, rarely after a while.
    pub(super) fn link_disabled(&mut self, now: Moment) {
        let since = *self.link_disabled_since.get_or_insert(now);
        self.show = Show::Waiting(Reason::new(
            "link_disabled",
            "Socket Mode is switched off in the app's settings; an admin of the app can switch it on, taut notices \
             by itself",
        ));
        let pause = if now.since(since) < PROBE_FAST_FOR { PROBE_FAST } else { PROBE_SLOW };
        self.retry_at = Some(now + pause);
    }

    /// Another token, or the operator's word: what was parked or waits may be tried now.
    pub(super) fn cleared(&mut self, now: Moment, reason: Reason) {
        self.show = Show::Starting(reason);
        self.retry_at = Some(now);
        self.eager = EAGER_MAX;
        self.link_disabled_since = None;
        self.delays.reset();
    }

    /// A socket of the line said hello.
    pub(super) fn hello(&mut self) {
        self.show = Show::Starting(Reason::new("hello", ""));
    }

    /// A socket has been live long enough to trust.
    pub(super) fn stable(&mut self) {
        self.eager = EAGER_MAX;
        self.link_disabled_since = None;
        self.delays.reset();
    }
}
