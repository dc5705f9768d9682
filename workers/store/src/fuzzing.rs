//! What must hold whatever lies in the segments. Run by the fuzzer and, over its kept corpora, by the ordinary tests.
//!
//! An input is a small program: it writes records whose checksums hold (with any fields), raw bytes, and then damages
//! what it wrote. So the fuzzer gets behind the checksums, where random bytes never would.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use taut_core::fuzzing::Check;
use taut_core::log::Entry;
use taut_core::order::OrderKeys;
use taut_core::{DedupKey, Epoch, Kind, RouteBits, Seq, TenantId, WallMs};

use crate::place::Place;
use crate::record::{self, EntryHead, Seal};
use crate::recovery::{RecoveryError, RecoveryReport, Situation, Survey, recover};
use crate::segment::{self, Header};
use crate::storage::{SegmentFile, Storage};

/// The checks of this crate, by the names of their corpora.
pub const CHECKS: [(&str, Check); 2] = [("recovery", recovery), ("segment", raw_segment)];

const STORE: u128 = 7;
const SEGMENT_BYTES: usize = 64 << 10;
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

/// Recovery of a log with any records and any damage ends, and what it settled stays settled.
fn recovery(data: &[u8]) {
    let memory = Memory::default();
    let written = Program::new(data).run(&memory);
    let Some((first, report)) = look(&memory) else { return };
    if let Some(written) = written {
        assert_eq!(first, written, "nothing was damaged, so everything is found");
        assert_eq!(report.damaged, []);
    }
    let (second, again) = look(&memory).expect("what was recovered once opens again");
    assert_eq!(second, first, "a second recovery finds the same");
    assert!(again.damaged.len() <= report.damaged.len(), "{again:?} after {report:?}");
}

/// Any bytes may lie in a segment's file.
fn raw_segment(data: &[u8]) {
    let memory = Memory::default();
    let header = Header { number: 1, store: STORE, epoch: 1, next_seq: 1, previous_end: None, oldest: 0 };
    let bytes = if data.first().is_some_and(|first| first & 1 == 1) {
        [&header.encode()[..], data].concat()
    } else {
        data.to_vec()
    };
    memory.put(1, bytes);
    let _seen = look(&memory);
}

type Seen = BTreeSet<(TenantId, Seq)>;

fn look(memory: &Memory) -> Option<(Seen, RecoveryReport)> {
    let situation = Situation {
        store: STORE,
        now: WallMs(1_700_000_000_000),
        window: Duration::from_mins(15),
        total_bytes_max: 1 << 30,
    };
    let survey = match Survey::new(memory) {
        Ok(survey) => survey,
        Err(RecoveryError::Version { .. } | RecoveryError::Foreign { .. }) => return None,
        Err(RecoveryError::Read { .. } | RecoveryError::Sync { .. }) => panic!("memory can be read"),
    };
    let recovered = match recover(memory, survey, situation) {
        Ok(recovered) => recovered,
        Err(RecoveryError::Version { .. } | RecoveryError::Foreign { .. }) => return None,
        Err(RecoveryError::Read { .. } | RecoveryError::Sync { .. }) => panic!("memory can be read"),
    };
    let mut seen = Seen::new();
    for name in TENANTS {
        let tenant = TenantId::new(name).expect("a tenant's name");
        let entries: Vec<Entry> = recovered.index.backlog(&tenant, Seq(0), 100_000);
        seen.extend(entries.into_iter().map(|entry| (tenant.clone(), entry.seq)));
    }
    assert!(seen.len() as u64 <= recovered.report.entries);
    Some((seen, recovered.report))
}

/// Bytes as a program that writes a log.
struct Program<'a> {
    data: &'a [u8],
    segment: u32,
    buffer: Vec<u8>,
    seal: Seal,
    live: BTreeMap<(TenantId, Seq), RouteBits>,
    /// Only whole records, each entry once, nothing that closes another one.
    plain: bool,
}

impl<'a> Program<'a> {
    fn new(data: &'a [u8]) -> Self {
        let mut program = Self {
            data,
            segment: 0,
            buffer: Vec::new(),
            seal: Seal { seed: 0, synced_to: Place::default() },
            live: BTreeMap::new(),
            plain: true,
        };
        program.begin_segment();
        program
    }

