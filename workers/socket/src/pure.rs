//! Decisions without tasks, clocks or I/O: time comes in as [`Moment`](taut_core::Moment), actions go out as values.

pub(crate) mod deaf;
pub(crate) mod late;
pub(crate) mod line;
pub(crate) mod liveness;
pub(crate) mod pace;
