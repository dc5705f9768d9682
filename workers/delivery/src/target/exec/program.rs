//! Whether a program may be run, looked at on the disk each time.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::allow::paths::PathRules;

const WORLD_WRITABLE: u32 = 0o002;
const STICKY: u32 = 0o1000;
const SET_ID: u32 = 0o6000;
const EXECUTABLE: u32 = 0o111;

/// Whether a route may run this program at this moment, for `taut check`.
///
/// # Errors
/// A sentence.
pub fn look_at_program(exec_allow: &[String], program: &Path) -> Result<(), String> {
    let allow = PathRules::programs(exec_allow).map_err(|error| error.to_string())?;
    resolve(&allow, program).map(|_| ())
}

/// The file behind the path, all symbolic links followed, if it may be run: it is in the list, as written and as
/// resolved; it is a regular executable file without set-user-id; and not everybody may change it or swap it. The
/// error is a sentence.
pub(crate) fn resolve(allow: &PathRules, program: &Path) -> Result<PathBuf, String> {
    allow.check(program).map_err(|error| error.to_string())?;
    let shown = program.display();
    let real = fs::canonicalize(program).map_err(|error| format!("`{shown}`: {error}"))?;
    let list = allow.resolved(|entry| fs::canonicalize(entry).ok());
    if let Err(error) = list.check(&real) {
        return Err(format!("`{shown}` leads elsewhere: {error}"));
    }
    let look = |path: &Path| fs::metadata(path).map_err(|error| format!("`{}`: {error}", path.display()));
    let file = look(&real)?;
    if !file.is_file() || file.mode() & EXECUTABLE == 0 {
        return Err(format!("`{shown}` is not an executable file"));
    }
    if file.mode() & SET_ID != 0 {
        return Err(format!("`{shown}` runs with another user's or group's rights (set-user-id)"));
    }
    if file.mode() & WORLD_WRITABLE != 0 {
        return Err(format!("`{shown}` can be changed by everybody: chmod o-w"));
    }
    for (distance, directory) in real.ancestors().skip(1).enumerate() {
        if everybody_may_swap(&look(directory)?, distance == 0) {
            return Err(format!("`{shown}` can be replaced by everybody: chmod o-w {}", directory.display()));
        }
    }
    Ok(real)
}

/// Whether everybody may put something else in a directory. Under a sticky bit nobody renames what is others', but
/// the program's own directory is to be closed all the same.
fn everybody_may_swap(directory: &Metadata, is_parent: bool) -> bool {
    let mode = directory.mode();
    mode & WORLD_WRITABLE != 0 && (is_parent || mode & STICKY == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    struct Place {
        dir: tempfile::TempDir,
        allow: PathRules,
    }

    impl Place {
        /// A directory `ok` that is allowed, with a program in it, beside a directory `other` that is not.
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in ["ok", "other"] {
                fs::create_dir(dir.path().join(name)).unwrap();
                let program = dir.path().join(name).join("run");
                fs::write(&program, "#!/bin/sh\n").unwrap();
                chmod(&program, 0o755);
            }
            let allow = PathRules::programs(&[format!("{}/ok/", dir.path().display())]).unwrap();
            Self { dir, allow }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn refusal(&self, name: &str) -> String {
            resolve(&self.allow, &self.path(name)).expect_err(name)
        }
    }

    #[test]
    fn a_program_in_the_list_is_run_by_its_real_name() {
        let place = Place::new();
        assert_eq!(
            resolve(&place.allow, &place.path("ok/run")),
            Ok(fs::canonicalize(place.path("ok/run")).unwrap())
        );
        symlink("run", place.path("ok/alias")).unwrap();
        assert_eq!(
            resolve(&place.allow, &place.path("ok/alias")),
            Ok(fs::canonicalize(place.path("ok/run")).unwrap())
        );
    }

    #[test]
    fn no_link_leads_out_of_the_list() {
        let place = Place::new();
        symlink(place.path("other/run"), place.path("ok/escape")).unwrap();
        symlink(place.path("other"), place.path("ok/dir")).unwrap();
        symlink("/bin/sh", place.path("ok/sh")).unwrap();
        for name in ["ok/escape", "ok/dir/run", "ok/sh"] {
            assert!(place.refusal(name).contains("leads elsewhere"), "{name}");
        }
        assert!(place.refusal("ok/../other/run").contains("without"));
        assert!(place.refusal("other/run").contains("not in delivery.exec_allow"));
    }

    #[test]
    fn a_list_that_names_a_link_allows_what_it_leads_to() {
        let place = Place::new();
        symlink(place.path("other"), place.path("link")).unwrap();
        let allow = PathRules::programs(&[format!("{}/", place.path("link").display())]).unwrap();
        assert!(resolve(&allow, &place.path("link/run")).is_ok());
        assert!(resolve(&allow, &place.path("other/run")).is_err(), "not as written");
    }

    #[test]
    fn what_everybody_may_change_is_not_run() {
        let place = Place::new();
        let program = place.path("ok/run");
        chmod(&program, 0o757);
        assert!(place.refusal("ok/run").contains("changed by everybody"));
        chmod(&program, 0o755);
        chmod(&place.path("ok"), 0o1777);
        assert!(place.refusal("ok/run").contains("replaced by everybody"));
        chmod(&place.path("ok"), 0o755);
        chmod(place.dir.path(), 0o777);
        assert!(place.refusal("ok/run").contains("replaced by everybody"));
        chmod(place.dir.path(), 0o1777);
        assert!(resolve(&place.allow, &program).is_ok(), "as /tmp is");
    }

    #[test]
    fn what_is_no_program_is_not_run() {
        let place = Place::new();
        fs::create_dir(place.path("ok/folder")).unwrap();
        fs::write(place.path("ok/text"), "").unwrap();
        chmod(&place.path("ok/text"), 0o644);
        fs::write(place.path("ok/suid"), "").unwrap();
        chmod(&place.path("ok/suid"), 0o4755);
        assert!(place.refusal("ok/folder").contains("not an executable file"));
        assert!(place.refusal("ok/text").contains("not an executable file"));
        assert!(place.refusal("ok/suid").contains("set-user-id"));
        assert!(place.refusal("ok/missing").contains("No such file"));
    }
}
