//! The admin socket's file, and who may speak through it.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tokio::net::{UnixListener, UnixStream};

use crate::listener::{Caller, refusal};

/// Others may remove only their own names from such a directory.
const STICKY: u32 = 0o1000;
/// Others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The superuser.
const ROOT: u32 = 0;

/// Binds the socket file, replacing one that nobody listens on, readable for its owner only.
///
/// # Errors
/// A sentence with the path: somebody listens there, something is there that is no socket of ours, or others could
/// put one of theirs in its place.
pub async fn bind(path: &Path) -> Result<UnixListener, String> {
    let failed = |error: io::Error| {
        format!("admin.listen = \"unix:{}\": cannot listen there: {error}", path.display())
    };
    if UnixStream::connect(path).await.is_ok() {
        return Err(failed(io::Error::other("another process listens there")));
    }
    let user = rustix::process::geteuid().as_raw();
    make_way(path, user).map_err(failed)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Removes a socket that was left behind, and nothing else.
fn make_way(path: &Path, user: u32) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Some(why) = shared_with_others(&fs::metadata(directory)?, user) {
        return Err(io::Error::other(format!(
            "{} {why}, who could put a socket of theirs in its place",
            directory.display()
        )));
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            Err(io::Error::other("something is there that is no socket; it is left as it is"))
        }
        Ok(there) if there.uid() != user && user != ROOT => {
            Err(io::Error::other(format!("a socket of user {} is there", there.uid())))
        }
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Who else may exchange names in this directory, if anybody.
fn shared_with_others(directory: &Metadata, user: u32) -> Option<String> {
    let (mode, owner) = (directory.mode() & 0o7777, directory.uid());
    if owner != user && owner != ROOT {
        return Some(format!("belongs to user {owner}"));
    }
    let exchangeable = mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0;
    exchangeable.then(|| format!("has mode {mode:04o} and may be written by others"))
}

/// Lets this process's own user and root through, and writes down who ordered what.
pub(super) async fn known_caller(request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().copied();
    let Some(Caller::User { uid, pid }) = caller.filter(|caller| is_trusted(*caller)) else {
        tracing::warn!(?caller, "the admin socket was opened by another user: refused");
        return refusal(StatusCode::FORBIDDEN, "only taut's own user and root may speak to this worker");
    };
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    // Paths are made of tenants', routes' and orders' names.
    let order = request.uri().path().to_owned();
    let answer = next.run(request).await;
    tracing::info!(
        order,
        uid,
        pid,
        status = answer.status().as_u16(),
        "an order came through the admin socket"
    );
    answer
}

fn is_trusted(caller: Caller) -> bool {
    match caller {
        Caller::Network => false,
        Caller::User { uid, .. } => uid == ROOT || uid == rustix::process::geteuid().as_raw(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(mode: u32) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(mode)).expect("its mode is set");
        directory
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_is_its_owners_alone() {
        let directory = directory(0o700);
        let path = directory.path().join("admin.sock");
        drop(bind(&path).await.expect("it listens"));
        let listener = bind(&path).await.expect("the old file is in nobody's use");
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
        let error = bind(&path).await.expect_err("in use");
        assert!(error.contains("another process listens there"), "{error}");
        drop(listener);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_as_it_is() {
        let directory = directory(0o700);
        let (file, path) = (directory.path().join("precious"), directory.path().join("admin.sock"));
        fs::write(&file, "precious").expect("written");
        std::os::unix::fs::symlink(&file, &path).expect("linked");
        for path in [&path, &file] {
            let error = bind(path).await.expect_err("no socket");
            assert!(error.contains("no socket"), "{error}");
        }
        assert_eq!(fs::read_to_string(&file).expect("still there"), "precious");
    }

    #[tokio::test]
    async fn a_directory_that_others_may_write_is_refused_unless_names_are_safe_there() {
        for (mode, fine) in [(0o777, false), (0o770, false), (0o755, true), (0o1777, true)] {
            let directory = directory(mode);
            let bound = bind(&directory.path().join("admin.sock")).await;
            assert_eq!(bound.is_ok(), fine, "{mode:o}: {bound:?}");
        }
    }

    #[test]
    fn our_user_and_root_are_trusted_and_nobody_else() {
        let own = rustix::process::geteuid().as_raw();
        for uid in [ROOT, own] {
            assert!(is_trusted(Caller::User { uid, pid: None }));
        }
        assert!(!is_trusted(Caller::User { uid: own + 4711, pid: Some(1) }) && !is_trusted(Caller::Network));
    }
}
