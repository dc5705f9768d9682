//! The store on this host's disk: the log of envelopes, their index, dead letters, tenants' facts.
//!
//! ```text
//! append ─► inbox ─► writer thread: admit (dedup, limits) ─► write ─► one fdatasync ─► index ─► answers
//! change ─► index ──┘      │ ▲                                │
//!         undertaker ◄─────┘ └─ compaction: oldest segment    ▼
//!             │ overflow        written again at the tail   segments/NNNNNNNNNN.log
//!             ▼                                               │ linked
//!         taut.redb: dead letters, facts, route numbers ──────┴──► snapshot ─► check, backup
//! ```
//!
//! Invariants:
//! - `Stored` and `Duplicate` are answered only for what a sync has made durable; a key is known only then.
//! - After a failed write or sync the group is promised to nobody, the file is not synced again, and the log goes on
//!   in a new segment whose header says where the durable log ended.
//! - Whatever the crash, what was answered `Stored` is found at the next opening; what is damaged is reported.
//! - Disk use of segments stays within twice the live bytes and six segments.
//! - Locks are held for memory work only; the writer alone writes segments, and never waits for the database.
//!
//! Deliberately absent: delivery's knowledge (attempts, breakers), expiry of entries by age (delivery decides), and
//! sealing under keys (the record has its fields, version 1 leaves them zero).

mod admit;
pub mod backup;
mod compact;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod database;
mod dead;
mod disk;
mod fair;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hash;
mod inbox;
mod index;
mod keys;
mod meters;
#[cfg(any(test, feature = "testing"))]
pub mod model;
mod options;
mod place;
mod private;
mod record;
mod recovery;
mod registry;
mod scan;
mod segment;
mod shared;
mod storage;
mod tail;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod writer;

pub use disk::DiskStore;
pub use options::{DiskOptions, OpenError};
pub use recovery::{DamagedRange, RecoveryReport};
