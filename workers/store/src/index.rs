//! The index: what the log holds for each tenant, in memory.
//!
//! Invariant: it shows exactly what is durable, plus changes asked for and not yet durable (a commit is true once
//! it is asked for). Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use taut_core::log::{Backlog, Change, Entry};
use taut_core::{DedupKey, RouteBits, Seq, TenantId, WallMs};

use crate::hash::Map;
use crate::place::Place;
use crate::record::{self, KEY_BYTES, KeyItem};
use crate::storage::SegmentFile;

mod tenant;

pub(crate) use tenant::{Planned, Slot, Tenant, frame_bytes};

/// One segment, as the index knows it.
pub(crate) struct Segment {
    pub file: Arc<dyn SegmentFile>,
    /// Bytes written, header included.
    pub used: u64,
    /// Live entries in it.
    pub live: u64,
}

/// The whole index.
pub(crate) struct Index {
    pub tenants: Map<TenantId, Tenant>,
    pub segments: BTreeMap<u32, Segment>,
    /// How long keys are remembered.
    pub window: Duration,
    /// Most bytes of frames over all tenants.
    pub total_bytes_max: u64,
    /// Bytes of frames over all tenants, the group under way included.
    pub total_planned: u64,
    /// Bytes of live entries' records.
    entries_bytes: u64,
    /// Bytes that remembered keys would take as records of their own.
    keys_bytes: u64,
}

impl Index {
    pub(crate) fn new(window: Duration, total_bytes_max: u64) -> Self {
        Self {
            tenants: Map::default(),
            segments: BTreeMap::new(),
            window,
            total_bytes_max,
            total_planned: 0,
            entries_bytes: 0,
            keys_bytes: 0,
        }
    }

    /// The tenant's part, made if it is missing.
    pub(crate) fn tenant_mut(&mut self, tenant: &TenantId) -> &mut Tenant {
        // Cloning an id costs less than looking twice.
        self.tenants.entry(tenant.clone()).or_default()
    }

    /// Bytes of records that a recovery must find: live entries and remembered keys.
    pub(crate) const fn live_bytes(&self) -> u64 {
        self.entries_bytes + self.keys_bytes
    }

