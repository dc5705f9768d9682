//! Requests: the handler's answer is the ack.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use taut_core::ACK_BYTES_MAX;
use taut_core::request::{AckChoice, SilentReason};
use taut_sim::{AckOutcome, Push, Sample};
use taut_socket::Routed;

use crate::log::Mood;
use crate::rig::{Rig, SOON};

const REQUESTS: [Sample; 9] = [
    Sample::SlashCommand,
    Sample::BlockActions,
    Sample::BlockSuggestion,
    Sample::ViewSubmission,
    Sample::Shortcut,
    Sample::MessageAction,
    Sample::InteractiveMessage,
    Sample::DialogSubmission,
    Sample::DialogSuggestion,
];

#[tokio::test]
async fn every_request_kind_gets_its_handlers_answer() {
    let rig = Rig::connected().await;
    for sample in REQUESTS {
        rig.handler.answer(AckChoice::Payload(r#"{"text":"hé"}"#.into()), Duration::ZERO);
        assert_eq!(rig.acked(sample).await.as_deref(), Some(r#"{"text":"hé"}"#), "{sample:?}");
        rig.handler.answer(AckChoice::Bare, Duration::ZERO);
        assert_eq!(rig.acked(sample).await, None, "{sample:?}");
    }
    assert_eq!(rig.handler.settled(), [true; 18]);
    assert!(rig.log.entries().iter().all(|entry| !entry.answering.is_empty()));
}

#[tokio::test]
async fn a_silent_request_is_not_acked() {
    let rig = Rig::connected().await;
    let reasons =
        [SilentReason::Late, SilentReason::Refused, SilentReason::AnswerTooLarge, SilentReason::Closed];
    for reason in reasons {
        rig.handler.answer(AckChoice::Silent(reason), Duration::ZERO);
        let pushed = rig.app.push(Sample::ViewSubmission);
        let name = reason.name();
        rig.until(name, |rig| rig.board.counters.refused.at(name).get() == 1).await;
        assert!(matches!(pushed.wait_ack(Duration::from_millis(20)).await, AckOutcome::Unacked { .. }));
    }
    assert_eq!(rig.handler.settled(), [false; 4]);
}

#[tokio::test]
async fn a_request_that_is_not_stored_is_not_acked_and_counted_once() {
    let rig = Rig::connected().await;
    rig.log.set_mood(Mood::Unavailable);
    let pushed = rig.app.push(Sample::SlashCommand);
    rig.until("a refusal", |rig| rig.handler.settled() == [false]).await;
    assert!(matches!(pushed.wait_ack(Duration::from_millis(20)).await, AckOutcome::Unacked { .. }));
    assert_eq!(rig.board.counters.refused.total(), 1);
    assert_eq!(rig.board.counters.refused.at("store_unavailable").get(), 1);
}

#[tokio::test]
async fn an_ack_beyond_slacks_limit_is_never_written() {
    let rig = Rig::connected().await;
    let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(ACK_BYTES_MAX));
    rig.handler.answer(AckChoice::Payload(payload), Duration::ZERO);
    let _pushed = rig.app.push(Sample::SlashCommand);
    rig.until("a refusal", |rig| rig.board.counters.refused.at("answer_too_large").get() == 1).await;
    rig.until("its settling", |rig| rig.handler.settled() == [false]).await;
    assert_eq!(rig.app.totals().acks_oversize, 0);
    rig.acked(Sample::Message).await;
}

#[tokio::test]
async fn a_request_nobody_answers_is_neither_begun_nor_acked() {
    let rig = Rig::connected().await;
    rig.router.replace(|_, _| Routed::default());
    let _pushed = rig.app.push(Sample::SlashCommand);
    rig.until("a refusal", |rig| rig.board.counters.refused.at("unrouted").get() == 1).await;
    assert_eq!(rig.handler.begun.load(Relaxed), 0);
}

#[tokio::test]
async fn events_are_acked_while_a_request_waits_for_its_handler() {
    let rig = Rig::connected().await;
    rig.handler.answer(AckChoice::Bare, Duration::from_millis(800));
    let slow = rig.app.push(Sample::BlockActions);
    rig.until("the handler", |rig| rig.handler.begun.load(Relaxed) == 1).await;
    for _ in 0..20 {
        rig.acked(Sample::Message).await;
    }
    assert!(rig.handler.settled().is_empty(), "the events did not wait");
    assert!(matches!(slow.wait_ack(SOON).await, AckOutcome::Acked { .. }));
}

#[tokio::test]
async fn slow_handlers_hold_up_no_acks() {
    let rig = Rig::connected().await;
    rig.handler.answer(AckChoice::Bare, Duration::from_secs(2));
    let requests: Vec<_> = (0..60).map(|_| rig.app.push(Push::from(Sample::BlockActions))).collect();
    for request in requests {
        let outcome = request.wait_ack(SOON).await;
        assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
    }
}
