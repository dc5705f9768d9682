//! The files under the log, behind a trait so that tests can break them.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FallocateFlags;

/// Retired segment files kept to be written again: recycled blocks need no allocation.
const SPARES_MAX: usize = 1;

/// A directory of segment files.
pub(crate) trait Storage: Send + Sync + 'static {
    /// Numbers of the segments there are, ascending.
    fn segments(&self) -> io::Result<Vec<u32>>;
    /// Opens a segment anew.
    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>>;
    /// Makes a segment of at least `bytes`, its blocks allocated and its name durable. It may be a recycled file:
    /// old bytes are then still in it.
    fn create(&self, number: u32, bytes: u64) -> io::Result<Arc<dyn SegmentFile>>;
    /// Gives back what lies beyond `bytes`.
    fn shorten(&self, number: u32, bytes: u64) -> io::Result<()>;
    /// Takes the segment out of the log; its file may be recycled.
    fn retire(&self, number: u32) -> io::Result<()>;
    /// Gives the segment another name, `to`, of the same file: it is then never written again under a new number.
    /// `NotFound` once it is out of the log.
    fn link(&self, number: u32, to: &Path) -> io::Result<()>;
    /// Keeps damaged bytes for a person; the same name again is not written twice.
    fn set_aside(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Bytes that all segments and spares take.
    fn bytes(&self) -> u64;
}

/// An open segment.
pub(crate) trait SegmentFile: Send + Sync + 'static {
    /// Fills `buffer` from `offset`, all of it or an error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable. After an error the file must not be written or synced again: the kernel
    /// may have dropped the bytes and would report the next sync as good.
    fn sync(&self) -> io::Result<()>;
    /// Size in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// Segments as files `segments/NNNNNNNNNN.log` of a directory, damaged bytes in `damaged/`.
pub(crate) struct Directory {
    segments: PathBuf,
    damaged: PathBuf,
    segment_bytes: u64,
    sizes: Mutex<Sizes>,
}

#[derive(Default)]
struct Sizes {
    segments: std::collections::BTreeMap<u32, u64>,
    spares: Vec<u32>,
}

impl Directory {
    /// Opens the directories below `root`, making them where they are missing.
    pub(crate) fn open(root: &Path, segment_bytes: u64) -> io::Result<Self> {
        let directory = Self {
            segments: root.join("segments"),
            damaged: root.join("damaged"),
            segment_bytes,
            sizes: Mutex::default(),
        };
        make_private_dir(&directory.segments)?;
        make_private_dir(&directory.damaged)?;
        let mut sizes = Sizes::default();
        for entry in std::fs::read_dir(&directory.segments)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((stem, extension)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
                continue;
            };
            let Ok(number) = stem.parse::<u32>() else { continue };
            if extension == "log" {
                sizes.segments.insert(number, entry.metadata()?.len());
            } else if extension == "spare" {
                std::fs::remove_file(entry.path())?;
            }
        }
        *directory.sizes.lock() = sizes;
        Ok(directory)
    }

    fn path(&self, number: u32) -> PathBuf {
        self.segments.join(segment_name(number))
    }

    fn spare_path(&self, number: u32) -> PathBuf {
        self.segments.join(format!("{number:010}.spare"))
    }
}

impl Storage for Directory {
    fn segments(&self) -> io::Result<Vec<u32>> {
        Ok(self.sizes.lock().segments.keys().copied().collect())
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(number))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn create(&self, number: u32, bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let path = self.path(number);
        let mut sizes = self.sizes.lock();
        let file = if let Some(spare) = sizes.spares.pop() {
            let file = OpenOptions::new().read(true).write(true).open(self.spare_path(spare))?;
            std::fs::rename(self.spare_path(spare), &path)?;
            file
        } else {
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?
        };
        let ready = allocate(&file, bytes).and_then(|()| sync_dir(&self.segments));
        if let Err(error) = ready {
            // Without its blocks the file is of no use, and its number is never asked for again.
            if let Err(left) = std::fs::remove_file(&path) {
                tracing::warn!(error = %left, segment = number, "could not remove an unusable segment");
            }
            return Err(error);
        }
        sizes.segments.insert(number, file.metadata()?.len());
        Ok(Arc::new(DiskFile(file)))
    }

    fn shorten(&self, number: u32, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path(number))?;
        file.set_len(bytes)?;
        self.sizes.lock().segments.insert(number, bytes);
        Ok(())
    }

    fn retire(&self, number: u32) -> io::Result<()> {
        let mut sizes = self.sizes.lock();
        let whole = sizes.segments.get(&number) == Some(&self.segment_bytes);
        let alone = std::fs::metadata(self.path(number))?.nlink() == 1;
        if whole && alone && sizes.spares.len() < SPARES_MAX {
            std::fs::rename(self.path(number), self.spare_path(number))?;
            sizes.spares.push(number);
        } else {
            std::fs::remove_file(self.path(number))?;
        }
        sizes.segments.remove(&number);
        Ok(())
    }

    fn link(&self, number: u32, to: &Path) -> io::Result<()> {
        // Under the lock, so that nobody takes the file for one without another name meanwhile.
        let _sizes = self.sizes.lock();
        std::fs::hard_link(self.path(number), to)
    }

    fn set_aside(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let created =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.damaged.join(name));
        match created {
            Ok(mut file) => io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_all()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn bytes(&self) -> u64 {
        let sizes = self.sizes.lock();
        let spares = u64::try_from(sizes.spares.len()).expect("a handful of spares");
        sizes.segments.values().sum::<u64>() + spares * self.segment_bytes
    }
}

struct DiskFile(File);

impl SegmentFile for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// The file of a segment.
pub(crate) fn segment_name(number: u32) -> String {
    format!("{number:010}.log")
}

/// Makes a directory that only its owner may enter, and its parents. One that is there and lets others in is closed
/// to them.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    let others = mode & 0o077;
    if others == 0 {
        return Ok(());
    }
    let closed = std::fs::set_permissions(path, Permissions::from_mode(mode - others));
    let path = path.display();
    match closed {
        Ok(()) => tracing::warn!(%path, "mode {mode:04o} let others into the store's directory: taken away"),
        Err(error) => {
            tracing::warn!(%path, %error, "mode {mode:04o} lets others into the store's directory: chmod 0700");
        }
    }
    Ok(())
}

/// Makes the names in a directory durable.
fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Has the file hold `bytes`, with blocks behind them: a full disk shows here, not in the middle of a group.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    if file.metadata()?.len() >= bytes {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => file.sync_all(),
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(bytes).and_then(|()| file.sync_all()),
        Err(error) => Err(error.into()),
    }
}
