//! Row 62: the process has hardly any file descriptors left.

use std::time::Duration;

use taut_sim::{AckOutcome, AppHandle, Sample};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{SOON, Site, echo, signing_secret};

/// The limit: 128 of it are no connection's to Slack.
const LIMIT: u32 = 200;
/// More tenants than it has room for.
const TENANTS: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn f62_without_descriptors_dialling_stops_and_those_connected_are_served() {
    let mut site = Site::new("[queue]\ntotal_bytes_max = \"64MiB\"\n").await;
    site.slack("opens_per_second = 1000\nopens_per_app = \"100 then 1/1s\"");
    site.store("segment_bytes = \"64KiB\"");
    let handler = echo("nobody").await;
    let mut tenants = Vec::new();
    for number in 1..=TENANTS {
        let id = format!("tenant-{number}");
        let url = handler.add_path(&format!("/{id}"), signing_secret(&id));
        tenants.push((site.add_simple(number, &id, &url), id));
    }
    site.ulimit(&format!("-n {LIMIT}"));
    site.start().await;
    let waits = |status: &taut::seeing::status::StatusReport| {
        status
            .tenants
            .iter()
            .filter(|tenant| tenant.state != "connected")
            .all(|tenant| tenant.reason == "no_descriptors")
    };
    let status = site.until_status("all that fit are up, the others say why not", waits).await;
    let up: Vec<_> = status.tenants.iter().filter(|tenant| tenant.state == "connected").collect();
    assert!(up.len() > 20 && up.len() < TENANTS as usize, "{} are up", up.len());
    let down = status.tenants.iter().find(|tenant| tenant.state != "connected").expect("not all are up");
    assert!(down.reason_text.contains("LimitNOFILE"), "the cause is named: {down:?}");

    // Those connected are served: a segment of the log holds some thirty of these, so several are begun.
    let served: Vec<&AppHandle> = tenants
        .iter()
        .filter(|(_, id)| up.iter().any(|tenant| tenant.id == *id))
        .map(|(app, _)| app)
        .collect();
    for round in 1..=5 {
        let pushed: Vec<_> = served.iter().map(|app| app.push(Sample::Message)).collect();
        for outcome in futures::future::join_all(pushed.into_iter().map(|pushed| pushed.wait_ack(SOON))).await
        {
            assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
        }
        let wanted = served.len() as u64 * round;
        assert!(handler.wait_until(SOON, |totals| totals.keys == wanted).await, "{:?}", handler.totals());
    }
    assert_eq!(site.status().await.store.errors, 0);

    // Somebody takes what is left, at the listener: it neither spins nor ends.
    let listener = site.listener();
    let greedy = (0..LIMIT).map(|_| timeout(Duration::from_millis(200), TcpStream::connect(&listener)));
    let greedy = futures::future::join_all(greedy).await;
    let before = site.cpu();
    sleep(Duration::from_secs(2)).await;
    let spent = site.cpu().saturating_sub(before);
    assert!(spent < Duration::from_millis(1_500), "{spent:?} of processor time in two seconds");
    drop(greedy);
    let outcome = served[0].push(Sample::Message).wait_ack(SOON).await;
    assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
    let open = site.metric("taut_descriptors_open").await;
    assert!(open < f64::from(LIMIT), "{open} open");
}
