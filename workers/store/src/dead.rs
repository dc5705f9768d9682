//! Dead letters in the database.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use redb::ReadableTable;
use taut_core::log::{DeadLetter, DeadLetterStats, DeadLetters, DeadLettersError};
use taut_core::{Clock, RouteName, Seq, TenantId, WallMs};

use crate::database::{Database, FRAMES, LETTERS, words};
use crate::meters::Meters;

/// Letters removed in one transaction: others that write wait for it.
const REMOVED_AT_ONCE: usize = 256;
/// Rows that expiry looks at before it removes the old ones among them.
const LOOKED_AT_ONCE: usize = 4096;
/// What a letter takes besides its frame, roughly and with its keys.
const DESCRIPTION_BYTES: u64 = 1024;
/// The database's file may be this much larger than three times what is in it before it is compacted.
const GARBAGE_BYTES_MAX: u64 = 64 << 20;

/// The dead letters of all tenants, bounded in bytes of their frames.
pub(crate) struct DeadLetterBox {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    meters: Arc<Meters>,
    bytes_max: u64,
    /// Above every seq that was among them at the opening.
    seq_floor: u64,
    /// Held by whoever adds, over the transaction: two callers cannot both take the last room.
    adding: Mutex<()>,
    /// Held for memory work only.
    totals: Mutex<Totals>,
}

#[derive(Default)]
struct Totals {
    tenants: HashMap<TenantId, DeadLetterStats>,
    bytes: u64,
}

impl Totals {
    fn add(&mut self, tenant: &TenantId, bytes: u64) {
        let stats = self.tenants.entry(tenant.clone()).or_default();
        stats.count += 1;
        stats.bytes += bytes;
        self.bytes += bytes;
    }

    fn take(&mut self, tenant: &TenantId, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let Some(stats) = self.tenants.get_mut(tenant) else { return };
        stats.count = stats.count.saturating_sub(1);
        stats.bytes = stats.bytes.saturating_sub(bytes);
        if stats.count == 0 {
            self.tenants.remove(tenant);
        }
    }
}

type Key = (TenantId, Seq, RouteName);

impl DeadLetterBox {
    /// Counts what is there.
    pub(crate) fn open(
        database: Arc<Database>,
        clock: Arc<dyn Clock>,
        meters: Arc<Meters>,
        bytes_max: u64,
    ) -> Result<Self, redb::Error> {
        let mut totals = Totals::default();
        let mut seq_floor = 0;
        database.read(|txn| {
            for row in txn.open_table(LETTERS)?.range::<(&str, u64, &str)>(..)? {
                let (key, value) = row?;
                seq_floor = seq_floor.max(key.value().1.saturating_add(1));
                if let Ok(tenant) = TenantId::new(key.value().0) {
                    totals.add(&tenant, u64::from(value.value().0));
                }
            }
            Ok(())
        })?;
        let (adding, totals) = (Mutex::new(()), Mutex::new(totals));
        Ok(Self { database, clock, meters, bytes_max, seq_floor, adding, totals })
    }

    /// The least seq that a log without memory may give out: a letter whose key is taken would count as kept.
    pub(crate) const fn seq_floor(&self) -> u64 {
        self.seq_floor
    }

    /// Bytes of frames that still fit.
    pub(crate) fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(self.totals.lock().bytes)
    }

    fn failed(&self, error: &redb::Error) -> DeadLettersError {
        self.meters.dead_letter_errors.increment(1);
        DeadLettersError::Failed { cause: words(error) }
    }

    /// Removes these keys, some at a time, and says how many were there.
    fn remove_all(&self, keys: &[Key]) -> Result<u64, DeadLettersError> {
        keys.chunks(REMOVED_AT_ONCE).try_fold(0, |count, some| Ok(count + self.remove_some(some)?))
    }

    fn remove_some(&self, keys: &[Key]) -> Result<u64, DeadLettersError> {
        let removed = self.database.write(|txn| {
            let (mut letters, mut frames) = (txn.open_table(LETTERS)?, txn.open_table(FRAMES)?);
            let mut removed = Vec::new();
            for key @ (tenant, seq, route) in keys {
                let row = (tenant.as_str(), seq.0, route.as_str());
                let bytes = letters.remove(row)?.map(|old| old.value().0);
                frames.remove(row)?;
                removed.extend(bytes.map(|bytes| (key, u64::from(bytes))));
            }
            Ok(removed)
        });
        let removed = removed.map_err(|error| self.failed(&error))?;
        let mut totals = self.totals.lock();
        for ((tenant, _, _), bytes) in &removed {
            totals.take(tenant, *bytes);
        }
        Ok(removed.len() as u64)
    }
}

/// Some rows, looked at for their age.
struct Page {
    old: Vec<Key>,
    /// Where to go on; `None` at the end.
    last: Option<(String, u64, String)>,
}

impl DeadLetterBox {
    fn page(&self, after: Option<&(String, u64, String)>, before: WallMs) -> Result<Page, redb::Error> {
        self.database.read(|txn| {
            let table = txn.open_table(LETTERS)?;
            let start = after.map_or(Bound::Unbounded, |(tenant, seq, route)| {
                Bound::Excluded((tenant.as_str(), *seq, route.as_str()))
            });
            let mut page = Page { old: Vec::new(), last: None };
            for row in table.range::<(&str, u64, &str)>((start, Bound::Unbounded))?.take(LOOKED_AT_ONCE) {
                let (key, value) = row?;
                let (tenant, seq, route) = key.value();
                let names = TenantId::new(tenant).ok().zip(RouteName::new(route).ok());
                if let Some((tenant, route)) = names.filter(|_| value.value().1 < before.0) {
                    page.old.push((tenant, Seq(seq), route));
                }
                page.last = Some((tenant.to_owned(), seq, route.to_owned()));
            }
            Ok(page)
        })
    }

