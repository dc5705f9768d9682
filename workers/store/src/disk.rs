//! The disk store as its callers see it.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock, statfs};
use taut_core::{Clock, Epoch, TenantId};
use tokio::sync::watch;

use crate::backup::{BackupError, RESTORING, Snapshot, Snapshots, remove_leftovers};
use crate::compact::{Compactor, put_changes};
use crate::database::{Backing, DATABASE, Database, DatabaseFile, words};
use crate::dead::DeadLetterBox;
use crate::inbox::Inbox;
use crate::meters::Meters;
use crate::options::{DiskOptions, OpenError};
use crate::private;
use crate::recovery::{self, RecoveryReport, Survey};
use crate::shared::Shared;
use crate::storage::{Directory, Storage, make_private_dir};
use crate::tail::{Outlook, Setting, Tail};
use crate::writer::{State, Undertaker, Writer, register, undertaker};

mod traits;

/// Filesystems over a network whose locks and syncs are not a local disk's: NFS, SMB, CIFS.
const NETWORK_FILESYSTEMS: [i64; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];

/// A link under the file's name is an error.
const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// The store on this host's disk: log, dead letters, registry. Cheap to clone.
///
/// [`DiskStore::close`] (or dropping the last clone) makes everything durable that was handed over and frees the
/// directory.
#[derive(Clone)]
pub struct DiskStore {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    database: Arc<Database>,
    dead_letters: Arc<DeadLetterBox>,
    storage: Arc<dyn Storage>,
    epoch: Epoch,
    damaged_ranges: u64,
    snapshots: Snapshots,
    writer: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<File>>,
}

impl DiskStore {
    /// Opens the store, recovers what is in it, and starts its writer. Blocks on the disk.
    ///
    /// # Errors
    /// Every [`OpenError`]; nothing has been changed by then but the epoch.
    pub fn open(options: &DiskOptions, clock: Arc<dyn Clock>) -> Result<(Self, RecoveryReport), OpenError> {
        let directory = |source| unusable(&options.path, source);
        make_private_dir(&options.path).map_err(directory)?;
        refuse_network(&options.path)?;
        private::look_through(&options.path)?;
        let lock = lock(&options.path)?;
        if options.path.join(RESTORING).exists() {
            return Err(OpenError::Restoring { path: options.path.clone() });
        }
        remove_leftovers(&options.path).map_err(directory)?;
        let segment_bytes = segment_bytes(options);
        let storage = Directory::open(&options.path, segment_bytes).map_err(directory)?;
        let database = Box::new(DatabaseFile(options.path.join(DATABASE)));
        Self::open_on(options, Arc::new(storage), database, clock, Some(lock))
    }

