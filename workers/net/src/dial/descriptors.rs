//! Whether this process may take one more file descriptor for a connection.
//!
//! Out of descriptors, a process can open no segment of its log, and then it can ack nothing. So connections stop
//! short of the limit: those to Slack first, so that what has been received can still be delivered.

use std::io::stderr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};
use tokio::time::{Instant, sleep};

use super::{DialFault, Way};

/// Descriptors that no connection takes: the log, the listeners and the resolver need them.
const KEPT_FREE: u64 = 64;
/// More that no connection to Slack takes: for those to handlers.
const KEPT_FOR_HANDLERS: u64 = 64;

/// How often it is looked again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Refuses when too few descriptors are left: a connection to Slack at once, one to a handler after `limit`. Until then
/// another request may have finished, and left its connection to this one.
pub(super) async fn room(way: Way, limit: Duration) -> Result<(), DialFault> {
    let waits = match way {
        Way::Outside => Duration::ZERO,
        Way::Direct => limit,
    };
    let end = Instant::now() + waits;
    loop {
        match look(way) {
            Err(_) if Instant::now() < end => sleep(LOOK_EVERY).await,
            looked => return looked,
        }
    }
}

fn look(way: Way) -> Result<(), DialFault> {
    // The system gives the lowest free number: it says how many are taken, without counting them.
    let lowest = fcntl_dupfd_cloexec(stderr().as_fd(), 0).ok();
    let lowest = lowest.and_then(|free| u64::try_from(free.as_raw_fd()).ok());
    let limit = getrlimit(Resource::Nofile).current;
    match limit.filter(|limit| !has_room(lowest, *limit, way)) {
        Some(limit) => Err(DialFault::Descriptors { limit }),
        None => Ok(()),
    }
}

/// Whether the lowest free number leaves room; `None` says that there is none.
fn has_room(lowest: Option<u64>, limit: u64, way: Way) -> bool {
    let kept = match way {
        Way::Outside => KEPT_FREE + KEPT_FOR_HANDLERS,
        Way::Direct => KEPT_FREE,
    };
    // A limit this small leaves nothing to keep: half of it may be connections.
    lowest.is_some_and(|lowest| lowest < limit.saturating_sub(kept).max(limit / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_reached_when_slack_no_longer_is() {
        assert!(has_room(Some(800), 1_024, Way::Outside));
        assert!(!has_room(Some(896), 1_024, Way::Outside));
        assert!(has_room(Some(896), 1_024, Way::Direct));
        assert!(!has_room(Some(960), 1_024, Way::Direct));
        assert!(!has_room(None, 1_024, Way::Direct));
    }

    #[test]
    fn tiny_limits_leave_half_to_connections() {
        assert!(has_room(Some(31), 64, Way::Outside));
        assert!(!has_room(Some(32), 64, Way::Outside));
    }
}
