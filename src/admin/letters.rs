//! What can be done with dead letters, by the worker or, with `--offline`, on the store itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use taut_core::log::{Append, Backlog, DeadLetter, DeadLetters, Log, NewEntry, Registry};
use taut_core::order::OrderKeys;
use taut_core::{Clock, Envelope, RouteBits, RouteName, Seq, TenantId};

use super::LetterPick;
use crate::live::Live;

/// Dead letters read in one step.
const PAGE: usize = 256;
/// Most dead letters replayed in one step …
const BATCH_MAX: usize = 64;
/// … and most bytes of their frames, but for a single longer one.
const BATCH_BYTES_MAX: u64 = 4 << 20;
/// How often a replay that waits for room looks at the backlog …
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// … and how often in a row it may have stayed as it was.
const LOOKS_MAX: u32 = 40;

/// A dead letter as `taut deadletter show` prints it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LetterView {
    /// All but the body.
    pub letter: DeadLetter,
    /// The envelope as Slack sent it; `None` where the environment hides bodies.
    pub frame: Option<String>,
}

/// The stores that dead letters live in and go back to.
#[derive(Clone)]
pub struct Letters {
    /// Where they go on replay.
    pub log: Arc<dyn Log>,
    /// Where they are.
    pub dead: Arc<dyn DeadLetters>,
    /// The numbers of routes.
    pub registry: Arc<dyn Registry>,
    /// Limits of a tenant's queue: a replay stops short of them, because beyond them something else would have to go.
    pub live: Live,
    /// Time, from which a replayed envelope's age counts.
    pub clock: Arc<dyn Clock>,
}

impl Letters {
    /// One page of dead letters.
    ///
    /// # Errors
    /// A sentence for the person who asked.
    pub fn list(
        &self,
        tenant: Option<&TenantId>,
        after: Option<(TenantId, Seq, RouteName)>,
        max: usize,
    ) -> Result<Vec<DeadLetter>, String> {
        self.dead.list(tenant, after, max).map_err(|error| error.to_string())
    }

    /// One dead letter with its envelope.
    ///
    /// # Errors
    /// A sentence for the person who asked.
    pub fn show(&self, tenant: &TenantId, seq: Seq, route: &RouteName) -> Result<Option<LetterView>, String> {
        let found = self.dead.get(tenant, seq, route).map_err(|error| error.to_string())?;
        Ok(found.map(|(letter, frame)| LetterView {
            letter,
            frame: Some(String::from_utf8_lossy(&frame).into_owned()),
        }))
    }

    /// Removes the picked dead letters for good and says how many.
    ///
    /// # Errors
    /// A sentence for the person who asked.
    pub fn discard(&self, pick: &LetterPick) -> Result<u64, String> {
        let picked = self.picked(pick)?;
        let keys: Vec<_> = picked.into_iter().map(key_of).collect();
        self.dead.remove(&keys).map_err(|error| error.to_string())
    }

    /// Puts the picked dead letters back into the log for the routes they failed at, and says how many.
    ///
    /// Each leaves the dead letters only after the log holds it durably: a crash between may deliver twice, never lose.
    /// Their age starts anew: one that died of it would die again before the handler's first answer.
    ///
    /// # Errors
    /// A sentence for the person who asked. If a route is missing nothing was moved, else what it says.
    pub async fn replay(&self, pick: &LetterPick, configured: &[RouteName]) -> Result<u64, String> {
        let picked = self.picked(pick)?;
        let Some(first) = picked.first() else { return Ok(0) };
        let numbers = self.registry.route_numbers(&first.tenant, configured)?.current;
        let number_of = |letter: &DeadLetter| {
            let place = configured.iter().position(|name| *name == letter.route)?;
            numbers.get(place).copied()
        };
        if let Some(lost) = picked.iter().find(|letter| number_of(letter).is_none()) {
            return Err(format!(
                "dead letter {} of {}: its route `{}` is not configured any more; configure it again or drop the letter",
                lost.seq, lost.tenant, lost.route
            ));
        }
        let mut moved = 0;
        let mut rest = picked.as_slice();
        while !rest.is_empty() {
            let fitting = self.room_for(rest).await;
            if fitting == 0 {
                return Err(format!(
                    "the queue of {} stays full: {moved} of {} were replayed; replay the rest once its backlog is delivered",
                    first.tenant,
                    picked.len()
                ));
            }
            let (batch, others) = rest.split_at(fitting);
            rest = others;
            moved += self
                .replay_batch(batch, number_of)
                .await
                .map_err(|error| format!("{error}; {moved} of {} were replayed before", picked.len()))?;
        }
        Ok(moved)
    }

