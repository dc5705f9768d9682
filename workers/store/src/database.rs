//! The embedded database `taut.redb`: the store's own facts, dead letters, tenants' facts, route numbers.
//!
//! After any failure the database is closed and opened again at the next call: it refuses all work after a failed
//! write, and rightly so.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

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

/// The open database, or where it is.
pub(crate) struct Database {
    path: PathBuf,
    handle: Mutex<Handle>,
}

enum Handle {
    Open(redb::Database),
    /// A call failed: the next one opens the file anew.
    Failed,
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
    pub(crate) fn open(path: &Path) -> Result<Self, redb::Error> {
        // The database would make the file readable for everybody whom the umask lets in.
        std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let database = Self { path: path.to_owned(), handle: Mutex::new(Handle::Failed) };
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

    /// Runs a write transaction; durable when it returns.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        self.with(|database| {
            let mut txn = database.begin_write()?;
            // Costs a little at each commit and saves walking through the whole file after a crash.
            txn.set_quick_repair(true);
            let result = work(&txn)?;
            txn.commit()?;
            Ok(result)
        })
    }

    /// Runs a read transaction.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        self.with(|database| work(&database.begin_read()?))
    }

    /// Closes the file for good.
    pub(crate) fn close(&self) {
        *self.handle.lock() = Handle::Closed;
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&redb::Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let mut handle = self.handle.lock();
        let database = match std::mem::replace(&mut *handle, Handle::Failed) {
            Handle::Open(database) => database,
            Handle::Failed => redb::Builder::new().set_cache_size(CACHE_BYTES).create(&self.path)?,
            Handle::Closed => {
                *handle = Handle::Closed;
                return Err(redb::Error::DatabaseClosed);
            }
        };
        let result = work(&database)?;
        *handle = Handle::Open(database);
        Ok(result)
    }
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
