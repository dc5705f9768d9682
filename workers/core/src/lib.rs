//! What two or more roles of taut share: ids, envelopes, traits, configuration types, metric names.
//!
//! ```text
//!            ┌───────────── core ─────────────┐
//! socket ──► │ Envelope  Kind  Entry  Answer  │ ◄── delivery
//! store  ──► │ Log  DeadLetters  Facts        │ ◄── src (composition)
//! net    ──► │ Moment  Clock                  │ ◄── (the simulator follows Slack's words alone)
//!            └────────────────────────────────┘
//! ```
//!
//! Invariants: nothing here does I/O, spawns a task or reads a clock; time comes in as [`Moment`] or [`WallMs`].
//! Deliberately absent: anything only one role needs (its state machine stays in that role's `pure` module) and
//! every secret value (those are types of the vault; configuration carries references only).

pub mod ack;
pub mod board;
pub mod config;
pub mod envelope;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod id;
pub mod kind;
pub mod log;
pub mod metric;
pub mod order;
pub mod request;
pub mod route;
pub mod state;
pub mod time;

pub use ack::{ACK_BYTES_MAX, ack_fits, ack_frame, push_ack};
pub use board::{Board, Counters};
pub use envelope::{Arrival, Envelope, Facts, Frame, FrameError, Incoming};
pub use id::{AppId, DedupKey, Epoch, RouteName, Seq, TenantId};
pub use kind::Kind;
pub use route::RouteBits;
pub use state::{Reason, TenantState};
pub use time::{Clock, Moment, WallMs};
