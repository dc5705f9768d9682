//! A tenant's state as operators see it. The list is closed; every state carries a reason code.

use serde::{Deserialize, Serialize};

/// Where a tenant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum TenantState {
    /// On the way to its first socket, or to the next one after a loss.
    Starting = 0,
    /// A socket has said hello.
    Connected = 1,
    /// Handed from one owner to the next.
    Moving = 2,
    /// Waits for something outside that taut probes on its own.
    Waiting = 3,
    /// Needs a person; the reason says which.
    Parked = 4,
    /// An operator paused it.
    Paused = 5,
    /// An operator cut it off.
    Quarantined = 6,
    /// Secrets or facts are missing.
    Incomplete = 7,
    /// No worker may own it.
    Unplaced = 8,
}

impl TenantState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Starting,
        Self::Connected,
        Self::Moving,
        Self::Waiting,
        Self::Parked,
        Self::Paused,
        Self::Quarantined,
        Self::Incomplete,
        Self::Unplaced,
    ];

    /// The name used in metrics, logs and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Connected => "connected",
            Self::Moving => "moving",
            Self::Waiting => "waiting",
            Self::Parked => "parked",
            Self::Paused => "paused",
            Self::Quarantined => "quarantined",
            Self::Incomplete => "incomplete",
            Self::Unplaced => "unplaced",
        }
    }
}

/// Why a tenant is in its state: a short code for machines, and a sentence for the person who can act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// `[a-z0-9_]`, stable: Slack's own error code where there is one.
    pub code: String,
    /// What happened, whose fault it is, and what to do. May be empty.
    pub text: String,
}

impl Reason {
    /// A reason with its sentence.
    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }
}
