//! An ack means stored, and nothing else.

use std::time::Duration;

use taut_core::request::AckChoice;
use taut_core::{Kind, RouteBits};
use taut_sim::{AckOutcome, EnvelopeType, Push, Sample, Switches};
use taut_socket::Routed;

use crate::log::Mood;
use crate::rig::{APP, Rig, Setup};

const EVENTS: [Sample; 6] = [
    Sample::Message,
    Sample::AppMention,
    Sample::ReactionAdded,
    Sample::AppHomeOpened,
    Sample::FunctionExecuted,
    Sample::AppRateLimited,
];

#[tokio::test]
async fn events_are_stored_and_acked_without_a_payload() {
    let rig = Rig::connected().await;
    for sample in EVENTS {
        assert_eq!(rig.acked(sample).await, None, "{sample:?}");
    }
    let entries = rig.log.entries();
    assert_eq!(entries.len(), EVENTS.len());
    assert!(entries.iter().all(|entry| entry.kind == Kind::EventsApi && entry.routes == RouteBits::one(0)));
    assert_eq!(rig.board.counters.acked.total(), 6);
    assert_eq!(rig.app.totals().unwanted_payloads, 0);
}

#[tokio::test]
async fn kinds_nobody_has_heard_of_are_stored_and_acked() {
    let rig = Rig::connected().await;
    let push = Push::raw(r#"{"new":true}"#).typed(EnvelopeType::Other("brand_new".into()));
    assert_eq!(rig.acked(push).await, None);
    assert_eq!(rig.log.entries()[0].kind, Kind::Unknown);
}

#[tokio::test]
async fn nothing_is_acked_that_is_not_stored() {
    for (mood, reason) in [(Mood::Full, "envelopes_max"), (Mood::Unavailable, "store_unavailable")] {
        let rig = Rig::connected().await;
        rig.log.set_mood(mood);
        let pushed = rig.app.push(Sample::Message);
        rig.until(reason, |rig| rig.board.counters.refused.at(reason).get() == 1).await;
        let outcome = pushed.wait_ack(Duration::from_millis(50)).await;
        assert!(matches!(outcome, AckOutcome::Unacked { .. }), "{mood:?}: {outcome:?}");
        assert_eq!(rig.board.counters.acked.total(), 0);
    }
}

#[tokio::test]
async fn a_store_that_recovers_is_acked_on_slacks_retry() {
    let ack_deadline = Duration::from_millis(300);
    let switches = Switches { ack_deadline, retry_waits: [ack_deadline; 3], ..Switches::default() };
    let rig = Rig::connected_with(Setup { switches, ..Setup::default() }).await;
    rig.log.set_mood(Mood::Unavailable);
    let pushed = rig.app.push(Sample::Message);
    rig.until("a refusal", |rig| rig.board.counters.refused.total() == 1).await;
    rig.log.set_mood(Mood::Well);
    let outcome = pushed.wait_ack(crate::rig::SOON).await;
    assert!(matches!(outcome, AckOutcome::Acked { retry_attempt: 1, .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_duplicate_is_acked_and_not_stored_again() {
    let rig = Rig::connected().await;
    let payload =
        r#"{"type":"event_callback","event_id":"Ev0SAME","event":{"type":"message","channel":"C1"}}"#;
    for _ in 0..3 {
        assert_eq!(rig.acked(Push::raw(payload)).await, None);
    }
    assert_eq!(rig.log.entries().len(), 1);
    assert_eq!(rig.board.counters.duplicate.get(), 2);
}

#[tokio::test]
async fn an_event_without_a_route_is_acked_and_counted() {
    let rig = Rig::connected().await;
    rig.router.replace(|_, _| Routed::default());
    assert_eq!(rig.acked(Sample::Message).await, None);
    assert_eq!(rig.board.counters.unrouted.get(), 1);
    assert!(rig.log.entries()[0].routes.is_empty(), "its key is kept all the same");
}

#[tokio::test]
async fn routes_are_asked_with_the_facts_of_the_envelope() {
    let rig = Rig::connected().await;
    rig.router.replace(|_, facts| Routed {
        routes: RouteBits::one(if facts.event_type.as_deref() == Some("app_mention") { 5 } else { 1 }),
        answering: RouteBits::NONE,
    });
    rig.acked(Sample::AppMention).await;
    rig.acked(Sample::Message).await;
    let routes: Vec<_> = rig.log.entries().iter().map(|entry| entry.routes).collect();
    assert_eq!(routes, [RouteBits::one(5), RouteBits::one(1)]);
}

#[tokio::test]
async fn an_envelope_of_another_app_is_neither_stored_nor_acked() {
    let rig = Rig::connected().await;
    let foreign =
        r#"{"type":"event_callback","api_app_id":"A0GLOBEX01","event_id":"Ev0F","event":{"type":"message"}}"#;
    let pushed = rig.app.push(Push::raw(foreign));
    rig.until("a refusal", |rig| rig.board.counters.refused.at("foreign_app").get() == 1).await;
    assert!(matches!(pushed.wait_ack(Duration::from_millis(50)).await, AckOutcome::Unacked { .. }));
    assert!(rig.log.entries().is_empty());
    rig.acked(Sample::Message).await;
}

#[tokio::test]
async fn a_burst_is_stored_in_few_batches_and_acked_whole() {
    let rig = Rig::connected().await;
    let pushed: Vec<_> = (0..2000).map(|_| rig.app.push(Sample::Message)).collect();
    for push in pushed {
        let outcome = push.wait_ack(crate::rig::SOON).await;
        assert!(matches!(outcome, AckOutcome::Acked { retry_attempt: 0, .. }), "{outcome:?}");
    }
    assert_eq!(rig.log.entries().len(), 2000);
    assert!(rig.log.batches() < 1000, "{} batches", rig.log.batches());
    assert_eq!(rig.app.totals().acks_duplicate, 0);
}

#[tokio::test]
async fn reading_waits_while_the_store_decides_nothing() {
    let mut setup = Setup::default();
    setup.slack.unacked_max = 8;
    let rig = Rig::connected_with(setup).await;
    rig.log.set_mood(Mood::Stuck);
    let _pushed: Vec<_> = (0..100).map(|_| rig.app.push(Sample::Message)).collect();
    rig.until("a full flight", |rig| rig.board.counters.received.total() >= 8).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.board.counters.received.total(), 8);
    rig.log.set_mood(Mood::Well);
    rig.until("all are acked", |rig| rig.board.counters.acked.total() == 100).await;
}

#[tokio::test]
async fn bytes_that_wait_for_their_acks_are_bounded() {
    let mut setup = Setup::default();
    setup.slack.unacked_max = 4096;
    let rig = Rig::connected_with(setup).await;
    rig.log.set_mood(Mood::Stuck);
    let large = |n: usize| {
        let text = "x".repeat(1 << 20);
        Push::raw(format!(
            r#"{{"type":"event_callback","event_id":"Ev{n}","api_app_id":"{APP}","event":{{"type":"message","text":"{text}"}}}}"#
        ))
    };
    let _pushed: Vec<_> = (0..8).map(|n| rig.app.push(large(n))).collect();
    rig.until("a full flight", |rig| rig.board.counters.received.total() >= 4).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.board.counters.received.total(), 4, "4 MiB and a little");
    rig.log.set_mood(Mood::Well);
    rig.until("all are acked", |rig| rig.board.counters.acked.total() == 8).await;
}

#[tokio::test]
async fn a_batch_is_bounded_by_envelopes_and_by_bytes() {
    let rig = Rig::connected().await;
    let pushed: Vec<_> = (0..1000).map(|_| rig.app.push(Sample::Message)).collect();
    for push in pushed {
        assert!(matches!(push.wait_ack(crate::rig::SOON).await, AckOutcome::Acked { .. }));
    }
    let large = |n: usize| {
        let text = "x".repeat(100 << 10);
        Push::raw(format!(
            r#"{{"type":"event_callback","event_id":"Ev{n}","api_app_id":"{APP}","event":{{"type":"message","text":"{text}"}}}}"#
        ))
    };
    let pushed: Vec<_> = (0..40).map(|n| rig.app.push(large(n))).collect();
    for push in pushed {
        assert!(matches!(push.wait_ack(crate::rig::SOON).await, AckOutcome::Acked { .. }));
    }
    let (envelopes, bytes) = rig.log.largest();
    assert!(envelopes <= 64, "{envelopes} envelopes");
    assert!(bytes < 256 << 10, "{bytes} bytes before the last one");
    assert!(envelopes > 1, "a burst comes in batches");
}

#[tokio::test]
async fn an_ack_whose_socket_died_goes_out_on_its_replacement() {
    for allowed in [true, false] {
        let switches = Switches { ack_deadline: Duration::from_secs(2), ..Switches::default() };
        let mut setup = Setup { switches, ..Setup::default() };
        setup.slack.ack_on_replacement = allowed;
        let rig = Rig::connected_with(setup).await;
        rig.handler.answer(AckChoice::Bare, Duration::from_millis(700));
        let pushed = rig.app.push(Sample::BlockActions);
        rig.until("the handler", |rig| rig.board.counters.received.total() == 1).await;
        rig.app.reset_tcp();
        rig.until("the next socket", |rig| rig.opens() == 2).await;
        let outcome = pushed.wait_ack(crate::rig::SOON).await;
        assert_eq!(matches!(outcome, AckOutcome::Acked { .. }), allowed, "{outcome:?}");
        assert_eq!(rig.handler.settled(), [allowed]);
        assert_eq!(rig.board.counters.requests_cut.get(), u64::from(!allowed));
    }
}

#[tokio::test]
async fn a_late_ack_waits_for_the_next_hello_as_long_as_slack_waits_for_it() {
    let rig = Rig::connected().await;
    rig.handler.answer(AckChoice::Bare, Duration::from_millis(100));
    rig.app.hold_hello();
    let pushed = rig.app.push(Sample::SlashCommand);
    rig.until("the handler", |rig| rig.board.counters.received.total() == 1).await;
    rig.app.reset_tcp();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(rig.handler.settled().is_empty());
    rig.app.release_hello();
    let outcome = pushed.wait_ack(crate::rig::SOON).await;
    assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
    assert_eq!(rig.handler.settled(), [true]);
}

#[tokio::test]
async fn a_late_ack_that_no_socket_takes_in_time_settles_its_request() {
    let rig = Rig::connected().await;
    rig.app.hold_hello();
    rig.handler.answer(AckChoice::Bare, Duration::from_millis(100));
    let _pushed = rig.app.push(Sample::SlashCommand);
    rig.until("the handler", |rig| rig.board.counters.received.total() == 1).await;
    rig.app.reset_tcp();
    rig.until("the settling", |rig| rig.handler.settled() == [false]).await;
    assert_eq!(rig.board.counters.requests_cut.get(), 1);
}
