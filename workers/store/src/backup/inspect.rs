//! The check: every record and every page, with the code that would recover them, writing nothing.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use redb::{ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};
use taut_core::WallMs;

use super::overlay::Overlay;
use super::read_only::ReadOnly;
use super::{BackupError, Source, reading};
use crate::database::{self, DATABASE, FACTS, FRAMES, LETTERS, ROUTES};
use crate::disk::chain;
use crate::recovery::{self, DamagedRange, Situation, Survey};

/// Faults of single rows that are told one by one.
const FAULTS_MAX: usize = 100;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The store's id in hex.
    pub store: String,
    /// The epoch of its last opening.
    pub epoch: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Bytes of segments and database that were read.
    pub bytes: u64,
    /// Envelopes that wait for delivery.
    pub entries: u64,
    /// Requests that wait for their answer: a start closes them as expired.
    pub open_requests: u64,
    /// Bytes at the end of the log that were never promised: a start cuts them.
    pub torn_bytes: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Parts of the log that were durable once and are not whole, with tenant and number where they can be read.
    pub damaged: Vec<DamagedRange>,
    /// What is wrong with the database, each in a sentence.
    pub database: Vec<String>,
}

impl CheckReport {
    /// Whether nothing is damaged.
    pub const fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.database.is_empty()
    }
}

/// Reads everything.
pub(super) fn inspect(source: &Source) -> Result<CheckReport, BackupError> {
    let mut report = CheckReport::default();
    let path = source.path.join(DATABASE);
    let store = if path.exists() {
        inspect_database(&path, &mut report)?
    } else {
        report
            .database
            .push("taut.redb is missing: dead letters and the numbers of routes are lost".to_owned());
        None
    };
    inspect_log(source, store, &mut report)?;
    Ok(report)
}

fn inspect_log(source: &Source, store: Option<u128>, report: &mut CheckReport) -> Result<(), BackupError> {
    let failed =
        |error: recovery::RecoveryError| BackupError::Log { path: source.path.clone(), cause: chain(&error) };
    let storage = ReadOnly::new(&source.path, &source.segments);
    let survey = Survey::new(&storage).map_err(failed)?;
    let store = store.or(survey.store()).unwrap_or_default();
    report.store = format!("{store:032x}");
    report.epoch = report.epoch.max(survey.epoch());
    report.segments = source.segments.len() as u64;
    report.bytes += source.segments.iter().map(|segment| segment.bytes).sum::<u64>();
    let situation = Situation { store, now: WallMs(0), window: Duration::ZERO, total_bytes_max: u64::MAX };
    let found = recovery::recover(&storage, survey, situation).map_err(failed)?.report;
    report.entries = found.entries;
    report.open_requests = found.expired_requests;
    report.torn_bytes = found.torn_bytes;
    report.damaged = found.damaged;
    Ok(())
}

/// Opens the database over its file, looks at every checksum and every row, and says which store it is.
fn inspect_database(path: &Path, report: &mut CheckReport) -> Result<Option<u128>, BackupError> {
    let file = File::open(path).map_err(reading(path))?;
    let overlay = Overlay::new(file).map_err(reading(path))?;
    report.bytes += redb::StorageBackend::len(&overlay).map_err(reading(path))?;
    // A damaged file may make the database panic.
    let looked = catch_unwind(AssertUnwindSafe(|| look(overlay, report)));
    match looked {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(error)) => {
            report.database.push(format!("taut.redb cannot be opened: {}", database::words(&error)));
            Ok(None)
        }
        Err(_) => {
            report.database.push("taut.redb is damaged".to_owned());
            Ok(None)
        }
    }
}

fn look(overlay: Overlay, report: &mut CheckReport) -> Result<Option<u128>, redb::Error> {
    let database = database::builder(true).create_with_backend(overlay)?;
    let txn = database.begin_read()?;
    let identity = match database::identity_in(&txn) {
        Ok(identity) => identity,
        Err(redb::Error::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error),
    };
    let Some(identity) = identity else {
        report.database.push("taut.redb is empty".to_owned());
        return Ok(None);
    };
    report.epoch = identity.epoch;
    let (letters, frames) = (txn.open_table(LETTERS)?, txn.open_table(FRAMES)?);
    for row in letters.iter()? {
        let (key, value) = row?;
        report.dead_letters += 1;
        let (tenant, seq, route) = key.value();
        let (bytes, _, description) = value.value();
        let frame = frames.get(key.value())?.map(|frame| frame.value().len());
        let whole = frame == usize::try_from(bytes).ok()
            && serde_json::from_slice::<taut_core::log::DeadLetter>(description).is_ok();
        if !whole && report.database.len() < FAULTS_MAX {
            report.database.push(format!("dead letter {seq} of {tenant} at route {route} is not whole"));
        }
    }
    for row in txn.open_table(FACTS)?.iter()? {
        row?;
    }
    for row in txn.open_table(ROUTES)?.iter()? {
        row?;
    }
    Ok(Some(identity.store))
}
