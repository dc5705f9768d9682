//! The embedded database `taut.redb`: the store's own facts, dead letters, tenants' facts, route numbers.
//!
//! After any failure the database is closed and opened again at the next call: it refuses all work after a failed
//! write, and rightly so. Transactions run side by side, one of them writing; no lock is held over their work.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

/// Its file in the store's directory.
pub(crate) const DATABASE: &str = "taut.redb";
/// Memory the database may use as a cache, in bytes.
const CACHE_BYTES: usize = 16 << 20;

/// The store's own facts.
const STORE: TableDefinition<&str, u128> = TableDefinition::new("store");
/// Dead letters: (tenant, seq, route) to (frame bytes, `died_at`, description as JSON).
pub(crate) const LETTERS: TableDefinition<LetterKey, (u32, u64, &[u8])> =
    TableDefinition::new("dead_letters");
/// Frames of dead letters, under the same keys.
pub(crate) const FRAMES: TableDefinition<LetterKey, &[u8]> = TableDefinition::new("dead_frames");
/// Tenants' facts as JSON.
pub(crate) const FACTS: TableDefinition<&str, &[u8]> = TableDefinition::new("facts");
/// Names of routes: (tenant, number).
pub(crate) const ROUTES: TableDefinition<(&str, u8), &str> = TableDefinition::new("routes");

pub(crate) type LetterKey = (&'static str, u64, &'static str);

const STORE_ID: &str = "store_id";
const EPOCH: &str = "epoch";

/// Where the database is.
pub(crate) trait Backing: Send + Sync + 'static {
    /// Opens it, making it where it is missing; with `check` every checksum in it is looked at.
    fn open(&self, check: bool) -> Result<redb::Database, redb::Error>;
    /// Bytes it takes.
    fn bytes(&self) -> u64;
    /// Writes its bytes, as they are, to a file that must not be there yet.
    fn copy(&self, to: &Path) -> io::Result<u64>;
}

/// The database in a file, readable for its owner only.
pub(crate) struct DatabaseFile(pub PathBuf);

impl Backing for DatabaseFile {
    fn open(&self, check: bool) -> Result<redb::Database, redb::Error> {
        if self.bytes() == 0 {
            self.make()?;
        }
        Ok(builder(check).open(&self.0)?)
    }

    fn bytes(&self) -> u64 {
        std::fs::metadata(&self.0).map_or(0, |metadata| metadata.len())
    }

    fn copy(&self, to: &Path) -> io::Result<u64> {
        let mut from = File::open(&self.0)?;
        let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        io::copy(&mut from, &mut to)
    }
}

impl DatabaseFile {
    /// Makes an empty database under another name first: a power loss while it writes its header would leave a file
    /// that it refuses.
    fn make(&self) -> Result<(), redb::Error> {
        let unfinished = self.0.with_extension("redb.new");
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        // The database would make the file readable for everybody whom the umask lets in.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        builder(false).create(&unfinished)?.close()?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &self.0)?;
        if let Some(directory) = self.0.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }
}

/// How every database is opened. It trusts what it reads, so the first opening of a process looks at all checksums.
pub(crate) fn builder(check: bool) -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(check);
    builder
}

/// The open database, or where it is.
pub(crate) struct Database {
    backing: Box<dyn Backing>,
    /// Held for writing only to open, to close and to compact.
    handle: RwLock<Handle>,
}

enum Handle {
    Open {
        database: redb::Database,
        /// Tells this opening from later ones.
        opening: u64,
    },
    /// A call failed: the next one opens the file anew.
    Failed { openings: u64 },
    /// For good: the file may be another store's by now.
    Closed,
}

/// What the store is and how often it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub store: u128,
    pub epoch: u64,
}

impl Database {
    /// Opens or makes the database; all its tables exist then.
    pub(crate) fn open(backing: Box<dyn Backing>) -> Result<Self, redb::Error> {
        let database = Self { backing, handle: RwLock::new(Handle::Failed { openings: 0 }) };
        database.write(|txn| {
            txn.open_table(LETTERS)?;
            txn.open_table(FRAMES)?;
            txn.open_table(STORE)?;
            txn.open_table(FACTS)?;
            txn.open_table(ROUTES)?;
            Ok(())
        })?;
        Ok(database)
    }

    /// Takes the next epoch, above `epoch_seen`; the first time also a store id, or the one found in the log.
    pub(crate) fn next_epoch(
        &self,
        found: Option<u128>,
        epoch_seen: u64,
        fresh: u128,
    ) -> Result<Identity, redb::Error> {
        self.write(|txn| {
            let mut table = txn.open_table(STORE)?;
            let stored = table.get(STORE_ID)?.map(|value| value.value());
            let store = stored.or(found).unwrap_or(fresh);
            let epoch = table.get(EPOCH)?.map_or(0, |value| value.value()).max(u128::from(epoch_seen)) + 1;
            table.insert(STORE_ID, store)?;
            table.insert(EPOCH, epoch)?;
            let epoch = u64::try_from(epoch).unwrap_or(u64::MAX);
            Ok(Identity { store, epoch })
        })
    }

