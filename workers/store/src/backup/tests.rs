//! Backups of stores that work meanwhile, and of files that are not what they were.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::executor::block_on;
use taut_core::log::{Append, Change, DeadLetter, DeadLetters, Log, Outcome, Overflow, QueueLimits};
use taut_core::{Clock, RouteBits, Seq};

use super::*;
use crate::conformance::letter;
use crate::testing::{Bounds, ManualClock, event, tenant};
use crate::tests::{options, scratch};
use crate::{DiskOptions, DiskStore};

const VERSION: &str = "0.0.0";

fn open(directory: &Path, clock: &Arc<ManualClock>) -> DiskStore {
    let options = DiskOptions { path: directory.to_owned(), ..options(&scratch(), Bounds::default()) };
    DiskStore::open(&options, clock.clone()).expect("it opens").0
}

fn stored(store: &DiskStore, text: &str, clock: &ManualClock) -> Seq {
    let answer = block_on(store.append(vec![event("acme", text, clock.wall())]))[0];
    let Append::Stored(seq) = answer else { panic!("not stored: {answer:?}") };
    seq
}

fn commit(store: &DiskStore, seq: Seq) {
    let change = Change::Commit { seq, routes: RouteBits::one(0), outcome: Outcome::Delivered };
    block_on(store.change(&tenant("acme"), vec![change])).unwrap();
}

/// A dead letter with a frame of this size.
fn sized(name: &str, seq: u64, bytes: usize) -> (DeadLetter, bytes::Bytes) {
    let (mut letter, _) = letter(name, seq, "bot", 5);
    letter.bytes = u32::try_from(bytes).unwrap();
    (letter, vec![b'd'; bytes].into())
}

/// A store with some entries and dead letters, closed.
fn small(root: &Path, clock: &Arc<ManualClock>) -> Vec<Seq> {
    let store = open(root, clock);
    let seqs: Vec<_> = (0..30).map(|n| stored(&store, &format!("{n} {}", "s".repeat(900)), clock)).collect();
    commit(&store, seqs[3]);
    store.put((1..=20).map(|n| sized("acme", n, 3000)).collect()).unwrap();
    store.close();
    seqs
}