    /// Opens the store with its segments in `storage` and its database in `backing`.
    pub(crate) fn open_on(
        options: &DiskOptions,
        storage: Arc<dyn Storage>,
        backing: Box<dyn Backing>,
        clock: Arc<dyn Clock>,
        lock: Option<File>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let path = options.path.clone();
        let recovery =
            |error: recovery::RecoveryError| OpenError::Recovery { path: path.clone(), cause: chain(&error) };
        let redb_path = options.path.join(DATABASE);
        let database_error =
            |error: redb::Error| OpenError::Database { path: redb_path.clone(), cause: words(&error) };

        let survey = Survey::new(&*storage).map_err(recovery)?;
        let database = Arc::new(Database::open(backing).map_err(database_error)?);
        let identity =
            database.next_epoch(survey.store(), survey.epoch(), fresh_store_id()).map_err(database_error)?;
        let meters = Arc::new(Meters::new());
        let dead_letters = Arc::new(
            DeadLetterBox::open(
                database.clone(),
                clock.clone(),
                meters.clone(),
                options.dead_letters_bytes_max,
            )
            .map_err(database_error)?,
        );
        // Without it there is more room taken than need be, and nothing else.
        if let Err(error) = dead_letters.give_back() {
            tracing::warn!(%error, "could not give room of former dead letters back");
        }
        let situation = recovery::Situation {
            store: identity.store,
            now: clock.wall(),
            window: options.dedup_window,
            total_bytes_max: options.total_bytes_max,
        };
        let mut recovered = recovery::recover(&*storage, survey, situation).map_err(recovery)?;
        recovered.next_seq = recovered.next_seq.max(dead_letters.seq_floor());

        let setting = Setting {
            storage: storage.clone(),
            clock: clock.clone(),
            meters: meters.clone(),
            store: identity.store,
            epoch: identity.epoch,
            segment_bytes: segment_bytes(options),
        };
        let write = |source| OpenError::Write { path: path.clone(), source };
        let tail = begin_log(setting, &mut recovered).map_err(write)?;

        let report = recovered.report;
        tell(&report, identity.epoch);
        let epoch = Epoch(identity.epoch);
        let shared = Arc::new(Shared {
            index: Mutex::new(recovered.index),
            inbox: Inbox::default(),
            clock,
            meters,
            store: identity.store,
            writable: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            cause: Mutex::default(),
            errors: AtomicU64::new(0),
            fatal: watch::channel(None).0,
        });
        let tools = undertaker::Tools {
            shared: shared.clone(),
            database: database.clone(),
            dead_letters: dead_letters.clone(),
        };
        let writer = Writer {
            shared: shared.clone(),
            dead_letters: dead_letters.clone(),
            undertaker: Undertaker::start(tools).map_err(|source| OpenError::Thread { source })?,
            tail,
            compactor: Compactor::new(identity.store, epoch),
            next_seq: recovered.next_seq,
            pause: options.retry_pause,
            state: State::default(),
        };
        // If the thread ends, for whatever reason, the store says that it is not writable.
        let thread = std::thread::Builder::new().name("taut-log".into()).spawn(move || writer.run());
        let handle = Handle {
            shared,
            database,
            dead_letters,
            storage,
            epoch,
            damaged_ranges: report.damaged.len() as u64,
            snapshots: Snapshots::new(&options.path),
            writer: Mutex::new(Some(thread.map_err(|source| OpenError::Thread { source })?)),
            lock: Mutex::new(lock),
        };
        Ok((Self { handle: Arc::new(handle) }, report))
    }

    /// Makes durable what was handed over, ends the writer, and frees the directory. Blocks on the disk; later
    /// appends are answered `Unavailable`.
    pub fn close(&self) {
        self.handle.close();
    }

    /// Takes a picture of the store's files at this moment, for a check or a backup to read at leisure; an earlier one
    /// that was not released goes. Blocks on the disk while the database's file is copied, and keeps who writes to
    /// the database waiting that long; acks are not among them.
    ///
    /// # Errors
    /// [`BackupError`], with nothing left behind.
    pub fn snapshot(&self) -> Result<Snapshot, BackupError> {
        let Handle { shared, storage, database, snapshots, .. } = &*self.handle;
        snapshots.take(&**storage, &shared.index, database, shared.clock.wall())
    }

    /// Removes a snapshot's files; a later snapshot is left alone. Blocks on the disk.
    ///
    /// # Errors
    /// If they cannot be removed: the next snapshot, or the next start, tries again.
    pub fn release_snapshot(&self, number: u64) -> Result<(), BackupError> {
        self.handle.snapshots.release(number)
    }

    #[cfg(test)]
    pub(crate) fn database(&self) -> &Database {
        &self.handle.database
    }

    /// The writer's signs of life so far, and a call for the next one; `None` once its thread has ended.
    ///
    /// A writer that waits, for work or for a disk that is full, answers a call at once. One that hangs in a write or
    /// a sync does not: the number stays as it is.
    pub fn sign_of_life(&self) -> Option<u64> {
        let shared = &self.handle.shared;
        (!shared.ended.load(Ordering::Acquire)).then(|| shared.inbox.ask())
    }

