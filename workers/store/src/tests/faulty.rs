//! A disk in memory that fails, tears writes, forgets what was not synced, and flips bits.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::database::{self, Backing};
use crate::storage::{SegmentFile, Storage};

const SECTOR_BYTES: usize = 512;
/// The number under which the database's file is kept.
const DATABASE: u32 = u32::MAX;
/// … and while it is made.
const UNFINISHED: u32 = u32::MAX - 1;

/// What the disk does wrong, by the number of the operation (writes, syncs, and changes to the directory count).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Everything from this operation on fails; a write leaves an unknown part of its sectors.
    CrashAt(u64),
    /// These operations fail.
    FailFrom(u64, u64),
    /// No new segment can be made but from a recycled one.
    Full,
    /// Writes and syncs of the database fail; the log's do not.
    Database,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u32, Content>,
    spares: Vec<Content>,
    set_aside: Vec<String>,
    /// Bytes of a segment that no read gets.
    unreadable: Option<(u32, Range<u64>)>,
    operations: u64,
    fault: Option<Fault>,
}

/// A file as the kernel has it: a failed sync leaves what was written in its cache, marked as if it were on disk.
#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    seen: Vec<u8>,
    /// Written since the last sync, good or bad.
    dirty: Vec<Range<usize>>,
}

#[derive(Clone, Default)]
pub(crate) struct FaultyDisk {
    state: Arc<Mutex<State>>,
    segment_bytes: u64,
}

impl FaultyDisk {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self { state: Arc::default(), segment_bytes }
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.state.lock().fault = Some(fault);
    }

    pub(crate) fn make_unreadable(&self, number: u32, bytes: Range<u64>) {
        self.state.lock().unreadable = Some((number, bytes));
    }

    pub(crate) fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    pub(crate) fn set_aside_names(&self) -> Vec<String> {
        self.state.lock().set_aside.clone()
    }

    /// The disk as it is found after the power came back: of what was not synced, some sectors are there.
    pub(crate) fn after_power_loss(&self, seed: u64) -> Self {
        let state = self.state.lock();
        let mut random = seed | 1;
        let mut survives = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 62 != 0 && seed != 0
        };
        let mut files = BTreeMap::new();
        for (number, content) in &state.files {
            let mut bytes = content.durable.clone();
            bytes.resize(content.seen.len(), 0);
            for (old, new) in bytes.chunks_mut(SECTOR_BYTES).zip(content.seen.chunks(SECTOR_BYTES)) {
                if old != new && survives() {
                    old.copy_from_slice(new);
                }
            }
            files.insert(*number, Content { durable: bytes.clone(), seen: bytes, dirty: Vec::new() });
        }
        let state = State { files, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), segment_bytes: self.segment_bytes }
    }

    /// The disk as the next process finds it: what was written is seen, and still not durable.
    pub(crate) fn after_process_end(&self) -> Self {
        let files = self.state.lock().files.clone();
        let state = State { files, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), segment_bytes: self.segment_bytes }
    }

    /// A copy whose bytes the caller changes.
    pub(crate) fn with(&self, change: impl FnOnce(&mut BTreeMap<u32, Vec<u8>>)) -> Self {
        let state = self.state.lock();
        let mut files = state.files.iter().map(|(number, content)| (*number, content.seen.clone())).collect();
        change(&mut files);
        let content = |bytes: Vec<u8>| Content { durable: bytes.clone(), seen: bytes, dirty: Vec::new() };
        let files = files.into_iter().map(|(number, bytes)| (number, content(bytes))).collect();
        let state = State { files, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), segment_bytes: self.segment_bytes }
    }
}

impl State {
    /// Counts an operation; says what is left of it if it fails.
    fn operate(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        match self.fault.unwrap_or(Fault::None) {
            Fault::None | Fault::Full | Fault::Database => Ok(()),
            Fault::CrashAt(at) if number >= at => Err(io::Error::other("the power is gone")),
            Fault::FailFrom(from, count) if (from..from + count).contains(&number) => {
                Err(io::Error::other("the disk failed"))
            }
            Fault::CrashAt(_) | Fault::FailFrom(..) => Ok(()),
        }
    }

    /// Counts an operation on one file.
    fn operate_on(&mut self, number: u32) -> io::Result<()> {
        self.operate()?;
        if self.fault == Some(Fault::Database) && number == DATABASE {
            return Err(io::Error::other("the database's blocks are bad"));
        }
        Ok(())
    }

    fn is_first_failure(&self) -> bool {
        matches!(self.fault, Some(Fault::CrashAt(at)) if self.operations == at + 1)
    }
}

