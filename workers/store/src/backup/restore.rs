//! Making a store out of a backup.

use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use taut_core::WallMs;

use super::copy::{compare, copy, empty_directory, sync_dir};
use super::{BackupError, FORMAT, MANIFEST, Manifest, ManifestFile, reading, writing};
use crate::database::{DATABASE, Database, DatabaseFile, words};
use crate::storage::make_private_dir;

/// The file that says: a restore was begun here and not finished.
pub(crate) const RESTORING: &str = "restoring";

/// What a restore came to.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The backup it came from.
    pub manifest: Manifest,
    /// The epoch above which the store's next opening will be.
    pub epoch: u64,
}

/// Makes a store in an empty directory from a backup whose every byte is as it was written.
///
/// Its next epoch is above every one that the backed-up store had by `now`, whatever became of that store since: they
/// count its openings, and there was less than one in each millisecond since 1970. The files belong to whom the
/// directory belongs. Blocks on the disk.
///
/// # Errors
/// Every [`BackupError`]; a store that was not finished is refused when it is opened.
pub fn restore(from: &Path, to: &Path, now: WallMs) -> Result<Restored, BackupError> {
    let manifest = verify(from)?;
    empty_directory(to)?;
    let marker = to.join(RESTORING);
    std::fs::write(&marker, b"").map_err(writing(&marker))?;
    sync_dir(to)?;
    let segments = to.join("segments");
    make_private_dir(&segments).map_err(writing(&segments))?;
    for file in &manifest.files {
        let path = to.join(&file.name);
        let copied = copy(&from.join(&file.name), &path, &file.name, Some(file.bytes))?;
        if copied != *file {
            return Err(BackupError::Differs { path: from.join(&file.name), found: "it changes".to_owned() });
        }
    }
    raise_epoch(&to.join(DATABASE), now)?;
    give_to_owner(to, &manifest.files)?;
    sync_dir(&segments)?;
    sync_dir(to)?;
    std::fs::remove_file(&marker).map_err(writing(&marker))?;
    sync_dir(to)?;
    Ok(Restored { epoch: now.0.max(manifest.check.epoch), manifest })
}

/// Compares every file of a backup with what was written. Blocks on the disk.
///
/// # Errors
/// [`BackupError::NoBackup`], or which file is not as it was.
pub fn verify(backup: &Path) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(backup)?;
    for file in &manifest.files {
        compare(&backup.join(&file.name), file)?;
    }
    Ok(manifest)
}

/// Reads `backup.json`; its names must stay inside the backup.
fn read_manifest(from: &Path) -> Result<Manifest, BackupError> {
    let no_backup = |cause: String| BackupError::NoBackup { path: from.to_owned(), cause };
    let path = from.join(MANIFEST);
    let json = match std::fs::read(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(no_backup("backup.json is missing, which is written last".to_owned()));
        }
        Err(error) => return Err(reading(&path)(error)),
    };
    let format = serde_json::from_slice::<serde_json::Value>(&json)
        .map_err(|error| no_backup(format!("backup.json is not readable: {error}")))?
        .get("format")
        .and_then(serde_json::Value::as_u64);
    if format != Some(u64::from(FORMAT)) {
        return Err(no_backup(format!("its format is not {FORMAT}, which this version reads")));
    }
    let manifest: Manifest = serde_json::from_slice(&json)
        .map_err(|error| no_backup(format!("backup.json is not readable: {error}")))?;
    let plain = |file: &ManifestFile| {
        Path::new(&file.name).components().all(|part| matches!(part, Component::Normal(_)))
    };
    if let Some(file) = manifest.files.iter().find(|file| !plain(file)) {
        return Err(no_backup(format!("it names a file outside of itself, {}", file.name)));
    }
    Ok(manifest)
}

fn raise_epoch(path: &Path, now: WallMs) -> Result<(), BackupError> {
    let failed = |error: redb::Error| BackupError::Database { path: path.to_owned(), cause: words(&error) };
    let database = Database::open(Box::new(DatabaseFile(path.to_owned()))).map_err(failed)?;
    database.raise_epoch(now.0).map_err(failed)?;
    database.close();
    Ok(())
}

/// An administrator restores for the user that the worker runs as.
fn give_to_owner(to: &Path, files: &[ManifestFile]) -> Result<(), BackupError> {
    let directory = std::fs::metadata(to).map_err(reading(to))?;
    let (user, group) = (directory.uid(), directory.gid());
    if user == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let names = files.iter().map(|file| file.name.as_str()).chain(["segments", DATABASE]);
    for path in names.map(|name| to.join(name)).filter(|path| path.exists()) {
        std::os::unix::fs::chown(&path, Some(user), Some(group)).map_err(writing(&path))?;
    }
    Ok(())
}
