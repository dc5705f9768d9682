//! Disks that fill, fail and lie, under the real binary; and what an operator does about the store on them.

#[path = "../support/mod.rs"]
mod support;

mod commands;
