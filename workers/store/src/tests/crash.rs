//! Power loss at every operation: what was acked is found.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::executor::block_on;
use taut_core::log::{Append, Change, Log, NewEntry, Outcome};
use taut_core::{Clock, RouteBits, Seq, TenantId};

use super::faulty::{Fault, FaultyDisk};
use super::{backing, options, scratch};
use crate::testing::{Bounds, ManualClock, event, request, tenant};
use crate::{DiskStore, RecoveryReport};

pub(super) const SEGMENT_BYTES: u64 = 4 << 10;

pub(super) fn open(
    disk: &FaultyDisk,
    directory: &tempfile::TempDir,
    clock: &Arc<ManualClock>,
) -> Option<(DiskStore, RecoveryReport)> {
    open_sized(disk, directory, clock, SEGMENT_BYTES)
}

fn open_sized(
    disk: &FaultyDisk,
    directory: &tempfile::TempDir,
    clock: &Arc<ManualClock>,
    segment_bytes: u64,
) -> Option<(DiskStore, RecoveryReport)> {
    let mut options = options(directory, Bounds::default());
    options.segment_bytes = segment_bytes;
    DiskStore::open_on(&options, Arc::new(disk.clone()), backing(&options), clock.clone(), None).ok()
}

/// What the store promised.
#[derive(Default)]
struct Promised {
    /// Answered `Stored`, and no commit asked for.
    kept: BTreeMap<(TenantId, Seq), NewEntry>,
    /// Answered `Stored`, whatever came after.
    keys: Vec<(NewEntry, Seq)>,
    /// A commit was answered as durable.
    committed: Vec<(TenantId, Seq)>,
}

/// Several tenants, batches, commits, requests, enough for compaction; stops at the first failure.
fn work(store: &DiskStore, clock: &ManualClock) -> Promised {
    let mut promised = Promised::default();
    for round in 0..12 {
        let name = ["acme", "globex"][round % 2];
        let frame = |n: usize| format!("{round}-{n} {}", "y".repeat(n * 150));
        let mut batch: Vec<_> = (0..4).map(|n| event(name, &frame(n), clock.wall())).collect();
        batch.push(request(name, &format!("/ask {round}"), clock.wall()));
        let answers = block_on(store.append(batch.clone()));
        let mut seqs = Vec::new();
        for (entry, answer) in batch.into_iter().zip(answers) {
            let Append::Stored(seq) = answer else { return promised };
            if entry.answering.is_empty() {
                promised.kept.insert((tenant(name), seq), entry.clone());
            }
            promised.keys.push((entry, seq));
            seqs.push(seq);
        }
        // Most of it is delivered at once; the request is answered.
        let done = if round % 3 == 0 { &seqs[1..] } else { &seqs[..] };
        let outcome = Outcome::Delivered;
        let commits = done.iter().map(|seq| Change::Commit { seq: *seq, routes: RouteBits(1), outcome });
        for seq in done {
            promised.kept.remove(&(tenant(name), *seq));
        }
        if block_on(store.change(&tenant(name), commits.collect())).is_err() {
            return promised;
        }
        promised.committed.extend(done.iter().map(|seq| (tenant(name), *seq)));
    }
    promised
}

fn check(disk: &FaultyDisk, directory: &tempfile::TempDir, clock: &Arc<ManualClock>, promised: &Promised) {
    let (store, report) = open(disk, directory, clock).expect("a store opens after a power loss");
    assert_eq!(report.damaged, [], "a torn end is no damage");
    for ((tenant, seq), entry) in &promised.kept {
        assert_eq!(store.read(tenant, *seq), Ok(Some(entry.frame.clone())), "acked, so found: {seq}");
    }
    for (tenant, seq) in &promised.committed {
        assert_eq!(store.read(tenant, *seq), Ok(None), "the commit was durable: {seq}");
    }
    for (entry, seq) in &promised.keys {
        let known = entry.dedup.and_then(|key| store.knows(&entry.tenant, key));
        assert_eq!(known, Some(*seq), "a durable entry's key is known");
    }
    let next = block_on(store.append(vec![event("acme", "after", clock.wall())]));
    assert!(matches!(next[0], Append::Stored(_)), "it goes on");
    store.close();
    let (again, report) = open(disk, directory, clock).expect("and opens again");
    assert_eq!(report.damaged, [], "what was torn is not taken for damage later");
    again.close();
}

