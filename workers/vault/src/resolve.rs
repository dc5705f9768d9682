//! From a reference to the secret's text.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use taut_core::WallMs;
use taut_core::config::SecretRef;
use zeroize::Zeroizing;

use crate::SecretText;

/// Largest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 8 * 1024;

/// Set by systemd for units with `LoadCredential=` or `SetCredential=`.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Mode bits that let everybody on the host read a file.
const READABLE_BY_ALL: u32 = 0o004;
/// Mode bits that let another than the owner change a file.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Opening waits for nobody, as it would for the writer of a pipe, and makes no terminal ours.
const OPEN_AT_ONCE: i32 =
    (rustix::fs::OFlags::NONBLOCK.bits() | rustix::fs::OFlags::NOCTTY.bits()).cast_signed();

/// A secret's text, with what a person should know about where it lay.
#[derive(Debug)]
pub struct Resolved {
    /// The text, without trailing line breaks; never empty.
    pub secret: SecretText,
    /// What is wrong with its place, if anything.
    pub warning: Option<SecretWarning>,
    /// When it was put there, where its place tells: a file's last change. A credential is copied at each start of
    /// its unit, so its file tells nothing.
    pub set_at: Option<WallMs>,
}

/// What is wrong with a secret's place, though it could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretWarning {
    /// Everybody on the host may read the file.
    #[error("everybody on this host can read the secret in `{path}` (mode {mode:03o}); chmod it to 600")]
    ReadableByAll {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others may put a secret of theirs in its place.
    #[error("others on this host can change the secret in `{path}` (mode {mode:03o}); chmod it to 600")]
    WritableByOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Why a reference gave no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("environment variable `{name}` is not set")]
    NoVariable {
        /// The variable.
        name: String,
    },
    /// The process has no credentials, so it was not started by a unit that loads some.
    #[error(
        "no credential `{name}`: $CREDENTIALS_DIRECTORY is not set; load it in the unit with LoadCredential="
    )]
    NoCredentials {
        /// The credential.
        name: String,
    },
    /// The credential's name is not a plain file name.
    #[error("credential `{name}` must be a plain name, without a slash")]
    CredentialName {
        /// The credential.
        name: String,
    },
    /// The file could not be read.
    #[error("could not read the secret in `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory, a pipe, a device.
    #[error("the secret in `{path}` is not in a regular file")]
    NotAFile {
        /// What is no file.
        path: PathBuf,
    },
    /// Nothing is left after trailing line breaks are gone.
    #[error("the secret in {place} is empty")]
    Empty {
        /// The reference, for a person.
        place: String,
    },
    /// Larger than any secret Slack gives out.
    #[error("the secret in {place} is larger than {SECRET_BYTES_MAX} bytes; is it the right one?")]
    TooLarge {
        /// The reference, for a person.
        place: String,
    },
    /// Not text, or with control characters, which would break a header.
    #[error("the secret in {place} is not one line of text; is it the right one?")]
    NotText {
        /// The reference, for a person.
        place: String,
    },
    /// A header would lose the space, a signature would not.
    #[error("the secret in {place} begins or ends with a space; remove it")]
    Padded {
        /// The reference, for a person.
        place: String,
    },
}

/// Finds the secret that a reference names. Relative files lie under `base_dir`. Reads files: call it at start-up.
///
/// # Errors
/// [`SecretError`], which names the reference and never the content.
pub fn resolve(reference: &SecretRef, base_dir: &Path) -> Result<Resolved, SecretError> {
    resolve_with(reference, base_dir, |name| std::env::var_os(name))
}

fn resolve_with(
    reference: &SecretRef,
    base_dir: &Path,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Resolved, SecretError> {
    match reference {
        SecretRef::Env(name) => {
            let place = format!("environment variable `{name}`");
            let value = variable(name).ok_or_else(|| SecretError::NoVariable { name: name.clone() })?;
            let secret = to_text(Zeroizing::new(value.into_encoded_bytes()), place)?;
            Ok(Resolved { secret, warning: None, set_at: None })
        }
        SecretRef::File(path) => from_file(&base_dir.join(path)),
        SecretRef::Credential(name) => {
            if name.is_empty() || name == "." || name == ".." || name.contains('/') {
                return Err(SecretError::CredentialName { name: name.clone() });
            }
            let dir = variable(CREDENTIALS_DIRECTORY)
                .ok_or_else(|| SecretError::NoCredentials { name: name.clone() })?;
            from_file(&Path::new(&dir).join(name)).map(|found| Resolved { set_at: None, ..found })
        }
    }
}

fn from_file(path: &Path) -> Result<Resolved, SecretError> {
    let failed = |source| SecretError::Read { path: path.to_owned(), source };
    let file = open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(SecretError::NotAFile { path: path.to_owned() });
    }
    // Sized once, so that no half-read copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    file.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let secret = to_text(bytes, format!("`{}`", path.display()))?;
    Ok(Resolved { secret, warning: open_to_others(path, &metadata), set_at: changed_at(&metadata) })
}

fn changed_at(metadata: &Metadata) -> Option<WallMs> {
    let since_epoch = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since_epoch.as_millis()).ok().map(WallMs)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OPEN_AT_ONCE).open(path)
}

fn open_to_others(path: &Path, metadata: &Metadata) -> Option<SecretWarning> {
    let (path, mode) = (path.to_owned(), metadata.mode() & 0o777);
    if mode & WRITABLE_BY_OTHERS != 0 {
        Some(SecretWarning::WritableByOthers { path, mode })
    } else if mode & READABLE_BY_ALL != 0 {
        Some(SecretWarning::ReadableByAll { path, mode })
    } else {
        None
    }
}

