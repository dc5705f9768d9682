//! The disk store against the conformance suite, the model, failing disks and crashes.

mod crash;
mod failure;
mod faulty;
mod overflow;
mod power;

use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;
use taut_core::log::{Append, Change, Log, Outcome};
use taut_core::{Clock, RouteBits};

use crate::database::{Backing, DATABASE, DatabaseFile};
use crate::model::{Kinds, Step};
use crate::storage::Storage;

use crate::testing::{Bounds, Engine, ManualClock, Opened, event, tenant};
use crate::{DiskOptions, DiskStore, OpenError};

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

/// A database in the options' own directory.
pub(crate) fn backing(options: &DiskOptions) -> Box<dyn Backing> {
    Box::new(DatabaseFile(options.path.join(DATABASE)))
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

#[test]
fn a_directory_has_one_store_and_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = scratch();
    let root = directory.path().join("state");
    let options = DiskOptions { path: root.clone(), ..options(&directory, Bounds::default()) };
    let clock = Arc::new(ManualClock::default());
    let (store, _) = DiskStore::open(&options, clock.clone()).unwrap();
    assert!(matches!(DiskStore::open(&options, clock.clone()), Err(OpenError::Locked { .. })));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["", "segments", "damaged"] {
        assert_eq!(mode(&root.join(name)), 0o700, "{name}");
    }
    for name in ["lock", "taut.redb", "segments/0000000001.log"] {
        assert_eq!(mode(&root.join(name)), 0o600, "{name}");
    }
    drop(store);
    for name in ["", "segments"] {
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    DiskStore::open(&options, clock).unwrap().0.close();
    for name in ["", "segments"] {
        assert_eq!(mode(&root.join(name)), 0o700, "others are shut out of {name}");
    }
}

#[test]
fn a_closed_store_answers_that_it_is_unavailable() {
    let disk = Disk::new();
    let opened = disk.open(Bounds::default());
    (opened.close)();
    let entry = event("acme", "late", disk.clock.wall());
    assert_eq!(block_on(opened.log.append(vec![entry.clone(), entry])), [Append::Unavailable; 2]);
    assert!(!opened.log.store_stats().writable);
    assert!(opened.registry.facts(&tenant("acme")).is_err());
}

/// Readers race with compaction, which moves records and recycles files under them.
#[test]
fn a_stored_entry_is_readable_at_any_time() {
    let disk = Disk::new();
    let opened = disk.open(Bounds::default());
    let at = disk.clock.wall();
    let text = |n: usize| format!("{n} {}", "r".repeat(900));
    let append = |name: &str, n: usize| match block_on(opened.log.append(vec![event(name, &text(n), at)]))[0]
    {
        Append::Stored(seq) => seq,
        Append::Duplicate(_) | Append::Full(_) | Append::Unavailable => panic!("not stored"),
    };
    let kept: Vec<_> = (0..10).map(|n| append("acme", n)).collect();
    let (log, done) = (&*opened.log, std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for (n, seq) in kept.iter().enumerate() {
                    let frame = log.read(&tenant("acme"), *seq).unwrap().unwrap();
                    assert_eq!(frame, text(n));
                }
            }
        });
        for n in 0..1500 {
            let seq = append("globex", n);
            let (routes, outcome) = (RouteBits::one(0), Outcome::Delivered);
            drop(log.change(&tenant("globex"), vec![Change::Commit { seq, routes, outcome }]));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap();
    });
    (opened.close)();
}

fn kinds() -> impl Strategy<Value = Kinds> {
    prop_oneof![
        4 => (any::<u8>(), 0..3000u16).prop_map(|(text, length)| Kinds::Event(text, length)),
        2 => any::<u8>().prop_map(Kinds::Request),
        1 => any::<u8>().prop_map(Kinds::Unrouted),
        1 => any::<u8>().prop_map(Kinds::Replayed),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<usize>(), prop::collection::vec(kinds(), 1..6))
            .prop_map(|(tenant, entries)| Step::Append { tenant, entries }),
        4 => (any::<usize>(), any::<usize>(), 1..4u64)
            .prop_map(|(tenant, pick, routes)| Step::Commit { tenant, pick, routes }),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(tenant, pick)| Step::Release { tenant, pick }),
        1 => (1..60u32).prop_map(|percent| Step::Advance { percent }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_script_leaves_what_the_model_says(script in prop::collection::vec(steps(), 1..60)) {
        crate::model::run(&Disk::new(), &script);
    }

    /// The bound of design: twice the live bytes and six segments, whatever is appended and committed.
    #[test]
    fn disk_use_stays_within_its_bound(
        rounds in prop::collection::vec((1..20usize, 0..3000usize, 0..=100usize), 1..40),
    ) {
        let directory = scratch();
        let clock = Arc::new(ManualClock::default());
        let bounds = Bounds::default();
        let disk = faulty::FaultyDisk::new(16 << 10);
        let options = options(&directory, bounds);
        let (store, _) = DiskStore::open_on(&options, Arc::new(disk.clone()), backing(&options), clock.clone(), None).unwrap();
        for (round, (count, length, percent)) in rounds.into_iter().enumerate() {
            let text = |n: usize| format!("{round}-{n}-{}", "z".repeat(length));
            let batch: Vec<_> = (0..count).map(|n| event("acme", &text(n), clock.wall())).collect();
            let seqs = block_on(store.append(batch)).into_iter().filter_map(|answer| match answer {
                Append::Stored(seq) => Some(seq),
                Append::Duplicate(_) | Append::Full(_) | Append::Unavailable => None,
            });
            let (outcome, routes) = (Outcome::Delivered, RouteBits::one(0));
            let commits: Vec<_> = seqs
                .take(count * percent / 100)
                .map(|seq| Change::Commit { seq, routes, outcome })
                .collect();
            block_on(store.change(&tenant("acme"), commits)).unwrap();
            wait_until_within_bound(&store, &disk);
        }
        store.close();
    }
}

/// Compaction works on its own thread, at once and until done.
fn wait_until_within_bound(store: &DiskStore, disk: &faulty::FaultyDisk) {
    let mut last = (0, 0);
    for _ in 0..5_000 {
        last = (Storage::bytes(disk), store.store_stats().live_bytes);
        if last.0 <= 2 * last.1 + 6 * (16 << 10) {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    panic!("disk use {} is beyond twice the live bytes {} and six segments", last.0, last.1);
}
