//! Builds the index from records, and tells torn ranges from damage.

use std::collections::BTreeMap;

use taut_core::log::{Change, Outcome};
use taut_core::{RouteBits, Seq, TenantId};

use super::survey::{Survey, Surveyed};
use super::{DamagedRange, Recovered, RecoveryReport, Situation};
use crate::hash::Map;
use crate::index::{Index, Segment, Slot};
use crate::place::Place;
use crate::record::{self, ChangeItem, EntryHead, HEAD_BYTES, Head, KeyItem, What};
use crate::scan::{Found, Scanner};
use crate::segment::{self, HEADER_BYTES, Header};
use crate::storage::{SegmentFile, Storage};

/// Most bytes of one damaged range that are set aside.
const SET_ASIDE_BYTES_MAX: usize = 16 << 20;

/// A range that is no whole record.
struct BadRange {
    range: DamagedRange,
    bytes: Vec<u8>,
    /// The slot that stands for its entry.
    provisional: bool,
}

#[derive(Default)]
struct Part {
    slots: BTreeMap<Seq, Slot>,
    keys: Vec<KeyItem>,
}

/// Gathers what the segments say, in the order they were written.
pub(super) struct Builder {
    situation: Situation,
    tenants: Map<TenantId, Part>,
    /// Everything before this is known to have been durable.
    synced_to: Place,
    next_seq: u64,
    bad: Vec<BadRange>,
    report: RecoveryReport,
}

impl Builder {
    pub(super) fn new(situation: Situation, survey: &Survey) -> Self {
        Self {
            situation,
            tenants: Map::default(),
            synced_to: survey.headers().filter_map(|header| header.previous_end).max().unwrap_or_default(),
            next_seq: survey.headers().map(|header| header.next_seq).max().unwrap_or(1).max(1),
            bad: Vec::new(),
            report: RecoveryReport::default(),
        }
    }

    /// Everything before this is proven to have been durable.
    pub(super) const fn synced_to(&self) -> Place {
        self.synced_to
    }

    /// Segments go oldest first, so one that is named as a predecessor and missing in the middle is damage.
    pub(super) fn missing_segments(&mut self, survey: &Survey) {
        let lowest = survey.segments.keys().next().copied().unwrap_or(0);
        for end in survey.headers().filter_map(|header| header.previous_end) {
            if end.segment > lowest && !survey.segments.contains_key(&end.segment) {
                let to = u64::from(end.offset);
                self.note_bad(end.segment, 0, to, Vec::new());
            }
        }
    }

    /// Reads one segment and returns how many bytes of it are in use.
    pub(super) fn read_segment(&mut self, storage: &dyn Storage, number: u32, surveyed: &Surveyed) -> u64 {
        let seed = segment::seed(self.situation.store, number);
        let end = surveyed.end.unwrap_or(surveyed.size).min(surveyed.size);
        let mut scanner = Scanner::new(&*surveyed.file, seed, 0, end);
        let mut any = false;
        let used = loop {
            match scanner.next() {
                Found::Record { offset, head, whole } => {
                    any = true;
                    self.record(&mut scanner, Place::new(number, offset), &head, whole);
                }
                Found::Bad { from, to } => {
                    any = true;
                    let bytes = scanner.raw(from, to, SET_ASIDE_BYTES_MAX).to_vec();
                    self.note_bad(number, from, to, bytes);
                }
                Found::End { from } => break from,
            }
        };
        if let Some(declared) = surveyed.end.filter(|declared| *declared > used) {
            let bytes = scanner.raw(used, declared, SET_ASIDE_BYTES_MAX).to_vec();
            self.note_bad(number, used, declared, bytes);
            return declared.min(surveyed.size);
        }
        if surveyed.header.is_none() && any {
            self.note_bad(number, 0, HEADER_BYTES as u64, Vec::new());
        }
        if surveyed.size > used
            && surveyed.size - used > surveyed.size / 8
            && let Err(error) = storage.shorten(number, used)
        {
            tracing::warn!(%error, segment = number, "could not give back the unused end of a segment");
        }
        used
    }

