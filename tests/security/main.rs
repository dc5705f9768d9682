//! What one host promises about secrets, files and its own doors, shown on the real binary.

#![expect(unreachable_pub, reason = "a test binary exports nothing; `pub` says what tests use")]

mod debug;
mod doors;
mod echoes;
mod files;
mod process;
mod search;
#[path = "../support/mod.rs"]
mod support;
mod users;
