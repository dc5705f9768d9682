//! taut: keeps Slack Socket Mode lines tight. The binary's parts, so that tests can run them in process.
//!
//! ```text
//! main ─► cli ─► config ─► daemon ─┬─► tenant (one supervisor each) ─► socket line, delivery
//!                                  ├─► seeing (metrics, health, status)
//!                                  ├─► admin (Unix socket) ◄─ cli (status, reload, deadletter, route, …)
//!           │                      └─► reload: another configuration for those that run
//!           └─► doctor ─► way_out (proxy, TLS, clients; the tenants go the same way)
//! ```
//!
//! Invariant: tasks are spawned in `daemon`, `tenant`, `seeing` and `admin` alone, and in the roles' own
//! supervisors; what a task's end means is said where it is spawned.

pub mod admin;
pub mod apps;
pub mod causes;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod facts;
pub mod fleet;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod listener;
pub mod live;
pub mod logging;
pub mod paths;
pub mod reload;
pub mod seeing;
pub mod tenant;
pub mod way_out;
