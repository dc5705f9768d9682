//! What callers and the writer share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use taut_core::log::LogError;
use taut_core::{Clock, Seq, TenantId};
use tokio::sync::watch;

use crate::inbox::Inbox;
use crate::index::{Index, Slot, frame_bytes};
use crate::meters::Meters;
use crate::record::{self, Head, What};
use crate::segment;
use crate::storage::SegmentFile;

/// How often a read looks again because compaction moved the entry meanwhile.
const READS_MAX: usize = 4;

/// What callers and the writer share. Locks are held for memory work only.
pub(crate) struct Shared {
    pub index: Mutex<Index>,
    pub inbox: Inbox,
    pub clock: Arc<dyn Clock>,
    pub meters: Arc<Meters>,
    pub store: u128,
    pub writable: AtomicBool,
    /// The writer's thread has ended.
    pub ended: AtomicBool,
    /// Why it is not.
    pub cause: Mutex<String>,
    pub errors: AtomicU64,
    /// Set once the store has failed too often in a row to go on.
    pub fatal: watch::Sender<Option<String>>,
}

impl Shared {
    pub(crate) fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    pub(crate) fn unavailable(&self) -> LogError {
        LogError::Unavailable { cause: self.cause.lock().clone() }
    }

    /// An entry's frame; `None` if it is not stored (any more).
    pub(crate) fn read(&self, tenant: &TenantId, seq: Seq) -> Result<Option<Bytes>, LogError> {
        let started = self.clock.now();
        let outcome = self.read_unmeasured(tenant, seq);
        self.meters.read.record(self.clock.now().since(started).as_secs_f64());
        if outcome.is_err() {
            self.meters.read_errors.increment(1);
        }
        outcome
    }

    fn read_unmeasured(&self, tenant: &TenantId, seq: Seq) -> Result<Option<Bytes>, LogError> {
        let mut fault = LogError::Unavailable { cause: "compaction moves it without end".to_owned() };
        let mut last = None;
        for _ in 0..READS_MAX {
            let Some((slot, file)) = self.find(tenant, seq) else { return Ok(None) };
            if last == Some(slot.place) {
                break;
            }
            last = Some(slot.place);
            let frame = match file {
                _ if slot.damaged => return Err(LogError::Read { seq, cause: "it is damaged".to_owned() }),
                Some(file) => self.frame(&*file, tenant, &slot),
                None => Err(LogError::Unavailable { cause: "its segment is gone".to_owned() }),
            };
            match frame {
                Ok(frame) => return Ok(Some(frame)),
                // Compaction may have moved the entry and recycled the file: then it is found elsewhere.
                Err(error) => fault = error,
            }
        }
        Err(fault)
    }

    fn find(&self, tenant: &TenantId, seq: Seq) -> Option<(Slot, Option<Arc<dyn SegmentFile>>)> {
        let index = self.index.lock();
        let slot = *index.tenants.get(tenant)?.slot(seq)?;
        let file = index.segments.get(&slot.place.segment).map(|segment| segment.file.clone());
        Some((slot, file))
    }

    /// What the disk does not give now it may give later; what does not hold its checksum is damaged.
    fn frame(&self, file: &dyn SegmentFile, tenant: &TenantId, slot: &Slot) -> Result<Bytes, LogError> {
        let damaged = |cause: &str| LogError::Read { seq: slot.seq, cause: cause.to_owned() };
        let length = record::entry_bytes(tenant.as_str(), frame_bytes(slot));
        let mut record = vec![0; length];
        file.read_at(&mut record, u64::from(slot.place.offset))
            .map_err(|error| LogError::Unavailable { cause: error.to_string() })?;
        let seed = segment::seed(self.store, slot.place.segment);
        let head = Head::parse(&record, seed, Some(tenant)).ok_or_else(|| damaged("its head is damaged"))?;
        let same = matches!(head.what, What::Entry(entry) if entry.seq == slot.seq)
            && head.tenant.as_ref() == Some(tenant)
            && head.body_bytes == frame_bytes(slot);
        let body = head.own_bytes..head.own_bytes + head.body_bytes;
        if !same || !head.holds(&record[body.clone()], seed) {
            return Err(damaged("its checksum does not hold"));
        }
        Ok(Bytes::from(record).slice(body))
    }
}
