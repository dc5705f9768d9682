//! A running store's files at one moment.
//!
//! Nothing is written to the database meanwhile, so a dead letter cannot leave or come between the moment of the log
//! and that of the database: a replayed one is in the log before it leaves the database, a buried one is in the
//! database before the log knows. Segments are linked, not copied: the log appends beyond the length that counts, and
//! a file with another name is never written again under a new number.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use taut_core::WallMs;

use super::{BackupError, reading, writing};
use crate::database::{Backing, DATABASE, Database};
use crate::index::Index;
use crate::storage::{Storage, make_private_dir, segment_name};

/// Where snapshots are, in the store's directory.
const SNAPSHOTS: &str = "snapshots";
/// How often the log may begin a segment while its files are linked.
const ROUNDS_MAX: usize = 100;
/// What must stay free on the store's disk beside the database's copy, in bytes.
const RESERVE_BYTES: u64 = 16 << 20;

/// How much of a segment counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentLength {
    /// The segment.
    pub number: u32,
    /// Bytes from its start.
    pub bytes: u64,
}

/// A running store's files at one moment, in a directory of their own until they are released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Tells it from earlier ones.
    pub number: u64,
    /// Where its files are.
    pub path: PathBuf,
    /// When it was taken.
    pub taken_at: WallMs,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentLength>,
}

/// The one snapshot of a store that there may be.
pub(crate) struct Snapshots {
    root: PathBuf,
    /// Number of the latest.
    latest: Mutex<u64>,
}

impl Snapshots {
    pub(crate) fn new(store: &Path) -> Self {
        // Others read it from directories of their own.
        let store = std::path::absolute(store).unwrap_or_else(|_| store.to_owned());
        Self { root: store.join(SNAPSHOTS), latest: Mutex::new(0) }
    }

    /// Takes a snapshot; one that was not released goes.
    pub(crate) fn take(
        &self,
        storage: &dyn Storage,
        index: &Mutex<Index>,
        database: &Database,
        now: WallMs,
    ) -> Result<Snapshot, BackupError> {
        let mut latest = self.latest.lock();
        remove(&self.root).map_err(writing(&self.root))?;
        *latest += 1;
        let path = self.root.join(latest.to_string());
        let linked = path.join("segments");
        make_private_dir(&linked).map_err(writing(&linked))?;
        let taken = database
            .hold_still(|backing| {
                let segments = link_segments(storage, index, &linked)?;
                copy_database(backing, &path)?;
                Ok(segments)
            })
            .map_err(|error| BackupError::Database {
                path: self.root.with_file_name(DATABASE),
                cause: crate::database::words(&error),
            })
            .flatten();
        match taken {
            Ok(segments) => Ok(Snapshot { number: *latest, path, taken_at: now, segments }),
            Err(error) => {
                if let Err(left) = remove(&self.root) {
                    tracing::warn!(error = %left, "could not remove an unfinished snapshot");
                }
                Err(error)
            }
        }
    }

    /// Removes a snapshot's files, if it is still the latest.
    pub(crate) fn release(&self, number: u64) -> Result<(), BackupError> {
        let latest = self.latest.lock();
        if *latest == number { remove(&self.root).map_err(writing(&self.root)) } else { Ok(()) }
    }
}

/// Removes what an earlier process did not release.
pub(crate) fn remove_leftovers(store: &Path) -> io::Result<()> {
    remove(&store.join(SNAPSHOTS))
}

fn remove(root: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Links every segment of the log as it is at one moment, under the index's lock for memory work only: what is linked
/// is compared with the index afterwards, until all of the index is there.
fn link_segments(
    storage: &dyn Storage,
    index: &Mutex<Index>,
    to: &Path,
) -> Result<Vec<SegmentLength>, BackupError> {
    let mut linked: BTreeMap<u32, PathBuf> = BTreeMap::new();
    for _ in 0..ROUNDS_MAX {
        let segments: Vec<_> = {
            let index = index.lock();
            index.segments.iter().map(|(number, segment)| (*number, segment.used)).collect()
        };
        let missing: Vec<_> = segments.iter().filter(|(number, _)| !linked.contains_key(number)).collect();
        if missing.is_empty() {
            for (number, path) in &linked {
                if segments.iter().all(|(wanted, _)| wanted != number) {
                    std::fs::remove_file(path).map_err(writing(path))?;
                }
            }
            return Ok(segments.into_iter().map(|(number, bytes)| SegmentLength { number, bytes }).collect());
        }
        for (number, _) in missing {
            let path = to.join(segment_name(*number));
            match storage.link(*number, &path) {
                Ok(()) => drop(linked.insert(*number, path)),
                // Recycled a moment ago: the index will not name it again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(writing(&path)(error)),
            }
        }
    }
    Err(BackupError::Restless)
}

fn copy_database(backing: &dyn Backing, to: &Path) -> Result<(), BackupError> {
    let disk = rustix::fs::statvfs(to).map_err(|error| reading(to)(error.into()))?;
    let (free, needed) = (disk.f_bavail.saturating_mul(disk.f_frsize), backing.bytes() + RESERVE_BYTES);
    if free < needed {
        return Err(BackupError::NoRoom { needed, free });
    }
    let path = to.join(DATABASE);
    backing.copy(&path).map_err(writing(&path))?;
    Ok(())
}
