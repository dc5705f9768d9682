//! Requests, from their frame to their ack.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::ready;
use taut_core::log::{Append, Outcome};
use taut_core::request::{AckChoice, Answer, SilentReason};
use taut_core::{Clock as _, Seq};
use taut_net::clock::BootClock;

use crate::handler::{Handler, Say, nobody, say};
use crate::log::MemLog;
use crate::support::{Bench, command, interactive, quick, route, until};

const FRESH: Duration = Duration::ZERO;
/// Read so long ago that the deadline is 300 ms away.
const AGED: Duration = Duration::from_millis(2_200);
/// Longer than what is left of an aged request.
const LATE: Duration = Duration::from_millis(600);
const DEFER: &str = r#","on_late_answer":"ack_then_deliver""#;

fn late(status: u16, body: &str) -> Say {
    Say { after: LATE, ..say(status, body) }
}

fn settle(answer: Answer, written: bool) -> AckChoice {
    if let Some(settle) = answer.settle {
        settle(written);
    }
    answer.ack
}

fn payload(json: &str) -> AckChoice {
    AckChoice::Payload(json.into())
}

const fn silent(reason: SilentReason) -> AckChoice {
    AckChoice::Silent(reason)
}

#[tokio::test]
async fn the_handlers_answer_is_the_ack_and_a_written_ack_commits() {
    let handler = Handler::always(say(200, "hi")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let answer = bench.request(&command("e-1", ""), FRESH).await;
    assert_eq!(settle(answer, true), payload(r#"{"text":"hi"}"#));
    until("delivered", || bench.log.commits() == [(1, Outcome::Delivered)]).await;
    let seen = &handler.seen()[0];
    assert_eq!(seen.text(), "command=%2Fecho&text=e-1&response_url=");
    let left: u64 = seen.header("taut-deadline-ms").parse().expect("milliseconds");
    assert!((2_000..=2_500).contains(&left), "{left}");
}

#[tokio::test]
async fn an_ack_that_was_not_written_expires_the_request() {
    let handler = Handler::always(say(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let answer = bench.request(&command("e-1", ""), FRESH).await;
    assert_eq!(settle(answer, false), AckChoice::Bare);
    until("expired", || bench.log.commits() == [(1, Outcome::Expired)]).await;
    drop(bench.request(&command("e-2", ""), FRESH));
    until("expired unheard", || bench.log.commits().get(1) == Some(&(2, Outcome::Expired))).await;
}

#[tokio::test]
async fn every_kind_is_acked_by_its_own_rule() {
    let json = r#"{"response_action":"clear"}"#;
    let handler = Handler::always(Say { content_type: Some("application/json"), ..say(200, json) }).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    for (payload_type, expected) in [
        ("shortcut", AckChoice::Bare),
        ("message_action", AckChoice::Bare),
        ("block_actions", AckChoice::Bare),
        ("interactive_message", payload(json)),
        ("view_submission", payload(json)),
        ("dialog_submission", payload(json)),
        ("block_suggestion", payload(json)),
        ("dialog_suggestion", payload(json)),
    ] {
        let answer = bench.request(&interactive(payload_type, payload_type), FRESH).await;
        assert_eq!(settle(answer, true), expected, "{payload_type}");
    }
}

#[tokio::test]
async fn a_failing_handler_acks_nothing_and_nothing_is_retried() {
    let handler = Handler::always(say(500, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, DEFER)]);
    for id in ["shortcut", "view_submission", "interactive_message"] {
        let answer = bench.request(&interactive(id, id), FRESH).await;
        assert_eq!(answer.ack, silent(SilentReason::Refused), "{id}");
    }
    until("expired", || bench.log.commits().len() == 3 && bench.log.open() == 0).await;
    assert!(bench.log.commits().iter().all(|(_, outcome)| *outcome == Outcome::Expired));
    assert_eq!((handler.count(), bench.attempts("transient")), (3, 3));
}

#[tokio::test]
async fn at_the_deadline_fail_is_silent_and_the_late_answer_goes_to_the_response_url() {
    let slack = Handler::always(say(200, "ok")).await;
    let handler = Handler::always(late(200, "better late")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let answer = bench.request(&command("e-1", &slack.url), AGED).await;
    assert_eq!(answer.ack, silent(SilentReason::Late));
    until("the late post", || slack.count() == 1).await;
    assert_eq!(slack.seen()[0].text(), r#"{"text":"better late"}"#);
    until("expired", || bench.log.commits() == [(1, Outcome::Expired)]).await;
    assert_eq!(bench.attempts("expired"), 1);
}

#[tokio::test]
async fn a_form_is_never_acked_without_its_answer() {
    let handler = Handler::always(late(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, DEFER)]);
    let answer = bench.request(&interactive("e-1", "view_submission"), AGED).await;
    assert_eq!(answer.ack, silent(SilentReason::Late));
    until("expired", || bench.log.commits() == [(1, Outcome::Expired)]).await;
    assert!(bench.log.released().is_empty());
}

#[tokio::test]
async fn ack_then_deliver_records_the_bare_ack_and_a_late_success_is_the_delivery() {
    let handler = Handler::always(late(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, DEFER)]);
    let answer = bench.request(&interactive("e-1", "block_actions"), AGED).await;
    assert_eq!(answer.ack, AckChoice::Bare);
    assert_eq!(bench.log.released(), [Seq(1)]);
    until("delivered", || bench.log.commits() == [(1, Outcome::Delivered)]).await;
    assert_eq!(handler.count(), 1);
    assert_eq!((bench.attempts("done"), bench.attempts("expired")), (1, 0));
    assert_eq!(bench.board.counters.delivered.get(), 1);
}

#[tokio::test]
async fn a_released_request_that_nobody_listens_to_ends_as_unhandled() {
    let handler = Handler::always(late(404, r#"{"error":"unhandled request"}"#)).await;
    let bench = Bench::start(vec![route("bot", &handler.url, DEFER)]);
    let answer = bench.request(&interactive("e-1", "block_actions"), AGED).await;
    assert_eq!(answer.ack, AckChoice::Bare);
    until("unhandled", || bench.log.commits() == [(1, Outcome::Unhandled)]).await;
    assert_eq!((bench.attempts("unhandled"), bench.board.counters.delivered.get()), (1, 0));
}

#[tokio::test]
async fn ack_then_deliver_delivers_from_the_backlog_until_the_handler_takes_it() {
    let slack = Handler::always(say(200, "ok")).await;
    let handler = Handler::start(|_, before| match before {
        0 => late(500, ""),
        1 => say(500, ""),
        _ => say(200, "done at last"),
    })
    .await;
    let bench = Bench::start(vec![route("bot", &handler.url, DEFER)]);
    let answer = bench.request(&command("e-1", &slack.url), AGED).await;
    assert_eq!(settle(answer, true), AckChoice::Bare);
    until("delivered", || bench.log.commits() == [(1, Outcome::Delivered)]).await;
    until("its answer", || slack.count() == 1).await;
    assert_eq!(slack.seen()[0].text(), r#"{"text":"done at last"}"#);
    assert_eq!((handler.count(), bench.log.open()), (3, 0));
    let attempts: Vec<_> = handler.seen().iter().map(|seen| seen.header("taut-attempt")).collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    let ids: std::collections::HashSet<_> =
        handler.seen().iter().map(|seen| seen.header("taut-delivery-id")).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn ack_then_deliver_does_not_wait_for_a_handler_that_is_away() {
    let bench = Bench::start(vec![route("bot", &nobody().await, DEFER)]);
    let asked = BootClock.now();
    let answer = bench.request(&command("e-1", ""), FRESH).await;
    assert_eq!(answer.ack, AckChoice::Bare);
    assert!(BootClock.now().since(asked) < Duration::from_secs(1));
    assert_eq!((bench.log.released(), bench.log.open()), (vec![Seq(1)], 1));
    until("the backlog's attempts", || bench.attempts("target_fault") >= 2).await;
}

#[tokio::test]
async fn a_release_that_is_not_durable_acks_nothing() {
    let bench = Bench::start(vec![route("bot", &nobody().await, DEFER)]);
    bench.log.refuse_changes(true);
    let answer = bench.request(&command("e-1", ""), FRESH).await;
    assert_eq!(answer.ack, silent(SilentReason::NotStored));
}

#[tokio::test]
async fn duplicates_get_the_first_ones_answer_from_one_call() {
    let handler = Handler::always(Say { after: Duration::from_millis(100), ..say(200, "once") }).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let (first, second) =
        tokio::join!(bench.request(&command("e-1", ""), FRESH), bench.request(&command("e-1", ""), FRESH));
    assert_eq!(
        (settle(first, true), second.ack),
        (payload(r#"{"text":"once"}"#), payload(r#"{"text":"once"}"#))
    );
    let third = bench.request(&command("e-1", ""), FRESH).await;
    assert_eq!(settle(third, true), payload(r#"{"text":"once"}"#));
    until("one commit", || bench.log.commits() == [(1, Outcome::Delivered)]).await;
    assert_eq!(handler.count(), 1);
}

#[tokio::test]
async fn a_copy_that_is_stored_where_the_first_one_was_refused_does_not_stay_open() {
    let handler = Handler::always(say(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let (done, stored) = futures::channel::oneshot::channel();
    let envelope = taut_core::Envelope::from_frame(&command("e-1", "").into()).expect("an envelope");
    let stored = stored.map(|append| append.unwrap_or(Append::Unavailable)).boxed();
    let first = bench.begin(Arc::new(envelope), stored, FRESH);
    let second = bench.request(&command("e-1", ""), FRESH);
    assert_eq!(bench.log.open(), 1);
    done.send(Append::Unavailable).expect("somebody waits");
    let not_stored = silent(SilentReason::NotStored);
    assert_eq!((first.await.ack, second.await.ack), (not_stored.clone(), not_stored));
    until("expired", || bench.log.commits() == [(1, Outcome::Expired)]).await;
    assert_eq!(bench.log.open(), 0);
}

#[tokio::test]
async fn every_copy_hears_what_became_of_its_append() {
    let handler = Handler::always(say(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    settle(bench.request(&command("e-1", ""), FRESH).await, true);
    let (envelope, stored) = bench.store(&command("e-1", ""));
    let heard = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&heard);
    let stored = stored.inspect(move |append| flag.store(*append == Append::Duplicate(Seq(1)), Relaxed));
    assert_eq!(bench.begin(envelope, stored.boxed(), FRESH).await.ack, AckChoice::Bare);
    until("heard", || heard.load(Relaxed)).await;
}

#[tokio::test]
async fn a_duplicate_of_a_closed_request_is_not_asked_again() {
    let handler = Handler::always(say(200, "")).await;
    let log = Arc::<MemLog>::default();
    let routes = || vec![route("bot", &handler.url, "")];
    let before = Bench::start_on(Arc::clone(&log), routes(), Vec::new(), quick());
    settle(before.request(&command("e-1", ""), FRESH).await, true);
    let after = Bench::start_on(log, routes(), Vec::new(), quick());
    let answer = after.request(&command("e-1", ""), FRESH).await;
    assert_eq!((answer.ack, handler.count()), (silent(SilentReason::Closed), 1));
}

#[tokio::test]
async fn a_request_whose_own_append_was_quick_is_no_duplicate() {
    let handler = Handler::always(say(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    // The log knows the key before the desk is asked: the append alone tells whose it is.
    let (envelope, stored) = bench.store(&command("e-1", ""));
    let answer = bench.begin(envelope, stored, FRESH).await;
    assert_eq!(settle(answer, true), AckChoice::Bare);
}

#[tokio::test]
async fn the_handler_starts_before_the_store_is_done_and_the_ack_waits_for_both() {
    let handler = Handler::always(say(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let (done, stored) = futures::channel::oneshot::channel();
    let frame = command("e-1", "");
    let envelope = taut_core::Envelope::from_frame(&frame.into()).expect("an envelope");
    let stored = stored.map(|append| append.unwrap_or(Append::Unavailable)).boxed();
    let mut answer = bench.begin(Arc::new(envelope), stored, FRESH);
    until("the handler's call", || handler.count() == 1).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!((&mut answer).now_or_never().is_none());
    done.send(Append::Stored(Seq(9))).expect("somebody waits");
    assert_eq!(answer.await.ack, AckChoice::Bare);
}

#[tokio::test]
async fn what_is_not_stored_is_not_acked_and_a_copy_may_try_again() {
    let handler = Handler::always(say(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let envelope = taut_core::Envelope::from_frame(&command("e-1", "").into()).expect("an envelope");
    let answer = bench.begin(Arc::new(envelope), ready(Append::Unavailable).boxed(), FRESH).await;
    assert_eq!(answer.ack, silent(SilentReason::NotStored));
    let again = bench.request(&command("e-1", ""), FRESH).await;
    assert_eq!(settle(again, true), AckChoice::Bare);
}

#[tokio::test]
async fn an_open_breaker_fails_requests_at_once() {
    let bench = Bench::start(vec![route("bot", &nobody().await, "")]);
    for n in 0..5 {
        let answer = bench.request(&command(&format!("e-{n}"), ""), FRESH).await;
        assert_eq!(answer.ack, silent(SilentReason::Refused));
    }
    until("an open breaker", || bench.handle.routes()[0].down == Some("breaker_open")).await;
    assert_eq!(bench.attempts("target_fault"), 5);
    until("all expired", || bench.log.open() == 0).await;
}

#[tokio::test]
async fn a_too_large_answer_goes_to_the_response_url_or_nowhere() {
    let slack = Handler::always(say(200, "ok")).await;
    let handler = Handler::always(say(200, &"x".repeat(30_000))).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let answer = bench.request(&command("e-1", &slack.url), FRESH).await;
    assert_eq!(settle(answer, true), AckChoice::Bare);
    until("the post", || slack.count() == 1).await;
    assert_eq!(slack.seen()[0].body.len(), 30_000 + r#"{"text":""}"#.len());
    let answer = bench.request(&interactive("e-2", "view_submission"), FRESH).await;
    assert_eq!(answer.ack, silent(SilentReason::AnswerTooLarge));
    until("both closed", || bench.log.open() == 0).await;
}

#[tokio::test]
async fn the_first_route_answers_and_the_others_get_a_copy() {
    let (bot, audit) = (Handler::always(say(200, "bot")).await, Handler::always(say(200, "audit")).await);
    let bench = Bench::start(vec![route("bot", &bot.url, ""), route("audit", &audit.url, "")]);
    let answer = bench.request(&command("e-1", ""), FRESH).await;
    assert_eq!(settle(answer, true), payload(r#"{"text":"bot"}"#));
    until("both copies ended", || bench.log.open() == 0).await;
    assert_eq!((bot.count(), audit.count()), (1, 1));
}

#[tokio::test]
async fn a_request_no_route_wants_is_not_acked() {
    let handler = Handler::always(say(200, "")).await;
    let events_only = r#","match":{"kinds":["events_api"]}"#;
    let bench = Bench::start(vec![route("bot", &handler.url, events_only)]);
    let answer = bench.request(&command("e-1", ""), FRESH).await;
    assert_eq!((answer.ack, handler.count()), (silent(SilentReason::Unrouted), 0));
}

#[tokio::test]
async fn garbage_gets_a_verdict_and_never_a_crash() {
    let garbage = "\u{0}\u{feff}{\"a\":[[[[".repeat(50);
    let handler =
        Handler::always(Say { content_type: Some("application/json; x=\"y"), ..say(200, &garbage) }).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let form = bench.request(&interactive("e-1", "view_submission"), FRESH).await;
    assert_eq!(form.ack, silent(SilentReason::Refused));
    let command = bench.request(&command("e-2", ""), FRESH).await;
    assert!(matches!(settle(command, true), AckChoice::Payload(_)));
}

#[tokio::test]
async fn a_silent_request_is_closed_while_its_handler_still_runs() {
    let handler = Handler::always(Say { after: Duration::from_mins(1), ..say(200, "") }).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let answer = bench.request(&interactive("e-1", "view_submission"), AGED).await;
    assert_eq!(answer.ack, silent(SilentReason::Late));
    until("expired", || bench.log.commits() == [(1, Outcome::Expired)]).await;
    assert_eq!(bench.attempts("expired"), 0);
}

#[tokio::test]
async fn a_copy_goes_out_while_the_answering_route_still_has_the_request() {
    let bot = Handler::always(Say { after: Duration::from_mins(1), ..say(200, "") }).await;
    let audit = Handler::always(say(200, "")).await;
    let bench = Bench::start(vec![route("bot", &bot.url, DEFER), route("audit", &audit.url, "")]);
    let envelope = taut_core::Envelope::from_frame(&command("e-1", "").into()).expect("an envelope");
    let answer = bench.begin(Arc::new(envelope), ready(Append::Stored(Seq(1))).boxed(), AGED).await;
    assert_eq!(answer.ack, AckChoice::Bare);
    // The delivery task sees the entry only now that it is released.
    drop(bench.store(&command("e-1", "")));
    until("the copy", || audit.count() == 1).await;
    assert_eq!(bot.count(), 1);
}

#[tokio::test]
async fn requests_under_way_are_bounded_and_taken_again_when_some_have_ended() {
    const REQUESTS_MAX: usize = 256;
    let gate = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&gate);
    let handler = Handler::start(move |_, _| {
        let after = if open.load(Relaxed) { Duration::ZERO } else { Duration::from_secs(3) };
        Say { after, ..say(200, "ok") }
    })
    .await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let under_way: Vec<_> = (0..REQUESTS_MAX)
        .map(|n| tokio::spawn(bench.request(&command(&format!("e-{n}"), ""), FRESH)))
        .collect();
    until("all at the handler", || handler.count() == REQUESTS_MAX).await;
    gate.store(true, Relaxed);
    let one_more = bench.request(&command("one-more", ""), FRESH).await;
    assert_eq!(one_more.ack, silent(SilentReason::Refused));
    assert_eq!(handler.count(), REQUESTS_MAX, "the handler does not hear of it");
    for answer in futures::future::join_all(under_way).await {
        settle(answer.expect("no panic"), true);
    }
    until("all have ended", || bench.log.open() == 0).await;
    // A handler that is late keeps its place until it ends.
    let taken_again = async {
        let mut tries = 0;
        while settle(bench.request(&command(&format!("next-{tries}"), ""), FRESH).await, true)
            != payload(r#"{"text":"ok"}"#)
        {
            tries += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), taken_again).await.expect("there is room again");
}

#[tokio::test]
async fn an_answer_is_posted_to_a_failing_response_url_three_times_and_given_up() {
    let slack = Handler::always(say(500, "")).await;
    let handler = Handler::always(late(200, "better late")).await;
    let mut bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let answer = bench.request(&command("e-1", &slack.url), AGED).await;
    assert_eq!(answer.ack, silent(SilentReason::Late));
    until("the first post", || slack.count() == 1).await;
    let deadline = BootClock.now() + Duration::from_secs(30);
    assert_eq!(bench.handle.drain(deadline).await, taut_delivery::DeliveryEnd::Drained);
    assert_eq!(slack.count(), 3);
}