    fn record(&mut self, scanner: &mut Scanner<'_>, place: Place, head: &Head, whole: bool) {
        self.synced_to = self.synced_to.max(head.synced_to);
        if !whole {
            self.half_record(scanner, place, head);
            return;
        }
        let Some(tenant) = &head.tenant else { return };
        match head.what {
            What::Entry(entry) => self.entry(tenant, place, head, &entry),
            What::Changes => {
                let body = scanner.body(u64::from(place.offset), head);
                for change in record::changes_in(body) {
                    self.change(tenant, change.0);
                }
            }
            What::Keys => {
                let items: Vec<_> = record::keys_in(scanner.body(u64::from(place.offset), head)).collect();
                for item in items {
                    self.saw(item.seq);
                    self.part(tenant).keys.push(item);
                }
            }
            What::Mark => {}
        }
    }

    fn entry(&mut self, tenant: &TenantId, place: Place, head: &Head, entry: &EntryHead) {
        self.saw(entry.seq);
        let slot = slot_of(entry, head, place);
        let part = self.part(tenant);
        part.slots.insert(entry.seq, slot);
        if let Some(key) = entry.dedup {
            part.keys.push(KeyItem { key, seq: entry.seq, at: entry.received_at });
        }
    }

    /// A record whose head is good and whose body is not: if it proves to be damage and nothing else stands for the
    /// entry, the entry stays, for delivery to find it unreadable.
    fn half_record(&mut self, scanner: &mut Scanner<'_>, place: Place, head: &Head) {
        let from = u64::from(place.offset);
        let to = from + head.record_bytes() as u64;
        let bytes = scanner.raw(from, to, SET_ASIDE_BYTES_MAX).to_vec();
        self.note_bad(place.segment, from, to, bytes);
        let bad = self.bad.last_mut().expect("noted above");
        bad.range.tenant.clone_from(&head.tenant);
        if let (What::Entry(entry), Some(tenant)) = (head.what, &head.tenant) {
            bad.range.seq = Some(entry.seq);
            bad.provisional =
                !self.tenants.get(tenant).is_some_and(|part| part.slots.contains_key(&entry.seq));
            if bad.provisional {
                self.entry(tenant, place, head, &entry);
            }
        }
    }

    fn change(&mut self, tenant: &TenantId, change: Change) {
        let seq = match change {
            Change::Commit { seq, .. } | Change::Release { seq } => seq,
        };
        self.saw(seq);
        let part = self.part(tenant);
        let Some(slot) = part.slots.get_mut(&seq) else { return };
        match change {
            Change::Release { .. } => {
                slot.routes = slot.routes | slot.held;
                slot.held = RouteBits::NONE;
            }
            Change::Commit { routes, .. } => {
                slot.routes = slot.routes.without(routes);
                slot.held = slot.held.without(routes);
                if !slot.is_live() {
                    part.slots.remove(&seq);
                }
            }
        }
    }

    fn note_bad(&mut self, segment: u32, from: u64, to: u64, bytes: Vec<u8>) {
        let range = DamagedRange { segment, from, to, tenant: None, seq: None };
        self.bad.push(BadRange { range, bytes, provisional: false });
    }

