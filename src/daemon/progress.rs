//! Whether the process makes progress: plain values in, a verdict out.
//!
//! Every part that matters gives signs. A sign that stays the same while its part has something to do is no progress;
//! how long that has gone on is counted in the watcher's own looks, so that a machine that slept, or a process that was
//! stopped and goes on, is not taken for one that hangs.

use std::time::Duration;

/// What a part shows at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It waits for work, or has ended in good order: nothing to show.
    Resting,
    /// Two numbers of which at least one changes with every step of its work.
    At(u64, u64),
}

/// What the service manager is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every part makes progress: feed the watchdog.
    Feed,
    /// The part with this number has shown nothing for half of the watchdog's span: let it grow hungry.
    Hold(usize),
    /// It has shown nothing for the whole span: end the process.
    Trigger(usize),
}

/// The parts' last signs and for how long each has stayed the same.
#[derive(Debug)]
pub(super) struct Progress {
    span: Duration,
    parts: Vec<(Sign, Duration)>,
}

impl Progress {
    /// Parts that may show nothing for `span`.
    pub(super) const fn new(span: Duration) -> Self {
        Self { span, parts: Vec::new() }
    }

    /// How often to look: eight times in a span.
    pub(super) fn every(&self) -> Duration {
        self.span / 8
    }

    /// Takes what every part shows, `since` after the last look, and judges.
    pub(super) fn look(&mut self, signs: &[Sign], since: Duration) -> Verdict {
        // A look that came late says that we were stopped, not that they were.
        let step = since.min(self.every() * 2);
        self.parts.resize(signs.len(), (Sign::Resting, Duration::ZERO));
        for ((last, still), sign) in self.parts.iter_mut().zip(signs) {
            let same = *last == *sign && *sign != Sign::Resting;
            *still = if same { *still + step } else { Duration::ZERO };
            *last = *sign;
        }
        let longest = self.parts.iter().enumerate().max_by_key(|(_, (_, still))| *still);
        match longest {
            Some((part, (_, still))) if *still >= self.span => Verdict::Trigger(part),
            Some((part, (_, still))) if *still >= self.span / 2 => Verdict::Hold(part),
            Some(_) | None => Verdict::Feed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(16);
    const LOOK: Duration = Duration::from_secs(2);

    #[test]
    fn a_part_that_stands_still_is_held_and_then_ends_the_process() {
        let mut progress = Progress::new(SPAN);
        let verdicts: Vec<_> =
            (0..9).map(|n| progress.look(&[Sign::At(n, 0), Sign::At(7, 7), Sign::Resting], LOOK)).collect();
        assert_eq!(verdicts[..4], [Verdict::Feed; 4]);
        assert_eq!(verdicts[4..8], [Verdict::Hold(1); 4]);
        assert_eq!(verdicts[8], Verdict::Trigger(1));
        assert_eq!(progress.look(&[Sign::At(9, 0), Sign::At(7, 8), Sign::Resting], LOOK), Verdict::Feed);
    }

    #[test]
    fn resting_is_no_standstill() {
        let mut progress = Progress::new(SPAN);
        for _ in 0..100 {
            assert_eq!(progress.look(&[Sign::Resting], LOOK), Verdict::Feed);
        }
        assert_eq!(progress.look(&[Sign::At(1, 1)], LOOK), Verdict::Feed);
    }

    #[test]
    fn a_process_that_was_stopped_does_not_kill_itself_when_it_goes_on() {
        let mut progress = Progress::new(SPAN);
        assert_eq!(progress.look(&[Sign::At(1, 1)], LOOK), Verdict::Feed);
        assert_eq!(progress.look(&[Sign::At(1, 1)], Duration::from_hours(8)), Verdict::Feed);
        assert_eq!(progress.look(&[Sign::At(2, 1)], LOOK), Verdict::Feed);
    }
}
