//! One tenant's overflow, and what it costs the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use futures::FutureExt;
use futures::executor::block_on;
use taut_core::log::{
    Append, Change, DeadLetters, DeadLettersError, Entry, FullReason, Log, Outcome, Overflow, QueueLimits,
};
use taut_core::{Clock, Seq};

use super::crash::open;
use super::faulty::{Fault, FaultyDisk};
use super::{options, scratch};
use crate::DiskStore;
use crate::testing::{Bounds, ManualClock, event, tenant};

const LIMITS: QueueLimits = QueueLimits {
    envelopes_max: 4,
    bytes_max: 1 << 20,
    overflow: Overflow::DeadLetterOldest,
    request_reserve_percent: 0,
    dedup_entries_max: 1000,
};

#[test]
fn others_do_not_wait_for_the_database_when_one_tenant_overflows() {
    let (disk, directory, clock) = (FaultyDisk::new(64 << 10), scratch(), Arc::new(ManualClock::default()));
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    store.set_limits(&tenant("acme"), LIMITS);
    let entry = |name: &str, n: usize| event(name, &format!("{name} {n}"), clock.wall());
    let whole = block_on(store.append((0..4).map(|n| entry("acme", n)).collect()));
    assert!(whole.iter().all(|answer| matches!(answer, Append::Stored(_))), "{whole:?}");
    let (held, is_held) = channel();
    let (release, released) = channel::<()>();
    std::thread::scope(|scope| {
        let database = store.database();
        scope.spawn(move || {
            database.hold_still(|_| {
                held.send(()).unwrap();
                released.recv().unwrap();
            })
        });
        is_held.recv().unwrap();

        let mut first = store.append((4..6).map(|n| entry("acme", n)).collect());
        let mut second = store.append(vec![entry("acme", 6)]);
        for n in 0..20 {
            let answer = block_on(store.append(vec![entry("globex", n)]));
            assert!(matches!(answer[0], Append::Stored(_)), "{answer:?}");
        }
        assert_eq!((&mut first).now_or_never(), None, "its room is not made yet");
        assert_eq!((&mut second).now_or_never(), None, "it stays behind its elder");
        release.send(()).unwrap();

        let seqs = |answers: Vec<Append>| -> Vec<Seq> {
            let stored = answers.into_iter().map(|answer| match answer {
                Append::Stored(seq) => seq,
                Append::Duplicate(_) | Append::Full(_) | Append::Unavailable => panic!("{answer:?}"),
            });
            stored.collect()
        };
        let (first, second) = (seqs(block_on(first)), seqs(block_on(second)));
        assert!(first.iter().max() < second.iter().min(), "in the order they came");
    });
    assert_eq!(store.stats_of("acme"), (4, 3), "the three oldest left");
    store.close();
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    assert_eq!(store.stats_of("acme"), (4, 3), "for good");
    store.close();
}

#[test]
fn who_waits_for_room_is_answered_when_the_dead_letters_are_full_and_when_the_store_closes() {
    let (disk, directory, clock) = (FaultyDisk::new(64 << 10), scratch(), Arc::new(ManualClock::default()));
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    store.set_limits(&tenant("acme"), QueueLimits { bytes_max: 1 << 30, ..LIMITS });
    let entry = |n: usize| event("acme", &format!("{n} {}", "w".repeat(300_000)), clock.wall());
    let mut stored = 0;
    let refused = (0..20).find_map(|n| match block_on(store.append(vec![entry(n)]))[0] {
        Append::Stored(_) => {
            stored += 1;
            None
        }
        other @ (Append::Duplicate(_) | Append::Full(_) | Append::Unavailable) => Some(other),
    });
    assert_eq!(refused, Some(Append::Full(FullReason::DeadLetters)), "1 MiB is full of them");
    assert_eq!(stored, 7);
    store.remove(&[]).unwrap();
    store.close();
    assert_eq!(block_on(store.append(vec![entry(30)])), [Append::Unavailable]);
}

#[test]
fn a_failing_database_costs_only_who_overflows_and_heals() {
    let (disk, directory, clock) = (FaultyDisk::new(64 << 10), scratch(), Arc::new(ManualClock::default()));
    let options = crate::DiskOptions { segment_bytes: 64 << 10, ..options(&directory, Bounds::default()) };
    let open = || {
        let backing = Box::new(disk.clone());
        let store =
            DiskStore::open_on(&options, Arc::new(disk.clone()), backing, clock.clone(), None).unwrap().0;
        store.set_limits(&tenant("acme"), LIMITS);
        store
    };
    let store = open();
    let append = |name: &str, n: usize| {
        block_on(store.append(vec![event(name, &format!("{name} {n}"), clock.wall())]))[0]
    };
    for n in 0..4 {
        assert!(matches!(append("acme", n), Append::Stored(_)));
    }
    disk.set(Fault::Database);
    for n in 0..3 {
        assert_eq!(append("acme", 4), Append::Unavailable, "its room could not be made");
        assert!(matches!(append("globex", n), Append::Stored(_)), "others have room");
        let lost = store.put(vec![crate::conformance::letter("globex", 1, "bot", 5)]);
        assert!(matches!(lost, Err(DeadLettersError::Failed { .. })), "{lost:?}");
    }
    assert_eq!(store.stats_of("acme"), (4, 0), "nobody left");
    assert!(store.store_stats().writable, "the log is well");
    disk.set(Fault::None);
    assert!(matches!(append("acme", 4), Append::Stored(_)));
    assert_eq!(store.stats_of("acme"), (4, 1));
    store.close();
    let store = open();
    assert_eq!((store.stats_of("acme"), store.stats_of("globex")), ((4, 1), (3, 0)));
    store.close();
}

