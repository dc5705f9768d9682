//! What the kernel and the runtime say of this process.

use rustix::process::{Resource, getrlimit};

/// Files and connections held open; `None` where `/proc` is not there.
pub(super) fn descriptors_open() -> Option<u64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // One of them was for looking.
    Some(open.saturating_sub(1))
}

/// Files and connections that may be opened; `None` for any number.
pub(super) fn descriptors_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Tasks alive in the runtime; `None` outside of one.
pub(super) fn tasks() -> Option<u64> {
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    Some(runtime.metrics().num_alive_tasks() as u64)
}
