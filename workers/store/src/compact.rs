//! Compaction: the oldest segment's live records are written again at the tail, then its file is recycled.
//!
//! Segments go strictly oldest first. So a change never has to be kept: the entries it speaks of are in older
//! segments, gone before it, or were written again with the change already in them. Which segment is the least live
//! does not matter; that garbage stays below half the live bytes and two segments does, and one pass over the whole
//! log removes all of it.

use std::io;

use parking_lot::Mutex;
use taut_core::{Epoch, Seq, TenantId};

use crate::index::{Index, Slot};
use crate::place::Place;
use crate::record::{self, ChangeItem, EntryHead, Head, KEY_BYTES, KeyItem, What};
use crate::scan::{Found, Scanner};
use crate::segment;
use crate::storage::SegmentFile;
use crate::tail::{SEGMENT_BYTES_MIN, Tail};

/// Least that is looked through in one step.
const STEP_BYTES: u64 = 256 << 10;
/// Segments beyond what their bytes need: many restarts leave many small ones.
const SMALL_SEGMENTS_MAX: u64 = 16;

/// Where compaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    segment: u32,
    offset: u64,
    /// Everything live has been written again; the segment can go once that is durable.
    done: bool,
}

/// A record that was written again; true once its group is durable.
#[derive(Debug)]
pub(crate) struct Moved {
    pub tenant: TenantId,
    pub seq: Seq,
    pub from: Place,
    pub to: Place,
    pub damaged: bool,
}

/// Walks through the log from its oldest end.
pub(crate) struct Compactor {
    store: u128,
    epoch: Epoch,
    cursor: Option<Cursor>,
    before: Option<Cursor>,
    /// A segment could not be recycled: wait before the next try.
    stuck: bool,
}

impl Compactor {
    pub(crate) const fn new(store: u128, epoch: Epoch) -> Self {
        Self { store, epoch, cursor: None, before: None, stuck: false }
    }

    /// Whether there is work: garbage above its bound, or a segment half looked through.
    pub(crate) fn wanted(&self, index: &Index, segment_bytes: u64) -> bool {
        let work = self.cursor.is_some() || index.segments.len() > 1 && too_much(index, segment_bytes, 2, 2);
        work && !self.stuck
    }

    /// Tries again after a segment could not be recycled.
    pub(crate) fn unstick(&mut self) {
        self.stuck = false;
    }

    /// Takes the last step back: its group failed.
    pub(crate) fn step_back(&mut self) {
        self.cursor = self.before;
    }

    /// Writes live records of the oldest segment into the group under way; `group_bytes` is what the group holds so
    /// far. A step looks through four times as much, so compaction outruns what makes it necessary.
    pub(crate) fn step(
        &mut self,
        index: &Mutex<Index>,
        tail: &mut Tail,
        group_bytes: u64,
    ) -> io::Result<Vec<Moved>> {
        self.before = self.cursor;
        let segment_bytes = tail.segment_bytes();
        let stranded = self.write_stranded(index, tail)?;
        if !stranded.is_empty() {
            return Ok(stranded);
        }
        let Some(cursor) = self.position(index, tail) else { return Ok(Vec::new()) };
        let (file, used) = {
            let index = index.lock();
            let Some(segment) = index.segments.get(&cursor.segment) else { return Ok(Vec::new()) };
            (segment.file.clone(), segment.used)
        };
        let urgent = too_much(&index.lock(), segment_bytes, 1, 3);
        let budget = if urgent { u64::MAX } else { STEP_BYTES.max(4 * group_bytes) };
        let seed = segment::seed(self.store, cursor.segment);
        let mut scanner = Scanner::new(&*file, seed, cursor.offset, used);
        let mut copier = Copier { index, tail, epoch: self.epoch, keys: Vec::new(), moved: Vec::new() };
        let mut done = false;
        while !done && scanner.offset().saturating_sub(cursor.offset) < budget {
            match scanner.next() {
                Found::Record { offset, head, whole } => {
                    copier.record(&mut scanner, Place::new(cursor.segment, offset), &head, whole)?;
                }
                Found::Bad { .. } => {}
                Found::End { .. } => done = true,
            }
        }
        copier.flush_keys()?;
        let moved = copier.moved;
        self.cursor = Some(Cursor { offset: scanner.offset(), done, ..cursor });
        Ok(moved)
    }

