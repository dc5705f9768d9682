//! Deaf time: from the last frame on the last live socket to the next hello, while the tenant should be connected.
//!
//! A tenant that was never connected has lost nothing yet and is not deaf; one that is paused or parked is not meant
//! to hear.

use std::time::Duration;

use taut_core::Moment;

/// Measures one tenant's deaf time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deaf {
    wanted: bool,
    live: bool,
    since: Option<Moment>,
}

impl Deaf {
    /// A line that starts. `heard_before`: an earlier process held a live socket of this tenant when it was last
    /// wanted; the gap up to `now` is the caller's to count, from here on it goes on.
    pub(crate) fn new(now: Moment, heard_before: bool) -> Self {
        Self { wanted: false, live: false, since: heard_before.then_some(now) }
    }

    /// When the present silence began, while it counts.
    pub(crate) fn since(&self) -> Option<Moment> {
        self.since.filter(|_| self.wanted && !self.live)
    }

    /// The last live socket is gone; `last_frame` is when any frame was last read. Earlier silence stands.
    pub(crate) fn lost(&mut self, last_frame: Moment) {
        if self.live {
            self.live = false;
            self.since = Some(last_frame);
        }
    }

    /// A socket has said hello: the deaf time that ends with it.
    pub(crate) fn hello(&mut self, now: Moment) -> Duration {
        let deaf = self.since().map_or(Duration::ZERO, |since| now.since(since));
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

    #[test]
    fn a_restart_goes_on_where_the_last_process_fell_silent() {
        let mut deaf = Deaf::new(at(20), true);
        let _none = deaf.want(at(20), true);
        assert_eq!(deaf.hello(at(23)), secs(3));
    }
}
