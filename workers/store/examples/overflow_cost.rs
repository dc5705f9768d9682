//! What one tenant's overflow costs the others' acks on this disk: `cargo run --release -p taut-store --example
//! overflow_cost [DIRECTORY]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::executor::block_on;
use rustix::time::{ClockId, clock_gettime};
use taut_core::log::{Append, Log, NewEntry, Overflow, QueueLimits};
use taut_core::order::OrderKeys;
use taut_core::{Clock, Epoch, Kind, Moment, RouteBits, TenantId, WallMs};
use taut_store::{DiskOptions, DiskStore};

const FRAME_BYTES: usize = 2048;
const MEASURED: Duration = Duration::from_secs(3);
const LIMITS: QueueLimits = QueueLimits {
    envelopes_max: 1000,
    bytes_max: 1 << 30,
    overflow: Overflow::DeadLetterOldest,
    request_reserve_percent: 0,
    dedup_entries_max: 100_000,
};

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let time = clock_gettime(ClockId::Boottime);
        let nanos = time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned();
        Moment::from_nanos(nanos)
    }

    fn wall(&self) -> WallMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

fn main() {
    let directory = std::env::args_os()
        .nth(1)
        .map_or_else(|| std::env::temp_dir().join("taut-overflow-cost"), PathBuf::from);
    for overflowing in [false, true] {
        let (store, _) = DiskStore::open(&DiskOptions::new(&directory), Arc::new(SystemClock))
            .expect("a usable directory");
        let (done, overflowed) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut waits = Vec::new();
        std::thread::scope(|scope| {
            if overflowing {
                scope.spawn(|| {
                    let tenant = TenantId::new("acme").expect("a proper name");
                    store.set_limits(&tenant, LIMITS);
                    while !done.load(Ordering::Relaxed) {
                        let stored = append(&store, &tenant, 16);
                        overflowed.fetch_add(stored, Ordering::Relaxed);
                    }
                });
            }
            let tenant = TenantId::new("globex").expect("a proper name");
            store.set_limits(&tenant, QueueLimits { envelopes_max: 1 << 20, ..LIMITS });
            let started = SystemClock.now();
            while SystemClock.now().since(started) < MEASURED {
                let before = SystemClock.now();
                append(&store, &tenant, 1);
                waits.push(SystemClock.now().since(before));
            }
            done.store(true, Ordering::Relaxed);
        });
        waits.sort();
        let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
        println!(
            "neighbour overflows: {overflowing:<5}  ack p50 {:?}, p90 {:?}, p99 {:?} ({} acks, the neighbour {})",
            at(50),
            at(90),
            at(99),
            waits.len(),
            overflowed.load(Ordering::Relaxed)
        );
        drop(store);
        std::fs::remove_dir_all(&directory).expect("our own directory");
    }
}

/// Appends a batch and says how many were stored.
fn append(store: &DiskStore, tenant: &TenantId, batch: usize) -> u64 {
    let entry = NewEntry {
        tenant: tenant.clone(),
        epoch: Epoch(1),
        frame: Bytes::from(vec![b'x'; FRAME_BYTES]),
        kind: Kind::EventsApi,
        dedup: None,
        order: OrderKeys::default(),
        routes: RouteBits::one(0),
        answering: RouteBits::NONE,
        received_at: SystemClock.wall(),
    };
    let answers = block_on(store.append(vec![entry; batch]));
    answers.iter().filter(|answer| matches!(answer, Append::Stored(_))).count() as u64
}