fn flipped(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_restored_store_holds_what_the_backed_up_one_held_under_a_higher_epoch() {
    let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
    let at = |name: &str| directory.path().join(name);
    let seqs = small(&at("state"), &clock);
    let source = Source::stopped(&at("state")).unwrap();
    let manifest = back_up(&source, &at("backup"), clock.wall(), VERSION).unwrap();
    assert!(manifest.check.is_whole(), "{:?}", manifest.check);
    assert_eq!((manifest.check.entries, manifest.check.dead_letters), (29, 20));
    drop(source);

    let restored = restore(&at("backup"), &at("again"), clock.wall()).unwrap();

    let (old, new) = (open(&at("state"), &clock), open(&at("again"), &clock));
    assert!(new.epoch() > old.epoch() && new.epoch().0 > restored.epoch, "{:?}", new.epoch());
    assert_eq!(new.read(&tenant("acme"), seqs[3]), Ok(None), "delivered is delivered");
    for seq in seqs {
        assert_eq!(new.read(&tenant("acme"), seq), old.read(&tenant("acme"), seq));
    }
    assert_eq!(DeadLetters::stats(&new, &tenant("acme")).count, 20);
    let again = restore(&at("backup"), &at("again"), clock.wall());
    assert!(matches!(again, Err(BackupError::NotEmpty { .. })), "{again:?}");
}

#[test]
fn what_was_acked_before_a_backup_under_load_is_in_it() {
    let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
    let store = open(&directory.path().join("state"), &clock);
    let limits = QueueLimits {
        envelopes_max: 40,
        bytes_max: 1 << 30,
        overflow: Overflow::DeadLetterOldest,
        request_reserve_percent: 0,
        dedup_entries_max: 100_000,
    };
    store.set_limits(&tenant("acme"), limits);
    let done = AtomicBool::new(false);
    let acked = parking_lot::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        // Floods its queue, so that the oldest leave for the dead letters all the time, and compaction works.
        scope.spawn(|| {
            for n in 0.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                let text = format!("{n} {}", "l".repeat(700));
                let seq = stored(&store, &text, &clock);
                acked.lock().insert(text, seq);
            }
        });
        // Brings dead letters back.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let letters = store.list(None, None, 20).unwrap();
                for letter in letters {
                    let key = (letter.tenant.clone(), letter.seq, letter.route.clone());
                    let Some((_, frame)) = store.get(&key.0, key.1, &key.2).unwrap() else { continue };
                    let mut entry = event("globex", "", clock.wall());
                    (entry.frame, entry.dedup) = (frame, None);
                    let answer = block_on(store.append(vec![entry]))[0];
                    if matches!(answer, Append::Stored(_)) {
                        store.remove(&[key]).unwrap();
                    }
                }
            }
        });
        for round in 0..6 {
            while acked.lock().len() < 150 * (round + 1) {
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
            let wanted: Vec<_> = acked.lock().keys().cloned().collect();
            let snapshot = store.snapshot().unwrap();
            let (to, again) =
                (directory.path().join(format!("b{round}")), directory.path().join(format!("r{round}")));
            let manifest = back_up(&Source::snapshot(&snapshot), &to, snapshot.taken_at, VERSION).unwrap();
            store.release_snapshot(snapshot.number).unwrap();
            assert!(manifest.check.is_whole(), "{:?}", manifest.check);
            assert_eq!(manifest.check.torn_bytes, 0);
            restore(&to, &again, clock.wall()).unwrap();
            let restored = open(&again, &clock);
            let found = everything(&restored);
            let lost: Vec<_> = wanted.iter().filter(|text| !found.contains(text.as_str())).collect();
            assert!(lost.is_empty(), "{} of {} are lost in round {round}", lost.len(), wanted.len());
            restored.close();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(!directory.path().join("state/snapshots").exists(), "released");
}

/// The frames of all entries and dead letters.
fn everything(store: &DiskStore) -> std::collections::BTreeSet<String> {
    let mut found = std::collections::BTreeSet::new();
    for name in ["acme", "globex"] {
        for entry in store.backlog(&tenant(name), Seq(0), usize::MAX) {
            let frame = store.read(&tenant(name), entry.seq).unwrap().unwrap();
            found.insert(String::from_utf8(frame.to_vec()).unwrap());
        }
    }
    for letter in store.list(None, None, usize::MAX).unwrap() {
        let (_, frame) = store.get(&letter.tenant, letter.seq, &letter.route).unwrap().unwrap();
        found.insert(String::from_utf8(frame.to_vec()).unwrap());
    }
    found
}

#[test]
fn a_store_in_use_is_not_read_behind_its_workers_back() {
    let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
    let store = open(directory.path(), &clock);
    assert!(matches!(Source::stopped(directory.path()), Err(BackupError::Locked { .. })));
    store.close();
    let source = Source::stopped(directory.path()).unwrap();
    let locked = DiskStore::open(&DiskOptions::new(directory.path()), clock);
    assert!(matches!(locked, Err(crate::OpenError::Locked { .. })), "nor written while it is read");
    drop(source);
    let nothing = Source::stopped(&scratch().path().join("nothing"));
    assert!(matches!(nothing, Err(BackupError::Read { .. })), "{nothing:?}");
}

#[test]
fn a_check_names_damage_and_changes_nothing() {
    let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
    let seqs = small(directory.path(), &clock);
    let segment = directory.path().join("segments/0000000001.log");
    let bytes = std::fs::read(&segment).unwrap();
    let frame = b"5 sssss";
    let at = bytes.windows(frame.len()).position(|window| window == frame).unwrap();
    flipped(&segment, at + 20);
    let before = std::fs::read(&segment).unwrap();
    let report = Source::stopped(directory.path()).unwrap().check().unwrap();
    assert!(!report.is_whole());
    assert_eq!(report.damaged.len(), 1);
    let range = &report.damaged[0];
    assert_eq!((&range.tenant, range.seq), (&Some(tenant("acme")), Some(seqs[5])));
    assert_eq!(std::fs::read(&segment).unwrap(), before);
    let manifest = back_up(
        &Source::stopped(directory.path()).unwrap(),
        &directory.path().join("b"),
        clock.wall(),
        VERSION,
    );
    assert_eq!(manifest.unwrap().check.damaged.len(), 1, "the rest is worth keeping");
}

/// Whatever bit of the database flips: it is seen, or it does not matter.
#[test]
fn no_flipped_bit_of_the_database_is_skipped_silently() {
    let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
    small(directory.path(), &clock);
    let path = directory.path().join(crate::database::DATABASE);
    let whole = std::fs::read(&path).unwrap();
    let (mut seen, mut silent) = (0, 0);
    std::panic::set_hook(Box::new(|_| {}));
    for at in (0..whole.len()).step_by(whole.len() / 250 + 1).chain(0..320) {
        flipped(&path, at);
        let report = Source::stopped(directory.path()).unwrap().check().unwrap();
        if report.database.is_empty() {
            silent += 1;
            assert_eq!(report.dead_letters, 20, "byte {at}: all letters are whole");
        } else {
            seen += 1;
        }
        std::fs::write(&path, &whole).unwrap();
    }
    drop(std::panic::take_hook());
    assert!(seen > 20, "{seen} seen, {silent} of no consequence");
}

#[test]
fn a_database_cut_anywhere_is_refused_or_whole() {
    let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
    small(directory.path(), &clock);
    let path = directory.path().join(crate::database::DATABASE);
    let whole = std::fs::read(&path).unwrap();
    std::panic::set_hook(Box::new(|_| {}));
    for length in (0..whole.len()).step_by(whole.len() / 200 + 1) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let report = Source::stopped(directory.path()).unwrap().check().unwrap();
        assert!(!report.is_whole(), "cut to {length} of {}", whole.len());
    }
    drop(std::panic::take_hook());
}