#[test]
fn a_flood_beyond_a_group_keeps_its_order_when_room_comes_by_deliveries_as_well() {
    const FULL: usize = 5000;
    const BATCH: usize = 63;
    let (disk, directory, clock) = (FaultyDisk::new(4 << 20), scratch(), Arc::new(ManualClock::default()));
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    let (full, acme) = (FULL as u64, tenant("acme"));
    store.set_limits(&acme, QueueLimits { envelopes_max: full, dedup_entries_max: 100_000, ..LIMITS });
    let entries = |numbers: std::ops::Range<usize>| -> Vec<_> {
        numbers.map(|n| event("acme", &n.to_string(), clock.wall())).collect()
    };
    block_on(store.append(entries(0..FULL)));
    // Deliveries make room right after a group that left a part of a batch to the next.
    let (deliverer, deliver) = (store.clone(), AtomicBool::new(true));
    let wake = move || {
        let acme = tenant("acme");
        if DeadLetters::stats(&deliverer, &acme).count >= 4096 && deliver.swap(false, Ordering::Relaxed) {
            let done = |entry: Entry| Change::Commit {
                seq: entry.seq,
                routes: entry.routes,
                outcome: Outcome::Delivered,
            };
            let oldest = deliverer.backlog(&acme, Seq(0), 2000).into_iter().map(done).collect();
            drop(deliverer.change(&acme, oldest));
        }
    };
    store.subscribe(&acme, Arc::new(wake));
    let (held, is_held) = channel();
    let (release, released) = channel::<()>();
    std::thread::scope(|scope| {
        let database = store.database();
        scope.spawn(move || {
            database.hold_still(|_| {
                held.send(()).unwrap();
                released.recv().unwrap();
            })
        });
        is_held.recv().unwrap();
        let flood: Vec<_> = (0..80)
            .map(|batch| store.append(entries(FULL + batch * BATCH..FULL + (batch + 1) * BATCH)))
            .collect();
        // Behind all of them: it is stored once they wait for room.
        block_on(store.append(vec![event("globex", "1", clock.wall())]));
        release.send(()).unwrap();
        let answers: Vec<_> = flood.into_iter().flat_map(block_on).collect();
        let seqs: Vec<_> = answers
            .iter()
            .map(|answer| match answer {
                Append::Stored(seq) => *seq,
                Append::Duplicate(_) | Append::Full(_) | Append::Unavailable => panic!("{answer:?}"),
            })
            .collect();
        assert!(seqs.is_sorted(), "in the order they came");
    });
    store.close();
}

impl crate::DiskStore {
    /// Envelopes waiting, and dead letters.
    fn stats_of(&self, name: &str) -> (u64, u64) {
        (Log::stats(self, &tenant(name)).envelopes, DeadLetters::stats(self, &tenant(name)).count)
    }
}

#[test]
fn what_waits_for_room_is_bounded_for_each_tenant_and_goes_on_when_there_is_room() {
    let (disk, directory, clock) = (FaultyDisk::new(64 << 10), scratch(), Arc::new(ManualClock::default()));
    let (store, _) = open(&disk, &directory, &clock).unwrap();
    store.set_limits(&tenant("acme"), QueueLimits { bytes_max: 1 << 30, ..LIMITS });
    let small = (0..4).map(|n| event("acme", &format!("small {n}"), clock.wall())).collect();
    assert!(block_on(store.append(small)).iter().all(|answer| matches!(answer, Append::Stored(_))));
    let large = |n: usize| event("acme", &format!("{n} {}", "w".repeat((4 << 20) - 100)), clock.wall());
    let (held, is_held) = channel();
    let (release, released) = channel::<()>();
    std::thread::scope(|scope| {
        let database = store.database();
        scope.spawn(move || {
            database.hold_still(|_| {
                held.send(()).unwrap();
                released.recv().unwrap();
            })
        });
        is_held.recv().unwrap();
        let waiting: Vec<_> = (0..4)
            .map(|n| {
                let answer = store.append(vec![large(n)]);
                // Behind it another group is done, so it waits for room by now.
                let other = block_on(store.append(vec![event("globex", &n.to_string(), clock.wall())]));
                assert!(matches!(other[0], Append::Stored(_)), "{other:?}");
                answer
            })
            .collect();
        assert_eq!(block_on(store.append(vec![large(4)])), [Append::Unavailable], "16 MiB of acme's wait");
        release.send(()).unwrap();
        for answer in waiting {
            let answer = block_on(answer);
            assert!(matches!(answer[0], Append::Stored(_)), "{answer:?}");
        }
    });
    assert_eq!(store.stats_of("acme"), (4, 4), "the small ones left");
    store.close();
}
