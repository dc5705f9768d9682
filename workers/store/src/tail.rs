//! The end of the log, where records are written.

use std::io;
use std::sync::Arc;

use taut_core::Clock;

use crate::meters::Meters;
use crate::place::Place;
use crate::record::Seal;
use crate::segment::{self, HEADER_BYTES, Header};
use crate::storage::{SegmentFile, Storage};

/// What is gathered before it is written, within one group.
const BUFFER_BYTES: usize = 4 << 20;
/// What the buffer keeps of its memory between groups.
const BUFFER_KEPT_BYTES: usize = 512 << 10;

/// Smallest segment that is made where the disk has no room for a whole one.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// What does not change while the store is open.
pub(crate) struct Setting {
    pub storage: Arc<dyn Storage>,
    pub clock: Arc<dyn Clock>,
    pub meters: Arc<Meters>,
    pub store: u128,
    pub epoch: u64,
    pub segment_bytes: u64,
}

/// What the next segment's header says of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlook {
    pub next_seq: u64,
    pub oldest: u32,
}

/// A segment that was begun.
pub(crate) struct Started {
    pub number: u32,
    pub file: Arc<dyn SegmentFile>,
    /// Where its predecessor ends.
    pub previous_end: Option<Place>,
}

/// Writes groups: records go to the buffer, [`Tail::commit`] makes them durable.
///
/// After any error the tail must be reopened: the bytes of the group are then beyond the end that the next segment
/// declares for this one, and no file is synced again after a failed sync.
pub(crate) struct Tail {
    setting: Setting,
    outlook: Outlook,
    file: Arc<dyn SegmentFile>,
    number: u32,
    seed: u32,
    capacity: u64,
    /// Where the buffer will be written.
    written: u64,
    buffer: Vec<u8>,
    /// Everything before this is durable.
    durable: Place,
    /// Where the group under way began.
    group_start: Place,
    /// Highest number ever asked for.
    last_number: u32,
    started: Vec<Started>,
}

impl Tail {
    /// Begins the segment after `last_number` and makes its header durable.
    pub(crate) fn open(
        setting: Setting,
        outlook: Outlook,
        last_number: u32,
        previous_end: Option<Place>,
    ) -> io::Result<Self> {
        let mut number = last_number;
        let (file, capacity) = begin(&setting, outlook, &mut number, previous_end, 0)?;
        file.sync()?;
        let durable = Place::new(number, HEADER_BYTES as u64);
        Ok(Self {
            seed: segment::seed(setting.store, number),
            started: vec![Started { number, file: file.clone(), previous_end }],
            setting,
            outlook,
            file,
            number,
            capacity,
            written: HEADER_BYTES as u64,
            buffer: Vec::new(),
            durable,
            group_start: durable,
            last_number: number,
        })
    }

    /// Begins a group.
    pub(crate) fn begin_group(&mut self, outlook: Outlook) {
        self.outlook = outlook;
        self.group_start = self.durable;
    }

    /// Puts one record of `bytes` into the group and says where it will be.
    pub(crate) fn put(&mut self, bytes: usize, write: impl FnOnce(&mut Vec<u8>, Seal)) -> io::Result<Place> {
        if self.end() + bytes as u64 > self.capacity {
            self.roll(bytes)?;
        }
        let place = Place::new(self.number, self.end());
        let before = self.buffer.len();
        write(&mut self.buffer, Seal { seed: self.seed, synced_to: self.durable });
        assert_eq!(self.buffer.len() - before, bytes, "a record has the size it was announced with");
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(place)
    }

