//! Directories that no store is opened in: refused with path and mode.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::shim::Shim;

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

/// Runs a worker on this store until it refuses.
fn run(directory: &Path, store: &Path, adapt: impl FnOnce(&mut Command)) -> Output {
    let config = directory.join("taut.toml");
    let text = format!("[store]\npath = \"{}\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n", store.display());
    std::fs::write(&config, text).expect("the file is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_taut"));
    command.args(["run", "--config"]).arg(&config).current_dir("/");
    adapt(&mut command);
    command.output().expect("the binary runs")
}

fn refusal(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode is set");
}

#[test]
fn f57_a_directory_that_is_not_ours_is_refused_with_path_mode_and_owner() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: becoming another user needs root");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    set_mode(directory.path(), 0o755);
    let as_nobody = |command: &mut Command| {
        command.uid(NOBODY).gid(NOBODY);
    };
    let may_run = Command::new(env!("CARGO_BIN_EXE_taut")).arg("--version").uid(NOBODY).gid(NOBODY).output();
    if !may_run.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: another user may not run the binary where it lies");
        return;
    }
    let store = directory.path().join("store");
    std::fs::create_dir(&store).expect("a directory");
    set_mode(&store, 0o755);
    let path = store.display().to_string();
    let text = refusal(&run(directory.path(), &store, as_nobody));
    assert!(text.contains(&path) && text.contains("mode 0755 and belongs to user 0"), "{text}");
    assert!(text.contains("this is user 65534"), "{text}");

    std::os::unix::fs::chown(&store, Some(NOBODY), Some(NOBODY)).expect("it changes hands");
    set_mode(&store, 0o500);
    let text = refusal(&run(directory.path(), &store, as_nobody));
    assert!(text.contains(&path) && text.contains("mode 0500 and belongs to user 65534"), "{text}");

    let below = store.join("deeper");
    let text = refusal(&run(directory.path(), &below, as_nobody));
    assert!(text.contains(&format!("{path} has mode 0500")), "the nearest that is there: {text}");
}

#[test]
fn f57_a_network_filesystem_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(shim) = Shim::build(directory.path()) else { return };
    let store = directory.path().join("store");
    for (name, magic) in [("NFS", "0x6969"), ("SMB", "0xff534d42"), ("SMB 2", "0xfe534d42")] {
        let text = refusal(&run(directory.path(), &store, |command| {
            command.envs(shim.variables()).env("TAUT_SHIM_STATFS", magic);
        }));
        let named = text.contains("network filesystem") && text.contains(&store.display().to_string());
        assert!(named, "{name}: {text}");
    }
}

#[test]
fn f55_a_damaged_database_is_refused_by_name_and_not_begun_anew() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = directory.path().join("store");
    let (database, config) = (store.join("taut.redb"), directory.path().join("taut.toml"));
    let text = format!("[store]\npath = \"{}\"\n", store.display());
    std::fs::write(&config, text).expect("the file is written");
    let taut = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_taut"));
        command.args(args).arg("--config").arg(&config).output().expect("the binary runs")
    };
    let list = || taut(&["deadletter", "list", "--offline"]);
    assert!(list().status.success(), "a fresh store");
    let whole = std::fs::read(&database).expect("it is there");
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&database, &bytes).expect("it is written");
        let output = list();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            continue;
        }
        refused += 1;
        assert_eq!(output.status.code(), Some(1), "byte {at}: {text}");
        assert!(text.contains(&database.display().to_string()), "byte {at}: {text}");
        let check = taut(&["store", "check", "--offline"]);
        assert_eq!(check.status.code(), Some(1), "byte {at}");
        assert_eq!(std::fs::read(&database).expect("it is there"), bytes, "byte {at}: it is left as it is");
    }
    assert!(refused > 0, "some byte matters");
    std::fs::write(&database, &whole[..whole.len() / 2]).expect("it is written");
    assert_eq!(list().status.code(), Some(1), "half a database");
}
