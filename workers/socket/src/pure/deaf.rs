//! Deaf time: from the last frame on the last live socket to the next hello, while the tenant should be connected.
//!
//! A tenant that was never connected has lost nothing yet and is not deaf; one that is paused or parked is not meant
//! to hear. A process that stood still heard nothing: what it reads afterwards from a socket that turns out to be gone
//! does not count as heard.

use std::time::Duration;

use taut_core::Moment;

/// A socket that ends so soon after a standstill was lost during it.
const LOST_MEANWHILE: Duration = Duration::from_secs(10);

/// Measures one tenant's deaf time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deaf {
    wanted: bool,
    live: bool,
    since: Option<Moment>,
    /// When the process last stood still, from and to.
    still: Option<(Moment, Moment)>,
    /// The last silence that a hello ended: when it began.
    ended: Option<Moment>,
}

impl Deaf {
    /// A line that starts. `heard_before`: an earlier process held a live socket of this tenant when it was last
    /// wanted; the gap up to `now` is the caller's to count, from here on it goes on.
    pub(crate) fn new(now: Moment, heard_before: bool) -> Self {
        Self { since: heard_before.then_some(now), ..Self::default() }
    }

    /// When the present silence began, while it counts.
    pub(crate) fn since(&self) -> Option<Moment> {
        self.since.filter(|_| self.wanted && !self.live)
    }

    /// The last live socket is gone; `last_frame` is when any frame was last read. Earlier silence stands.
    pub(crate) fn lost(&mut self, last_frame: Moment) {
        if self.live {
            self.live = false;
            self.since = Some(self.before_standstill(last_frame));
        }
    }

    /// The process stood still for `still` until now; the deaf time to add to a silence that has ended already.
    pub(crate) fn stood_still(&mut self, now: Moment, still: Duration) -> Duration {
        self.still = Some((now - still, now));
        if !self.wanted {
            return Duration::ZERO;
        }
        if !self.live {
            self.since = self.since.map(|since| self.before_standstill(since));
            return Duration::ZERO;
        }
        self.ended.take().map_or(Duration::ZERO, |began| began.since(self.before_standstill(began)))
    }

    /// When hearing really ended, if a frame that was read then came out of a buffer filled before or during a standstill.
    fn before_standstill(&self, last_frame: Moment) -> Moment {
        match self.still {
            Some((from, to)) if last_frame >= from && last_frame <= to + LOST_MEANWHILE => from,
            Some(_) | None => last_frame,
        }
    }

    /// A socket has said hello: the deaf time that ends with it.
    pub(crate) fn hello(&mut self, now: Moment) -> Duration {
        let deaf = self.since().map_or(Duration::ZERO, |since| now.since(since));
        self.ended = self.since();
        self.live = true;
        self.since = None;
        deaf
    }

    /// Whether the tenant should be connected; the deaf time that ends when it should no longer be.
    pub(crate) fn want(&mut self, now: Moment, wanted: bool) -> Duration {
        let ended =
            if wanted { Duration::ZERO } else { self.since().map_or(Duration::ZERO, |s| now.since(s)) };
        if wanted != self.wanted && !self.live {
            // What passes while nobody wants to hear is not deafness, on either side of the change.
            self.since = self.since.map(|_| now);
        }
        self.wanted = wanted;
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Moment {
        Moment::from_nanos(secs * 1_000_000_000)
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn deaf_from_the_last_frame_to_the_next_hello() {
        let mut deaf = Deaf::new(at(0), false);
        assert_eq!(deaf.want(at(0), true), Duration::ZERO);
        assert_eq!(deaf.since(), None, "never connected, nothing missed");
        assert_eq!(deaf.hello(at(5)), Duration::ZERO);
        deaf.lost(at(100));
        assert_eq!(deaf.since(), Some(at(100)));
        assert_eq!(deaf.hello(at(107)), secs(7));
        assert_eq!(deaf.since(), None);
    }

    #[test]
    fn a_pause_is_no_deafness() {
        let mut deaf = Deaf::new(at(0), false);
        let _none = deaf.want(at(0), true);
        let _none = deaf.hello(at(1));
        deaf.lost(at(10));
        assert_eq!(deaf.want(at(14), false), secs(4));
        assert_eq!(deaf.since(), None);
        assert_eq!(deaf.want(at(50), true), Duration::ZERO);
        assert_eq!(deaf.hello(at(52)), secs(2));
    }

    fn heard_until(last_frame: Moment) -> Deaf {
        let mut deaf = Deaf::new(at(0), false);
        let _none = deaf.want(at(0), true);
        let _none = deaf.hello(at(1));
        deaf.lost(last_frame);
        deaf
    }

    /// Stopped from 100 to 120; a frame out of the kernel's buffer is read at 120, then the socket turns out to be gone.
    #[test]
    fn what_is_read_after_a_standstill_from_a_socket_that_is_gone_was_not_heard() {
        let mut told_first = Deaf::new(at(0), false);
        let _none = told_first.want(at(0), true);
        let _none = told_first.hello(at(1));
        assert_eq!(told_first.stood_still(at(120), secs(20)), Duration::ZERO, "its socket may live");
        told_first.lost(at(120));
        assert_eq!(told_first.hello(at(121)), secs(21));

        let mut lost_first = heard_until(at(120));
        assert_eq!(lost_first.stood_still(at(120), secs(20)), Duration::ZERO);
        assert_eq!(lost_first.hello(at(121)), secs(21));

        let mut back_first = heard_until(at(120));
        assert_eq!(back_first.hello(at(121)), secs(1));
        assert_eq!(back_first.stood_still(at(121), secs(21)), secs(20));
    }

    #[test]
    fn a_socket_that_outlives_a_standstill_was_not_deaf() {
        let mut deaf = Deaf::new(at(0), false);
        let _none = deaf.want(at(0), true);
        let _none = deaf.hello(at(1));
        assert_eq!(deaf.stood_still(at(120), secs(20)), Duration::ZERO);
        deaf.lost(at(200));
        assert_eq!(deaf.hello(at(203)), secs(3), "a later loss is its own");
    }

    #[test]
    fn a_restart_goes_on_where_the_last_process_fell_silent() {
        let mut deaf = Deaf::new(at(20), true);
        let _none = deaf.want(at(20), true);
        assert_eq!(deaf.hello(at(23)), secs(3));
    }
}