#[test]
fn a_backup_that_is_not_as_it_was_written_is_not_restored() {
    let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
    let at = |name: &str| directory.path().join(name);
    small(&at("state"), &clock);
    let manifest =
        back_up(&Source::stopped(&at("state")).unwrap(), &at("backup"), clock.wall(), VERSION).unwrap();
    for file in &manifest.files {
        let path = at("backup").join(&file.name);
        let whole = std::fs::read(&path).unwrap();
        for byte in [0, whole.len() / 2, whole.len() - 1] {
            flipped(&path, byte);
            let outcome = restore(&at("backup"), &at("again"), clock.wall());
            assert!(matches!(outcome, Err(BackupError::Differs { .. })), "{}: {outcome:?}", file.name);
            let checked = Source::stopped(&at("backup")).unwrap().check();
            assert!(matches!(checked, Err(BackupError::Differs { .. })), "{}: {checked:?}", file.name);
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let outcome = restore(&at("backup"), &at("again"), clock.wall());
        assert!(matches!(outcome, Err(BackupError::Differs { .. })), "{}: {outcome:?}", file.name);
        std::fs::remove_file(&path).unwrap();
        let outcome = restore(&at("backup"), &at("again"), clock.wall());
        assert!(matches!(outcome, Err(BackupError::Read { .. })), "{}: {outcome:?}", file.name);
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(!at("again").exists(), "nothing was begun");
    std::fs::remove_file(at("backup").join(MANIFEST)).unwrap();
    let outcome = restore(&at("backup"), &at("again"), clock.wall());
    assert!(matches!(outcome, Err(BackupError::NoBackup { .. })), "{outcome:?}");
}

#[test]
fn half_a_restore_is_no_store() {
    let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
    std::fs::write(directory.path().join(RESTORING), b"").unwrap();
    let outcome = DiskStore::open(&DiskOptions::new(directory.path()), clock);
    assert!(matches!(outcome, Err(crate::OpenError::Restoring { .. })));
}

#[test]
fn room_of_former_dead_letters_is_given_back() {
    let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
    let options = DiskOptions { dead_letters_bytes_max: 1 << 30, ..DiskOptions::new(directory.path()) };
    let (store, _) = DiskStore::open(&options, clock.clone()).unwrap();
    for n in 0..10 {
        store.put((0..10).map(|m| sized("acme", n * 10 + m, 1 << 20)).collect()).unwrap();
    }
    store.put(vec![sized("globex", 1000, 77)]).unwrap();
    let full = store.database().bytes();
    assert!(full > 100 << 20, "{full}");
    let all = store.list(Some(&tenant("acme")), None, 1000).unwrap();
    let keys: Vec<_> = all.into_iter().map(|letter| (letter.tenant, letter.seq, letter.route)).collect();
    assert_eq!(store.remove(&keys), Ok(100));
    assert_eq!(store.expire(taut_core::WallMs(0)), Ok(0));
    let left = store.database().bytes();
    assert!(left < 8 << 20, "{left} of {full} bytes are left");
    assert_eq!(store.list(None, None, 10).unwrap().len(), 1);
    store.close();
}

#[test]
fn a_store_has_one_snapshot_and_a_later_one_takes_its_place() {
    let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
    let store = open(&directory.path().join("state"), &clock);
    stored(&store, "an entry", &clock);
    let first = store.snapshot().unwrap();
    assert!(first.path.exists());
    let second = store.snapshot().unwrap();
    assert!(!first.path.exists() && second.path.exists());
    store.release_snapshot(first.number).unwrap();
    assert!(second.path.exists(), "the end of the first one's hour is not the second one's");
    store.release_snapshot(second.number).unwrap();
    assert!(!second.path.exists());
    store.close();
}

#[test]
fn of_a_damaged_range_a_bounded_part_is_set_aside() {
    let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
    let root = directory.path().join("state");
    let open = || DiskStore::open(&DiskOptions::new(&root), clock.clone()).unwrap();
    let (store, _) = open();
    let huge = stored(&store, &"h".repeat(17 << 20), &clock);
    let after = stored(&store, "after it", &clock);
    store.close();
    flipped(&root.join("segments/0000000001.log"), 10 << 20);
    let (store, report) = open();
    assert_eq!(report.damaged.len(), 1, "{report:?}");
    assert!(report.damaged[0].to - report.damaged[0].from > 17 << 20, "all of it is reported");
    let set_aside: Vec<_> = std::fs::read_dir(root.join("damaged")).unwrap().map(Result::unwrap).collect();
    assert_eq!(set_aside.len(), 1);
    assert_eq!(set_aside[0].metadata().unwrap().len(), 16 << 20);
    assert!(store.read(&tenant("acme"), huge).is_err());
    assert!(store.read(&tenant("acme"), after).unwrap().is_some());
    store.close();
}
