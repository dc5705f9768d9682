//! Recovery: from the segments on disk to the index.
//!
//! Every valid record counts, wherever it lies. What is not a valid record is either torn (part of the last group,
//! which nobody was promised) or damage: later records say how far the log was durable when they were written, so a
//! bad range before that place was good once. Torn ranges are filled or cut, so that they never pass for damage;
//! damage is set aside and reported, and the rest starts.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use taut_core::{Seq, TenantId, WallMs};

use crate::index::{Index, Segment};
use crate::place::Place;
use crate::record::ChangeItem;
use crate::scan::BLOCK_BYTES;
use crate::segment::{self, HEADER_BYTES};
use crate::storage::{SegmentFile, Storage};

mod builder;
mod survey;

use builder::Builder;
pub(crate) use survey::Survey;

/// What is written again at once.
const WRITE_AGAIN_BYTES: usize = 64 << 10;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    #[error("could not sync segment {segment}: what it holds may not be durable")]
    Sync {
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
    /// Segments at the end without any record. Their headers prove how far the log was durable, so they go only once
    /// the next header says the same.
    pub spent: Vec<u32>,
    /// Where the log ends; nothing beyond counts.
    pub end: Option<Place>,
    /// What has been applied to the index and must still be logged.
    pub expired: Vec<(TenantId, ChangeItem)>,
    pub report: RecoveryReport,
}

/// Reads everything and builds the index.
pub(crate) fn recover(
    storage: &dyn Storage,
    survey: Survey,
    situation: Situation,
) -> Result<Recovered, RecoveryError> {
    let mut builder = Builder::new(situation, &survey);
    builder.missing_segments(&survey);
    let mut kept = BTreeMap::new();
    for (number, surveyed) in survey.segments {
        if surveyed.header.is_some_and(|header| header.store != situation.store) {
            return Err(RecoveryError::Foreign { segment: number });
        }
        if number < survey.oldest {
            retire(storage, number);
            continue;
        }
        let used = builder.read_segment(storage, number, &surveyed);
        kept.insert(number, Segment { file: surveyed.file, used, live: 0 });
    }
    let mut spent = Vec::new();
    while let Some(entry) = kept.last_entry().filter(|entry| entry.get().used <= HEADER_BYTES as u64) {
        spent.push(*entry.key());
        entry.remove();
    }
    if let Some((number, last)) = kept.last_key_value() {
        let proven = builder.synced_to();
        let from = if proven.segment == *number { u64::from(proven.offset) } else { 0 };
        write_again(last, from).map_err(|source| RecoveryError::Sync { segment: *number, source })?;
    }
    let end = kept.last_key_value().map(|(number, segment)| Place::new(*number, segment.used));
    builder.settle_bad_ranges(storage, &kept);
    Ok(Recovered { spent, ..builder.finish(kept, survey.last_number, end) })
}

/// Makes durable what was read from the last segment, from the last place that is proven to be.
///
/// The process before may have ended between a write and its sync, or after a sync that failed; then the kernel takes
/// the bytes for written, and another sync alone would do nothing. What was read counts as durable from now on: a copy
/// of it is acked as known. Older segments were synced before a younger one was begun.
fn write_again(segment: &Segment, from: u64) -> io::Result<()> {
    let mut buffer = vec![0; WRITE_AGAIN_BYTES];
    let mut at = from;
    while at < segment.used {
        let left = usize::try_from(segment.used - at).unwrap_or(usize::MAX);
        let chunk = &mut buffer[..left.min(WRITE_AGAIN_BYTES)];
        if segment.file.read_at(chunk, at).is_ok() {
            segment.file.write_at(chunk, at)?;
        } else {
            write_blocks_again(&*segment.file, chunk, at)?;
        }
        at += chunk.len() as u64;
    }
    segment.file.sync()
}

/// Block by block, past those that cannot be read: they were not recovered either.
fn write_blocks_again(file: &dyn SegmentFile, chunk: &mut [u8], at: u64) -> io::Result<()> {
    for (number, block) in chunk.chunks_mut(BLOCK_BYTES).enumerate() {
        let at = at + (number * BLOCK_BYTES) as u64;
        if file.read_at(block, at).is_ok() {
            file.write_at(block, at)?;
        }
    }
    Ok(())
}

/// Takes a segment away that is no longer needed.
pub(crate) fn retire(storage: &dyn Storage, number: u32) {
    if let Err(error) = storage.retire(number) {
        tracing::warn!(%error, segment = number, "could not remove a segment that is no longer needed");
    }
}