    /// Tells torn ranges from damage, once all evidence is in.
    pub(super) fn settle_bad_ranges(&mut self, storage: &dyn Storage, kept: &BTreeMap<u32, Segment>) {
        for bad in std::mem::take(&mut self.bad) {
            let range = bad.range;
            if Place::new(range.segment, range.from) < self.synced_to {
                let name = format!("{:010}-{:010}.bin", range.segment, range.from);
                if !bad.bytes.is_empty()
                    && let Err(error) = storage.set_aside(&name, &bad.bytes)
                {
                    tracing::error!(%error, name, "could not set damaged bytes aside");
                }
                self.report.damaged.push(range);
                continue;
            }
            self.report.torn_bytes += range.to - range.from;
            if let (true, Some(tenant), Some(seq)) = (bad.provisional, &range.tenant, range.seq) {
                let torn = Place::new(range.segment, range.from);
                let part = self.part(tenant);
                // A whole copy may have been written after the torn one.
                if part.slots.get(&seq).is_some_and(|slot| slot.place == torn) {
                    part.slots.remove(&seq);
                    part.keys.retain(|item| item.seq != seq);
                }
            }
            if let Some(segment) = kept.get(&range.segment) {
                self.fill(&range, &*segment.file);
            }
        }
    }

    /// Puts a mark over a torn range, or a header where one was torn: what follows it will be proof that the log was durable here.
    fn fill(&self, range: &DamagedRange, file: &dyn SegmentFile) {
        let store = self.situation.store;
        let number = range.segment;
        let bytes = usize::try_from(range.to - range.from).unwrap_or(0);
        let mut filler = Vec::with_capacity(bytes);
        if range.from == 0 {
            let next_seq = self.next_seq;
            let header = Header { number, store, epoch: 0, next_seq, previous_end: None, oldest: 0 };
            filler.extend_from_slice(&header.encode());
        } else if bytes >= HEAD_BYTES {
            let seal = record::Seal { seed: segment::seed(store, number), synced_to: Place::default() };
            record::put_filler(&mut filler, seal, bytes);
        }
        if let Err(error) = file.write_at(&filler, range.from).and_then(|()| file.sync()) {
            tracing::warn!(%error, segment = number, "could not fill a torn range");
        }
    }

    pub(super) fn finish(
        mut self,
        kept: BTreeMap<u32, Segment>,
        last_number: u32,
        end: Option<Place>,
    ) -> Recovered {
        let Situation { now, window, total_bytes_max, .. } = self.situation;
        let mut index = Index::new(window, total_bytes_max);
        index.segments = kept;
        let mut expired = Vec::new();
        for (tenant, mut part) in self.tenants.drain() {
            part.keys.sort_by_key(|item| item.at);
            part.keys.retain(|item| now.since(item.at) < window);
            index.remember_recovered(&tenant, &part.keys);
            for slot in part.slots.into_values() {
                index.insert(&tenant, slot);
                if !slot.held.is_empty() {
                    let outcome = Outcome::Expired;
                    let change = Change::Commit { seq: slot.seq, routes: slot.held, outcome };
                    expired.push((tenant.clone(), ChangeItem(change)));
                }
            }
        }
        for (tenant, change) in &expired {
            index.apply(tenant, change.0);
        }
        self.report.expired_requests = expired.len() as u64;
        self.report.entries = index.tenants.values().map(|part| part.envelopes).sum();
        self.report.keys = index.tenants.values().map(|part| part.keys.len() as u64).sum();
        Recovered {
            index,
            next_seq: self.next_seq,
            last_number,
            spent: Vec::new(),
            end,
            expired,
            report: self.report,
        }
    }

    fn saw(&mut self, seq: Seq) {
        self.next_seq = self.next_seq.max(seq.0.saturating_add(1));
    }

    fn part(&mut self, tenant: &TenantId) -> &mut Part {
        if !self.tenants.contains_key(tenant) {
            self.tenants.insert(tenant.clone(), Part::default());
        }
        self.tenants.get_mut(tenant).expect("made above")
    }
}

fn slot_of(entry: &EntryHead, head: &Head, place: Place) -> Slot {
    Slot {
        seq: entry.seq,
        received_at: entry.received_at,
        order: entry.order,
        routes: entry.routes,
        held: entry.held,
        under_way: RouteBits::NONE,
        place,
        bytes: u32::try_from(head.body_bytes).expect("read from 32 bits"),
        kind: entry.kind,
        request: entry.request,
        damaged: entry.damaged,
        leaving: false,
    }
}
