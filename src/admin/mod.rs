//! The worker's Unix socket: what `taut status`, `taut deadletter`, `taut route`, `taut tenant` and `taut drain` talk to.
//!
//! ```text
//! cli ──HTTP/1.1 over a 0600 Unix socket──► server ──► Seen (read), DeadLetters, Fleet of tenants (change)
//! ```
//! Deliberately absent: any way to read a secret, and TCP. Whoever may open the socket file, this process's user and
//! root, may do everything here; each order is logged with its user.

pub mod client;
pub mod letters;
pub mod server;
mod socket;

use serde::{Deserialize, Serialize};

/// Which dead letters a command means.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LetterPick {
    /// Whose.
    pub tenant: String,
    /// One of them; all of the tenant's without it.
    pub seq: Option<u64>,
    /// Of this route only.
    pub route: Option<String>,
}

/// How many things a command changed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Changed {
    /// How many.
    pub count: u64,
}

/// A refusal in words.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// What happened and what to do.
    pub error: String,
}

/// A change to one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantOrder {
    /// Close its sockets and deliver nothing until resumed.
    Pause,
    /// Undo `Pause`, and try again at once whatever it waits or is parked for.
    Resume,
}

/// A change to one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteOrder {
    /// Start no attempt until resumed.
    Pause,
    /// Undo `Pause` and a hold.
    Resume,
    /// Close the breaker and try at once.
    ResetBreaker,
}
