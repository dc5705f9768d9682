//! Rows 31, 40 and 42: what Slack sends, to all at once, too much, or oddly.

use std::time::Duration;

use taut_sim::{AckOutcome, Act, AppHandle, NoteKind, Push, Shape};

use crate::support::{SOON, Site, echo};
use crate::{Stand, brisk};

/// Apps that Slack refreshes in one moment.
const APPS: u32 = 16;
/// Opens each second, over all apps.
const PACE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn f31_a_refresh_of_every_app_at_once_is_paced_and_leaves_nobody_deaf() {
    let mut site = Site::with_switches("", brisk()).await;
    site.slack(&format!("opens_per_second = {PACE}"));
    let handler = echo("acme").await;
    let tenants: Vec<_> = (1..=APPS).map(|number| format!("t{number}")).collect();
    let apps: Vec<AppHandle> =
        (1..).zip(&tenants).map(|(number, id)| site.add_simple(number, id, &handler.url())).collect();
    site.start_connected(&apps.iter().collect::<Vec<_>>()).await;
    let old: Vec<_> = apps.iter().map(|app| app.connections()[0].id).collect();
    let opened = site.sim.journal().notes(None).len();

    site.sim.act(&Act::Refresh);
    for (app, old) in apps.iter().zip(old) {
        let newer = |app: &AppHandle| app.connections().iter().any(|next| next.id != old && next.helloed);
        assert!(app.wait_until(SOON, newer).await, "{}", site.worker.log_tail());
    }
    let notes = site.sim.journal().notes(None).split_off(opened);
    let opens: Vec<_> =
        notes.iter().filter(|note| matches!(note.kind, NoteKind::Open { .. })).map(|note| note.at).collect();
    assert_eq!(opens.len(), apps.len(), "one open for each app");
    let within_a_second = |from: &Duration| {
        opens.iter().filter(|at| (*from..*from + Duration::from_secs(1)).contains(*at)).count()
    };
    let most = opens.iter().map(within_a_second).max().unwrap_or(0);
    // The machine may hold one second's opens up into the next.
    assert!(most <= 2 * PACE, "{most} opens in one second");
    let status = site.status().await;
    assert!(status.tenants.iter().all(|tenant| tenant.deaf_seconds.abs() < f64::EPSILON), "nobody is deaf");
}

/// Far beyond the limit, in pieces that are below it: the whole message counts, and is never held.
#[tokio::test(flavor = "multi_thread")]
async fn f40_a_giant_message_in_pieces_costs_its_socket_and_memory_stays_flat() {
    let stand = Stand::new(&["frame_bytes_max = \"256KiB\""]).await;
    let (old, at_rest) = (stand.socket(), stand.site.memory("VmRSS"));
    let giant = format!(
        r#"{{"type":"event_callback","api_app_id":"{}","event_id":"Ev0GIANT","event":{{"text":"{}"}}}}"#,
        stand.app.id(),
        "x".repeat(8 << 20)
    );
    let pushed = stand.app.push(Push::raw(giant).shaped(Shape::Fragments(64)));
    stand.newer_than(old).await;
    assert!(stand.closes("frame_too_large").await >= 1.0);
    let lost = |line: &str| line.contains("\"frame_too_large\"") && line.contains("frame_bytes_max");
    assert!(stand.site.read("worker.log").lines().any(lost), "the reason says which limit");
    let outcome = pushed.wait_ack(SOON).await;
    assert!(matches!(outcome, AckOutcome::Unacked { .. }), "{outcome:?}");
    stand.site.until_tenant("acme", "it ends with its cause", |tenant| tenant.sockets == 1).await;
    stand.acked(taut_sim::Sample::Message).await;
    let peak = stand.site.memory("VmHWM");
    assert!(peak <= at_rest + (32 << 20), "{at_rest} bytes at rest, {peak} at the peak");
}

/// What JSON allows, and what it does not: the bytes arrive as they were, or the frame is counted and skipped.
#[tokio::test(flavor = "multi_thread")]
async fn f42_odd_json_arrives_as_it_was_or_is_counted() {
    let stand = Stand::new(&[]).await;
    let inner = [
        r#""n":1e999,"long":12345678901234567890123456789012345678901234567890,"tiny":1E-400,"zero":-0.0"#,
        r#""lone":"\ud800","nul":"\u0000","pair":"\ud83d\ude00""#,
        r#""twice":1,"twice":2,"":{},"escaped\u002fkey":"\/""#,
    ];
    for (number, inner) in inner.iter().enumerate() {
        let payload = format!(
            r#"{{"type":"event_callback","api_app_id":"{}","event_id":"Ev0ODD{number}","event":{{"type":"message","channel":"C{number}",{inner}}}}}"#,
            stand.app.id()
        );
        stand.acked(Push::raw(payload.clone())).await;
        assert!(stand.handler.wait_until(SOON, |totals| totals.keys > number as u64).await);
        let body = stand.handler.requests().last().expect("it came").body.clone();
        assert_eq!(String::from_utf8_lossy(&body), payload);
    }
    let unreadable = "taut_frames_unreadable_total{tenant=\"acme\"}";
    let (old, before) = (stand.socket(), stand.site.metric(unreadable).await);
    for bad in ["NaN", "Infinity", "01", "\"\t\"", "{\"a\":}", "\"\\x\""] {
        stand.app.send_raw(&format!(r#"{{"type":"events_api","envelope_id":"odd","payload":{bad}}}"#));
    }
    stand.app.send_raw(r#"{"envelope_id":"no-type"}"#);
    stand.app.send_raw(r#"{"type":"events_api","payload":{"event_id":"no-id"}}"#);
    stand.acked(taut_sim::Sample::Message).await;
    assert!(stand.site.metric(unreadable).await >= before + 8.0, "each is counted");
    assert_eq!(
        (stand.socket(), stand.app.totals().acks_unknown),
        (old, 0),
        "none is acked, the socket lives"
    );
}
