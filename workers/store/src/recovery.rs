//! Recovery: from the segments on disk to the index.
//!
//! Every valid record counts, wherever it lies. What is not a valid record is either torn (part of the last group,
//! which nobody was promised) or damage: later records say how far the log was durable when they were written, so a
//! bad range before that place was good once. Torn ranges are filled or cut, so that they never pass for damage;
//! damage is set aside and reported, and the rest starts.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use taut_core::log::{Change, Outcome};
use taut_core::{Seq, TenantId, WallMs};

use crate::index::{Index, Segment, Slot};
use crate::place::Place;
use crate::record::{self, ChangeItem, EntryHead, HEAD_BYTES, Head, KeyItem, What};
use crate::scan::{Found, Scanner};
use crate::segment::{self, HEADER_BYTES, Header, HeaderFound};
use crate::storage::{SegmentFile, Storage};

/// Most bytes of one damaged range that are set aside.
const SET_ASIDE_BYTES_MAX: usize = 16 << 20;

/// What opening the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RecoveryReport {
    /// Live entries.
    pub entries: u64,
    /// Dedup keys inside their window.
    pub keys: u64,
    /// Requests that were open when the process ended: closed as expired.
    pub expired_requests: u64,
    /// Bytes of the last, never promised group that were not whole.
    pub torn_bytes: u64,
    /// Ranges that were durable once and are not whole.
    pub damaged: Vec<DamagedRange>,
}

/// A part of the log that was durable once and is not whole. Its bytes are kept below `damaged/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedRange {
    /// The segment.
    pub segment: u32,
    /// First byte.
    pub from: u64,
    /// Byte after the last.
    pub to: u64,
    /// Whose it is, where that can still be read.
    pub tenant: Option<TenantId>,
    /// Which entry it is, where that can still be read. Delivery makes it a dead letter.
    pub seq: Option<Seq>,
}

/// Why the segments could not be recovered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryError {
    #[error("could not read segment {segment}")]
    Read {
        segment: u32,
        #[source]
        source: io::Error,
    },
    #[error("segment {segment} has format {found}; this version reads format {}", segment::VERSION)]
    Version { segment: u32, found: u32 },
    #[error("segment {segment} belongs to another store")]
    Foreign { segment: u32 },
}

/// What recovery needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    pub store: u128,
    pub now: WallMs,
    pub window: Duration,
    pub total_bytes_max: u64,
}

/// What recovery found.
pub(crate) struct Recovered {
    pub index: Index,
    pub next_seq: u64,
    /// Highest number of a segment that was ever there.
    pub last_number: u32,
    /// Where the log ends; nothing beyond counts.
    pub end: Option<Place>,
    /// What has been applied to the index and must still be logged.
    pub expired: Vec<(TenantId, ChangeItem)>,
    pub report: RecoveryReport,
}

/// Headers of all segments, read before anything else.
pub(crate) struct Survey {
    segments: BTreeMap<u32, Surveyed>,
    last_number: u32,
    oldest: u32,
}

struct Surveyed {
    file: Arc<dyn SegmentFile>,
    size: u64,
    header: Option<Header>,
    /// Where the segment ends, if its successor says so.
    end: Option<u64>,
}

impl Survey {
    pub(crate) fn new(storage: &dyn Storage) -> Result<Self, RecoveryError> {
        let read = |segment| move |source| RecoveryError::Read { segment, source };
        let numbers = storage.segments().map_err(read(0))?;
        let mut survey =
            Self { segments: BTreeMap::new(), last_number: numbers.last().copied().unwrap_or(0), oldest: 0 };
        for number in numbers {
            let file = storage.open(number).map_err(read(number))?;
            let size = file.size().map_err(read(number))?.min(u64::from(u32::MAX));
            let mut bytes = [0; HEADER_BYTES];
            // A header that cannot be read is a damaged one.
            let header = match file
                .read_at(&mut bytes, 0)
                .map_or(HeaderFound::None, |()| Header::decode(&bytes))
            {
                HeaderFound::Whole(header) => (header.number == number).then_some(header),
                HeaderFound::Version(found) => return Err(RecoveryError::Version { segment: number, found }),
                HeaderFound::None => None,
            };
            if let Some(header) = header {
                survey.oldest = survey.oldest.max(header.oldest);
                let previous =
                    header.previous_end.and_then(|end| Some((survey.segments.get_mut(&end.segment)?, end)));
                if let Some((previous, end)) = previous {
                    previous.end = Some(u64::from(end.offset));
                }
            }
            survey.segments.insert(number, Surveyed { file, size, header, end: None });
        }
        Ok(survey)
    }

