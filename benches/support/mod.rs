//! What the benches share: a simulated Slack in this process on one core, the client under test on another.

#![expect(dead_code, reason = "each bench uses its own part")]

pub(crate) mod args;
pub(crate) mod client;
pub(crate) mod process;
pub(crate) mod stage;
pub(crate) mod table;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Outcome<T = ()> = Result<T, Failure>;
