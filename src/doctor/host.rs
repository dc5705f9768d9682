//! What the host gives a worker: descriptors, time, a disk.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use taut_core::config::{Config, Size};

use super::Fault;
use super::finding::Findings;
use crate::paths;

/// Descriptors of one tenant: two sockets while one is replaced, one to its handler, one to the Web API.
const DESCRIPTORS_PER_TENANT: u64 = 4;
/// Descriptors of the process itself.
const DESCRIPTORS_OF_ITS_OWN: u64 = 256;
/// Less free space than this is a failure already: it is one segment of the log.
const FREE_BYTES_MIN: u64 = 64 << 20;
/// Where time services leave a sign of life.
const TIME_SERVICES: [(&str, &str); 4] = [
    ("/run/systemd/timesync/synchronized", "systemd-timesyncd has synchronised the clock"),
    ("/run/chrony/chronyd.pid", "chronyd runs"),
    ("/run/chrony/chronyd.sock", "chronyd runs"),
    ("/run/ntpd.pid", "ntpd runs"),
];
/// `f_type` of NFS (statfs(2)).
const NFS_MAGIC: i64 = 0x6969;

pub(super) fn look(config: &Config, environment: &BTreeMap<String, String>, findings: &mut Findings) {
    open_files(config, findings);
    time(findings);
    match paths::store(config, environment) {
        Ok(path) => store(config, &path, findings),
        Err(error) => findings.failed("store", error, Fault::Configuration, "set store.path"),
    }
}

fn open_files(config: &Config, findings: &mut Findings) {
    let tenants = config.tenants.len() as u64;
    let wanted = DESCRIPTORS_OF_ITS_OWN + DESCRIPTORS_PER_TENANT * tenants;
    let allowed = getrlimit(Resource::Nofile).current;
    let seen = allowed.map_or_else(|| "unlimited".to_owned(), |allowed| allowed.to_string());
    let seen = format!("{seen} allowed in this shell; {tenants} tenants need up to {wanted}");
    if allowed.is_some_and(|allowed| allowed < wanted) {
        findings.notice("open files", format!("{seen}: see that the unit's LimitNOFILE= is above that"));
    } else {
        findings.ok("open files", seen);
    }
}

fn time(findings: &mut Findings) {
    match TIME_SERVICES.iter().find(|(sign, _)| Path::new(sign).exists()) {
        Some((_, words)) => findings.ok("time", *words),
        None => findings.notice(
            "time",
            "no time service was recognised; the clock's skew against Slack is shown with each tenant",
        ),
    }
}

fn store(config: &Config, path: &Path, findings: &mut Findings) {
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            let seen = format!("{shown} is no directory");
            findings.failed("store", seen, Fault::Configuration, "let store.path name a directory");
            return;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            findings.notice("store", format!("{shown} does not exist yet; the first start makes it"));
            return;
        }
        Err(error) => {
            let advice = "run doctor as the worker's user, or give that user the directory";
            findings.failed("store", format!("{shown}: {error}"), Fault::Host, advice);
            return;
        }
    };
    let mode = metadata.mode() & 0o777;
    if let Err(error) = rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
        let seen = format!("{shown} cannot be written by this user: {error}");
        findings.failed("store", seen, Fault::Host, "give the worker's user the directory (chown, mode 700)");
        return;
    }
    if rustix::fs::statfs(path).is_ok_and(|about| about.f_type == NFS_MAGIC) {
        let advice = "put store.path on a local disk: an ack means synced to this host's disk";
        findings.failed("store", format!("{shown} is on NFS"), Fault::Configuration, advice);
        return;
    }
    space(config, path, findings);
    if mode & 0o077 != 0 {
        let seen = format!("{shown} has mode {mode:03o}: others on this host can look into it; chmod 700");
        findings.notice("store", seen);
    }
}

fn space(config: &Config, path: &Path, findings: &mut Findings) {
    let about = match rustix::fs::statvfs(path) {
        Ok(about) => about,
        Err(error) => {
            findings.notice("store", format!("{}: its free space is not known: {error}", path.display()));
            return;
        }
    };
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    let most =
        config.queue.total_bytes_max.0.saturating_mul(2).saturating_add(config.dead_letters.bytes_max.0);
    let gib = |bytes: u64| bytes as f64 / 1_073_741_824.0;
    let shown = path.display();
    let seen = format!("{shown}: {:.1} GiB free, {:.1} GiB are used at most", gib(free), gib(most));
    if free < FREE_BYTES_MIN {
        let seen = format!("{shown}: only {} left; nothing can be acked without space", Size(free));
        findings.failed("store", seen, Fault::Host, "make room on that disk");
    } else if about.f_favail == 0 && about.f_files > 0 {
        findings.failed(
            "store",
            format!("{shown}: no inodes are left"),
            Fault::Host,
            "make room on that disk",
        );
    } else if free < most {
        findings.notice("store", format!("{seen}: lower queue.total_bytes_max, or give it a larger disk"));
    } else {
        findings.ok("store", seen);
    }
}