impl Storage for FaultyDisk {
    fn segments(&self) -> io::Result<Vec<u32>> {
        Ok(self.state.lock().files.keys().copied().filter(|number| *number < UNFINISHED).collect())
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(FaultyFile { disk: self.clone(), number }))
    }

    fn create(&self, number: u32, bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let mut state = self.state.lock();
        state.operate()?;
        if state.fault == Some(Fault::Full) && state.spares.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let size = usize::try_from(bytes.max(self.segment_bytes)).unwrap();
        let mut content = state.spares.pop().unwrap_or_default();
        content.dirty.clear();
        content.durable.resize(size.max(content.durable.len()), 0);
        content.seen.resize(size.max(content.seen.len()), 0);
        assert!(state.files.insert(number, content).is_none(), "a number is used once");
        drop(state);
        Storage::open(self, number)
    }

    fn shorten(&self, number: u32, bytes: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate()?;
        let content = state.files.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        content.durable.truncate(usize::try_from(bytes).unwrap());
        content.seen.truncate(usize::try_from(bytes).unwrap());
        Ok(())
    }

    fn retire(&self, number: u32) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate()?;
        let content = state.files.remove(&number).ok_or(io::ErrorKind::NotFound)?;
        if state.spares.is_empty() {
            state.spares.push(content);
        }
        Ok(())
    }

    fn link(&self, number: u32, to: &Path) -> io::Result<()> {
        let state = self.state.lock();
        std::fs::write(to, &state.files.get(&number).ok_or(io::ErrorKind::NotFound)?.seen)
    }

    fn set_aside(&self, name: &str, _bytes: &[u8]) -> io::Result<()> {
        self.state.lock().set_aside.push(name.to_owned());
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let state = self.state.lock();
        state.files.values().chain(&state.spares).map(|content| content.seen.len() as u64).sum()
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    number: u32,
}

impl SegmentFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.state.lock();
        let content = state.files.get(&self.number).ok_or(io::ErrorKind::NotFound)?;
        let (start, end) = (usize::try_from(offset).unwrap(), offset + buffer.len() as u64);
        if let Some((number, bad)) = &state.unreadable
            && *number == self.number
            && bad.start < end
            && offset < bad.end
        {
            return Err(io::Error::other("an unreadable block"));
        }
        let bytes = content.seen.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let outcome = state.operate_on(self.number);
        let torn = outcome.is_err() && state.is_first_failure();
        let content = state.files.get_mut(&self.number).ok_or(io::ErrorKind::NotFound)?;
        let start = usize::try_from(offset).unwrap();
        if outcome.is_ok() || torn {
            let end = start + bytes.len();
            content.seen.get_mut(start..end).ok_or(io::ErrorKind::StorageFull)?.copy_from_slice(bytes);
            content.dirty.push(start..end);
        }
        outcome
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let outcome = state.operate_on(self.number);
        let content = state.files.get_mut(&self.number).ok_or(io::ErrorKind::NotFound)?;
        let dirty = std::mem::take(&mut content.dirty);
        outcome?;
        for range in dirty {
            let end = range.end.min(content.seen.len());
            let range = range.start.min(end)..end;
            content.durable[range.clone()].copy_from_slice(&content.seen[range]);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.disk.state.lock();
        Ok(state.files.get(&self.number).ok_or(io::ErrorKind::NotFound)?.seen.len() as u64)
    }
}

/// The database on the same disk, with the same faults.
impl Backing for FaultyDisk {
    fn open(&self, check: bool) -> Result<redb::Database, redb::Error> {
        let backend = |number| FaultyDatabase(FaultyFile { disk: self.clone(), number });
        if !self.state.lock().files.contains_key(&DATABASE) {
            // As a file is: made under another name, synced, and renamed.
            self.state.lock().files.insert(UNFINISHED, Content::default());
            database::builder(check).create_with_backend(backend(UNFINISHED))?.close()?;
            redb::StorageBackend::sync_data(&backend(UNFINISHED))?;
            let mut state = self.state.lock();
            state.operate()?;
            let content = state.files.remove(&UNFINISHED).unwrap();
            state.files.insert(DATABASE, content);
        }
        Ok(database::builder(check).create_with_backend(backend(DATABASE))?)
    }

    fn bytes(&self) -> u64 {
        self.state.lock().files.get(&DATABASE).map_or(0, |content| content.seen.len() as u64)
    }

    fn copy(&self, to: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        let seen = &state.files.get(&DATABASE).ok_or(io::ErrorKind::NotFound)?.seen;
        std::fs::write(to, seen).map(|()| seen.len() as u64)
    }
}

struct FaultyDatabase(FaultyFile);

impl std::fmt::Debug for FaultyDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyDatabase")
    }
}

impl redb::StorageBackend for FaultyDatabase {
    fn len(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.disk.state.lock();
        state.operate_on(self.0.number)?;
        let content = state.files.get_mut(&self.0.number).ok_or(io::ErrorKind::NotFound)?;
        content.durable.resize(usize::try_from(len).unwrap(), 0);
        content.seen.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
}
