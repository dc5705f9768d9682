//! A database's file that is only read: what the database writes while it is opened and repaired stays in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use parking_lot::Mutex;

/// Unit in which changes are kept.
const PAGE_BYTES: usize = 4096;

/// The file below, the changes above.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bytes: u64,
    /// Nothing beyond is taken from the file any more.
    file_bytes: u64,
    changed: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
}

impl Overlay {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { file, state: Mutex::new(State { bytes, file_bytes: bytes, changed: BTreeMap::new() }) })
    }
}

/// A page's number, and the part of it that lies in `offset..offset + length`.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let inside = usize::try_from(at % PAGE_BYTES as u64).expect("below a page's size");
        let here = (PAGE_BYTES - inside).min(length - done);
        let part = (at / PAGE_BYTES as u64, inside..inside + here, done);
        done += here;
        Some(part)
    })
}

impl State {
    /// A whole page as the file has it, zeros beyond its end.
    fn below(&self, file: &File, page: u64) -> io::Result<Box<[u8; PAGE_BYTES]>> {
        let mut bytes = Box::new([0; PAGE_BYTES]);
        let at = page * PAGE_BYTES as u64;
        let there = self.file_bytes.saturating_sub(at).min(PAGE_BYTES as u64);
        let there = usize::try_from(there).expect("at most a page");
        file.read_exact_at(&mut bytes[..there], at)?;
        Ok(bytes)
    }
}

impl redb::StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock();
        if offset + out.len() as u64 > state.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, inside, done) in parts(offset, out.len()) {
            let target = &mut out[done..done + inside.len()];
            match state.changed.get(&page) {
                Some(changed) => target.copy_from_slice(&changed[inside]),
                None => target.copy_from_slice(&state.below(&self.file, page)?[inside]),
            }
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.bytes = bytes;
        state.file_bytes = state.file_bytes.min(bytes);
        let last = bytes / PAGE_BYTES as u64;
        state.changed.retain(|page, _| *page <= last);
        let inside = usize::try_from(bytes % PAGE_BYTES as u64).expect("below a page's size");
        if let Some(page) = state.changed.get_mut(&last) {
            page[inside..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        for (page, inside, done) in parts(offset, data.len()) {
            if !state.changed.contains_key(&page) {
                let below = state.below(&self.file, page)?;
                state.changed.insert(page, below);
            }
            let changed = state.changed.get_mut(&page).expect("put in above");
            changed[inside.clone()].copy_from_slice(&data[done..done + inside.len()]);
        }
        Ok(())
    }
}