#[test]
fn acked_is_found_wherever_the_power_goes() {
    let clock = Arc::new(ManualClock::default());
    for at in 0.. {
        let directory = scratch();
        let disk = FaultyDisk::new(SEGMENT_BYTES);
        disk.set(Fault::CrashAt(at));
        let promised = match open(&disk, &directory, &clock) {
            Some((store, _)) => {
                let promised = work(&store, &clock);
                store.close();
                promised
            }
            None => Promised::default(),
        };
        for seed in [0, 1, at + 2] {
            let found = disk.after_power_loss(seed);
            // The power goes a second time, while the store recovers from the first.
            found.set(Fault::CrashAt((at + seed) % 9));
            drop(open(&found, &directory, &clock));
            let found = found.after_power_loss(seed / 2);
            check(&found, &directory, &clock, &promised);
        }
        if disk.operations() <= at {
            assert!(at > 40, "the script does enough to be worth it: {at}");
            return;
        }
    }
}

#[test]
fn what_the_next_process_acks_as_known_survives_the_power_too() {
    let clock = Arc::new(ManualClock::default());
    let entry = event("acme", "came twice", clock.wall());
    for at in 0..12 {
        let directory = scratch();
        let disk = FaultyDisk::new(SEGMENT_BYTES);
        disk.set(Fault::CrashAt(at));
        if let Some((store, _)) = open(&disk, &directory, &clock) {
            block_on(store.append(vec![entry.clone()]));
            store.close();
        }
        let disk = disk.after_process_end();
        let (store, _) = open(&disk, &directory, &clock).expect("a store opens after a crash");
        let (Append::Stored(seq) | Append::Duplicate(seq)) = block_on(store.append(vec![entry.clone()]))[0]
        else {
            panic!("the copy is acked");
        };
        let found = disk.after_power_loss(0);
        store.close();
        let (store, _) = open(&found, &directory, &clock).expect("and after a power loss");
        assert_eq!(store.read(&tenant("acme"), seq), Ok(Some(entry.frame.clone())), "acked, so found: {at}");
        store.close();
    }
}

#[test]
fn an_unreadable_block_keeps_nothing_beside_it_from_being_made_durable() {
    const SEGMENT: u64 = 256 << 10;
    let (clock, directory) = (Arc::new(ManualClock::default()), scratch());
    let disk = FaultyDisk::new(SEGMENT);
    let (store, _) = open_sized(&disk, &directory, &clock, SEGMENT).expect("a fresh store");
    let batch: Vec<_> =
        (0..100).map(|n| event("acme", &format!("{n} {}", "b".repeat(700)), clock.wall())).collect();
    // The process ends between the group's write and its sync.
    disk.set(Fault::CrashAt(disk.operations() + 1));
    let answers = block_on(store.append(batch.clone()));
    assert!(answers.iter().all(|answer| *answer == Append::Unavailable), "{answers:?}");
    store.close();
    let disk = disk.after_process_end();
    disk.make_unreadable(1, 8192..12_288);
    let (store, _) = open_sized(&disk, &directory, &clock, SEGMENT).expect("a store opens after a crash");
    let answers = block_on(store.append(batch.clone()));
    let known = answers.iter().filter(|answer| matches!(answer, Append::Duplicate(_))).count();
    assert!((85..100).contains(&known), "all but those in the bad block: {known}");

    let found = disk.after_power_loss(0);
    store.close();
    let (store, _) = open_sized(&found, &directory, &clock, SEGMENT).expect("and after a power loss");
    for (entry, answer) in batch.iter().zip(answers) {
        let (Append::Stored(seq) | Append::Duplicate(seq)) = answer else { panic!("{answer:?}") };
        assert_eq!(store.read(&tenant("acme"), seq), Ok(Some(entry.frame.clone())), "acked, so found: {seq}");
    }
    store.close();
}
