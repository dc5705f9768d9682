//! Disks that fill, fail and lie, under the real binary; and what an operator does about the store on them.

#![expect(unreachable_pub, reason = "a test binary exports nothing; `pub` says what other modules use")]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod failing;
mod full;
mod refused;
mod shim;