    /// Recycles segments without live entries, oldest first, writing nothing: for when the disk is full and nothing
    /// can be written before there is room. Gives the keys in them that are still remembered: they are to be written
    /// as soon as something can be.
    pub(crate) fn free_dead(&mut self, index: &Mutex<Index>, tail: &Tail) -> Vec<(TenantId, KeyItem)> {
        let mut keys = Vec::new();
        loop {
            let (number, file, used) = {
                let index = index.lock();
                let Some((number, segment)) = index.segments.first_key_value() else { return keys };
                if segment.live > 0 || *number >= tail.first_in_use() {
                    return keys;
                }
                (*number, segment.file.clone(), segment.used)
            };
            let found = self.remembered_keys(index, number, &*file, used);
            if tail.storage().retire(number).is_err() {
                return keys;
            }
            keys.extend(found);
            index.lock().segments.remove(&number);
            self.cursor = None;
            self.before = None;
        }
    }

    /// The keys in a segment that are still remembered.
    fn remembered_keys(
        &self,
        index: &Mutex<Index>,
        number: u32,
        file: &dyn SegmentFile,
        used: u64,
    ) -> Vec<(TenantId, KeyItem)> {
        let mut scanner = Scanner::new(file, segment::seed(self.store, number), 0, used);
        let mut keys = Vec::new();
        loop {
            let (offset, head) = match scanner.next() {
                Found::Record { offset, head, whole: true } => (offset, head),
                Found::Record { .. } | Found::Bad { .. } => continue,
                Found::End { .. } => break,
            };
            let Some(tenant) = &head.tenant else { continue };
            match head.what {
                What::Entry(EntryHead { dedup: Some(key), seq, received_at: at, .. }) => {
                    keys.push((tenant.clone(), KeyItem { key, seq, at }));
                }
                What::Keys => {
                    let items = record::keys_in(scanner.body(offset, &head));
                    keys.extend(items.map(|item| (tenant.clone(), item)));
                }
                What::Entry(_) | What::Changes | What::Mark => {}
            }
        }
        let index = index.lock();
        keys.retain(|(tenant, item)| {
            index.tenants.get(tenant).is_some_and(|part| part.keys.remembers(item.key, item.seq))
        });
        drop(index);
        keys.sort_by(|(left, _), (right, _)| left.cmp(right));
        keys
    }

    /// Where to go on: recycles a finished segment, and picks the oldest where there is need.
    fn position(&mut self, index: &Mutex<Index>, tail: &Tail) -> Option<Cursor> {
        if let Some(cursor) = self.cursor {
            if !cursor.done {
                return Some(cursor);
            }
            if let Err(error) = tail.storage().retire(cursor.segment) {
                // Younger segments must not go before it, so compaction waits and tries again.
                tracing::warn!(%error, segment = cursor.segment, "could not recycle a segment");
                self.stuck = true;
                return None;
            }
            index.lock().segments.remove(&cursor.segment);
            self.cursor = None;
            self.before = None;
        }
        let index = index.lock();
        let oldest = index.segments.keys().next().copied().filter(|oldest| *oldest < tail.first_in_use());
        if let Some(segment) = oldest.filter(|_| too_much(&index, tail.segment_bytes(), 2, 2)) {
            self.cursor = Some(Cursor { segment, offset: 0, done: false });
        }
        self.cursor
    }

    /// Entries whose records a failing disk has swallowed are written again without their frames: delivery finds
    /// them unreadable and makes them dead letters.
    fn write_stranded(&self, index: &Mutex<Index>, tail: &mut Tail) -> io::Result<Vec<Moved>> {
        let Some(cursor) = self.cursor.filter(|cursor| cursor.done) else { return Ok(Vec::new()) };
        let stranded = index.lock().live_in(cursor.segment);
        let mut moved = Vec::with_capacity(stranded.len());
        for (tenant, slot) in stranded {
            tracing::error!(%tenant, seq = slot.seq.0, "an envelope's bytes are lost to the disk");
            let head = EntryHead { damaged: true, ..head_of(&slot, self.epoch) };
            let bytes = record::entry_bytes(tenant.as_str(), 0);
            let to = tail.put(bytes, |buffer, seal| record::put_entry(buffer, seal, &tenant, &head, &[]))?;
            moved.push(Moved { tenant, seq: slot.seq, from: slot.place, to, damaged: true });
        }
        Ok(moved)
    }
}

/// Whether garbage is above `live / share + segments * segment_bytes`.
fn too_much(index: &Index, segment_bytes: u64, share: u64, segments: u64) -> bool {
    let (used, live) = (index.used_bytes(), index.live_bytes());
    let garbage = used.saturating_sub(live);
    let needed = used / segment_bytes.min(SEGMENT_BYTES_MIN);
    let small = index.segments.len() as u64 > SMALL_SEGMENTS_MAX + 4 * needed;
    garbage > live / share + segments * segment_bytes || small
}

