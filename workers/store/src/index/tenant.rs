//! One tenant's part of the index.

use std::collections::VecDeque;

use taut_core::log::{Overflow, QueueLimits, Wake};
use taut_core::order::OrderKeys;
use taut_core::{Kind, RouteBits, Seq, WallMs};

use crate::keys::Keys;
use crate::place::Place;

/// Limits of a tenant that is in the log but not configured.
pub(crate) const UNCONFIGURED: QueueLimits = QueueLimits {
    envelopes_max: 10_000,
    bytes_max: 64 << 20,
    overflow: Overflow::DeadLetterOldest,
    request_reserve_percent: 10,
    dedup_entries_max: 100_000,
};

/// One stored entry: 72 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub seq: Seq,
    pub received_at: WallMs,
    pub order: OrderKeys,
    /// Routes that owe its delivery.
    pub routes: RouteBits,
    /// The answering route, until it is released or done.
    pub held: RouteBits,
    /// Routes with an attempt under way; none after a recovery.
    pub under_way: RouteBits,
    pub place: Place,
    /// Size of the frame.
    pub bytes: u32,
    pub kind: Kind,
    pub request: bool,
    pub damaged: bool,
    /// On its way to the dead letters in the group under way.
    pub leaving: bool,
}

impl Slot {
    pub(crate) const fn is_live(&self) -> bool {
        !self.routes.is_empty() || !self.held.is_empty()
    }

    pub(super) const fn is_deliverable(&self) -> bool {
        !self.routes.is_empty()
    }

    /// Whether a full queue may let it go. One whose attempt is under way could end twice.
    const fn may_leave(&self) -> bool {
        self.is_deliverable() && self.held.is_empty() && self.under_way.is_empty() && !self.leaving
    }
}

/// One tenant's part of the index.
#[derive(Default)]
pub(crate) struct Tenant {
    pub limits: Option<QueueLimits>,
    /// Ascending by seq; finished ones linger until they are at the front or the majority.
    pub(super) slots: VecDeque<Slot>,
    pub(super) finished: usize,
    pub envelopes: u64,
    pub bytes: u64,
    /// What the group under way adds.
    pub planned: Planned,
    pub keys: Keys,
    pub wake: Option<Wake>,
}

/// Changes to a tenant's totals that hold once the group under way is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Planned {
    pub envelopes: u64,
    pub bytes: u64,
    pub leaving_envelopes: u64,
    pub leaving_bytes: u64,
    /// Slots before this place need not be searched again for one that may leave.
    pub searched: usize,
}

impl Tenant {
    pub(crate) fn limits(&self) -> QueueLimits {
        self.limits.unwrap_or(UNCONFIGURED)
    }

    /// Envelopes once the group under way is durable.
    pub(crate) const fn envelopes_planned(&self) -> u64 {
        self.envelopes + self.planned.envelopes - self.planned.leaving_envelopes
    }

    /// Bytes of frames once the group under way is durable.
    pub(crate) const fn bytes_planned(&self) -> u64 {
        self.bytes + self.planned.bytes - self.planned.leaving_bytes
    }

    pub(crate) fn slot(&self, seq: Seq) -> Option<&Slot> {
        let at = self.slots.binary_search_by_key(&seq, |slot| slot.seq).ok()?;
        self.slots.get(at).filter(|slot| slot.is_live())
    }

    pub(super) fn slot_mut(&mut self, seq: Seq) -> Option<&mut Slot> {
        let at = self.slots.binary_search_by_key(&seq, |slot| slot.seq).ok()?;
        self.slots.get_mut(at).filter(|slot| slot.is_live())
    }

    pub(crate) fn live_slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.is_live())
    }

    /// Takes the oldest deliverable entry out of the plan; the caller sees to its dead letters.
    pub(crate) fn plan_leaving(&mut self) -> Option<Slot> {
        for at in self.planned.searched..self.slots.len() {
            let slot = &mut self.slots[at];
            if slot.may_leave() {
                slot.leaving = true;
                self.planned.searched = at + 1;
                self.planned.leaving_envelopes += 1;
                self.planned.leaving_bytes += u64::from(slot.bytes);
                return Some(*slot);
            }
        }
        self.planned.searched = self.slots.len();
        None
    }

    /// Takes back what [`Self::plan_leaving`] planned for one entry.
    pub(crate) fn plan_staying(&mut self, seq: Seq) {
        let Some(slot) = self.slot_mut(seq).filter(|slot| slot.leaving) else { return };
        slot.leaving = false;
        let bytes = u64::from(slot.bytes);
        self.planned.leaving_envelopes -= 1;
        self.planned.leaving_bytes -= bytes;
        self.planned.searched = 0;
    }

    /// Notes an attempt's beginning or end; false if the entry is gone or leaves.
    pub(crate) fn attempt(&mut self, seq: Seq, route: RouteBits, under_way: bool) -> bool {
        let Some(slot) = self.slot_mut(seq).filter(|slot| !slot.leaving) else { return false };
        slot.under_way = if under_way { slot.under_way | route } else { slot.under_way.without(route) };
        true
    }

    /// No attempt is under way.
    pub(crate) fn no_attempts(&mut self) {
        for slot in &mut self.slots {
            slot.under_way = RouteBits::NONE;
        }
    }

    pub(super) fn tidy(&mut self) {
        while self.slots.front().is_some_and(|slot| !slot.is_live()) {
            self.slots.pop_front();
            self.finished -= 1;
        }
        if self.finished > 32 && self.finished > self.slots.len() / 2 {
            self.slots.retain(Slot::is_live);
            self.finished = 0;
        }
        if self.slots.is_empty() && self.slots.capacity() > 0 {
            self.slots = VecDeque::new();
        } else if self.slots.capacity() > 4 * self.slots.len() + 64 {
            self.slots.shrink_to_fit();
        }
    }
}

/// Bytes of the frame as stored.
pub(crate) fn frame_bytes(slot: &Slot) -> usize {
    usize::try_from(slot.bytes).expect("usize has at least 32 bits")
}
