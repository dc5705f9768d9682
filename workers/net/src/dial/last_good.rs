//! The last good answer for each name, for when the resolver fails for a moment.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use taut_core::Moment;

/// How long an answer stands in for one that does not come.
const AGE_MAX: Duration = Duration::from_mins(1);

/// Most names remembered; beyond, the oldest answer goes.
const NAMES_MAX: usize = 1_024;

/// Answers by name. A fresh answer always wins: this is asked only where there is none.
#[derive(Debug, Default)]
pub(super) struct LastGood {
    answers: HashMap<String, (Moment, Vec<IpAddr>)>,
}

impl LastGood {
    /// Remembers an answer.
    pub(super) fn note(&mut self, now: Moment, name: &str, addresses: &[IpAddr]) {
        if self.answers.len() >= NAMES_MAX && !self.answers.contains_key(name) {
            self.make_room(now);
        }
        self.answers.insert(name.to_owned(), (now, addresses.to_vec()));
    }

    /// The last answer for this name, if it is young enough.
    pub(super) fn get(&self, now: Moment, name: &str) -> Option<Vec<IpAddr>> {
        let (at, addresses) = self.answers.get(name)?;
        (now.since(*at) <= AGE_MAX).then(|| addresses.clone())
    }

    fn make_room(&mut self, now: Moment) {
        self.answers.retain(|_, (at, _)| now.since(*at) <= AGE_MAX);
        if self.answers.len() < NAMES_MAX {
            return;
        }
        let oldest = self.answers.iter().min_by_key(|(_, (at, _))| *at).map(|(name, _)| name.clone());
        if let Some(name) = oldest {
            self.answers.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn second(seconds: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn answer_stands_in_for_a_minute_and_the_newest_counts() {
        let mut known = LastGood::default();
        known.note(second(0), "slack.com", &[ONE]);
        known.note(second(10), "slack.com", &[TWO]);
        assert_eq!(known.get(second(70), "slack.com"), Some(vec![TWO]));
        assert_eq!(known.get(second(71), "slack.com"), None);
        assert_eq!(known.get(second(11), "other.com"), None);
    }

    #[test]
    fn names_are_bounded_and_the_oldest_goes_first() {
        let mut known = LastGood::default();
        for number in 0..NAMES_MAX {
            known.note(second(number as u64 / 100), &format!("{number}.corp"), &[ONE]);
        }
        known.note(second(10), "0.corp", &[ONE]);
        known.note(second(10), "new.corp", &[TWO]);
        assert_eq!(known.answers.len(), NAMES_MAX);
        assert_eq!(known.get(second(10), "new.corp"), Some(vec![TWO]));
        assert_eq!(known.get(second(10), "0.corp"), Some(vec![ONE]));

        known.note(second(100), "later.corp", &[ONE]);
        assert_eq!(known.answers.len(), 1, "what is too old to be used goes when room is needed");
    }
}
