//! The handler's side of a tenant: which route, in which order, in whose shape, and what each answer means.
//!
//! ```text
//! log ──► plan (lanes, breaker, retry) ──► shape, sign ──► handler ──► verdict ─┬─► commit
//!              ▲──────────────────── transient, target fault ───────────────────┤
//!                                                                               └─► dead letter
//! intake ──► desk ──► shape, sign ──► handler ──► answer ──► ack ──► commit
//! ```
//!
//! Invariants: envelopes of one order key go out one after the other; nothing is committed before its handler took
//! it or its dead letter is durable; a request is acked only when it is stored and its answer acks its kind; one
//! route's trouble delays no other route; every attempt is signed at the moment it is sent.
//! Deliberately absent: reading sockets and writing acks (intake does), storing (the log does), following redirects,
//! decompressing answers, and any opinion on what a payload says.

pub mod allow;
mod desk;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod handler_test;
mod metrics;
pub mod pure;
mod route;
mod router;
mod shared;
mod signer;
mod target;
mod tenant;

pub use self::metrics::DeliveryMetrics;
pub use self::route::{BadRoute, FILE_KINDS_RULE, fits_a_file};
pub use self::router::{RouteSpec, Router};
pub use self::signer::Signer;
pub use self::target::exec::ExecPool;
pub use self::target::exec::program::look_at_program;
pub use self::tenant::{DeliveryDeps, DeliveryEnd, DeliveryHandle, RouteStatus, TenantDelivery};
