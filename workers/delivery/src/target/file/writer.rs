//! The file itself: opened without following a link, written a line at a time, synced, reopened after a rotation.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::allow::paths::PathRules;

/// Writes one route's file. All of it blocks on the disk.
pub(super) struct Writer {
    path: PathBuf,
    allow: PathRules,
    open: Option<Open>,
}

struct Open {
    file: File,
    /// Its directory, links resolved, and its name there.
    directory: PathBuf,
    name: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Writer {
    pub(super) fn new(path: &Path, allow: PathRules) -> Self {
        Self { path: path.to_owned(), allow, open: None }
    }

    /// Closes the file; the next line opens it again.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Appends lines and syncs them. After an error none of them may count as written, though some may be there.
    pub(super) fn append(&mut self, lines: &[Bytes]) -> Result<(), String> {
        if self.open.as_ref().is_some_and(Open::was_rotated) {
            self.open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(&self.allow, &self.path)?),
        };
        let result = lines.iter().try_for_each(|line| open.write(line)).and_then(|()| open.file.sync_data());
        result.map_err(|error| {
            // What the file holds now is not known: the next opening looks at its end.
            self.open = None;
            format!("`{}`: {error}", self.path.display())
        })
    }
}

impl Open {
    /// Whether the name stands for another file, or for none. What cannot be looked at is written on.
    fn was_rotated(&self) -> bool {
        match fs::symlink_metadata(self.directory.join(&self.name)) {
            Ok(there) => (there.dev(), there.ino()) != self.identity,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// One line by one write. If only a part of it fits, that part is taken back.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let error = match self.file.write(line) {
            Ok(written) if written == line.len() => return Ok(()),
            // Interrupted, or the disk is full: the rest says which.
            Ok(written) => match self.file.write_all(&line[written..]) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if let Err(untaken) = self.file.set_len(before) {
            tracing::debug!(%untaken, "a part of a line stays in a file; the next opening ends it");
        }
        Err(error)
    }
}

/// Opens the file for appending, and makes it if there is none (0600). The error is a sentence.
fn open(allow: &PathRules, path: &Path) -> Result<Open, String> {
    allow.check(path).map_err(|error| error.to_string())?;
    let shown = path.display();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(format!("`{shown}` names no file"));
    };
    let directory = fs::canonicalize(parent).map_err(|error| format!("`{}`: {error}", parent.display()))?;
    let list = allow.resolved(|entry| fs::canonicalize(entry).ok());
    if let Err(error) = list.check(&directory.join(name)) {
        return Err(format!("`{shown}` leads elsewhere: {error}"));
    }
    let at = rustix::fs::open(
        &directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| format!("`{}`: {}", directory.display(), io::Error::from(error)))?;
    match rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) if !rustix::fs::FileType::from_raw_mode(there.st_mode).is_file() => {
            return Err(format!(
                "`{shown}` is not a regular file: links, pipes, sockets and devices are refused"
            ));
        }
        Ok(_) | Err(_) => {}
    }
    // Without following a link, without waiting for a pipe's reader.
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(&at, name, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(format!("`{shown}` is a symbolic link: none is followed")),
        Err(error) => return Err(format!("`{shown}`: {}", io::Error::from(error))),
    };
    let there = file.metadata().map_err(|error| format!("`{shown}`: {error}"))?;
    if !there.is_file() || there.nlink() > 1 {
        return Err(format!(
            "`{shown}` is not a regular file of one name: links, pipes and devices are refused"
        ));
    }
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(format!("`{shown}` has another writer: one route, one file")),
        Err(error) => return Err(format!("`{shown}` cannot be locked: {}", io::Error::from(error))),
    }
    let mut open = Open { file, directory, name: PathBuf::from(name), identity: (there.dev(), there.ino()) };
    open.end_torn_line(there.len()).map_err(|error| format!("`{shown}`: {error}"))?;
    // The name itself is to survive a loss of power, too.
    File::open(&open.directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| format!("`{}`: {error}", open.directory.display()))?;
    Ok(open)
}

impl Open {
    /// Ends what a crash left of a line with a line break.
    fn end_torn_line(&mut self, len: u64) -> io::Result<()> {
        let Some(last) = len.checked_sub(1) else { return Ok(()) };
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, last)?;
        if byte == *b"\n" { Ok(()) } else { self.file.write_all(b"\n") }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use proptest::prelude::*;

    use super::*;