    /// How many of these to replay now. Waits for room while the backlog shrinks; none, once it no longer does.
    async fn room_for(&self, letters: &[DeadLetter]) -> usize {
        let Some(first) = letters.first() else { return 0 };
        let (mut least, mut looks) = (u64::MAX, 0);
        while looks < LOOKS_MAX {
            let backlog = self.log.stats(&first.tenant);
            let fitting = self.fitting(letters, backlog);
            if fitting > 0 {
                return fitting;
            }
            looks = if backlog.envelopes < least { 0 } else { looks + 1 };
            least = least.min(backlog.envelopes);
            tokio::time::sleep(LOOK_EVERY).await;
        }
        0
    }

    /// How many fit beside the backlog, in the share of the limits that events may use. One that finds no backlog is
    /// the log's own to judge.
    fn fitting(&self, letters: &[DeadLetter], backlog: Backlog) -> usize {
        let limits = self.live.limits();
        let share = 100 - u64::from(limits.request_reserve_percent.min(100));
        let within = |used: u64, max: u64| used.saturating_mul(100) <= max.saturating_mul(share);
        let (mut envelopes, mut bytes, mut step_bytes) = (backlog.envelopes, backlog.bytes, 0);
        let fits = letters.iter().take(BATCH_MAX).take_while(|letter| {
            let own = u64::from(letter.bytes);
            (envelopes, bytes, step_bytes) = (envelopes + 1, bytes + own, step_bytes + own);
            envelopes == 1
                || within(envelopes, limits.envelopes_max)
                    && within(bytes, limits.bytes_max)
                    && (step_bytes <= BATCH_BYTES_MAX || step_bytes == own)
        });
        fits.count()
    }

    async fn replay_batch(
        &self,
        letters: &[DeadLetter],
        number_of: impl Fn(&DeadLetter) -> Option<u8>,
    ) -> Result<u64, String> {
        let mut keys = Vec::with_capacity(letters.len());
        let mut entries = Vec::with_capacity(letters.len());
        for letter in letters {
            let found = self
                .dead
                .get(&letter.tenant, letter.seq, &letter.route)
                .map_err(|error| error.to_string())?;
            // One that a person dropped meanwhile is gone.
            if let (Some((letter, frame)), Some(number)) = (found, number_of(letter)) {
                entries.push(self.entry(&letter, frame, number));
                keys.push(key_of(letter));
            }
        }
        let answers = self.log.append(entries).await;
        let refused = answers.iter().find(|answer| !is_durable(**answer)).copied();
        let mut durable = answers.into_iter().map(is_durable);
        keys.retain(|_| durable.next().unwrap_or(false));
        let moved = self.dead.remove(&keys).map_err(|error| error.to_string())?;
        match refused {
            None | Some(Append::Stored(_) | Append::Duplicate(_)) => Ok(moved),
            Some(Append::Full(reason)) => {
                Err(format!("the tenant's queue is full ({}) after {moved} of a batch", reason.name()))
            }
            Some(Append::Unavailable) => {
                Err(format!("the store cannot write just now, after {moved} of a batch"))
            }
        }
    }

    fn entry(&self, letter: &DeadLetter, frame: Bytes, number: u8) -> NewEntry {
        let order = Envelope::from_frame(&frame)
            .map_or_else(|_| OrderKeys::default(), |envelope| OrderKeys::of(&envelope.facts()));
        NewEntry {
            tenant: letter.tenant.clone(),
            epoch: self.log.epoch(),
            frame,
            kind: letter.kind,
            dedup: None,
            order,
            routes: RouteBits::one(number),
            answering: RouteBits::NONE,
            received_at: self.clock.wall(),
        }
    }