    /// Bytes written to all segments.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.used).sum()
    }

    /// Adds a durable entry; its seq must be above the tenant's others. Says whether it is deliverable.
    pub(crate) fn insert(&mut self, tenant: &TenantId, slot: Slot) -> bool {
        self.entries_bytes += record::entry_bytes(tenant.as_str(), frame_bytes(&slot)) as u64;
        self.total_planned += u64::from(slot.bytes);
        if let Some(segment) = self.segments.get_mut(&slot.place.segment) {
            segment.live += 1;
        }
        let part = self.tenant_mut(tenant);
        debug_assert!(part.slots.back().is_none_or(|last| last.seq < slot.seq), "seqs grow");
        part.slots.push_back(slot);
        part.envelopes += 1;
        part.bytes += u64::from(slot.bytes);
        slot.is_deliverable()
    }

    /// Applies a change; false if it changed nothing.
    pub(crate) fn apply(&mut self, tenant: &TenantId, change: Change) -> bool {
        let Some(part) = self.tenants.get_mut(tenant) else { return false };
        match change {
            Change::Release { seq } => {
                let Some(slot) = part.slot_mut(seq).filter(|slot| !slot.held.is_empty()) else {
                    return false;
                };
                slot.routes = slot.routes | slot.held;
                // Its handler is at work on it: that attempt goes on.
                slot.under_way = slot.under_way | slot.held;
                slot.held = RouteBits::NONE;
                true
            }
            Change::Commit { seq, routes, outcome: _ } => {
                let Some(slot) = part.slot_mut(seq) else { return false };
                if ((slot.routes | slot.held) & routes).is_empty() {
                    return false;
                }
                slot.routes = slot.routes.without(routes);
                slot.held = slot.held.without(routes);
                slot.under_way = slot.under_way.without(routes);
                let slot = *slot;
                if !slot.is_live() {
                    self.finish(tenant, slot);
                }
                true
            }
        }
    }

    fn finish(&mut self, tenant: &TenantId, slot: Slot) {
        let bytes = u64::from(slot.bytes);
        self.entries_bytes -= record::entry_bytes(tenant.as_str(), frame_bytes(&slot)) as u64;
        self.total_planned -= bytes;
        if let Some(segment) = self.segments.get_mut(&slot.place.segment) {
            segment.live -= 1;
        }
        let Some(part) = self.tenants.get_mut(tenant) else { return };
        part.envelopes -= 1;
        part.bytes -= bytes;
        if slot.leaving {
            part.planned.leaving_envelopes -= 1;
            part.planned.leaving_bytes -= bytes;
            // The plan had already taken these bytes out of the total.
            self.total_planned += bytes;
        }
        part.finished += 1;
        if part.planned == Planned::default() {
            part.tidy();
        }
    }

    /// Ends the plans of a group for this tenant: what it added has been inserted, or will not be.
    pub(crate) fn end_plan(&mut self, tenant: &TenantId) {
        let Some(part) = self.tenants.get_mut(tenant) else { return };
        let planned = std::mem::take(&mut part.planned);
        self.total_planned -= planned.bytes;
        if planned.leaving_envelopes > 0 {
            self.total_planned += planned.leaving_bytes;
            for slot in part.slots.iter_mut().filter(|slot| slot.is_live()) {
                slot.leaving = false;
            }
        }
        part.tidy();
    }

    /// The live entries whose records are in this segment. Looks at every entry: only for when a count says that
    /// there are some where none should be.
    pub(crate) fn live_in(&self, segment: u32) -> Vec<(TenantId, Slot)> {
        if self.segments.get(&segment).is_none_or(|segment| segment.live == 0) {
            return Vec::new();
        }
        let slots =
            self.tenants.iter().flat_map(|(tenant, part)| part.live_slots().map(move |slot| (tenant, slot)));
        let inside = slots.filter(|(_, slot)| slot.place.segment == segment);
        inside.map(|(tenant, slot)| (tenant.clone(), *slot)).collect()
    }

    /// Says that a live entry's record is somewhere else.
    pub(crate) fn moved(&mut self, tenant: &TenantId, seq: Seq, from: Place, to: Place, damaged: bool) {
        let Some(slot) = self.tenants.get_mut(tenant).and_then(|part| part.slot_mut(seq)) else { return };
        if slot.place != from {
            return;
        }
        slot.place = to;
        slot.damaged |= damaged;
        for (segment, gained) in [(from.segment, false), (to.segment, true)] {
            if let Some(segment) = self.segments.get_mut(&segment) {
                if gained { segment.live += 1 } else { segment.live -= 1 }
            }
        }
    }

    /// The entry that made this key known.
    pub(crate) fn knows(&self, tenant: &TenantId, key: DedupKey, now: WallMs) -> Option<Seq> {
        self.tenants.get(tenant)?.keys.get(key, now, self.window)
    }

    /// Remembers a durable entry's key.
    pub(crate) fn remember(&mut self, tenant: &TenantId, item: KeyItem) {
        let part = self.tenant_mut(tenant);
        let before = part.keys.len();
        let max = usize::try_from(part.limits().dedup_entries_max).unwrap_or(usize::MAX);
        part.keys.insert(item.key, item.seq, item.at, max);
        let after = part.keys.len();
        self.count_keys(tenant, before, after);
    }

    /// Remembers keys found at recovery, when the tenant's own limit is not yet known.
    pub(crate) fn remember_recovered(&mut self, tenant: &TenantId, items: &[KeyItem]) {
        let part = self.tenant_mut(tenant);
        for item in items {
            part.keys.insert(item.key, item.seq, item.at, usize::MAX);
        }
        let after = part.keys.len();
        self.count_keys(tenant, 0, after);
    }

    /// Forgets keys beyond the window, of every tenant.
    pub(crate) fn forget_old_keys(&mut self, now: WallMs) {
        let mut freed = 0;
        for (tenant, part) in &mut self.tenants {
            let before = part.keys.len();
            part.keys.expire(now, self.window);
            freed += (before - part.keys.len()) as u64 * key_cost(tenant);
        }
        self.keys_bytes -= freed;
    }

    fn count_keys(&mut self, tenant: &TenantId, before: usize, after: usize) {
        let cost = key_cost(tenant);
        self.keys_bytes = self.keys_bytes + after as u64 * cost - before as u64 * cost;
    }

    /// Up to `max` deliverable entries after `after`.
    pub(crate) fn backlog(&self, tenant: &TenantId, after: Seq, max: usize) -> Vec<Entry> {
        let Some(part) = self.tenants.get(tenant) else { return Vec::new() };
        let start = part.slots.partition_point(|slot| slot.seq <= after);
        let deliverable = part.slots.range(start..).filter(|slot| slot.is_deliverable());
        deliverable
            .take(max)
            .map(|slot| Entry {
                seq: slot.seq,
                kind: slot.kind,
                order: slot.order,
                routes: slot.routes,
                bytes: slot.bytes,
                received_at: slot.received_at,
            })
            .collect()
    }

    pub(crate) fn stats(&self, tenant: &TenantId) -> Backlog {
        let Some(part) = self.tenants.get(tenant) else { return Backlog::default() };
        let oldest = part.live_slots().next().map(|slot| slot.received_at);
        Backlog { envelopes: part.envelopes, bytes: part.bytes, oldest }
    }

    /// Route numbers that a tenant's live entries carry.
    pub(crate) fn routes_carried(&self, tenant: &TenantId) -> RouteBits {
        let Some(part) = self.tenants.get(tenant) else { return RouteBits::NONE };
        part.live_slots().fold(RouteBits::NONE, |all, slot| all | slot.routes | slot.held)
    }
}

/// What one key counts for: a record of its own, so that rewriting never writes more than was counted.
fn key_cost(tenant: &TenantId) -> u64 {
    record::items_bytes(tenant.as_str(), 1, KEY_BYTES) as u64
}

#[cfg(test)]
mod tests;
