//! Making a backup.

use std::path::Path;

use taut_core::WallMs;

use super::copy::{compare, copy, empty_directory, sync_dir};
use super::{BackupError, FORMAT, MANIFEST, Manifest, ManifestFile, Source, writing};
use crate::database::DATABASE;
use crate::storage::{make_private_dir, segment_name};

/// Copies a store's files to an empty directory, reads them again, checks them, and only then calls it a backup.
///
/// Damage that the store has is in the copy too, and in its manifest: the rest is worth keeping. Blocks on the disk.
///
/// # Errors
/// Every [`BackupError`]; what was copied by then lies about without `backup.json`.
pub fn back_up(source: &Source, to: &Path, began_at: WallMs, version: &str) -> Result<Manifest, BackupError> {
    empty_directory(to)?;
    let segments = to.join("segments");
    make_private_dir(&segments).map_err(writing(&segments))?;
    let mut files: Vec<ManifestFile> = Vec::with_capacity(source.segments.len() + 1);
    for segment in &source.segments {
        let name = format!("segments/{}", segment_name(segment.number));
        files.push(copy(&source.path.join(&name), &to.join(&name), &name, Some(segment.bytes))?);
    }
    if source.path.join(DATABASE).exists() {
        files.push(copy(&source.path.join(DATABASE), &to.join(DATABASE), DATABASE, None)?);
    }
    sync_dir(&segments)?;
    for file in &files {
        compare(&to.join(&file.name), file)?;
    }
    let check = Source { path: to.to_owned(), segments: source.segments.clone(), _lock: None }.check()?;
    let manifest = Manifest { format: FORMAT, version: version.to_owned(), made_at: began_at, files, check };
    write_manifest(to, &manifest)?;
    Ok(manifest)
}

/// Puts `backup.json` there, whole or not at all.
fn write_manifest(directory: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let (unfinished, finished) = (directory.join("backup.json.new"), directory.join(MANIFEST));
    let json = serde_json::to_vec_pretty(manifest).expect("a manifest is plain data");
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(&json).and_then(|()| file.sync_all()))
        .map_err(writing(&unfinished))?;
    sync_dir(directory)?;
    std::fs::rename(&unfinished, &finished).map_err(writing(&finished))?;
    sync_dir(directory)
}
