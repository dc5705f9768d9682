//! Durable appends per second on this disk, at several batch sizes: `cargo run --release -p taut-store --example
//! append_rate [DIRECTORY]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::executor::block_on;
use futures::stream::{FuturesUnordered, StreamExt};
use rustix::time::{ClockId, clock_gettime};
use taut_core::log::{Append, Change, Log, NewEntry, Outcome, Overflow, QueueLimits};
use taut_core::order::OrderKeys;
use taut_core::{Clock, DedupKey, Epoch, Kind, Moment, RouteBits, TenantId, WallMs};
use taut_store::{DiskOptions, DiskStore};

const FRAME_BYTES: usize = 2048;
const IN_FLIGHT: usize = 4;
const MEASURED: Duration = Duration::from_secs(2);

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
        .map_or_else(|| std::env::temp_dir().join("taut-append-rate"), PathBuf::from);
    for batch in [1, 32, 256] {
        let (store, _) = DiskStore::open(&DiskOptions::new(&directory), Arc::new(SystemClock))
            .expect("a usable directory");
        let tenant = TenantId::new("acme").expect("a proper name");
        let limits = QueueLimits {
            envelopes_max: 1 << 20,
            bytes_max: 4 << 30,
            overflow: Overflow::Refuse,
            request_reserve_percent: 0,
            dedup_entries_max: 100_000,
        };
        store.set_limits(&tenant, limits);
        let (stored, took) = measure(&store, &tenant, batch);
        let per_second = stored as f64 / took.as_secs_f64();
        println!(
            "batch {batch:>3}, {IN_FLIGHT} in flight: {per_second:>9.0} durable appends/s ({stored} stored)"
        );
        drop(store);
        std::fs::remove_dir_all(&directory).expect("our own directory");
    }
}

/// Appends and commits for a while; what was stored is committed at once, as a fast handler would have it.
fn measure(store: &DiskStore, tenant: &TenantId, batch: usize) -> (u64, Duration) {
    let frame = Bytes::from(vec![b'x'; FRAME_BYTES]);
    let clock = SystemClock;
    let (started, mut number, mut stored) = (clock.now(), 0u128, 0u64);
    let mut next = || {
        let wall = clock.wall();
        let entries: Vec<_> = (0..batch)
            .map(|_| {
                number += 1;
                NewEntry {
                    tenant: tenant.clone(),
                    epoch: Epoch(1),
                    frame: frame.clone(),
                    kind: Kind::EventsApi,
                    dedup: Some(DedupKey(u128::from(wall.0) | number << 64)),
                    order: OrderKeys::default(),
                    routes: RouteBits::one(0),
                    answering: RouteBits::NONE,
                    received_at: wall,
                }
            })
            .collect();
        store.append(entries)
    };
    let mut flying: FuturesUnordered<_> = (0..IN_FLIGHT).map(|_| next()).collect();
    block_on(async {
        while let Some(answers) = flying.next().await {
            let seqs = answers.into_iter().filter_map(|answer| match answer {
                Append::Stored(seq) => Some(seq),
                Append::Duplicate(_) | Append::Full(_) | Append::Unavailable => None,
            });
            let commits: Vec<_> = seqs
                .map(|seq| Change::Commit { seq, routes: RouteBits::one(0), outcome: Outcome::Delivered })
                .collect();
            stored += commits.len() as u64;
            drop(store.change(tenant, commits));
            if clock.now().since(started) < MEASURED {
                flying.push(next());
            }
        }
    });
    (stored, clock.now().since(started))
}
