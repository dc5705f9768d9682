//! The line against the simulated Slack: real sockets on loopback, an in-memory log, scripted handlers.

mod acks;
mod hostile;
mod log;
mod opening;
mod panics;
mod replacing;
mod requests;
mod rig;
mod soak;
