//! Slack's side of a tenant: its line of sockets, intake, acks.
//!
//! ```text
//!            set_desired, replace_token, drain
//!                         │
//!  root ──LineHandle──► line task (one per tenant) ── Open, Retire, Abort ──► socket task (one per socket)
//!                         │  pure::line decides        ◄── events, late acks ──┘      │
//!                         ▼                                                           ▼
//!                       Board                    Slack ══wss══► read ─► parse ─► Log::append ─► ack
//!                                                                          └─► Requests::begin ─┘
//! ```
//!
//! Invariants: an ack leaves only after [`Append::Stored`](taut_core::log::Append) or `Duplicate`; envelopes of another
//! app are neither stored nor acked; every socket belongs to one task, every task to its line's, and a line's end takes
//! all of them along; a panic ends one socket or one line, never another tenant's.
//! Deliberately absent: which tenants there are and restarting a line (the root does), what a handler answers
//! (delivery), how anything is stored (the store), reaching Slack (net).

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handle;
mod metrics;
mod pure;
mod router;
mod shared;
mod socket;
mod tenant;

pub use self::handle::{ClaimApp, LineDeps, LineEnd, LineHandle, TenantLine};
pub use self::metrics::LineMetrics;
pub use self::pure::line::Desired;
pub use self::router::{RouteFn, Routed, Router};

#[cfg(test)]
mod sizes;