    fn picked(&self, pick: &LetterPick) -> Result<Vec<DeadLetter>, String> {
        let tenant =
            TenantId::new(&pick.tenant).map_err(|error| format!("tenant `{}` {error}", pick.tenant))?;
        let mut picked = Vec::new();
        let mut after = None;
        loop {
            let page = self.list(Some(&tenant), after.take(), PAGE)?;
            let Some(last) = page.last() else { return Ok(picked) };
            after = Some((last.tenant.clone(), last.seq, last.route.clone()));
            picked.extend(page.into_iter().filter(|letter| {
                pick.seq.is_none_or(|seq| letter.seq == Seq(seq))
                    && pick.route.as_deref().is_none_or(|route| letter.route.as_str() == route)
            }));
        }
    }
}

fn key_of(letter: DeadLetter) -> (TenantId, Seq, RouteName) {
    (letter.tenant, letter.seq, letter.route)
}

const fn is_durable(answer: Append) -> bool {
    matches!(answer, Append::Stored(_) | Append::Duplicate(_))
}

/// Counts dead letters that are no longer kept, by how they ended: `replay`, `drop` or `retention`.
pub fn count_ended(end: &'static str, count: u64) {
    metrics::counter!(taut_core::metric::DEAD_LETTERS_ENDED.name, "end" => end).increment(count);
}

#[cfg(test)]
mod tests {
    use taut_core::config::{Config, QueueConfig, Size};
    use taut_core::log::DeadReason;
    use taut_core::{Kind, WallMs};
    use taut_net::clock::BootClock;
    use taut_store::{DiskOptions, DiskStore};

    use super::*;

    fn letter(seq: u64, route: &RouteName) -> (DeadLetter, Bytes) {
        let frame = Bytes::from(format!(r#"{{"envelope_id":"e-{seq}","type":"events_api","payload":{{}}}}"#));
        let letter = DeadLetter {
            tenant: TenantId::new("acme").expect("a tenant id"),
            seq: Seq(seq),
            route: route.clone(),
            kind: Kind::EventsApi,
            reason: DeadReason::AgeMax,
            received_at: WallMs(1),
            died_at: WallMs(2),
            attempts: Vec::new(),
            bytes: u32::try_from(frame.len()).expect("a short frame"),
        };
        (letter, frame)
    }

    #[tokio::test]
    async fn a_replayed_envelope_starts_its_life_anew() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock: Arc<dyn Clock> = Arc::new(BootClock);
        let (store, _) =
            DiskStore::open(&DiskOptions::new(directory.path()), Arc::clone(&clock)).expect("a store");
        let (bot, gone) = (RouteName::new("bot").expect("a name"), RouteName::new("gone").expect("a name"));
        let letters: Vec<_> = (1..=600).map(|seq| letter(seq, &bot)).chain([letter(601, &gone)]).collect();
        store.put(letters).expect("there is room");
        let shared = Arc::new(store.clone());
        let config = |envelopes_max| {
            let queue = QueueConfig { envelopes_max, bytes_max: Size::mib(1), ..QueueConfig::default() };
            Config { queue, ..Config::default() }
        };
        let live = Live::new(config(500));
        let desk = Letters {
            log: shared.clone(),
            dead: shared.clone(),
            registry: shared,
            live: live.clone(),
            clock,
        };
        let pick = |route: Option<&str>| LetterPick {
            tenant: "acme".into(),
            seq: None,
            route: route.map(ToOwned::to_owned),
        };

        let configured = [bot];
        let refusal = desk.replay(&pick(None), &configured).await.expect_err("a route is missing");
        assert!(refusal.contains("gone"), "{refusal}");
        let tenant = TenantId::new("acme").expect("a tenant id");
        assert_eq!(store.backlog(&tenant, Seq(0), 1).len(), 0, "nothing was moved");

        let stopped = desk.replay(&pick(Some("bot")), &configured).await.expect_err("it stops short");
        assert!(stopped.contains("450 of 600"), "{stopped}");
        assert_eq!(DeadLetters::stats(&store, &tenant).count, 601 - 450);
        live.replace(config(1000));
        assert_eq!(desk.replay(&pick(Some("bot")), &configured).await, Ok(600 - 450));
        let backlog = store.backlog(&tenant, Seq(0), 1000);
        assert_eq!(backlog.len(), 600);
        assert!(backlog.iter().all(|entry| entry.received_at > WallMs(2)), "{:?}", backlog[0]);
        assert_eq!(DeadLetters::stats(&store, &tenant).count, 1);
    }
}