    /// Runs it; says what must be found if nothing was done that could lose anything.
    fn run(mut self, memory: &Memory) -> Option<Seen> {
        while let [op, rest @ ..] = self.data {
            self.data = rest;
            match op % 8 {
                0..=2 => self.entry(),
                3 => self.items(2),
                4 => self.items(3),
                5 => record::put_mark(&mut self.buffer, self.seal),
                6 => self.raw(),
                _ => self.next_segment(memory),
            }
            if self.buffer.len() > SEGMENT_BYTES {
                break;
            }
        }
        memory.put(self.segment, self.buffer);
        self.plain.then(|| {
            let open = self.live.into_iter().filter(|(_, routes)| !routes.is_empty());
            open.map(|(key, _)| key).collect()
        })
    }

    fn begin_segment(&mut self) {
        let previous_end = (self.segment > 0).then(|| Place::new(self.segment, self.buffer.len() as u64));
        self.segment += 1;
        let header =
            Header { number: self.segment, store: STORE, epoch: 1, next_seq: 1, previous_end, oldest: 0 };
        self.seal.seed = segment::seed(STORE, self.segment);
        self.buffer = header.encode().to_vec();
    }

    fn next_segment(&mut self, memory: &Memory) {
        if self.segment < 8 {
            memory.put(self.segment, self.buffer.clone());
            self.begin_segment();
        }
    }

    fn entry(&mut self) {
        let number = self.number();
        let tenant = TenantId::new(TENANTS[usize::from(self.byte()) % 3]).expect("a tenant's name");
        let seq = Seq(u64::from(number) + 1);
        let routes = RouteBits(u64::from(self.byte() % 4));
        let head = EntryHead {
            kind: Kind::from_number(self.byte() % 8).unwrap_or(Kind::EventsApi),
            request: false,
            damaged: false,
            epoch: Epoch(1),
            seq,
            received_at: WallMs(1_700_000_000_000),
            dedup: Some(DedupKey(u128::from(number))),
            order: OrderKeys::default(),
            routes,
            held: RouteBits::NONE,
        };
        let length = usize::from(self.number() % 700);
        let frame = self.take(length).to_vec();
        record::put_entry(&mut self.buffer, self.seal, &tenant, &head, &frame);
        // An entry that lies there twice is its later copy; one without routes is gone or stays, by its first.
        self.plain &= !routes.is_empty();
        self.live.insert((tenant, seq), routes);
    }

    fn items(&mut self, record_type: u8) {
        let length = usize::from(self.byte());
        let body = self.take(length).to_vec();
        let synced_to = Place::from_u64(u64::from(self.byte()) << 32 | u64::from(self.number()));
        self.plain = false;
        let seal = Seal { synced_to, ..self.seal };
        record::put_items(&mut self.buffer, seal, record_type, TENANTS[length % 3], &body);
    }

    /// Bytes that are no record, or a byte of a record changed.
    fn raw(&mut self) {
        self.plain = false;
        let length = usize::from(self.byte());
        if length < 128 {
            let bytes = self.take(length).to_vec();
            self.buffer.extend(bytes);
        } else {
            let at = usize::from(self.number()) % self.buffer.len();
            self.buffer[at] ^= u8::try_from(length & 0x7f).expect("masked") | 1;
        }
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.data.split_at(length.min(self.data.len()));
        self.data = rest;
        taken
    }
}

/// Segments in memory.
#[derive(Default)]
struct Memory {
    segments: Mutex<BTreeMap<u32, Arc<MemoryFile>>>,
}

struct MemoryFile(Mutex<Vec<u8>>);

impl Memory {
    fn put(&self, number: u32, bytes: Vec<u8>) {
        self.segments.lock().insert(number, Arc::new(MemoryFile(Mutex::new(bytes))));
    }

    fn file(&self, number: u32) -> io::Result<Arc<MemoryFile>> {
        self.segments.lock().get(&number).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for Memory {
    fn segments(&self) -> io::Result<Vec<u32>> {
        Ok(self.segments.lock().keys().copied().collect())
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(self.file(number)?)
    }

    fn create(&self, _number: u32, _bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn shorten(&self, number: u32, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        self.file(number)?.0.lock().truncate(bytes);
        Ok(())
    }

    fn retire(&self, number: u32) -> io::Result<()> {
        self.segments.lock().remove(&number);
        Ok(())
    }

    fn set_aside(&self, _name: &str, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn link(&self, _number: u32, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn bytes(&self) -> u64 {
        0
    }
}

impl SegmentFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.0.lock();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let found = start.checked_add(buffer.len()).and_then(|end| bytes.get(start..end));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut file = self.0.lock();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }
}