    struct Place {
        dir: tempfile::TempDir,
        allow: PathRules,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("ok")).unwrap();
            fs::create_dir(dir.path().join("other")).unwrap();
            let allow = PathRules::directories(&[dir.path().join("ok").display().to_string()]).unwrap();
            Self { dir, allow }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn writer(&self, name: &str) -> Writer {
            Writer::new(&self.path(name), self.allow.clone())
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.path(name)).unwrap_or_default()
        }

        fn refusal(&self, name: &str) -> String {
            self.writer(name).append(&[line("x")]).expect_err(name)
        }
    }

    fn line(text: &str) -> Bytes {
        Bytes::from(format!("{text}\n"))
    }

    #[test]
    fn lines_are_appended_and_only_the_owner_reads_them() {
        let place = Place::new();
        place.writer("ok/a").append(&[line("1"), line("2")]).unwrap();
        place.writer("ok/a").append(&[line("3")]).unwrap();
        assert_eq!(place.text("ok/a"), "1\n2\n3\n");
        assert_eq!(fs::metadata(place.path("ok/a")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_rotated_file_is_reopened() {
        let place = Place::new();
        let mut writer = place.writer("ok/a");
        writer.append(&[line("1")]).unwrap();
        fs::rename(place.path("ok/a"), place.path("ok/a.1")).unwrap();
        writer.append(&[line("2")]).unwrap();
        fs::remove_file(place.path("ok/a")).unwrap();
        writer.append(&[line("3")]).unwrap();
        assert_eq!((place.text("ok/a.1").as_str(), place.text("ok/a").as_str()), ("1\n", "3\n"));
        // As `copytruncate` does.
        fs::OpenOptions::new().write(true).open(place.path("ok/a")).unwrap().set_len(0).unwrap();
        writer.append(&[line("4")]).unwrap();
        assert_eq!(place.text("ok/a"), "4\n");
    }

    #[test]
    fn a_file_has_one_writer() {
        let place = Place::new();
        let mut first = place.writer("ok/a");
        first.append(&[line("1")]).unwrap();
        assert!(place.refusal("ok/a").contains("another writer"));
        drop(first);
        place.writer("ok/a").append(&[line("2")]).unwrap();
    }

    #[test]
    fn nothing_but_a_plain_file_below_the_directories_is_written() {
        let place = Place::new();
        fs::write(place.path("other/victim"), "").unwrap();
        symlink(place.path("other/victim"), place.path("ok/link")).unwrap();
        symlink(place.path("other"), place.path("ok/dir")).unwrap();
        symlink(place.path("other/fresh"), place.path("ok/dangling")).unwrap();
        fs::hard_link(place.path("other/victim"), place.path("ok/hard")).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, place.path("ok/pipe"), rustix::fs::FileType::Fifo, mode, 0)
            .unwrap();
        fs::create_dir(place.path("ok/folder")).unwrap();
        for (name, why) in [
            ("ok/link", "not a regular file"),
            ("ok/dir/a", "leads elsewhere"),
            ("ok/dangling", "not a regular file"),
            ("ok/hard", "not a regular file"),
            ("ok/pipe", "not a regular file"),
            ("ok/folder", "not a regular file"),
            ("ok/../other/a", "without"),
            ("other/a", "not in delivery.file_dirs"),
            ("ok/missing/a", "No such file"),
        ] {
            let said = place.refusal(name);
            assert!(said.contains(why), "{name}: {said}");
        }
        assert_eq!(place.text("other/victim"), "");
        assert!(!place.path("other/fresh").exists());
    }

    #[test]
    fn a_device_is_refused() {
        let allow = PathRules::directories(&["/dev".to_owned()]).unwrap();
        let said = Writer::new(Path::new("/dev/null"), allow).append(&[line("x")]).unwrap_err();
        assert!(said.contains("not a regular file"), "{said}");
    }

    #[test]
    fn a_full_disk_is_told_and_leaves_no_part_of_a_line() {
        let place = Place::new();
        let mut writer = place.writer("ok/a");
        writer.append(&[line("1")]).unwrap();
        // A full disk as far as this file goes: its writer may only read.
        let open = writer.open.as_mut().unwrap();
        open.file = File::open(place.path("ok/a")).unwrap();
        assert!(writer.append(&[line("2")]).is_err());
        writer.append(&[line("2")]).unwrap();
        assert_eq!(place.text("ok/a"), "1\n2\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Wherever a crash cut the file, what follows stands on lines of its own.
        #[test]
        fn a_torn_line_is_ended(cut in 0_usize..20) {
            let place = Place::new();
            let whole = b"first\nsecond\nthird\n";
            let kept = &whole[..cut.min(whole.len())];
            fs::write(place.path("ok/a"), kept).unwrap();
            place.writer("ok/a").append(&[line("next")]).unwrap();
            let text = place.text("ok/a");
            prop_assert!(text.as_bytes().starts_with(kept));
            prop_assert_eq!(text.lines().last(), Some("next"));
            prop_assert_eq!(text.matches("\n\n").count(), 0);
        }
    }
}
