//! Row 64: memory is short.

use std::time::Duration;

use taut_sim::{AppHandle, Outage, Push, Sample, SimConfig, Switches};

use crate::support::{SOON, Site, echo};

/// Attempts follow each other fast, and nothing is given up within a test.
const EAGER: &str = "[delivery]\nretry_first = \"50ms\"\nretry_max = \"500ms\"\nattempts_max = 1000\n";

fn push_large(app: &AppHandle, wave: u32, count: usize, bytes: usize) {
    let padding = "x".repeat(bytes);
    for number in 0..count {
        let event = format!(
            r#"{{"type":"event_callback","api_app_id":"{}","event_id":"Ev{wave}N{number}","event":{{"type":"message","channel":"C1","text":"{padding}"}}}}"#,
            app.id()
        );
        app.push(Push::raw(event));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f64_an_end_for_want_of_memory_loses_nothing_that_was_acked() {
    let waits = [50, 500, 2_000].map(Duration::from_millis);
    let switches =
        Switches { retry_waits: waits, ack_deadline: Duration::from_secs(2), ..Switches::default() };
    let mut site = Site::with_sim(EAGER, SimConfig { switches, ..SimConfig::default() }).await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.outage(Outage::Slow(Duration::from_millis(300)));
    for _ in 0..50 {
        app.push(Sample::Message);
    }
    assert!(app.wait_until(SOON, |app| app.totals().acked == 50).await, "{:?}", app.totals());
    // What the next allocations from the system need is not there: the process ends, or lives on what it has.
    site.limit_data(site.memory("VmData"));
    push_large(&app, 1, 12, 3 << 20);
    let settled_or_dead = async {
        while site.worker.status().await.is_some() && app.totals().acked < 62 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, settled_or_dead).await.is_ok(), "{:?}", app.totals());
    let ended = site.worker.status().await.is_none();
    let acked = app.totals().acked;
    site.worker.kill().await.expect("it can be waited for");
    handler.outage(Outage::None);
    site.start().await;
    assert!(app.wait_settled(SOON).await, "{:?}", app.totals());
    site.until_tenant("acme", "an empty backlog", |tenant| tenant.backlog_envelopes == 0).await;
    println!("the process ended: {ended}, with {acked} acked by then");
    let reckoning = crate::support::tools::reckon(&site.sim, &app, &handler);
    assert_eq!(reckoning.lost, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f64_large_frames_that_nobody_takes_stay_within_bounds_of_memory() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    site.until_tenant("acme", "connected", |tenant| tenant.state == "connected").await;
    handler.outage(Outage::Hang);
    let at_rest = site.memory("VmRSS");
    // A few at a time: Slack would give up what a busy machine takes too long to read.
    for wave in 1..=8 {
        push_large(&app, wave, 8, 1 << 20);
        let acked = 8 * u64::from(wave);
        assert!(app.wait_until(SOON, |app| app.totals().acked == acked).await, "{:?}", app.totals());
    }
    let peak = site.memory("VmHWM");
    // Eight attempts with a body each, 4 MiB unacked, a group of 8 MiB on its way to the disk.
    assert!(peak < at_rest + (64 << 20), "{at_rest} bytes at rest, {peak} at the peak, for 64 MiB taken");
}
