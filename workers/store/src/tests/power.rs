//! Power loss with the database on the same disk: an acked envelope is in the log or among the dead letters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use taut_core::log::{Append, Change, DeadLetters, Log, Outcome, Overflow, QueueLimits};
use taut_core::{Clock, RouteBits, Seq, TenantId};

use super::faulty::{Fault, FaultyDisk};
use super::{options, scratch};
use crate::testing::{Bounds, ManualClock, event, tenant};
use crate::{DiskStore, RecoveryReport};

const SEGMENT_BYTES: u64 = 4 << 10;

/// Every how many operations the power goes: `TAUT_TEST_POWER_STEP=1` for all of them.
fn step() -> usize {
    std::env::var("TAUT_TEST_POWER_STEP").ok().and_then(|step| step.parse().ok()).unwrap_or(7)
}

fn open(
    disk: &FaultyDisk,
    directory: &tempfile::TempDir,
    clock: &Arc<ManualClock>,
) -> Result<(DiskStore, RecoveryReport), String> {
    let options =
        crate::DiskOptions { segment_bytes: SEGMENT_BYTES, ..options(directory, Bounds::default()) };
    let (store, report) =
        DiskStore::open_on(&options, Arc::new(disk.clone()), Box::new(disk.clone()), clock.clone(), None)
            .map_err(|error| error.to_string())?;
    let limits = QueueLimits {
        envelopes_max: 6,
        bytes_max: 1 << 20,
        overflow: Overflow::DeadLetterOldest,
        request_reserve_percent: 0,
        dedup_entries_max: 1000,
    };
    store.set_limits(&tenant("acme"), limits);
    Ok((store, report))
}

/// Overflows, buries by hand, replays, expires, commits; gives what was acked and is not finished.
fn work(store: &DiskStore, clock: &ManualClock) -> BTreeSet<Bytes> {
    let mut kept = BTreeSet::new();
    let acme = tenant("acme");
    for round in 0..4 {
        let text = |n: usize| format!("{round}-{n} {}", "p".repeat(300 * n));
        let batch: Vec<_> = (0..5).map(|n| event("acme", &text(n), clock.wall())).collect();
        for (entry, answer) in batch.iter().zip(block_on(store.append(batch.clone()))) {
            let Append::Stored(_) = answer else { return kept };
            kept.insert(entry.frame.clone());
        }
        // Delivery gives one up.
        if let Some(entry) = store.backlog(&acme, Seq(0), 1).first()
            && let Ok(Some(frame)) = store.read(&acme, entry.seq)
        {
            let mut letter = crate::conformance::letter("acme", entry.seq.0, "bot", 1);
            (letter.0.bytes, letter.1) = (u32::try_from(frame.len()).unwrap(), frame);
            if store.put(vec![letter]).is_err() {
                return kept;
            }
            let (seq, routes) = (entry.seq, entry.routes);
            let commit = Change::Commit { seq, routes, outcome: Outcome::DeadLetter };
            if block_on(store.change(&acme, vec![commit])).is_err() {
                return kept;
            }
        }
        // A person replays one to another tenant's queue, which is delivered from.
        if replay_one(store, clock).is_none() {
            return kept;
        }
        if let Some(entry) = store.backlog(&acme, Seq(0), 1).first() {
            let Ok(Some(frame)) = store.read(&acme, entry.seq) else { return kept };
            kept.remove(&frame);
            let (seq, routes) = (entry.seq, RouteBits(u64::MAX));
            let commit = Change::Commit { seq, routes, outcome: Outcome::Delivered };
            drop(block_on(store.change(&acme, vec![commit])));
        }
    }
    kept
}

fn replay_one(store: &DiskStore, clock: &ManualClock) -> Option<()> {
    let letters = store.list(None, None, 1).ok()?;
    let Some(letter) = letters.first() else { return Some(()) };
    let (_, frame) = store.get(&letter.tenant, letter.seq, &letter.route).ok()??;
    let mut entry = event("globex", "", clock.wall());
    (entry.frame, entry.dedup) = (frame, None);
    let Append::Stored(_) = block_on(store.append(vec![entry]))[0] else { return None };
    store.remove(&[(letter.tenant.clone(), letter.seq, letter.route.clone())]).ok().map(|_| ())
}

fn everything(store: &DiskStore) -> BTreeSet<Bytes> {
    let mut found = BTreeSet::new();
    let tenants: [TenantId; 2] = [tenant("acme"), tenant("globex")];
    for name in &tenants {
        for entry in store.backlog(name, Seq(0), usize::MAX) {
            found.insert(store.read(name, entry.seq).unwrap().unwrap());
        }
    }
    for letter in store.list(None, None, usize::MAX).unwrap() {
        found.insert(store.get(&letter.tenant, letter.seq, &letter.route).unwrap().unwrap().1);
    }
    found
}

#[test]
fn acked_is_in_the_log_or_a_dead_letter_wherever_the_power_goes() {
    let mut overflowed = 0;
    for at in (0..).step_by(step()) {
        let (directory, clock) = (scratch(), Arc::new(ManualClock::default()));
        let disk = FaultyDisk::new(SEGMENT_BYTES);
        disk.set(Fault::CrashAt(at));
        let kept = match open(&disk, &directory, &clock) {
            Ok((store, _)) => {
                let kept = work(&store, &clock);
                store.close();
                kept
            }
            Err(_) => BTreeSet::new(),
        };
        for seed in [0, at + 2] {
            let found = disk.after_power_loss(seed);
            // And once more while it recovers.
            found.set(Fault::CrashAt((at + seed) % 60));
            drop(open(&found, &directory, &clock));
            let found = found.after_power_loss(seed / 2);
            let (store, report) = open(&found, &directory, &clock)
                .unwrap_or_else(|error| panic!("after a power loss at {at}, {seed}: {error}"));
            assert_eq!(report.damaged, [], "a torn end is no damage: {at} {seed}");
            let there = everything(&store);
            let lost: Vec<_> = kept.difference(&there).collect();
            assert!(lost.is_empty(), "operation {at}, seed {seed}: {} of {} lost", lost.len(), kept.len());
            overflowed = overflowed.max(store.list(None, None, usize::MAX).unwrap().len());
            clock.advance(Duration::from_secs(10));
            let expired = store.expire(clock.wall()).expect("the database works");
            assert!(expired <= overflowed as u64 + 4);
            store.close();
        }
        if disk.operations() <= at {
            assert!(
                at > 200 && overflowed > 5,
                "the script is worth it: {at} operations, {overflowed} letters"
            );
            return;
        }
    }
}
