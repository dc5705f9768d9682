//! What can be done with dead letters, by the worker or, with `--offline`, on the store itself.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use taut_core::log::{Append, DeadLetter, DeadLetters, Log, NewEntry, Registry};
use taut_core::order::OrderKeys;
use taut_core::{Envelope, RouteBits, RouteName, Seq, TenantId};

use super::LetterPick;

/// Dead letters read or moved in one step.
const PAGE: usize = 256;

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
    ///
    /// # Errors
    /// A sentence for the person who asked; what was moved before it stays moved.
    pub async fn replay(&self, pick: &LetterPick, configured: &[RouteName]) -> Result<u64, String> {
        let mut moved = 0;
        for letter in self.picked(pick)? {
            moved += u64::from(self.replay_one(letter, configured).await?);
        }
        Ok(moved)
    }

    async fn replay_one(&self, letter: DeadLetter, configured: &[RouteName]) -> Result<bool, String> {
        let Some(number) = self.number_of(&letter, configured)? else {
            return Err(format!(
                "dead letter {} of {}: its route `{}` is not configured any more; configure it again or drop the letter",
                letter.seq, letter.tenant, letter.route
            ));
        };
        let found =
            self.dead.get(&letter.tenant, letter.seq, &letter.route).map_err(|error| error.to_string())?;
        let Some((letter, frame)) = found else { return Ok(false) };
        match self.log.append(vec![self.entry(&letter, frame, number)]).await.first() {
            Some(Append::Stored(_) | Append::Duplicate(_)) => {}
            Some(Append::Full(reason)) => {
                return Err(format!(
                    "the queue of {} is full ({}): nothing more was replayed",
                    letter.tenant,
                    reason.name()
                ));
            }
            Some(Append::Unavailable) | None => {
                return Err("the store cannot write just now: nothing more was replayed".into());
            }
        }
        self.dead.remove(&[key_of(letter)]).map_err(|error| error.to_string())?;
        Ok(true)
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
            received_at: letter.received_at,
        }
    }

    fn number_of(&self, letter: &DeadLetter, configured: &[RouteName]) -> Result<Option<u8>, String> {
        let Some(place) = configured.iter().position(|name| *name == letter.route) else { return Ok(None) };
        Ok(self.registry.route_numbers(&letter.tenant, configured)?.current.get(place).copied())
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