    /// Sees to it that the next epoch is above this one.
    pub(crate) fn raise_epoch(&self, above: u64) -> Result<(), redb::Error> {
        self.write(|txn| {
            let mut table = txn.open_table(STORE)?;
            let stored = table.get(EPOCH)?.map_or(0, |value| value.value());
            table.insert(EPOCH, stored.max(u128::from(above)))?;
            Ok(())
        })
    }

    /// Runs a write transaction; durable when it returns. Waits for the one under way.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let begin = |database: &redb::Database| Ok(database.begin_write()?);
        self.with(begin, |mut txn| {
            // Costs a little at each commit and saves walking through the whole file after a crash.
            txn.set_quick_repair(true);
            let result = work(&txn)?;
            txn.commit()?;
            Ok(result)
        })
    }

    /// Runs a read transaction: it sees the database as it is now, whatever is written meanwhile.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        self.with(|database| Ok(database.begin_read()?), |txn| work(&txn))
    }

    /// Runs `work` while nothing is written: the file then is what the last transaction left, and opens like after a
    /// crash.
    pub(crate) fn hold_still<T>(&self, work: impl FnOnce(&dyn Backing) -> T) -> Result<T, redb::Error> {
        let begin = |database: &redb::Database| Ok(database.begin_write()?);
        self.with(begin, |txn| {
            let result = work(&*self.backing);
            txn.abort()?;
            Ok(result)
        })
    }

    /// Gives free pages back to the file system; false if transactions are under way or there is nothing to gain.
    /// Everybody else waits: only for when much is free.
    pub(crate) fn compact(&self) -> Result<bool, redb::Error> {
        let mut handle = self.handle.write();
        let Handle::Open { database, opening } = &mut *handle else { return Ok(false) };
        match database.compact() {
            Ok(compacted) => Ok(compacted),
            Err(
                redb::CompactionError::TransactionInProgress
                | redb::CompactionError::PersistentSavepointExists
                | redb::CompactionError::EphemeralSavepointExists,
            ) => Ok(false),
            Err(error) => {
                *handle = Handle::Failed { openings: *opening };
                Err(error.into())
            }
        }
    }

    /// Closes the file for good.
    pub(crate) fn close(&self) {
        *self.handle.write() = Handle::Closed;
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.backing.bytes()
    }

    fn with<Txn, T>(
        &self,
        begin: impl Fn(&redb::Database) -> Result<Txn, redb::Error>,
        work: impl FnOnce(Txn) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let (txn, of) = loop {
            let handle = self.handle.read();
            match &*handle {
                Handle::Open { database, opening } => break (begin(database), *opening),
                Handle::Failed { .. } => drop(handle),
                Handle::Closed => return Err(redb::Error::DatabaseClosed),
            }
            self.reopen()?;
        };
        txn.and_then(work).inspect_err(|_| self.fail(of))
    }

    fn reopen(&self) -> Result<(), redb::Error> {
        let mut handle = self.handle.write();
        if let Handle::Failed { openings } = *handle {
            // Of a damaged file the database may say so by a panic.
            let opened = catch_unwind(AssertUnwindSafe(|| self.backing.open(openings == 0)));
            let damaged = |_| Err(redb::Error::Corrupted("it is damaged beyond what can be told".to_owned()));
            *handle = Handle::Open { database: opened.unwrap_or_else(damaged)?, opening: openings + 1 };
        }
        Ok(())
    }

    fn fail(&self, of: u64) {
        let mut handle = self.handle.write();
        if matches!(*handle, Handle::Open { opening, .. } if opening == of) {
            *handle = Handle::Failed { openings: of };
        }
    }
}

/// What the store was at its last opening; `None` if it never was.
pub(crate) fn identity_in(txn: &redb::ReadTransaction) -> Result<Option<Identity>, redb::Error> {
    let table = txn.open_table(STORE)?;
    let epoch = table.get(EPOCH)?.map_or(0, |value| u64::try_from(value.value()).unwrap_or(u64::MAX));
    Ok(table.get(STORE_ID)?.map(|store| Identity { store: store.value(), epoch }))
}

/// The database's words with their causes.
pub(crate) fn words(error: &redb::Error) -> String {
    error.to_string()
}

/// The rows of a tenant's routes, ascending by number.
pub(crate) fn route_rows(
    table: &impl ReadableTable<(&'static str, u8), &'static str>,
    tenant: &str,
) -> Result<Vec<(u8, String)>, redb::Error> {
    let mut rows = Vec::new();
    for row in table.range((tenant, 0)..=(tenant, u8::MAX))? {
        let (key, name) = row?;
        rows.push((key.value().1, name.value().to_owned()));
    }
    Ok(rows)
}
