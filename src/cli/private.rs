//! What this process holds is for its own user: its memory, what it writes, and what it starts.

use std::io;
use std::os::fd::RawFd;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Descriptors up to this one are standard input, output and error.
const STANDARD: RawFd = 2;

/// Whatever this process makes (store, socket, backup) is for its own user alone, whoever started it and how.
pub(super) fn create_for_owner_alone() {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Secrets will be in memory: neither a crash nor a debugger of the same user may copy it to a file. Call it before the
/// first is read.
///
/// # Errors
/// The system's.
pub(super) fn shut_memory() -> io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Descriptors that programs of this process would get, beyond the standard ones: number and what it leads to. Ours are
/// all closed on exec; these came with the process.
pub(super) fn left_open() -> Vec<(RawFd, String)> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    let inherited = |number: &RawFd| *number > STANDARD && is_kept_on_exec(*number);
    let named = |number: RawFd| {
        let what = std::fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
        Some((number, what.display().to_string()))
    };
    numbers.filter(inherited).filter_map(named).collect()
}

fn is_kept_on_exec(number: RawFd) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & rustix::fs::OFlags::CLOEXEC.bits() == 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use rustix::io::{FdFlags, fcntl_setfd};

    use super::*;

    #[test]
    fn a_descriptor_without_close_on_exec_is_found() {
        let file = tempfile::tempfile().expect("a file");
        let found = || left_open().iter().any(|(number, _)| *number == file.as_raw_fd());
        assert!(!found(), "files are opened with it");
        fcntl_setfd(&file, FdFlags::empty()).expect("a live descriptor");
        assert!(found());
    }
}
