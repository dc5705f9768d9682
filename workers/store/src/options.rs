//! How a store is opened, and why it may refuse.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// Its directory; made if missing, for its owner alone.
    pub path: PathBuf,
    /// `queue.total_bytes_max`: bytes of frames over all tenants.
    pub total_bytes_max: u64,
    /// `queue.dedup_window`: how long dedup keys are remembered.
    pub dedup_window: Duration,
    /// `dead_letters.bytes_max`: bytes of frames.
    pub dead_letters_bytes_max: u64,
    /// Size of a segment, 4 KiB to 1 GiB. A longer frame gets a segment of its own.
    pub segment_bytes: u64,
    /// Pause before the first attempt to go on after a failed write or sync; it grows fourfold up to 5 s.
    pub retry_pause: Duration,
}

impl DiskOptions {
    /// The contract's defaults, in this directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            total_bytes_max: 8 << 30,
            dedup_window: Duration::new(15 * 60, 0),
            dead_letters_bytes_max: 1 << 30,
            segment_bytes: 64 << 20,
            retry_pause: Duration::from_millis(50),
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be used.
    #[error(
        "could not use the store's directory {path}: it must be writable by this user; {found}",
        path = .path.display()
    )]
    Directory {
        /// Which.
        path: PathBuf,
        /// Mode and owner of it, or of the nearest directory above that is there; and who asks.
        found: String,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error("the store in {path} is in use by another process", path = .path.display())]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// Half a backup is no store.
    #[error(
        "a restore into {path} was begun and not finished: remove everything in it and restore again",
        path = .path.display()
    )]
    Restoring {
        /// Which.
        path: PathBuf,
    },
    /// A name in the store leads elsewhere: nothing that taut makes does.
    #[error("{path} is a link: a store's files are its own; put the file there, or move the whole store", path = .path.display())]
    Link {
        /// The name.
        path: PathBuf,
    },
    /// A network filesystem: neither its locks nor its syncs can be relied on.
    #[error("the store's directory {path} is on a network filesystem; put it on a local disk", path = .path.display())]
    Network {
        /// Which.
        path: PathBuf,
    },
    /// The embedded database refuses.
    #[error(
        "could not open the database {path}: {cause}; `taut store check --offline` looks at all of the store",
        path = .path.display()
    )]
    Database {
        /// Which file.
        path: PathBuf,
        /// Its words.
        cause: String,
    },
    /// The segments cannot be recovered by this version, or are not this store's.
    #[error("could not recover the log in {path}: {cause}", path = .path.display())]
    Recovery {
        /// Which directory.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The first write failed.
    #[error("could not write to the log in {path}", path = .path.display())]
    Write {
        /// Which directory.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("could not start the log's writer")]
    Thread {
        /// The system's words.
        #[source]
        source: io::Error,
    },
}
