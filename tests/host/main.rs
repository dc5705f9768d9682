//! One host: its service manager, its monitoring, its configuration while it runs.

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod dashboard;
mod journal;
mod manager;
mod notify;
mod reload;
mod unit;

use std::path::PathBuf;

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Its text.
fn text(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether a program is there; says aloud that a test is skipped where it is not.
fn there(program: &str) -> bool {
    let found = std::process::Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: {program} is not installed here; .ci/install has it");
    }
    found
}
