//! Failing writes and syncs, a full disk, damaged bytes.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;
use taut_core::log::{Append, Change, DeadLetters, Log, LogError, Outcome};
use taut_core::{Clock, RouteBits, Seq, WallMs};

use super::crash::{SEGMENT_BYTES, open};
use super::faulty::{Fault, FaultyDisk};
use super::scratch;
use crate::DiskStore;
use crate::index::Index;
use crate::recovery::{self, RecoveryReport, Survey};
use crate::testing::{Bounds, ManualClock, event, tenant};

fn append(store: &DiskStore, text: &str) -> Append {
    block_on(store.append(vec![event("acme", text, ManualClock::default().wall())]))[0]
}

/// Waits until the store says so: it heals on its own thread.
fn wait_until_writable(store: &DiskStore, writable: bool) {
    for _ in 0..10_000 {
        if store.store_stats().writable == writable {
            return;
        }
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("the store did not become writable={writable}");
}

fn commit(seq: Seq) -> Vec<Change> {
    vec![Change::Commit { seq, routes: RouteBits::one(0), outcome: Outcome::Delivered }]
}

fn seqs(store: &DiskStore) -> Vec<Seq> {
    store.backlog(&tenant("acme"), Seq(0), usize::MAX).into_iter().map(|entry| entry.seq).collect()
}

fn stored(answer: Append) -> Seq {
    match answer {
        Append::Stored(seq) => seq,
        Append::Duplicate(_) | Append::Full(_) | Append::Unavailable => panic!("not stored: {answer:?}"),
    }
}

/// Both the write (0) and the sync (1) of a group.
#[test]
fn nothing_is_acked_after_a_failed_write_or_sync_and_the_log_heals() {
    for step in [0, 1] {
        let (disk, directory, clock) = (FaultyDisk::new(SEGMENT_BYTES), scratch(), Arc::default());
        let (store, _) = open(&disk, &directory, &clock).unwrap();
        let first = stored(append(&store, "first"));
        disk.set(Fault::FailFrom(disk.operations() + step, 1));

        assert_eq!(append(&store, "lost"), Append::Unavailable);

        wait_until_writable(&store, true);
        assert_eq!(store.store_stats().errors, 1);
        let second = stored(append(&store, "second"));
        assert_eq!(seqs(&store), [first, second]);
        assert_eq!(store.read(&tenant("acme"), first).unwrap().unwrap(), "first");
        store.close();
        let (store, report) = open(&disk, &directory, &clock).unwrap();
        assert_eq!(seqs(&store), [first, second], "what was refused does not come back");
        assert_eq!(report.damaged, []);
        stored(append(&store, "lost"));
        store.close();
    }
}

#[test]
fn a_commit_of_a_failed_group_is_written_once_the_log_heals() {
    let (disk, directory, clock) = (FaultyDisk::new(SEGMENT_BYTES), scratch(), Arc::default());
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    let seq = stored(append(&store, "first"));
    disk.set(Fault::FailFrom(disk.operations(), 1));
    let answer = block_on(store.change(&tenant("acme"), commit(seq)));
    assert_eq!(answer, Err(LogError::Unavailable { cause: "the disk failed".into() }).or(answer.clone()));
    assert!(answer.is_err());
    wait_until_writable(&store, true);
    stored(append(&store, "second"));
    store.close();
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    assert_eq!(store.read(&tenant("acme"), seq), Ok(None));
    store.close();
}

#[test]
fn three_failures_in_a_row_are_fatal() {
    let (disk, directory, clock) = (FaultyDisk::new(SEGMENT_BYTES), scratch(), Arc::default());
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    disk.set(Fault::FailFrom(disk.operations(), u64::MAX / 2));
    let fatal = store.fatal();
    assert_eq!(append(&store, "lost"), Append::Unavailable);
    assert!(block_on(fatal).contains("3 times"));
    assert!(!store.store_stats().writable);
    assert_eq!(append(&store, "lost"), Append::Unavailable);
    store.close();
}

#[test]
fn a_full_disk_refuses_and_heals_when_there_is_space() {
    let (disk, directory, clock) = (FaultyDisk::new(SEGMENT_BYTES), scratch(), Arc::default());
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    disk.set(Fault::Full);
    let mut kept = Vec::new();
    let text = |n: usize| format!("{n} {}", "x".repeat(700));
    while let Append::Stored(seq) = append(&store, &text(kept.len())) {
        kept.push(seq);
    }
    wait_until_writable(&store, false);
    assert_eq!(seqs(&store), kept, "what was acked can be delivered meanwhile");
    assert_eq!(store.read(&tenant("acme"), kept[0]).unwrap().unwrap(), text(0));
    disk.set(Fault::None);
    wait_until_writable(&store, true);
    kept.push(stored(append(&store, &text(kept.len()))));
    store.close();
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    assert_eq!(seqs(&store), kept);
    store.close();
}

#[test]
fn a_writer_that_waits_for_work_or_for_space_gives_a_sign_of_life_when_asked() {
    let (disk, directory, clock) = (FaultyDisk::new(SEGMENT_BYTES), scratch(), Arc::default());
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    let answers = || {
        let before = store.sign_of_life().expect("it lives");
        let answered = || {
            std::thread::park_timeout(Duration::from_millis(1));
            store.sign_of_life().is_some_and(|now| now > before)
        };
        assert!((0..10_000).any(|_| answered()), "no sign of life");
    };
    answers();
    disk.set(Fault::Full);
    let text = |n: usize| format!("{n} {}", "x".repeat(700));
    assert!((0..10_000).any(|n| append(&store, &text(n)) == Append::Unavailable), "it fills up");
    wait_until_writable(&store, false);
    for _ in 0..3 {
        answers();
    }
    disk.set(Fault::None);
    store.close();
    assert_eq!(store.sign_of_life(), None, "its thread has ended");
}

#[test]
fn a_disk_full_of_delivered_envelopes_heals_by_itself() {
    let (disk, directory, clock) = (FaultyDisk::new(SEGMENT_BYTES), scratch(), Arc::default());
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    let text = |n: usize| format!("{n} {}", "x".repeat(700));
    let mut kept: Vec<_> = (0..20).map(|n| stored(append(&store, &text(n)))).collect();
    disk.set(Fault::Full);
    while let Append::Stored(seq) = append(&store, &text(kept.len())) {
        kept.push(seq);
    }
    for seq in kept {
        drop(store.change(&tenant("acme"), commit(seq)));
    }
    wait_until_writable(&store, true);
    let next = stored(append(&store, "next"));
    store.close();
    disk.set(Fault::None);
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    assert_eq!(seqs(&store), [next], "the commits were written too");
    let again = append(&store, &text(0));
    assert!(matches!(again, Append::Duplicate(_)), "its segment went, its key stayed: {again:?}");
    store.close();
}

/// A small log on disk, properly closed: ten entries of two tenants, two of them committed.
fn small_log(clock: &Arc<ManualClock>) -> (FaultyDisk, tempfile::TempDir, u128, Vec<Seq>) {
    let (disk, directory) = (FaultyDisk::new(SEGMENT_BYTES), scratch());
    let (store, _) = open(&disk, &directory, clock).unwrap();
    let mut kept = Vec::new();
    for n in 0..8 {
        kept.push(stored(append(&store, &format!("entry number {n}"))));
    }
    block_on(store.append(vec![event("globex", "other", clock.wall())]));
    for _ in 0..2 {
        block_on(store.change(&tenant("acme"), commit(kept.remove(3)))).unwrap();
    }
    store.close();
    let id = Survey::new(&disk).unwrap().store().unwrap();
    (disk, directory, id, kept)
}

fn recover(disk: &FaultyDisk, store: u128, now: WallMs) -> (Index, RecoveryReport) {
    let window = Bounds::default().dedup_window;
    let situation = recovery::Situation { store, now, window, total_bytes_max: 1 << 30 };
    let survey = Survey::new(disk).unwrap_or_else(|error| panic!("{error}"));
    let recovered = recovery::recover(disk, survey, situation).unwrap_or_else(|error| panic!("{error}"));
    (recovered.index, recovered.report)
}

fn live(index: &Index, name: &str) -> Vec<Seq> {
    index.backlog(&tenant(name), Seq(0), usize::MAX).into_iter().map(|entry| entry.seq).collect()
}

fn used(disk: &FaultyDisk) -> usize {
    let mut end = 0;
    disk.with(|files| {
        let bytes = files.values().next().unwrap();
        end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    });
    end
}

#[test]
fn no_flipped_bit_is_skipped_in_silence() {
    let clock = Arc::default();
    let (disk, _directory, id, kept) = small_log(&clock);
    for at in 0..used(&disk) {
        let flipped = disk.with(|files| files.values_mut().next().unwrap()[at] ^= 1 << (at % 8));
        // A version that this code does not know is refused; with its checksum broken it is damage instead.
        let (index, report) = recover(&flipped, id, clock.wall());
        let found = live(&index, "acme");
        let all_there = kept.iter().all(|seq| found.contains(seq)) && live(&index, "globex").len() == 1;
        let missing = kept.iter().filter(|seq| !found.contains(seq)).count();
        assert!(missing <= 1, "one damaged byte costs one entry at most: {at}");
        assert!(all_there || !report.damaged.is_empty(), "what is missing is reported: {at}");
        assert!(report.damaged.len() <= 1, "{at}");
        assert_eq!(
            flipped.set_aside_names().len(),
            report.damaged.iter().filter(|range| range.from > 0).count()
        );
    }
}

#[test]
fn a_log_cut_anywhere_opens_with_what_is_left() {
    let clock = Arc::default();
    let (disk, _directory, id, kept) = small_log(&clock);
    for length in 0..used(&disk) {
        let cut = disk.with(|files| files.values_mut().next().unwrap().truncate(length));
        let (index, _) = recover(&cut, id, clock.wall());
        let found = live(&index, "acme");
        let whole: Vec<_> = kept.iter().filter(|seq| found.contains(seq)).copied().collect();
        assert_eq!(whole, kept[..whole.len()], "a prefix: {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever the bytes, the log opens, and nothing is in it that was not put there.
    #[test]
    fn any_damage_is_survived(
        strikes in prop::collection::vec((0..2000usize, prop::collection::vec(any::<u8>(), 1..200)), 1..6),
    ) {
        let clock = Arc::default();
        let (disk, directory, id, _) = small_log(&clock);
        let struck = disk.with(|files| {
            let bytes = files.values_mut().next().unwrap();
            for (at, with) in &strikes {
                let at = at % bytes.len();
                let length = with.len().min(bytes.len() - at);
                bytes[at..at + length].copy_from_slice(&with[..length]);
            }
        });
        let (index, _) = recover(&struck, id, clock.wall());
        let (store, _) = open(&struck, &directory, &clock).unwrap();
        for seq in live(&index, "acme") {
            match store.read(&tenant("acme"), seq) {
                Ok(Some(frame)) => prop_assert_eq!(frame, format!("entry number {}", seq.0 - 1)),
                Ok(None) => prop_assert!(false, "listed, so stored"),
                Err(_) => {}
            }
        }
        store.close();
    }
}

#[test]
fn a_damaged_frame_is_an_error_to_its_reader_before_and_after_a_restart() {
    let clock = Arc::default();
    let (disk, directory, _, kept) = small_log(&clock);
    let flipped = disk.with(|files| {
        let bytes = files.values_mut().next().unwrap();
        let at = bytes.windows(14).position(|window| window == b"entry number 1").unwrap();
        bytes[at] ^= 0x20;
    });
    for _ in 0..2 {
        let (store, report) = open(&flipped, &directory, &clock).unwrap();
        assert_eq!(report.damaged.len(), 1);
        assert_eq!(
            (&report.damaged[0].tenant, report.damaged[0].seq),
            (&Some(tenant("acme")), Some(kept[1]))
        );
        assert_eq!(store.store_stats().damaged_ranges, 1);
        let read = store.read(&tenant("acme"), kept[1]);
        assert!(matches!(read, Err(LogError::Read { .. })), "{read:?}");
        assert_eq!(store.read(&tenant("acme"), kept[2]).unwrap().unwrap(), "entry number 2");
        store.close();
    }
    let (store, _) = open(&flipped, &directory, &clock).unwrap();
    block_on(store.change(&tenant("acme"), commit(kept[1]))).unwrap();
    store.close();
}

#[test]
fn a_segment_of_another_store_or_format_is_refused() {
    let clock = Arc::default();
    let (disk, _directory, id, _) = small_log(&clock);
    let window = Bounds::default().dedup_window;
    let situation = recovery::Situation { store: id + 1, now: clock.wall(), window, total_bytes_max: 1 };
    let outcome = recovery::recover(&disk, Survey::new(&disk).unwrap(), situation);
    assert!(matches!(outcome, Err(recovery::RecoveryError::Foreign { .. })));
    let newer = disk.with(|files| {
        let bytes = files.values_mut().next().unwrap();
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(matches!(Survey::new(&newer), Err(recovery::RecoveryError::Version { found: 2, .. })));
}

#[test]
fn a_log_that_was_taken_away_gives_no_seq_a_dead_letter_has() {
    let clock = Arc::new(ManualClock::default());
    let directory = scratch();
    let (store, _) = open(&FaultyDisk::new(SEGMENT_BYTES), &directory, &clock).expect("a fresh store");
    let last =
        match block_on(store.append((0..5).map(|n| event("acme", &n.to_string(), clock.wall())).collect()))
            .last()
        {
            Some(Append::Stored(seq)) => *seq,
            other => panic!("{other:?}"),
        };
    store.put(vec![crate::conformance::letter("acme", last.0, "bot", 5)]).expect("there is room");
    store.close();
    let (store, _) = open(&FaultyDisk::new(SEGMENT_BYTES), &directory, &clock).expect("without its segments");
    let fresh = block_on(store.append(vec![event("acme", "new", clock.wall())]));
    assert!(
        matches!(fresh[0], Append::Stored(seq) if seq > last),
        "{fresh:?}: its dead letter would be taken for kept"
    );
    store.close();
}
