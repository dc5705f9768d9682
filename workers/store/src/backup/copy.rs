//! Copying files so that what arrives is what was read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::{BackupError, ManifestFile, reading, writing};
use crate::storage::make_private_dir;

const CHUNK_BYTES: usize = 256 << 10;

/// Copies the first `bytes` of a file (all of it with `None`) to a file that is not there yet, syncs it, and says what
/// was copied. Fails if the file is shorter.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    name: &str,
    bytes: Option<u64>,
) -> Result<ManifestFile, BackupError> {
    let mut source = File::open(from).map_err(reading(from))?;
    let mut target =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(writing(to))?;
    let copied = pump(&mut source, bytes, |chunk| target.write_all(chunk).map_err(writing(to)))
        .map_err(|fault| fault.at(from))?;
    if let Some(wanted) = bytes.filter(|wanted| *wanted != copied.0) {
        let short = io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} of {wanted} bytes", copied.0));
        return Err(reading(from)(short));
    }
    target.sync_all().map_err(writing(to))?;
    Ok(ManifestFile { name: name.to_owned(), bytes: copied.0, xxh3: copied.1 })
}

/// Reads a file again, from the disk where the system lets us, and compares it with what it should be.
pub(super) fn compare(path: &Path, wanted: &ManifestFile) -> Result<(), BackupError> {
    let mut file = File::open(path).map_err(reading(path))?;
    // Out of the cache: it is the disk that is asked. A system that does not do it compares less, and still something.
    if let Err(error) = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed) {
        tracing::debug!(%error, "the cache was not dropped");
    }
    let (bytes, xxh3) = pump(&mut file, None, |_| Ok(())).map_err(|fault| fault.at(path))?;
    let differs = |found: String| BackupError::Differs { path: path.to_owned(), found };
    if bytes != wanted.bytes {
        return Err(differs(format!("{bytes} bytes instead of {}", wanted.bytes)));
    }
    if xxh3 != wanted.xxh3 {
        return Err(differs("its hash does not hold".to_owned()));
    }
    Ok(())
}

/// An empty directory for its owner alone, made where it is missing.
pub(super) fn empty_directory(path: &Path) -> Result<(), BackupError> {
    make_private_dir(path).map_err(writing(path))?;
    let mut entries = std::fs::read_dir(path).map_err(reading(path))?;
    match entries.next() {
        None => Ok(()),
        Some(entry) => {
            let found = entry.map_err(reading(path))?.file_name().to_string_lossy().into_owned();
            Err(BackupError::NotEmpty { path: path.to_owned(), found })
        }
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(writing(path))
}

enum Fault {
    Reading(io::Error),
    Taking(BackupError),
}

impl Fault {
    fn at(self, path: &Path) -> BackupError {
        match self {
            Self::Reading(error) => reading(path)(error),
            Self::Taking(error) => error,
        }
    }
}

/// Reads to the end or to `bytes`, hands every chunk on, and gives size and hash.
fn pump(
    source: &mut impl Read,
    bytes: Option<u64>,
    mut take: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<(u64, String), Fault> {
    let mut source = source.take(bytes.unwrap_or(u64::MAX));
    let (mut buffer, mut hash, mut total) = (vec![0; CHUNK_BYTES], Xxh3::new(), 0);
    loop {
        let read = match source.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Fault::Reading(error)),
        };
        if read == 0 {
            return Ok((total, format!("{:032x}", hash.digest128())));
        }
        hash.update(&buffer[..read]);
        take(&buffer[..read]).map_err(Fault::Taking)?;
        total += read as u64;
    }
}
