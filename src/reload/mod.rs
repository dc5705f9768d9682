//! Reload: another configuration for a worker that runs.
//!
//! ```text
//! SIGHUP ───────────┐
//! taut reload ──────┴─► load and check the files as a whole ─ a breach ─► nothing changes; said in log, status, metric
//!                                   │
//!                                   ▼ diff (pure): field by field
//!          limits ─► removed tenants drained ─► changed tenants told ─► added tenants started ─► ReloadReport
//! ```
//!
//! Invariants: a configuration with a breach changes nothing; a tenant that did not change is not touched, but for its
//! secrets, which are read again; a key that a running worker cannot change is named in the report and keeps its value.
//! Deliberately absent: watching the files (an editor's half-written file is nobody's wish), and undoing.

mod apply;
mod diff;

use serde::{Deserialize, Serialize};

pub use self::apply::{Again, Reloader};
pub use self::diff::{Change, TenantChange, diff};

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// What changed, one line each.
    pub applied: Vec<String>,
    /// What could not be done although the configuration is in force, one line each: a secret that cannot be read, a
    /// drain that was cut short.
    pub trouble: Vec<String>,
    /// Keys whose new value waits for a restart.
    pub needs_restart: Vec<String>,
}

/// How the worker stands to its files, for `taut status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Why the last reload was refused; `None` if there was none, or it was applied.
    pub refused: Option<String>,
    /// Keys whose new value waits for a restart.
    pub needs_restart: Vec<String>,
}
