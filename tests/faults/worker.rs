//! Rows 65 and 72: a host without CPU, a worker that nobody looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use taut_core::metric;
use taut_sim::Load;

use crate::{SOON, Stand};

/// Four busy threads for each CPU, and a worker at the lowest priority.
#[tokio::test(flavor = "multi_thread")]
async fn f65_a_starved_worker_keeps_its_sockets_and_loses_nothing() {
    let stand = Stand::new(&[]).await;
    let old = stand.socket();
    let id = stand.site.worker.id().expect("it runs").to_string();
    let reniced = std::process::Command::new("renice").args(["-n", "19", "-p", &id]).output();
    assert!(reniced.is_ok_and(|output| output.status.success()), "its priority is lowered");
    let stop = Arc::new(AtomicBool::new(false));
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let busy = |_| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || while !stop.load(Relaxed) {})
    };
    let threads: Vec<_> = (0..4 * cores).map(busy).collect();
    let load =
        stand.site.sim.load(Load { rate: 50.0, time: Some(Duration::from_secs(2)), ..Load::default() });
    load.finished().await;
    stop.store(true, Relaxed);
    for thread in threads {
        thread.join().expect("it only spins");
    }
    stand.nothing_is_lost().await;
    assert_eq!(stand.socket(), old, "no socket was given up");
    let tenant = stand.site.until_tenant("acme", "delivered", |tenant| tenant.backlog_envelopes == 0).await;
    assert!(tenant.deaf_seconds.abs() < f64::EPSILON, "{tenant:?}");
    assert!(stand.app.wait_connected(1, SOON).await);
}

/// Bytes this process holds.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok()).expect("kB")
        << 10
}

/// The exporter keeps every sample until somebody folds them: the worker does, so that nobody has to scrape.
#[test]
fn f72_histograms_stay_bounded_while_nobody_scrapes() {
    const SAMPLES: usize = 500_000;
    let recorder = taut::seeing::histograms::install().expect("the first in this process");
    let latency = metrics::histogram!(metric::ACK_LATENCY.name);
    let round = || {
        latency.record_many(0.001, SAMPLES);
        recorder.run_upkeep();
    };
    round();
    let first = resident();
    (0..15).for_each(|_| round());
    let grown = resident().saturating_sub(first);
    assert!(grown < 16 << 20, "{grown} bytes more after 15 rounds of {SAMPLES} samples");
    assert!(recorder.render().contains(&format!("taut_ack_latency_seconds_count {}", 16 * SAMPLES)));
}
