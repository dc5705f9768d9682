//! Backups: a store's files at one moment, checked, in a directory of their own.
//!
//! ```text
//! running store ─ snapshot (links, a copy of the database) ─┐
//! stopped store ─ its lock ─────────────────────────────────┴─► check ─► report
//!                                                           └─► copy, sync, read again, check ─► backup.json
//! backup.json ─ sizes and hashes hold ─► copy into an empty directory, epoch raised ─► a store
//! ```
//! Invariants:
//! - A directory is a backup once it has `backup.json`, which is written last; a restored one is a store once the file
//!   `restoring` is gone, which is removed last.
//! - Everything acked before a backup began is in it: as an envelope, as a dead letter, or as delivered.
//! - What is checked is only read.
//!
//! Deliberately absent: increments, encryption and compression; tools for files do that better.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use taut_core::WallMs;

mod copy;
mod create;
mod inspect;
mod overlay;
mod read_only;
mod restore;
mod snapshot;

pub use create::back_up;
pub use inspect::CheckReport;
pub(crate) use restore::RESTORING;
pub use restore::{Restored, restore, verify};
pub use snapshot::{SegmentLength, Snapshot};
pub(crate) use snapshot::{Snapshots, remove_leftovers};

/// The file that makes a directory a backup.
const MANIFEST: &str = "backup.json";
/// What this version writes and reads.
const FORMAT: u32 = 1;

/// Why a store could not be checked, backed up or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A worker has the store.
    #[error(
        "the store in {path} is in use by another process: ask its worker (leave out --offline and --state-dir), or stop it first",
        path = .path.display()
    )]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// There is no store to read.
    #[error("there is no store in {path}: it has neither taut.redb nor segments", path = .path.display())]
    NoStore {
        /// Where.
        path: PathBuf,
    },
    /// A file or directory could not be read.
    #[error("could not read {path}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// A file or directory could not be written.
    #[error("could not write {path}", path = .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The copy must not meet other files.
    #[error("{path} is not empty (there is {found}): name a directory that is empty or not there yet", path = .path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// The log cannot be read by this version, or is another store's.
    #[error("could not read the log in {path}: {cause}", path = .path.display())]
    Log {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The database did not do its part.
    #[error("the database {path}: {cause}", path = .path.display())]
    Database {
        /// Which.
        path: PathBuf,
        /// Its words.
        cause: String,
    },
    /// The disk gave back something else than what was written, or the backup was changed.
    #[error("{path} is not what was written: {found}; the backup cannot be relied on", path = .path.display())]
    Differs {
        /// Which file.
        path: PathBuf,
        /// What differs.
        found: String,
    },
    /// The directory is no finished backup.
    #[error("{path} is not a whole backup: {cause}", path = .path.display())]
    NoBackup {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// The log kept moving while its files were linked.
    #[error("the log did not hold still for a snapshot; try again")]
    Restless,
    /// The state's disk has no room for the database's copy.
    #[error("a snapshot of the database takes {needed} bytes on the store's own disk, and {free} are free")]
    NoRoom {
        /// Bytes needed, a reserve included.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
}

fn reading(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Read { path, source }
}

fn writing(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Write { path, source }
}

/// Where a store's files are, and how much of each counts.
#[derive(Debug, Clone)]
pub struct Source {
    /// The directory with `segments/` and `taut.redb`.
    pub path: PathBuf,
    /// Bytes of each segment that count, oldest first.
    pub segments: Vec<SegmentLength>,
    /// Held while the files are read.
    _lock: Option<std::sync::Arc<std::fs::File>>,
}

impl Source {
    /// The files of a store that no process has open, or of a backup; nobody opens it while this lives.
    ///
    /// # Errors
    /// [`BackupError::Locked`], [`BackupError::NoStore`], or that it cannot be read.
    pub fn stopped(path: &Path) -> Result<Self, BackupError> {
        let lock = read_only::lock(path)?;
        let segments = read_only::lengths(path)?;
        if segments.is_empty() && !path.join(crate::database::DATABASE).exists() {
            return Err(BackupError::NoStore { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), segments, _lock: lock.map(std::sync::Arc::new) })
    }

    /// The files of a running worker's snapshot.
    pub fn snapshot(snapshot: &Snapshot) -> Self {
        Self { path: snapshot.path.clone(), segments: snapshot.segments.clone(), _lock: None }
    }

    /// Reads all of it and says what is damaged; changes nothing. Blocks on the disk. A backup is compared with its
    /// manifest first.
    ///
    /// # Errors
    /// If it cannot be read at all, or a backup is not as it was written.
    pub fn check(&self) -> Result<CheckReport, BackupError> {
        if self.path.join(MANIFEST).exists() {
            verify(&self.path)?;
        }
        inspect::inspect(self)
    }
}

/// What `backup.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of this file, 1.
    pub format: u32,
    /// The version of taut that made it.
    pub version: String,
    /// When the backup began: what was acked before is in it.
    pub made_at: WallMs,
    /// Every other file of the backup.
    pub files: Vec<ManifestFile>,
    /// What the check of the copy found.
    pub check: CheckReport,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its path in the backup.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// XXH3-128 of its bytes in hex.
    pub xxh3: String,
}

#[cfg(test)]
mod tests;