struct Copier<'a> {
    index: &'a Mutex<Index>,
    tail: &'a mut Tail,
    epoch: Epoch,
    keys: Vec<(TenantId, KeyItem)>,
    moved: Vec<Moved>,
}

impl Copier<'_> {
    fn record(
        &mut self,
        scanner: &mut Scanner<'_>,
        place: Place,
        head: &Head,
        whole: bool,
    ) -> io::Result<()> {
        let Some(tenant) = &head.tenant else { return Ok(()) };
        match head.what {
            What::Entry(entry) => self.entry(scanner, place, tenant, head, &entry, whole),
            What::Keys if whole => {
                let items: Vec<_> = record::keys_in(scanner.body(u64::from(place.offset), head)).collect();
                for item in items {
                    self.key(tenant, item);
                }
                Ok(())
            }
            What::Keys | What::Changes | What::Mark => Ok(()),
        }
    }

    fn entry(
        &mut self,
        scanner: &mut Scanner<'_>,
        place: Place,
        tenant: &TenantId,
        head: &Head,
        entry: &EntryHead,
        whole: bool,
    ) -> io::Result<()> {
        let slot = self.index.lock().tenants.get(tenant).and_then(|part| part.slot(entry.seq).copied());
        let Some(slot) = slot else {
            if let Some(key) = entry.dedup {
                self.key(tenant, KeyItem { key, seq: entry.seq, at: entry.received_at });
            }
            return Ok(());
        };
        if slot.place != place {
            return Ok(());
        }
        let damaged = slot.damaged || !whole;
        let copy =
            EntryHead { dedup: entry.dedup, epoch: entry.epoch, damaged, ..head_of(&slot, self.epoch) };
        let frame = scanner.body(u64::from(place.offset), head);
        let bytes = record::entry_bytes(tenant.as_str(), frame.len());
        let to =
            self.tail.put(bytes, |buffer, seal| record::put_entry(buffer, seal, tenant, &copy, frame))?;
        self.moved.push(Moved { tenant: tenant.clone(), seq: slot.seq, from: place, to, damaged });
        Ok(())
    }

    /// Keeps a key whose entry is gone, while it is remembered.
    fn key(&mut self, tenant: &TenantId, item: KeyItem) {
        let wanted = self
            .index
            .lock()
            .tenants
            .get(tenant)
            .is_some_and(|part| part.keys.remembers(item.key, item.seq) && part.slot(item.seq).is_none());
        if wanted {
            self.keys.push((tenant.clone(), item));
        }
    }

    fn flush_keys(&mut self) -> io::Result<()> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.sort_by(|(left, _), (right, _)| left.cmp(right));
        put_keys(self.tail, &keys)
    }
}

/// Puts keys into the group, one record for each run of one tenant's.
pub(crate) fn put_keys(tail: &mut Tail, keys: &[(TenantId, KeyItem)]) -> io::Result<()> {
    for run in keys.chunk_by(|(left, _), (right, _)| left == right) {
        for chunk in run.chunks(ITEMS_MAX) {
            let tenant = &chunk[0].0;
            let items: Vec<_> = chunk.iter().map(|(_, item)| *item).collect();
            let bytes = record::items_bytes(tenant.as_str(), items.len(), KEY_BYTES);
            tail.put(bytes, |buffer, seal| record::put_keys(buffer, seal, tenant, &items))?;
        }
    }
    Ok(())
}

/// Puts changes into the group, one record for each run of one tenant's.
pub(crate) fn put_changes(tail: &mut Tail, changes: &[(TenantId, ChangeItem)]) -> io::Result<()> {
    for run in changes.chunk_by(|(left, _), (right, _)| left == right) {
        for chunk in run.chunks(ITEMS_MAX) {
            let tenant = &chunk[0].0;
            let items: Vec<_> = chunk.iter().map(|(_, item)| *item).collect();
            let bytes = record::items_bytes(tenant.as_str(), items.len(), record::CHANGE_BYTES);
            tail.put(bytes, |buffer, seal| record::put_changes(buffer, seal, tenant, &items))?;
        }
    }
    Ok(())
}

/// Most items in one record, so that one damaged byte does not cost more.
const ITEMS_MAX: usize = 1024;

/// The head of an entry as the index knows it.
fn head_of(slot: &Slot, epoch: Epoch) -> EntryHead {
    EntryHead {
        kind: slot.kind,
        request: slot.request,
        damaged: slot.damaged,
        epoch,
        seq: slot.seq,
        received_at: slot.received_at,
        dedup: None,
        order: slot.order,
        routes: slot.routes,
        held: slot.held,
    }
}
