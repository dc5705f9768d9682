//! A store's segments as files that are only read: what recovery would write is left undone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::{BackupError, SegmentLength, reading};
use crate::storage::{SegmentFile, Storage, segment_name};

/// Segments of a directory, each up to the length that counts.
pub(super) struct ReadOnly {
    directory: PathBuf,
    segments: Vec<SegmentLength>,
}

impl ReadOnly {
    pub(super) fn new(directory: &Path, segments: &[SegmentLength]) -> Self {
        Self { directory: directory.join("segments"), segments: segments.to_vec() }
    }
}

impl Storage for ReadOnly {
    fn segments(&self) -> io::Result<Vec<u32>> {
        Ok(self.segments.iter().map(|segment| segment.number).collect())
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let known = self.segments.iter().find(|segment| segment.number == number);
        let bytes = known.ok_or(io::ErrorKind::NotFound)?.bytes;
        let file = File::open(self.directory.join(segment_name(number)))?;
        let bytes = bytes.min(file.metadata()?.len());
        Ok(Arc::new(ReadOnlyFile { file, bytes }))
    }

    fn create(&self, _number: u32, _bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn shorten(&self, _number: u32, _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn retire(&self, _number: u32) -> io::Result<()> {
        Ok(())
    }

    fn link(&self, _number: u32, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_aside(&self, _name: &str, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

struct ReadOnlyFile {
    file: File,
    bytes: u64,
}

impl SegmentFile for ReadOnlyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }
}

/// The segments that are there, with their sizes, oldest first.
pub(super) fn lengths(directory: &Path) -> Result<Vec<SegmentLength>, BackupError> {
    let directory = directory.join("segments");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(reading(&directory)(error)),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry.map_err(reading(&directory))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok());
        if let Some(number) = number {
            let bytes = entry.metadata().map_err(reading(&entry.path()))?.len();
            segments.push(SegmentLength { number, bytes });
        }
    }
    segments.sort_by_key(|segment| segment.number);
    Ok(segments)
}

/// Takes the store's lock without making anything; `None` where no store was ever opened.
pub(super) fn lock(directory: &Path) -> Result<Option<File>, BackupError> {
    let path = directory.join("lock");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::metadata(directory).map_err(reading(directory))?;
            return Ok(None);
        }
        Err(error) => return Err(reading(&path)(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BackupError::Locked { path: directory.to_owned() }),
        Err(error) => Err(reading(&path)(error.into())),
    }
}
