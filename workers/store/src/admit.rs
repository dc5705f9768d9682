//! Which waiting entries go into the next group, and what must leave for them. Pure.

use taut_core::log::{Append, FullReason, NewEntry, Overflow};
use taut_core::{DedupKey, Seq, TenantId, WallMs};

use crate::hash::{Map, Set};
use crate::index::{Index, Slot, Tenant};
use crate::place::Place;
use crate::writer::{GROUP_BYTES_MAX, GROUP_ENTRIES_MAX};

/// Where an answer goes: the job of the group and the entry's place in its batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AnswerAt {
    pub job: usize,
    pub entry: usize,
}

/// An entry of the group.
pub(crate) struct Item {
    pub entry: NewEntry,
    pub seq: Seq,
    /// Nobody wants it: only its key is stored.
    pub key_only: bool,
    /// Where it was written.
    pub place: Place,
    pub answer: AnswerAt,
}

/// An entry that leaves for the dead letters to make room.
#[derive(Debug, Clone)]
pub(crate) struct Leaving {
    pub tenant: TenantId,
    pub slot: Slot,
}

/// What the next group will hold.
#[derive(Default)]
pub(crate) struct Plan {
    pub items: Vec<Item>,
    /// Copies of an item's envelope: they share its fate.
    pub joins: Vec<(usize, AnswerAt)>,
    pub leaving: Vec<Leaving>,
    /// Whether entries leave to make room; otherwise it is only said that they could.
    makes_room: bool,
    /// Every tenant with plans in the index.
    pub tenants: Set<TenantId>,
    pub frame_bytes: usize,
    pending: Map<(TenantId, DedupKey), usize>,
    yielding: Option<Yielding>,
}

/// Who makes room at the total limit: looked for once, and again when they have yielded enough.
struct Yielding {
    fair_bytes: u64,
    largest: Option<TenantId>,
}

/// What became of an entry offered to the plan.
pub(crate) enum Offer {
    /// Its answer is known at once.
    Answer(Append),
    /// It is in the group: its answer comes with the group.
    Planned,
    /// It must wait for the group under way to make room.
    Later(NewEntry),
    /// There is room once others have left for the dead letters.
    NeedsRoom(NewEntry),
}

/// What a plan needs to know besides the index.
pub(crate) struct Situation {
    pub now: WallMs,
    /// Bytes that the dead letters can still take.
    pub dead_letter_room: u64,
}

enum NoRoom {
    Full(FullReason),
    Later,
    Makeable,
}

impl Plan {
    /// A plan in which entries leave to make room: for finding out which.
    pub(crate) fn making_room() -> Self {
        Self { makes_room: true, ..Self::default() }
    }

