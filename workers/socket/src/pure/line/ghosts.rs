//! Sockets of our app that are not ours, judged by the counts in Slack's hellos.

use std::time::Duration;

use taut_core::Moment;

/// Slack may count a socket we have closed for this long; a surplus counts only if seen twice so far apart.
const SETTLE: Duration = Duration::from_mins(1);
/// Closed sockets remembered; more within [`SETTLE`] are not told apart from ghosts.
const CLOSED_MAX: usize = 10;

/// Compares Slack's counts with what this line holds or has just closed.
#[derive(Debug, Clone, Default)]
pub(super) struct Ghosts {
    closed: Vec<Moment>,
    above_since: Option<Moment>,
    foreign: u32,
}

impl Ghosts {
    /// One of our sockets ended.
    pub(super) fn closed(&mut self, now: Moment) {
        self.closed.retain(|at| now.since(*at) < SETTLE);
        if self.closed.len() == CLOSED_MAX {
            self.closed.remove(0);
        }
        self.closed.push(now);
    }

    /// A hello counts `count` sockets of the app while we hold `held`. Says the number of foreign ones where it
    /// changed.
    pub(super) fn hello(&mut self, now: Moment, count: u32, held: u32) -> Option<u32> {
        self.closed.retain(|at| now.since(*at) < SETTLE);
        let just_closed = u32::try_from(self.closed.len()).unwrap_or(u32::MAX);
        let surplus = count.saturating_sub(held.saturating_add(just_closed));
        let foreign = match self.above_since {
            _ if surplus == 0 => {
                self.above_since = None;
                0
            }
            Some(since) if now.since(since) >= SETTLE => surplus,
            Some(_) => self.foreign,
            None => {
                self.above_since = Some(now);
                self.foreign
            }
        };
        (foreign != self.foreign).then(|| {
            self.foreign = foreign;
            foreign
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Moment {
        Moment::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn two_hellos_a_minute_apart_above_our_own_count_are_ghosts() {
        let mut ghosts = Ghosts::default();
        assert_eq!(ghosts.hello(at(0), 3, 1), None, "one hello proves nothing");
        assert_eq!(ghosts.hello(at(59), 3, 1), None, "too close");
        assert_eq!(ghosts.hello(at(60), 3, 1), Some(2));
        assert_eq!(ghosts.hello(at(90), 3, 1), None, "no change");
        assert_eq!(ghosts.hello(at(100), 1, 1), Some(0));
        assert_eq!(ghosts.hello(at(200), 2, 1), None);
    }

    #[test]
    fn a_socket_just_closed_is_no_ghost() {
        let mut ghosts = Ghosts::default();
        for start in [0, 100, 200] {
            ghosts.closed(at(start));
            assert_eq!(ghosts.hello(at(start + 5), 2, 1), None);
        }
        assert_eq!(ghosts.hello(at(500), 2, 1), None);
        assert_eq!(ghosts.hello(at(560), 2, 1), Some(1));
    }
}
