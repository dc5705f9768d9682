//! A simulated Slack: Web API and Socket Mode, scriptable, with a journal.
//!
//! ```text
//! client ── POST /api/apps.connections.open ─► http ─► App: ticket
//!        ══ GET /link/?ticket=… (101) ═══════► http ─► Session (one task a socket)
//!                                                       │ ▲
//! test, script, /sim/push ─► App: pick one socket ──────┘ └── acks ─► App: rules ─► Journal
//!                              └─► Scheduler: 3 s deadline, retries at once, +1 min, +5 min
//! ```
//!
//! Invariants:
//! - It follows Slack's documentation and what was observed on real sockets, never a client's habits. Whatever is
//!   unconfirmed is a field of [`Switches`].
//! - Every envelope that was produced ends in exactly one of [`Totals`]' ways, however much the rings of the
//!   [`Journal`] had to forget.
//! - Every fault is an [`Act`]: the same order works from a test, a script and an HTTP request.
//!
//! Deliberately absent: message storage, users, channels, and any judgement of what the Web API is sent; methods are
//! recorded and answered `{"ok":true}`. It depends on no other crate of taut.

mod act;
mod app;
mod cli;
mod clock;
mod config;
mod duration;
mod echo;
mod envelope;
mod error;
mod faults;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handle;
mod http;
mod io;
mod journal;
mod load;
mod sample;
mod scheduler;
mod script;
mod shared;
mod sim;
mod socket;
mod switches;
mod template;

pub use act::Act;
pub use app::{AckOutcome, Unanswered};
pub use cli::{PushArgs, SimArgs};
pub use config::{AppSpec, SimConfig, TlsIdentity};
pub use echo::{EchoAnswer, EchoConfig, EchoHandler, EchoRequest, EchoTotals, Outage};
pub use envelope::{EnvelopeType, Push, Shape};
pub use error::SimError;
pub use faults::{OpenFailure, UpgradeFailure};
pub use handle::{AppHandle, Pushed, SocketInfo};
pub use journal::{Ack, AckFlaw, End, Journal, Missed, Note, NoteKind, SentEnvelope, Totals};
pub use load::{Load, LoadHandle};
pub use sample::{Sample, UnknownSample};
pub use script::Script;
pub use sim::Sim;
pub use switches::Switches;