    /// Makes the group durable.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        self.flush()?;
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        self.sync()
    }

    /// Makes everything durable and gives back the unused end, so that the next opening need not look through it.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.commit()?;
        self.setting.storage.shorten(self.number, self.written)
    }

    /// Writes what is gathered without making it durable; for what nobody waits for.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Whether nothing was put into the group under way.
    pub(crate) fn is_group_empty(&self) -> bool {
        self.buffer.is_empty() && self.written() == self.group_start
    }

    /// How far the log is written, durable or not.
    pub(crate) fn written(&self) -> Place {
        Place::new(self.number, self.written)
    }

    /// The segments begun since the last call.
    pub(crate) fn take_started(&mut self) -> Vec<Started> {
        std::mem::take(&mut self.started)
    }

    /// Segments before this one are not written any more, whatever becomes of the group under way.
    pub(crate) const fn first_in_use(&self) -> u32 {
        self.group_start.segment
    }

    pub(crate) const fn segment_bytes(&self) -> u64 {
        self.setting.segment_bytes
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.setting.storage
    }

    /// Gives up the group under way and goes on in a new segment, which says where the durable log ended.
    ///
    /// Returns the last segment with durable records, opened anew.
    pub(crate) fn reopen(&mut self) -> io::Result<Started> {
        self.buffer = Vec::new();
        for started in std::mem::take(&mut self.started) {
            discard(&*self.setting.storage, started.number);
        }
        let end = self.group_start;
        let old = self.setting.storage.open(end.segment)?;
        let (setting, outlook) = (&self.setting, self.outlook);
        let (file, capacity) = begin(setting, outlook, &mut self.last_number, Some(end), 0)?;
        if let Err(error) = file.sync() {
            discard(&*self.setting.storage, self.last_number);
            return Err(error);
        }
        self.enter(file, capacity, Some(end));
        self.durable = Place::new(self.number, HEADER_BYTES as u64);
        self.group_start = self.durable;
        Ok(Started { number: end.segment, file: old, previous_end: None })
    }

    fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn sync(&mut self) -> io::Result<()> {
        let before = self.setting.clock.now();
        self.file.sync()?;
        self.setting.meters.sync.record(self.setting.clock.now().since(before).as_secs_f64());
        self.durable = Place::new(self.number, self.written);
        Ok(())
    }

    /// Goes on in a new segment with room for `bytes`; what is in the old one is durable before.
    fn roll(&mut self, bytes: usize) -> io::Result<()> {
        self.flush()?;
        self.sync()?;
        let end = self.durable;
        let (setting, outlook) = (&self.setting, self.outlook);
        let (file, capacity) = begin(setting, outlook, &mut self.last_number, Some(end), bytes)?;
        if self.capacity - self.written > self.capacity / 8
            && let Err(error) = self.setting.storage.shorten(self.number, self.written)
        {
            tracing::warn!(%error, segment = self.number, "could not give back the unused end of a segment");
        }
        self.enter(file, capacity, Some(end));
        Ok(())
    }

    fn enter(&mut self, file: Arc<dyn SegmentFile>, capacity: u64, previous_end: Option<Place>) {
        self.number = self.last_number;
        self.seed = segment::seed(self.setting.store, self.number);
        self.started.push(Started { number: self.number, file: file.clone(), previous_end });
        self.file = file;
        self.capacity = capacity;
        self.written = HEADER_BYTES as u64;
    }
}

/// Makes the segment after `last_number` and writes its header, without syncing it.
fn begin(
    setting: &Setting,
    outlook: Outlook,
    last_number: &mut u32,
    previous_end: Option<Place>,
    bytes: usize,
) -> io::Result<(Arc<dyn SegmentFile>, u64)> {
    *last_number += 1;
    let number = *last_number;
    let file = create(setting, number, (HEADER_BYTES + bytes) as u64)?;
    let header = Header {
        number,
        store: setting.store,
        epoch: setting.epoch,
        next_seq: outlook.next_seq,
        previous_end,
        oldest: if outlook.oldest == 0 { number } else { outlook.oldest },
    };
    let written = file.size().and_then(|size| file.write_at(&header.encode(), 0).map(|()| size));
    match written {
        Ok(size) => Ok((file, size)),
        Err(error) => {
            discard(&*setting.storage, number);
            Err(error)
        }
    }
}

/// Makes a segment with room for `needed` bytes: as large as set, or smaller where the disk is nearly full.
fn create(setting: &Setting, number: u32, needed: u64) -> io::Result<Arc<dyn SegmentFile>> {
    let mut size = setting.segment_bytes.max(needed);
    loop {
        match setting.storage.create(number, size) {
            Err(error)
                if error.kind() == io::ErrorKind::StorageFull && size > needed.max(SEGMENT_BYTES_MIN) =>
            {
                size = (size / 4).max(needed).max(SEGMENT_BYTES_MIN);
            }
            outcome => return outcome,
        }
    }
}

/// Takes a segment without durable records away. If that fails, recovery reads records that were never promised.
fn discard(storage: &dyn Storage, number: u32) {
    if let Err(error) = storage.retire(number) {
        tracing::warn!(%error, segment = number, "could not remove a segment given up");
    }
}
