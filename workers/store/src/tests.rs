//! The disk store against the conformance suite.

use std::sync::Arc;

use crate::testing::{Bounds, Engine, ManualClock, Opened};
use crate::{DiskOptions, DiskStore};

/// A disk store in a directory of its own, on a memory filesystem where there is one.
pub(crate) struct Disk {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { directory: scratch(), clock: Arc::new(ManualClock::default()) }
    }
}

/// A directory that costs no real syncs where the system has one.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Small segments, so that a test sees many.
pub(crate) fn options(directory: &tempfile::TempDir, bounds: Bounds) -> DiskOptions {
    DiskOptions {
        total_bytes_max: bounds.total_bytes_max,
        dead_letters_bytes_max: bounds.dead_letters_bytes_max,
        dedup_window: bounds.dedup_window,
        segment_bytes: 16 << 10,
        retry_pause: std::time::Duration::from_millis(1),
        ..DiskOptions::new(directory.path())
    }
}

impl Engine for Disk {
    fn open(&self, bounds: Bounds) -> Opened {
        let (store, _report) =
            DiskStore::open(&options(&self.directory, bounds), self.clock.clone()).unwrap();
        let closing = store.clone();
        Opened {
            log: Arc::new(store.clone()),
            dead_letters: Arc::new(store.clone()),
            registry: Arc::new(store),
            close: Box::new(move || closing.close()),
        }
    }

    fn clock(&self) -> Arc<ManualClock> {
        self.clock.clone()
    }
}

#[test]
fn the_disk_store_keeps_every_promise_of_the_contract() {
    for (name, check) in crate::conformance::checks() {
        println!("{name}");
        check(&Disk::new());
    }
}
