//! The way out: everything that leaves the host for Slack or for a handler goes through here.
//!
//! ```text
//!  socket ──► gate ──► slack ──┐                    ┌─ DNS ─ TCP ──────────────┐
//!    │       (pace)  (open)    ├─► http ──┐         │  (or)                    │
//!  delivery ───────────────────┘  (pool)  ├─► dial ─┤                          ├─ TLS ─► Stream
//!    └──────────────► ws ─────────────────┘         └─ DNS ─ TCP ─ CONNECT ────┘
//!                 (upgrade, frames)                        (a configured proxy)
//! ```
//!
//! Invariants: a configured proxy is never bypassed; every step has a deadline; a certificate is always verified;
//! nothing is retried here but a pooled connection that was closed before a byte of the request was written; no
//! error, log line or `Debug` shows a token, a ticket or a payload.
//! Deliberately absent: deciding when to connect, what a frame means and what an answer's status means (the roles
//! do that), redirects, decompression, HTTP/2, SOCKS proxies, and any switch that skips verification.

pub mod clock;
pub mod dial;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod gate;
pub mod http;
pub mod retry;
pub mod slack;
pub mod tls;
pub mod ws;