    /// Whether the group has as much as a group may have.
    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= GROUP_ENTRIES_MAX || self.frame_bytes >= GROUP_BYTES_MAX
    }

    /// A plan with memory for so many entries.
    pub(crate) fn with_room(entries: usize) -> Self {
        let mut plan = Self::default();
        plan.items.reserve(entries);
        plan.pending.reserve(entries);
        plan
    }

    /// Offers one entry; takes a seq from `next_seq` if it goes into the group.
    pub(crate) fn offer(
        &mut self,
        index: &mut Index,
        situation: &mut Situation,
        next_seq: &mut u64,
        entry: NewEntry,
        answer: AnswerAt,
    ) -> Offer {
        if let Some(key) = entry.dedup {
            if let Some(seq) = index.knows(&entry.tenant, key, situation.now) {
                return Offer::Answer(Append::Duplicate(seq));
            }
            if let Some(item) = self.pending.get(&(entry.tenant.clone(), key)) {
                self.joins.push((*item, answer));
                return Offer::Planned;
            }
        }
        let key_only = entry.routes.is_empty() && entry.answering.is_empty();
        if !key_only {
            match self.make_room(index, situation, &entry) {
                Ok(()) => {}
                Err(NoRoom::Full(reason)) => return Offer::Answer(Append::Full(reason)),
                Err(NoRoom::Later) => return Offer::Later(entry),
                Err(NoRoom::Makeable) => return Offer::NeedsRoom(entry),
            }
        }
        self.add(index, next_seq, entry, key_only, answer);
        Offer::Planned
    }

    fn add(
        &mut self,
        index: &mut Index,
        next_seq: &mut u64,
        entry: NewEntry,
        key_only: bool,
        answer: AnswerAt,
    ) {
        if !key_only {
            let bytes = entry.frame.len() as u64;
            index.total_planned += bytes;
            let planned = &mut index.tenant_mut(&entry.tenant).planned;
            planned.envelopes += 1;
            planned.bytes += bytes;
            if !self.tenants.contains(&entry.tenant) {
                self.tenants.insert(entry.tenant.clone());
            }
        }
        if let Some(key) = entry.dedup {
            self.pending.insert((entry.tenant.clone(), key), self.items.len());
        }
        let seq = Seq(*next_seq);
        *next_seq += 1;
        self.frame_bytes += entry.frame.len();
        self.items.push(Item { entry, seq, key_only, place: Place::default(), answer });
    }

    /// Sees to it that the entry fits into every limit, by letting the oldest go where the policy says so.
    fn make_room(
        &mut self,
        index: &mut Index,
        situation: &mut Situation,
        entry: &NewEntry,
    ) -> Result<(), NoRoom> {
        let before = self.leaving.len();
        let outcome = loop {
            let Some(limit) = limit_passed(index, entry) else { break Ok(()) };
            if let Err(no_room) = self.let_one_go(index, situation, entry, limit) {
                break Err(no_room);
            }
        };
        let makeable = outcome.is_ok() && self.leaving.len() > before && !self.makes_room;
        let outcome = if makeable { Err(NoRoom::Makeable) } else { outcome };
        match &outcome {
            Ok(()) => {}
            Err(_) => {
                for leaving in self.leaving.drain(before..) {
                    situation.dead_letter_room += dead_letter_bytes(&leaving.slot);
                    index.total_planned += u64::from(leaving.slot.bytes);
                    index.tenant_mut(&leaving.tenant).plan_staying(leaving.slot.seq);
                }
            }
        }
        outcome
    }

    fn let_one_go(
        &mut self,
        index: &mut Index,
        situation: &mut Situation,
        entry: &NewEntry,
        limit: FullReason,
    ) -> Result<(), NoRoom> {
        if can_never_fit(index, entry, limit) {
            return Err(NoRoom::Full(limit));
        }
        let victim = match limit {
            FullReason::Total => self.who_yields(index, entry),
            FullReason::Envelopes | FullReason::Bytes | FullReason::DeadLetters => entry.tenant.clone(),
        };
        let part = index.tenant_mut(&victim);
        match part.limits().overflow {
            Overflow::Refuse => return Err(NoRoom::Full(limit)),
            Overflow::DeadLetterOldest => {}
        }
        self.tenants.insert(victim.clone());
        let Some(slot) = part.plan_leaving() else {
            // Entries of this very group may be let go once they are stored.
            let wait = part.planned.envelopes > 0;
            return Err(if wait { NoRoom::Later } else { NoRoom::Full(limit) });
        };
        let Some(room) = situation.dead_letter_room.checked_sub(dead_letter_bytes(&slot)) else {
            part.plan_staying(slot.seq);
            return Err(NoRoom::Full(FullReason::DeadLetters));
        };
        index.total_planned -= u64::from(slot.bytes);
        self.leaving.push(Leaving { tenant: victim, slot });
        situation.dead_letter_room = room;
        Ok(())
    }

    /// At the total limit a tenant above its fair share yields first: this one if it is, else the largest.
    fn who_yields(&mut self, index: &Index, entry: &NewEntry) -> TenantId {
        let yielding = self.yielding.get_or_insert_with(|| {
            let with_backlog = index.tenants.values().filter(|part| part.bytes_planned() > 0).count() as u64;
            let fair_bytes = index.total_bytes_max / with_backlog.max(1);
            Yielding { fair_bytes, largest: largest_above(index, fair_bytes) }
        });
        let planned = |tenant: &TenantId| index.tenants.get(tenant).map_or(0, Tenant::bytes_planned);
        if planned(&entry.tenant) + entry.frame.len() as u64 > yielding.fair_bytes {
            return entry.tenant.clone();
        }
        if yielding.largest.as_ref().is_some_and(|tenant| planned(tenant) <= yielding.fair_bytes) {
            yielding.largest = largest_above(index, yielding.fair_bytes);
        }
        yielding.largest.clone().unwrap_or_else(|| entry.tenant.clone())
    }
}

/// Bytes that an entry takes as dead letters: one copy for each route that still owes it.
pub(crate) fn dead_letter_bytes(slot: &Slot) -> u64 {
    u64::from(slot.bytes) * u64::from(slot.routes.0.count_ones())
}

/// What the tenant's limits leave for this entry: a share of them is for requests alone.
fn limits_for(part: &Tenant, entry: &NewEntry) -> (u64, u64) {
    let limits = part.limits();
    let share =
        if entry.answering.is_empty() { u64::from(limits.request_reserve_percent.min(100)) } else { 0 };
    let without_reserve = |max: u64| max - max / 100 * share - max % 100 * share / 100;
    (without_reserve(limits.envelopes_max), without_reserve(limits.bytes_max))
}

fn limit_passed(index: &mut Index, entry: &NewEntry) -> Option<FullReason> {
    let bytes = entry.frame.len() as u64;
    let (total, total_max) = (index.total_planned + bytes, index.total_bytes_max);
    let part = index.tenant_mut(&entry.tenant);
    let (envelopes_max, bytes_max) = limits_for(part, entry);
    if part.envelopes_planned() + 1 > envelopes_max {
        Some(FullReason::Envelopes)
    } else if part.bytes_planned() + bytes > bytes_max {
        Some(FullReason::Bytes)
    } else if total > total_max {
        Some(FullReason::Total)
    } else {
        None
    }
}

fn can_never_fit(index: &mut Index, entry: &NewEntry, limit: FullReason) -> bool {
    let bytes = entry.frame.len() as u64;
    let (envelopes_max, bytes_max) = limits_for(index.tenant_mut(&entry.tenant), entry);
    match limit {
        FullReason::Envelopes => envelopes_max == 0,
        FullReason::Bytes => bytes > bytes_max,
        FullReason::Total => bytes > index.total_bytes_max,
        FullReason::DeadLetters => false,
    }
}

/// The tenant with the most bytes among those above the fair share whose policy lets entries go.
fn largest_above(index: &Index, fair_bytes: u64) -> Option<TenantId> {
    let may_yield = |part: &Tenant| {
        part.limits().overflow == Overflow::DeadLetterOldest && part.bytes_planned() > fair_bytes
    };
    let above = index.tenants.iter().filter(|(_, part)| may_yield(part));
    above.max_by_key(|(_, part)| part.bytes_planned()).map(|(tenant, _)| tenant.clone())
}