fn to_text(mut bytes: Zeroizing<Vec<u8>>, place: String) -> Result<SecretText, SecretError> {
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(SecretError::TooLarge { place });
    }
    let kept = length_without_line_breaks(&bytes);
    bytes.truncate(kept);
    if bytes.is_empty() {
        return Err(SecretError::Empty { place });
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.trim() != text => Err(SecretError::Padded { place }),
        // A copy of its own length; the whole buffer it was read into is wiped and given back.
        Ok(text) if !text.chars().any(is_no_text) => Ok(SecretText::new(text.to_owned())),
        Ok(_) | Err(_) => Err(SecretError::NotText { place }),
    }
}

/// A control character, or the mark that some editors put before a text.
fn is_no_text(c: char) -> bool {
    c.is_control() || c == '\u{feff}'
}

/// Length without trailing line breaks.
fn length_without_line_breaks(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

    fn nothing(_: &str) -> Option<OsString> {
        None
    }

    fn file_with(content: &[u8], mode: u32) -> (tempfile::TempDir, SecretRef) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("acme.signing");
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode set");
        (dir, SecretRef::File("acme.signing".into()))
    }

    #[test]
    fn variable_gives_its_value_without_line_breaks() {
        let reference = SecretRef::Env("ACME_APP_TOKEN".into());
        let found = resolve_with(&reference, Path::new("."), |name| {
            (name == "ACME_APP_TOKEN").then(|| format!("{SECRET}\r\n").into())
        });
        assert_eq!(found.expect("found").secret.expose(), SECRET);
        let missing = resolve_with(&reference, Path::new("."), nothing).expect_err("not set");
        assert_eq!(missing.to_string(), "environment variable `ACME_APP_TOKEN` is not set");
    }

    #[test]
    fn private_file_is_read_from_the_base_directory_without_warning() {
        let (dir, reference) = file_with(format!("{SECRET}\n\n").as_bytes(), 0o600);
        let found = resolve_with(&reference, dir.path(), nothing).expect("found");
        assert_eq!((found.secret.expose(), found.warning), (SECRET, None));
    }

    #[test]
    fn file_readable_by_all_is_read_with_a_warning() {
        let (dir, reference) = file_with(SECRET.as_bytes(), 0o644);
        let found = resolve_with(&reference, dir.path(), nothing).expect("found");
        let path = dir.path().join("acme.signing");
        assert_eq!(found.warning, Some(SecretWarning::ReadableByAll { path, mode: 0o644 }));
    }

    #[test]
    fn credential_lies_in_the_units_directory() {
        let (dir, _) = file_with(SECRET.as_bytes(), 0o400);
        let at = dir.path().as_os_str().to_owned();
        let named = |name: &str| {
            resolve_with(&SecretRef::Credential(name.into()), Path::new("/nowhere"), |_| Some(at.clone()))
        };
        assert_eq!(named("acme.signing").expect("found").secret.expose(), SECRET);
        for odd in ["", "..", "../acme.signing", "/etc/passwd"] {
            assert!(matches!(named(odd), Err(SecretError::CredentialName { .. })), "{odd}");
        }
        let no_unit = resolve_with(&SecretRef::Credential("x".into()), Path::new("."), nothing);
        assert!(matches!(no_unit, Err(SecretError::NoCredentials { .. })));
    }

    #[test]
    fn what_is_no_secret_is_refused_by_name_and_never_shown() {
        let large = vec![b'q'; SECRET_BYTES_MAX + 1];
        let cases: [(&[u8], &str); 9] = [
            (b"", "is empty"),
            (b"\r\n\n", "is empty"),
            (&large, "larger than 8192 bytes"),
            (b"qqq\nqqq", "not one line of text"),
            (b"qqq\xff", "not one line of text"),
            (b"qqq\0", "not one line of text"),
            (b"\xef\xbb\xbfqqq\n", "not one line of text"),
            (b"qqq \r\n", "begins or ends with a space"),
            (b" qqq", "begins or ends with a space"),
        ];
        for (content, complaint) in cases {
            let (dir, reference) = file_with(content, 0o600);
            let error = resolve_with(&reference, dir.path(), nothing).expect_err("refused");
            let text = format!("{error} {error:?}");
            assert!(
                text.contains(complaint) && text.contains("acme.signing") && !text.contains("qq"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        for path in [pipe.as_path(), directory.path(), Path::new("/dev/zero")] {
            let error = resolve_with(&SecretRef::File(path.to_owned()), Path::new("."), nothing);
            assert!(matches!(error, Err(SecretError::NotAFile { .. })), "{}: {error:?}", path.display());
        }
    }

    #[test]
    fn file_that_others_may_change_is_read_with_a_warning() {
        for mode in [0o620, 0o602, 0o666] {
            let (dir, reference) = file_with(SECRET.as_bytes(), mode);
            let found = resolve_with(&reference, dir.path(), nothing).expect("found");
            let path = dir.path().join("acme.signing");
            assert_eq!(found.warning, Some(SecretWarning::WritableByOthers { path, mode }));
        }
    }

    #[test]
    fn largest_secret_is_accepted() {
        let (dir, reference) = file_with(&vec![b'q'; SECRET_BYTES_MAX], 0o600);
        assert!(resolve_with(&reference, dir.path(), nothing).is_ok());
    }

    #[test]
    fn missing_file_is_named() {
        let error = resolve_with(&SecretRef::File("/nowhere/acme".into()), Path::new("."), nothing);
        assert_eq!(error.expect_err("missing").to_string(), "could not read the secret in `/nowhere/acme`");
    }
}