    /// Resolves with the reason once the log has failed three times in a row: the process should then end.
    pub fn fatal(&self) -> BoxFuture<'static, String> {
        let mut fatal = self.handle.shared.fatal.subscribe();
        let shared = self.handle.shared.clone();
        async move {
            // The sender lives as long as `shared`, so waiting cannot fail.
            let reason =
                fatal.wait_for(Option::is_some).await.map(|reason| reason.clone().unwrap_or_default());
            drop(shared);
            reason.unwrap_or_default()
        }
        .boxed()
    }
}

impl Handle {
    fn close(&self) {
        self.shared.inbox.close();
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
        self.database.close();
        self.lock.lock().take();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// Damaged ranges that are logged one by one; the report has them all.
const DAMAGED_LOGGED_MAX: usize = 100;

/// Says what recovery found: damage is for a person to look at.
fn tell(report: &RecoveryReport, epoch: u64) {
    for range in report.damaged.iter().take(DAMAGED_LOGGED_MAX) {
        let recovery::DamagedRange { segment, from, to, tenant, seq } = range;
        let tenant = tenant.as_ref().map(TenantId::as_str);
        let seq = seq.map(|seq| seq.0);
        tracing::error!(
            segment,
            from,
            to,
            tenant,
            seq,
            "a part of the log is damaged; its bytes are set aside"
        );
    }
    tracing::info!(
        epoch,
        entries = report.entries,
        keys = report.keys,
        expired_requests = report.expired_requests,
        torn_bytes = report.torn_bytes,
        damaged = report.damaged.len(),
        "store opened"
    );
}

/// Places inside a segment have 32 bits.
fn segment_bytes(options: &DiskOptions) -> u64 {
    options.segment_bytes.clamp(4 << 10, 1 << 30)
}

/// Begins this opening's first segment, and logs what recovery decided.
fn begin_log(setting: Setting, recovered: &mut recovery::Recovered) -> io::Result<Tail> {
    let oldest = recovered.index.segments.keys().next().copied().unwrap_or(0);
    let outlook = Outlook { next_seq: recovered.next_seq, oldest };
    let mut tail = Tail::open(setting, outlook, recovered.last_number, recovered.end)?;
    for number in std::mem::take(&mut recovered.spent) {
        recovery::retire(tail.storage(), number);
    }
    tail.begin_group(outlook);
    recovered.expired.sort_by(|(left, _), (right, _)| left.cmp(right));
    put_changes(&mut tail, &recovered.expired)?;
    if !tail.is_group_empty() {
        tail.commit()?;
    }
    register(&mut recovered.index.segments, &mut tail);
    Ok(tail)
}

fn refuse_network(path: &Path) -> Result<(), OpenError> {
    let found = statfs(path).map_err(|error| unusable(path, error.into()))?;
    if NETWORK_FILESYSTEMS.contains(&(found.f_type & 0xffff_ffff)) {
        return Err(OpenError::Network { path: path.to_owned() });
    }
    Ok(())
}

/// Says of a directory that fails what mode and owner it has, and who wants it.
fn unusable(path: &Path, source: io::Error) -> OpenError {
    let there = path.ancestors().find_map(|path| Some((path, std::fs::metadata(path).ok()?)));
    let found = there.map_or_else(String::new, |(path, metadata)| {
        let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
        let user = rustix::process::geteuid().as_raw();
        format!("{} has mode {mode:04o} and belongs to user {owner}, this is user {user}", path.display())
    });
    OpenError::Directory { path: path.to_owned(), found, source }
}

/// Takes the directory for this process, until the file is closed.
fn lock(path: &Path) -> Result<File, OpenError> {
    let directory = |source| unusable(path, source);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(NO_LINK)
        .open(path.join("lock"));
    let file = file.map_err(directory)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(error) => Err(directory(error.into())),
    }
}

/// Random enough to tell stores apart and to keep frames from posing as records.
fn fresh_store_id() -> u128 {
    let half = || u128::from(std::hash::RandomState::new().build_hasher().finish());
    half() << 64 | half()
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
