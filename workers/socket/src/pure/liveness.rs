//! One socket's liveness: silence is answered with a ping, and lasting silence is death.

use std::time::Duration;

use taut_core::Moment;

/// After a ping, at least this much silence before death. It matters after a suspend or a freeze of the process,
/// when the silence is our own: the socket is asked before it is condemned.
const GRACE: Duration = Duration::from_secs(5);

/// Watches the frames of one socket. Any frame counts, pings and pongs included; connection state does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Liveness {
    ping_after: Duration,
    quiet_max: Duration,
    last_frame: Moment,
    pinged: Option<Moment>,
}

/// What the silence calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing before this moment.
    Fine(Moment),
    /// A ping now; look again at this moment.
    Ping(Moment),
    /// The socket is dead: abort its TCP stream.
    Dead,
}

impl Liveness {
    /// A socket that has just been upgraded. Silence of `ping_after` calls for a ping, of `quiet_max` is death.
    pub(crate) const fn new(now: Moment, ping_after: Duration, quiet_max: Duration) -> Self {
        Self { ping_after, quiet_max, last_frame: now, pinged: None }
    }

    /// A frame was read, or reading was held back by ourselves until now.
    pub(crate) const fn frame(&mut self, now: Moment) {
        self.last_frame = now;
        self.pinged = None;
    }

    /// Judges the silence. A `Ping` is given once per silence and counts as sent.
    pub(crate) fn judge(&mut self, now: Moment) -> Verdict {
        match self.pinged {
            None if now >= self.last_frame + self.ping_after => {
                self.pinged = Some(now);
                Verdict::Ping(self.death(now))
            }
            None => Verdict::Fine(self.last_frame + self.ping_after),
            Some(pinged) if now >= self.death(pinged) => Verdict::Dead,
            Some(pinged) => Verdict::Fine(self.death(pinged)),
        }
    }

    /// A ping goes out now, whatever the silence: the host slept, or the process stood still.
    pub(crate) fn ask(&mut self, now: Moment) {
        self.pinged = Some(now);
    }

    fn death(&self, pinged: Moment) -> Moment {
        let grace = GRACE.min(self.quiet_max.saturating_sub(self.ping_after));
        (self.last_frame + self.quiet_max).max(pinged + grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Moment {
        Moment::from_nanos(secs * 1_000_000_000)
    }

    fn fresh() -> Liveness {
        Liveness::new(at(100), Duration::from_secs(15), Duration::from_secs(30))
    }

    #[test]
    fn silence_is_pinged_once_and_then_is_death() {
        let mut liveness = fresh();
        assert_eq!(liveness.judge(at(114)), Verdict::Fine(at(115)));
        assert_eq!(liveness.judge(at(115)), Verdict::Ping(at(130)));
        assert_eq!(liveness.judge(at(120)), Verdict::Fine(at(130)));
        assert_eq!(liveness.judge(at(130)), Verdict::Dead);
    }

    #[test]
    fn any_frame_is_life() {
        let mut liveness = fresh();
        assert_eq!(liveness.judge(at(115)), Verdict::Ping(at(130)));
        liveness.frame(at(129));
        assert_eq!(liveness.judge(at(130)), Verdict::Fine(at(144)));
        assert_eq!(liveness.judge(at(144)), Verdict::Ping(at(159)));
    }

    #[test]
    fn a_socket_that_is_asked_early_has_its_whole_silence() {
        let mut liveness = fresh();
        liveness.ask(at(103));
        assert_eq!(liveness.judge(at(104)), Verdict::Fine(at(130)));
        assert_eq!(liveness.judge(at(130)), Verdict::Dead);
        let mut slept = fresh();
        slept.ask(at(1000));
        assert_eq!(slept.judge(at(1000)), Verdict::Fine(at(1005)));
        assert_eq!(slept.judge(at(1005)), Verdict::Dead);
    }

    #[test]
    fn after_a_suspend_the_socket_is_asked_before_it_is_dead() {
        let mut liveness = fresh();
        assert_eq!(liveness.judge(at(1000)), Verdict::Ping(at(1005)));
        assert_eq!(liveness.judge(at(1004)), Verdict::Fine(at(1005)));
        assert_eq!(liveness.judge(at(1005)), Verdict::Dead);
    }
}
