//! What a hostile or broken Slack side sends must cost nothing but itself.

use std::sync::Arc;
use std::time::Duration;

use taut_core::config::{Size, SlackConfig};
use taut_sim::{AckOutcome, Act, EnvelopeType, NoteKind, Push, Sample, Shape, Switches};

use crate::rig::{Rig, SOON, Setup, SleepyClock, span};

#[tokio::test]
async fn frames_that_cannot_be_read_are_counted_and_the_socket_lives() {
    let rig = Rig::connected().await;
    for text in ["null", "[]", "no JSON", "{\"type\":", "12"] {
        rig.app.send_raw(text);
    }
    rig.app.send_binary(100);
    rig.app.act(&Act::SendNull);
    rig.acked(Sample::Message).await;
    assert_eq!(rig.board.counters.unreadable.get(), 7);
    assert_eq!(rig.opens(), 1);
}

#[tokio::test]
async fn deep_json_and_objects_without_an_id_are_skipped() {
    let rig = Rig::connected().await;
    rig.app.act(&Act::SendDeepJson { depth: 100_000 });
    rig.app.send_raw(r#"{"type":"events_api","payload":{}}"#);
    rig.app.send_raw("{}");
    rig.app.send_raw(r#"{"type":"hello"}"#);
    rig.acked(Sample::Message).await;
    assert_eq!((rig.opens(), rig.log.entries().len()), (1, 1));
    assert_eq!(rig.board.counters.unreadable.get(), 2, "the two with a payload were meant for somebody");
}

#[tokio::test]
async fn an_events_api_envelope_without_or_with_null_payload_is_stored_and_acked() {
    let rig = Rig::connected().await;
    assert_eq!(rig.acked(Push::raw("null").typed(EnvelopeType::EventsApi)).await, None);
    rig.app.send_raw(r#"{"type":"events_api","envelope_id":"no-payload"}"#);
    rig.until("both", |rig| rig.board.counters.acked.total() == 2).await;
    assert_eq!(rig.opens(), 1);
}

#[tokio::test]
async fn an_echoed_ack_is_not_acked_again() {
    let rig = Rig::connected().await;
    rig.acked(Sample::Message).await;
    rig.app.send_raw(r#"{"envelope_id":"b0a34b8d-0000-4000-8000-000000000000"}"#);
    rig.app.send_raw(r#"{"envelope_id":"b0a34b8d-0000-4000-8000-000000000000","payload":{"text":"x"}}"#);
    rig.acked(Sample::Message).await;
    assert_eq!((rig.board.counters.acked.total(), rig.app.totals().acks_unknown), (2, 0));
    assert_eq!(rig.board.counters.unreadable.get(), 2);
}

#[tokio::test]
async fn a_fragmented_message_is_put_together() {
    let rig = Rig::connected().await;
    let push = Push::from(Sample::Message).shaped(Shape::Fragments(7));
    assert_eq!(rig.acked(push).await, None);
}

#[tokio::test]
async fn a_frame_beyond_the_limit_costs_the_socket_and_no_more() {
    let mut setup = Setup::default();
    setup.slack.frame_bytes_max = Size(64 << 10);
    let rig = Rig::connected_with(setup).await;
    rig.app.act(&Act::SendHuge { bytes: 100 << 10 });
    rig.until("the close", |rig| rig.board.counters.socket_closes.at("frame_too_large").get() == 1).await;
    rig.wait("connected").await;
    rig.acked(Sample::Message).await;
    rig.until("Slack to read our close frame", |rig| {
        rig.notes(|kind| matches!(kind, NoteKind::Closed { why, .. } if why.starts_with("closed"))) == 1
    })
    .await;
}

#[tokio::test]
async fn a_silent_socket_is_pinged_and_then_replaced() {
    let mut setup = Setup::default();
    (setup.slack.ping_after, setup.slack.quiet_max) = (span(200), span(1000));
    let rig = Rig::connected_with(setup).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(rig.opens(), 1, "a quiet link that answers pings is left alone");
    rig.app.silence();
    rig.until("the replacement", |rig| rig.board.counters.socket_closes.at("quiet").get() == 1).await;
    rig.wait("connected").await;
    rig.acked(Sample::Message).await;
    assert!(rig.board.counters.deaf_ms.get() >= 1000, "deaf from the last frame on");
}

#[tokio::test]
async fn a_lost_connection_is_replaced_at_once() {
    for act in [Act::Reset, Act::Drop, Act::Close { code: 1001 }] {
        let rig = Rig::connected().await;
        rig.app.act(&act);
        rig.until("the next socket", |rig| rig.opens() == 2).await;
        rig.wait("connected").await;
        let outcome = rig.app.push(Sample::Message).wait_ack(SOON).await;
        assert!(matches!(outcome, AckOutcome::Acked { .. }), "{act:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_slow_drip_is_read_to_the_end() {
    let rig = Rig::connected().await;
    rig.app.act(&Act::Drip { bytes: 200, every: Duration::from_millis(5) });
    rig.acked(Sample::Message).await;
}

#[tokio::test]
async fn a_redelivery_is_acked_again() {
    let switches = Switches { retry_with_new_envelope_id: false, ..Switches::default() };
    let rig = Rig::connected_with(Setup { switches, ..Setup::default() }).await;
    let frame = r#"{"type":"events_api","envelope_id":"again","payload":{"type":"event_callback","event_id":"Ev0AGAIN"}}"#;
    rig.app.send_raw(frame);
    rig.app.send_raw(frame);
    rig.until("both acks", |rig| rig.board.counters.acked.total() == 2).await;
    assert_eq!(rig.log.entries().len(), 1);
}

/// A suspend stops every timer; only the look afterwards can know that the sockets may be dead.
#[tokio::test]
async fn after_a_suspend_live_sockets_are_kept_and_dead_ones_are_replaced_at_once() {
    let host = Arc::new(SleepyClock::default());
    let slack = SlackConfig { ping_after: span(60_000), quiet_max: span(60_500), ..SlackConfig::default() };
    let rig = Rig::connected_with(Setup { slack, clock: Arc::clone(&host) as _, ..Setup::default() }).await;
    host.sleep(Duration::from_mins(5));
    rig.line.stood_still(Duration::from_mins(5));
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.acked(Sample::Message).await;
    assert_eq!((rig.opens(), rig.board.counters.socket_closes.total()), (1, 0), "it answered, so it lives");

    rig.app.silence();
    host.sleep(Duration::from_mins(5));
    rig.line.stood_still(Duration::from_mins(5));
    rig.until("the next socket", |rig| rig.opens() == 2).await;
    rig.wait("connected").await;
    assert_eq!(rig.board.counters.socket_closes.at("quiet").get(), 1);
    rig.until("deaf for the sleep", |rig| rig.board.counters.deaf_ms.get() >= 300_000).await;
}

#[tokio::test]
async fn reports_beyond_their_bound_wait_and_cost_no_envelope() {
    let rig = Rig::connected().await;
    // A batch of frames holds twice as many reports as may wait for the line.
    for _ in 0..500 {
        rig.app.send_raw(r#"{"type":"disconnect","reason":"warning"}"#);
    }
    let pushed: Vec<_> = (0..100).map(|_| rig.app.push(Sample::Message)).collect();
    for push in pushed {
        assert!(matches!(push.wait_ack(SOON).await, AckOutcome::Acked { .. }));
    }
    rig.wait("connected").await;
    let closed = || rig.board.counters.socket_closes.total();
    assert!(closed() <= 1, "{} sockets ended", closed());
    assert!(rig.app.connections().len() <= 2, "one open answers them all");
}
