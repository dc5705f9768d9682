//! Before a store is opened: nothing in it leads elsewhere, and nothing in it is open to others.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::options::OpenError;

/// Mode bits of everybody but the owner.
const OTHERS: u32 = 0o077;
/// What a store has below its own directory.
const DIRECTORIES: [&str; 4] = ["", "segments", "damaged", "snapshots"];

/// Looks at every name of a store. A file that others may read or write is closed to them, as is what a copy or a
/// loose umask left behind; a link is refused, for whoever could put it there would have this process write elsewhere.
///
/// # Errors
/// [`OpenError::Link`] with the name, or the system's words for a directory that cannot be read.
pub(crate) fn look_through(root: &Path) -> Result<(), OpenError> {
    for name in DIRECTORIES {
        let directory = root.join(name);
        match std::fs::symlink_metadata(&directory) {
            // The store's own directory may be a link that its operator made.
            Ok(there) if there.is_symlink() && !name.is_empty() => {
                return Err(OpenError::Link { path: directory });
            }
            Ok(_) => look_into(&directory)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(unreadable(&directory, source)),
        }
    }
    Ok(())
}

fn look_into(directory: &Path) -> Result<(), OpenError> {
    for entry in std::fs::read_dir(directory).map_err(|source| unreadable(directory, source))? {
        let entry = entry.map_err(|source| unreadable(directory, source))?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // It went while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(unreadable(&entry.path(), source)),
        };
        if metadata.is_symlink() {
            return Err(OpenError::Link { path: entry.path() });
        }
        if metadata.is_file() {
            close_to_others(&entry.path(), &metadata);
        }
    }
    Ok(())
}

fn close_to_others(path: &Path, metadata: &Metadata) {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 {
        return;
    }
    let closed = std::fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS));
    let path = path.display();
    match closed {
        Ok(()) => tracing::warn!(%path, "mode {mode:04o} let others at a file of the store: taken away"),
        Err(error) => {
            tracing::warn!(%path, %error, "mode {mode:04o} lets others at a file of the store: chmod 0600");
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> OpenError {
    OpenError::Directory { path: path.to_owned(), found: "it could not be looked through".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn store() -> tempfile::TempDir {
        let store = tempfile::tempdir().unwrap();
        for name in ["segments", "damaged"] {
            fs::create_dir(store.path().join(name)).unwrap();
        }
        store
    }

    #[test]
    fn files_that_others_may_open_are_closed_to_them() {
        let store = store();
        let files =
            ["lock", "taut.redb", "segments/0000000001.log", "damaged/x"].map(|name| store.path().join(name));
        for file in &files {
            fs::write(file, "kept").unwrap();
            fs::set_permissions(file, Permissions::from_mode(0o664)).unwrap();
        }
        look_through(store.path()).unwrap();
        for file in &files {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_to_string(file).unwrap(), "kept");
        }
    }

    #[test]
    fn a_link_anywhere_is_refused_by_name_and_what_it_leads_to_is_left_alone() {
        let elsewhere = tempfile::tempdir().unwrap();
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, "theirs").unwrap();
        for name in ["lock", "taut.redb", "segments/0000000007.log", "damaged/x", "snapshots"] {
            let store = store();
            let link = store.path().join(name);
            symlink(&victim, &link).unwrap();
            let refused = look_through(store.path());
            assert!(
                matches!(&refused, Err(OpenError::Link { path }) if *path == link),
                "{name}: {refused:?}"
            );
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "theirs");
        let link = elsewhere.path().join("state");
        let store = store();
        symlink(store.path(), &link).unwrap();
        assert!(look_through(&link).is_ok(), "the whole store may lie elsewhere");
    }
}
