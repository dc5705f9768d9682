//! A worker of a user of its own, and others on its host. Needs root, to be several users.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::path::Path;
use std::process::Stdio;

use rustix::process::geteuid;
use tokio::process::Command;

use crate::search::every_path;
use crate::support::Site;

const WORKER: u32 = 64_001;
const OTHER: u32 = 64_002;

/// A command as another user.
async fn as_user(user: u32, program: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
    let output = command.arg(program).args(args).stdin(Stdio::null()).output().await.expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_taut_and_root_speak_to_a_worker_and_nobody_looks_into_it() {
    if !geteuid().is_root() || std::process::Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("skipped: needs root and setpriv");
        return;
    }
    let mut site = Site::new("").await;
    let root = site.dir.path().to_owned();
    // Where other users can run it, whatever the modes above the build's directory.
    let binary = root.join("taut-for-all");
    std::fs::copy(env!("CARGO_BIN_EXE_taut"), &binary).expect("copied");
    site.add_simple(1, "acme", "http://127.0.0.1:9/");
    site.write_config();
    site.launch_by(&format!(
        "shift\nexec setpriv --reuid={WORKER} --regid={WORKER} --clear-groups {} \"$@\"",
        binary.display()
    ));
    for path in every_path(&root) {
        chown(&path, Some(WORKER), Some(WORKER)).expect("root may");
    }
    for (path, mode) in [(&root, 0o711), (&binary, 0o755)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("its mode is set");
    }
    if let Err(error) = site.worker.start().await {
        panic!("{error}\n{}", site.worker.log_tail());
    }
    let id = site.worker.id().expect("it runs");
    // The kernel gives a process that is not dumpable to root: its own user can neither read nor trace it.
    let owner = std::fs::metadata(format!("/proc/{id}/environ")).expect("it runs").uid();
    assert_eq!(owner, 0, "the worker's memory is shut");
    for secret in ["environ", "maps", "mem"] {
        let path = format!("/proc/{id}/{secret}");
        let (code, text) = as_user(WORKER, Path::new("/bin/cat"), &[&path]).await;
        assert!(code != 0 && text.contains("Permission denied"), "{path}: {code} {text}");
    }

    let socket = root.join("admin.sock");
    let status = ["status", "--socket", socket.to_str().expect("a text")];
    assert_eq!(as_user(WORKER, &binary, &status).await.0, 0);
    assert_eq!(as_user(0, &binary, &status).await.0, 0);
    let (code, text) = as_user(OTHER, &binary, &status).await;
    assert!(code == 1 && text.contains("Permission denied"), "{text}");
    // Even where the file's mode lets them, the kernel says who they are.
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).expect("its mode is set");
    let (code, text) = as_user(OTHER, &binary, &status).await;
    assert!(code == 1 && text.contains("only taut's own user and root"), "{text}");
    let pause = ["tenant", "pause", "acme", "--socket", socket.to_str().expect("a text")];
    assert_eq!(as_user(WORKER, &binary, &pause).await.0, 0);
    let log = site.read("worker.log");
    let order = log
        .lines()
        .find(|line| line.contains("an order came through the admin socket"))
        .expect("it is logged");
    assert!(
        order.contains(&format!("\"uid\":{WORKER}")) && order.contains("/v1/tenants/acme/pause"),
        "{order}"
    );
    let refused = log.lines().filter(|line| line.contains("by another user: refused")).count();
    assert_eq!(refused, 1, "and so is who was refused");
}