    /// The store id in the headers, for a store that lost its database.
    pub(crate) fn store(&self) -> Option<u128> {
        self.segments.values().find_map(|segment| segment.header.map(|header| header.store))
    }

    /// The highest epoch in the headers.
    pub(crate) fn epoch(&self) -> u64 {
        self.headers().map(|header| header.epoch).max().unwrap_or(0)
    }

    fn headers(&self) -> impl Iterator<Item = Header> {
        self.segments.values().filter_map(|segment| segment.header)
    }
}

/// Reads everything and builds the index.
pub(crate) fn recover(
    storage: &dyn Storage,
    survey: Survey,
    situation: Situation,
) -> Result<Recovered, RecoveryError> {
    let mut builder = Builder::new(situation, &survey);
    builder.missing_segments(&survey);
    let last = survey.segments.keys().last().copied();
    let mut kept = BTreeMap::new();
    for (number, surveyed) in survey.segments {
        if surveyed.header.is_some_and(|header| header.store != situation.store) {
            return Err(RecoveryError::Foreign { segment: number });
        }
        if number < survey.oldest {
            retire(storage, number);
            continue;
        }
        let used = builder.read_segment(storage, number, &surveyed, Some(number) == last);
        kept.insert(number, Segment { file: surveyed.file, used, live: 0 });
    }
    // Segments at the end without any record have nothing to say that the next header does not say.
    while let Some(entry) = kept.last_entry().filter(|entry| entry.get().used <= HEADER_BYTES as u64) {
        retire(storage, *entry.key());
        entry.remove();
    }
    let end = kept.last_key_value().map(|(number, segment)| Place::new(*number, segment.used));
    builder.settle_bad_ranges(storage, &kept);
    Ok(builder.finish(kept, survey.last_number, end))
}

fn retire(storage: &dyn Storage, number: u32) {
    if let Err(error) = storage.retire(number) {
        tracing::warn!(%error, segment = number, "could not remove a segment that is no longer needed");
    }
}

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

struct Builder {
    situation: Situation,
    tenants: HashMap<TenantId, Part>,
    /// Everything before this is known to have been durable.
    synced_to: Place,
    next_seq: u64,
    bad: Vec<BadRange>,
    report: RecoveryReport,
}

impl Builder {
    fn new(situation: Situation, survey: &Survey) -> Self {
        Self {
            situation,
            tenants: HashMap::new(),
            synced_to: survey.headers().filter_map(|header| header.previous_end).max().unwrap_or_default(),
            next_seq: survey.headers().map(|header| header.next_seq).max().unwrap_or(1).max(1),
            bad: Vec::new(),
            report: RecoveryReport::default(),
        }
    }

    /// Segments go oldest first, so one that is named as a predecessor and missing in the middle is damage.
    fn missing_segments(&mut self, survey: &Survey) {
        let lowest = survey.segments.keys().next().copied().unwrap_or(0);
        for end in survey.headers().filter_map(|header| header.previous_end) {
            if end.segment > lowest && !survey.segments.contains_key(&end.segment) {
                let to = u64::from(end.offset);
                self.note_bad(end.segment, 0, to, Vec::new());
            }
        }
    }

    /// Reads one segment and returns how many bytes of it are in use.
    fn read_segment(&mut self, storage: &dyn Storage, number: u32, surveyed: &Surveyed, last: bool) -> u64 {
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
        if !last
            && surveyed.size > used
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
                slot.held = taut_core::RouteBits::NONE;
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
    fn settle_bad_ranges(&mut self, storage: &dyn Storage, kept: &BTreeMap<u32, Segment>) {
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
                let part = self.part(tenant);
                part.slots.remove(&seq);
                part.keys.retain(|item| item.seq != seq);
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

    fn finish(mut self, kept: BTreeMap<u32, Segment>, last_number: u32, end: Option<Place>) -> Recovered {
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
        Recovered { index, next_seq: self.next_seq, last_number, end, expired, report: self.report }
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
        place,
        bytes: u32::try_from(head.body_bytes).expect("read from 32 bits"),
        kind: entry.kind,
        request: entry.request,
        damaged: entry.damaged,
        leaving: false,
    }
}
