//! Reads a segment record by record, past whatever is damaged.
//!
//! Memory is bounded by one window of 256 KiB or the longest record, whichever is more.

use std::io;

use taut_core::TenantId;

use crate::place::ALIGN;
use crate::record::{HEAD_BYTES_MAX, Head, MAGIC};
use crate::segment::HEADER_BYTES;
use crate::storage::SegmentFile;

const WINDOW_BYTES: usize = 256 * 1024;
/// What is read on its own once reading a window failed: a bad sector costs its block alone.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// What a segment holds at one place.
#[derive(Debug)]
pub(crate) enum Found {
    /// A record; `whole` says whether its body is as it was written.
    Record { offset: u64, head: Box<Head>, whole: bool },
    /// Bytes that are no record, with a record after them.
    Bad { from: u64, to: u64 },
    /// Nothing more from here on.
    End { from: u64 },
}

/// Walks through one segment.
pub(crate) struct Scanner<'a> {
    file: &'a dyn SegmentFile,
    seed: u32,
    offset: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
    tenant: Option<TenantId>,
}

impl<'a> Scanner<'a> {
    /// Starts at `offset`; nothing at or beyond `end` is read.
    pub(crate) fn new(file: &'a dyn SegmentFile, seed: u32, offset: u64, end: u64) -> Self {
        let offset = offset.max(HEADER_BYTES as u64);
        Self { file, seed, offset, end, window: Vec::new(), window_at: 0, tenant: None }
    }

    /// Where the next record would start.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// What comes next.
    pub(crate) fn next(&mut self) -> Found {
        if let Some(found) = self.record_here() {
            return found;
        }
        let from = self.offset;
        while self.skip_to_magic() {
            if self.head_here().is_some() {
                return Found::Bad { from, to: self.offset };
            }
            self.offset += ALIGN as u64;
        }
        self.offset = from;
        Found::End { from }
    }

    /// The body of the record just found.
    pub(crate) fn body(&mut self, offset: u64, head: &Head) -> &[u8] {
        let body_at = offset + head.own_bytes as u64;
        self.bytes_at(body_at, head.body_bytes).unwrap_or(&[])
    }

    /// Bytes of the segment as they are, at most `max`.
    pub(crate) fn raw(&mut self, from: u64, to: u64, max: usize) -> &[u8] {
        let length = usize::try_from(to.saturating_sub(from)).map_or(max, |length| length.min(max));
        self.bytes_at(from, length).unwrap_or(&[])
    }

    fn record_here(&mut self) -> Option<Found> {
        let head = self.head_here()?;
        let (offset, seed) = (self.offset, self.seed);
        let whole = head.holds(self.body(offset, &head), seed);
        self.offset += head.record_bytes() as u64;
        self.tenant.clone_from(&head.tenant);
        Some(Found::Record { offset, head: Box::new(head), whole })
    }

    /// A head with a good checksum whose body lies inside the segment.
    fn head_here(&mut self) -> Option<Head> {
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let (seed, tenant) = (self.seed, self.tenant.clone());
        let head = Head::parse(self.bytes_at(self.offset, left.min(HEAD_BYTES_MAX))?, seed, tenant.as_ref())?;
        (head.own_bytes + head.body_bytes <= left).then_some(head)
    }

    /// Goes on to the next aligned place that starts like a record; false at the end.
    fn skip_to_magic(&mut self) -> bool {
        while self.offset + ALIGN as u64 <= self.end {
            let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
            let offset = self.offset;
            let Some(bytes) = self.bytes_at(offset, left.min(WINDOW_BYTES)) else { return false };
            let hop = bytes.chunks_exact(ALIGN).position(|word| word[..MAGIC.len()] == MAGIC);
            let searched = bytes.len() / ALIGN * ALIGN;
            match hop {
                Some(words) => {
                    self.offset += (words * ALIGN) as u64;
                    return true;
                }
                None => self.offset += searched as u64,
            }
        }
        false
    }

    /// `length` bytes from `offset`; `None` if they are not all inside the segment.
    fn bytes_at(&mut self, offset: u64, length: usize) -> Option<&[u8]> {
        if offset + length as u64 > self.end {
            return None;
        }
        let inside =
            offset >= self.window_at && offset + length as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            let left = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
            self.window.resize(length.max(WINDOW_BYTES).min(left), 0);
            self.window_at = offset;
            read_past_errors(self.file, &mut self.window, offset);
        }
        let start = usize::try_from(offset - self.window_at).expect("inside the window");
        Some(&self.window[start..start + length])
    }
}

/// Reads what can be read; blocks that cannot are zeros, which no checksum accepts.
fn read_past_errors(file: &dyn SegmentFile, buffer: &mut [u8], offset: u64) {
    if file.read_at(buffer, offset).is_ok() {
        return;
    }
    for (index, block) in buffer.chunks_mut(BLOCK_BYTES).enumerate() {
        let outcome: io::Result<()> = file.read_at(block, offset + (index * BLOCK_BYTES) as u64);
        if outcome.is_err() {
            block.fill(0);
        }
    }
}
