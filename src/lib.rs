//! taut: keeps Slack Socket Mode lines tight. The binary's parts, so that tests can run them in process.
//!
//! ```text
//! main ─► cli ─► config ─► daemon ─┬─► tenant (one supervisor each) ─► socket line, delivery
//!                                  ├─► seeing (metrics, health, logs)
//!                                  └─► admin (Unix socket) ◄─ cli (status, deadletter, route, …)
//! ```

pub mod config;
pub mod logging;