    /// Gives the room of dead letters that are gone back to the file system, where it is much.
    pub(crate) fn give_back(&self) -> Result<(), redb::Error> {
        let live = {
            let totals = self.totals.lock();
            let count: u64 = totals.tenants.values().map(|stats| stats.count).sum();
            totals.bytes + count * DESCRIPTION_BYTES
        };
        let before = self.database.bytes();
        if before > GARBAGE_BYTES_MAX + 3 * live && self.database.compact()? {
            let after = self.database.bytes();
            tracing::info!(before, after, "gave room of former dead letters back");
        }
        Ok(())
    }
}

/// What one transaction of `put` came to.
enum Put {
    Kept(Vec<(TenantId, u64)>),
    Full,
}

impl DeadLetters for DeadLetterBox {
    fn put(&self, letters: Vec<(DeadLetter, Bytes)>) -> Result<(), DeadLettersError> {
        if letters.is_empty() {
            return Ok(());
        }
        let started = self.clock.now();
        let _adding = self.adding.lock();
        let room = self.room();
        let outcome = self.database.write(|txn| {
            let (mut described, mut frames) = (txn.open_table(LETTERS)?, txn.open_table(FRAMES)?);
            let mut fresh = Vec::with_capacity(letters.len());
            for letter in &letters {
                if described.get(row_of(&letter.0))?.is_none() {
                    fresh.push(letter);
                }
            }
            // All or none, and nothing is written before that is known: the transaction is committed either way.
            if fresh.iter().map(|(_, frame)| frame.len() as u64).sum::<u64>() > room {
                return Ok(Put::Full);
            }
            let mut kept = Vec::with_capacity(fresh.len());
            for (letter, frame) in fresh {
                let key = row_of(letter);
                let json = serde_json::to_vec(letter).expect("a dead letter is plain data");
                let bytes = u32::try_from(frame.len()).expect("frames are far below 4 GiB");
                described.insert(key, (bytes, letter.died_at.0, json.as_slice()))?;
                frames.insert(key, &**frame)?;
                kept.push((letter.tenant.clone(), frame.len() as u64));
            }
            Ok(Put::Kept(kept))
        });
        self.meters.dead_letter.record(self.clock.now().since(started).as_secs_f64());
        match outcome.map_err(|error| self.failed(&error))? {
            Put::Full => Err(DeadLettersError::Full),
            Put::Kept(kept) => {
                let mut totals = self.totals.lock();
                for (tenant, bytes) in kept {
                    totals.add(&tenant, bytes);
                }
                Ok(())
            }
        }
    }

    fn list(
        &self,
        tenant: Option<&TenantId>,
        after: Option<(TenantId, Seq, RouteName)>,
        max: usize,
    ) -> Result<Vec<DeadLetter>, DeadLettersError> {
        let listed = self.database.read(|txn| {
            let table = txn.open_table(LETTERS)?;
            let first = tenant.map_or("", TenantId::as_str);
            let start = match &after {
                Some((tenant, seq, route)) if tenant.as_str() >= first => {
                    Bound::Excluded((tenant.as_str(), seq.0, route.as_str()))
                }
                Some(_) | None => Bound::Included((first, 0, "")),
            };
            let mut listed = Vec::new();
            for row in table.range::<(&str, u64, &str)>((start, Bound::Unbounded))? {
                let (key, value) = row?;
                let beyond = tenant.is_some_and(|tenant| key.value().0 != tenant.as_str());
                if listed.len() >= max || beyond {
                    break;
                }
                listed.extend(described(value.value().2));
            }
            Ok(listed)
        });
        listed.map_err(|error| self.failed(&error))
    }

    fn get(
        &self,
        tenant: &TenantId,
        seq: Seq,
        route: &RouteName,
    ) -> Result<Option<(DeadLetter, Bytes)>, DeadLettersError> {
        let key = (tenant.as_str(), seq.0, route.as_str());
        let found = self.database.read(|txn| {
            let letter = txn.open_table(LETTERS)?.get(key)?.and_then(|value| described(value.value().2));
            let frame = txn.open_table(FRAMES)?.get(key)?.map(|value| Bytes::copy_from_slice(value.value()));
            Ok(letter.zip(frame))
        });
        found.map_err(|error| self.failed(&error))
    }

    fn remove(&self, keys: &[Key]) -> Result<u64, DeadLettersError> {
        self.remove_all(keys)
    }

    fn expire(&self, before: WallMs) -> Result<u64, DeadLettersError> {
        let (mut removed, mut after) = (0, None);
        loop {
            let page = self.page(after.as_ref(), before).map_err(|error| self.failed(&error))?;
            removed += self.remove_all(&page.old)?;
            after = page.last;
            if after.is_none() {
                break;
            }
        }
        self.give_back().map_err(|error| self.failed(&error))?;
        Ok(removed)
    }

    fn stats(&self, tenant: &TenantId) -> DeadLetterStats {
        self.totals.lock().tenants.get(tenant).copied().unwrap_or_default()
    }
}

/// The key of a dead letter's row.
fn row_of(letter: &DeadLetter) -> (&str, u64, &str) {
    (letter.tenant.as_str(), letter.seq.0, letter.route.as_str())
}

/// A dead letter from its stored description; one that a later version wrote and this cannot read is left out.
fn described(json: &[u8]) -> Option<DeadLetter> {
    serde_json::from_slice(json).ok()
}
