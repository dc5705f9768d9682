//! The backlog's way to handlers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use taut_core::config::Size;
use taut_core::log::Outcome::{DeadLetter, Delivered, Unhandled};
use taut_core::log::{Change, DeadReason, Log as _};
use taut_core::{Clock as _, RouteBits, RouteName, Seq};
use taut_delivery::DeliveryEnd;
use taut_delivery::pure::plan::PLAN_ENVELOPES_MAX;
use taut_delivery::pure::sign::SigningKey;
use taut_net::clock::BootClock;
use taut_vault::SigningSecret;

use crate::handler::{Handler, Say, nobody, say};
use crate::log::MemLog;
use crate::support::{Bench, SECRET, event, quick, route, tenant, until};

#[tokio::test]
async fn the_backlog_goes_out_in_order_within_a_channel() {
    let handler = Handler::always(say(200, "")).await;
    let log = Arc::<MemLog>::default();
    let bench = Bench::start_on(log, vec![route("bot", &handler.url, "")], Vec::new(), quick());
    for n in 0..40 {
        bench.event(&format!("Ev{n:02}"), if n % 2 == 0 { "C1" } else { "C2" }).await;
    }
    until("all commits", || bench.log.commits().len() == 40).await;
    for channel in ["C1", "C2"] {
        let bodies = handler.seen().into_iter().map(|seen| seen.text());
        let ids: Vec<_> = bodies.filter(|body| body.contains(channel)).collect();
        assert!(ids.len() == 20 && ids.is_sorted());
    }
    assert_eq!((bench.log.open(), bench.attempts("done")), (0, 40));
}

#[tokio::test]
async fn every_attempt_is_signed_and_says_what_it_is() {
    let handler = Handler::start(|_, before| say(if before == 0 { 503 } else { 200 }, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    bench.event("Ev1", "C1").await;
    until("delivered", || bench.log.commits() == [(1, Delivered)]).await;
    let seen = handler.seen();
    for (attempt, one) in ["1", "2"].into_iter().zip(&seen) {
        let timestamp = one.header("x-slack-request-timestamp").parse().expect("seconds");
        let signature = SigningKey::new(&SigningSecret::from(SECRET)).signature(timestamp, &one.body);
        assert_eq!(one.header("x-slack-signature"), signature);
        assert!(BootClock.wall().seconds() - timestamp < 60);
        assert_eq!(one.header("taut-attempt"), attempt);
        assert_eq!(one.header("idempotency-key"), "acme:Ev1");
        assert_eq!((one.header("taut-tenant"), one.header("taut-epoch")), ("acme".into(), "7".into()));
        assert_eq!(one.header("content-type"), "application/json");
        assert_eq!(one.header("content-length"), one.body.len().to_string());
        assert_eq!(one.header("taut-deadline-ms"), "10000");
        for absent in ["accept-encoding", "x-slack-retry-num", "x-slack-retry-reason", "transfer-encoding"] {
            assert_eq!(one.headers.get(absent), None, "{absent}");
        }
    }
    assert_eq!(seen[0].header("taut-delivery-id"), seen[1].header("taut-delivery-id"));
}

#[tokio::test]
async fn a_dead_handler_delays_no_other_route() {
    let (dead, slow) =
        (nobody().await, Handler::always(Say { after: Duration::from_mins(1), ..say(200, "") }).await);
    let alive = Handler::always(say(200, "")).await;
    let routes = vec![route("dead", &dead, ""), route("slow", &slow.url, ""), route("alive", &alive.url, "")];
    let bench = Bench::start(routes);
    for n in 0..30 {
        bench.event(&format!("Ev{n}"), &format!("C{n}")).await;
    }
    until("the live route's commits", || bench.log.commits_of(RouteBits::one(2)).len() == 30).await;
    assert_eq!(bench.log.commits().len(), 30);
}

#[tokio::test]
async fn target_faults_open_the_breaker_and_a_good_probe_empties_the_backlog() {
    let back = Arc::new(AtomicBool::new(false));
    let is_back = Arc::clone(&back);
    let handler =
        Handler::start(move |_, _| say(if is_back.load(Ordering::Relaxed) { 200 } else { 401 }, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    for n in 0..50 {
        bench.event(&format!("Ev{n}"), &format!("C{n}")).await;
    }
    until("an open breaker", || bench.handle.routes()[0].down == Some("breaker_open")).await;
    assert_eq!(bench.board.status().routes_down, [("bot".to_owned(), "breaker_open".to_owned())]);
    until("some probes", || handler.count() >= 16).await;
    assert!(bench.log.commits().is_empty());
    back.store(true, Ordering::Relaxed);
    until("everything delivered", || bench.log.commits().len() == 50).await;
    until("a closed breaker", || bench.board.status().routes_down.is_empty()).await;
    assert!(bench.dead.all().is_empty());
}

#[tokio::test]
async fn poison_becomes_a_dead_letter_and_its_lane_goes_on() {
    let handler =
        Handler::start(|seen, _| say(if seen.text().contains("Ev1") { 422 } else { 200 }, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    bench.event("Ev1", "C1").await;
    bench.event("Ev2", "C1").await;
    until("both ends", || bench.log.commits().len() == 2).await;
    assert_eq!(bench.log.commits(), [(1, DeadLetter), (2, Delivered)]);
    let (letter, frame) = bench.dead.letters.lock()[0].clone();
    assert_eq!((letter.reason, letter.attempts.len()), (DeadReason::Poison, 1));
    assert_eq!(letter.attempts[0].what, "status 422");
    assert_eq!(frame, event("Ev1", "C1"));
}

#[tokio::test]
async fn attempts_end_while_others_succeed() {
    let handler =
        Handler::start(|seen, _| say(if seen.text().contains("EvBad") { 500 } else { 200 }, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    bench.event("EvBad", "C1").await;
    for n in 0.. {
        bench.event(&format!("Ev{n}"), "C2").await;
        until("delivered", || bench.log.commits().len() > n).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if !bench.dead.all().is_empty() {
            break;
        }
    }
    let letter = &bench.dead.all()[0];
    assert_eq!(letter.reason, DeadReason::AttemptsMax);
    assert!(letter.attempts.len() >= 8);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Handler::always(say(200, "")).await;
    let location = vec![("location", elsewhere.url.clone())];
    let handler = Handler::always(Say { headers: location, ..say(307, "") }).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    bench.event("Ev1", "C1").await;
    until("retries", || bench.attempts("target_fault") >= 3).await;
    assert_eq!((elsewhere.count(), bench.log.commits().len()), (0, 0));
}

#[tokio::test]
async fn a_handler_that_says_nobody_listens_is_done() {
    let handler = Handler::always(say(404, r#"{"error": "unhandled request"}"#)).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    bench.event("Ev1", "C1").await;
    until("unhandled", || bench.log.commits() == [(1, Unhandled)]).await;
    assert_eq!((bench.attempts("unhandled"), handler.count()), (1, 1));
}

#[tokio::test]
async fn an_endless_answer_to_an_event_is_cut_and_counts() {
    let handler = Handler::always(say(200, &"x".repeat(100_000))).await;
    let mut config = quick();
    config.answer_bytes_max = Size(1_000);
    let bench = Bench::start_on(Arc::default(), vec![route("bot", &handler.url, "")], Vec::new(), config);
    bench.event("Ev1", "C1").await;
    until("delivered", || bench.log.commits() == [(1, Delivered)]).await;
}

#[tokio::test]
async fn damaged_envelopes_are_dead_letters() {
    let handler = Handler::always(say(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    bench.log.damage(1);
    bench.event("Ev1", "C1").await;
    bench.event("Ev2", "C1").await;
    until("both ends", || bench.log.commits() == [(1, DeadLetter), (2, Delivered)]).await;
    assert_eq!(bench.dead.all()[0].reason, DeadReason::Damaged);
}

#[tokio::test]
async fn a_removed_routes_copies_are_dead_letters() {
    let log = Arc::<MemLog>::default();
    let away = nobody().await;
    let before = Bench::start_on(
        Arc::clone(&log),
        vec![route("bot", &away, ""), route("old", &away, "")],
        Vec::new(),
        quick(),
    );
    for n in 0..100 {
        before.event(&format!("Ev{n}"), "C1").await;
    }
    drop(before);
    let handler = Handler::always(say(200, "")).await;
    let removed = vec![(1, RouteName::new("old").expect("a name"))];
    let bench = Bench::start_on(log, vec![route("bot", &handler.url, "")], removed, quick());
    until("all copies ended", || bench.log.open() == 0).await;
    let letters = bench.dead.all();
    assert_eq!(letters.len(), 100);
    assert!(letters.iter().all(|l| l.reason == DeadReason::RouteRemoved && l.route.as_str() == "old"));
}

#[tokio::test]
async fn what_cannot_be_a_dead_letter_stays_in_the_backlog() {
    let handler = Handler::always(say(400, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    *bench.dead.full.lock() = true;
    bench.event("Ev1", "C1").await;
    bench.event("Ev2", "C2").await;
    until("both tried", || bench.attempts("poison") == 2).await;
    assert_eq!((bench.log.open(), bench.log.commits().len()), (2, 0));
}

#[tokio::test]
async fn nothing_goes_out_while_commits_are_not_durable() {
    let handler = Handler::always(say(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    bench.log.refuse_changes(true);
    bench.event("Ev1", "C1").await;
    until("the first attempt", || bench.attempts("done") == 1).await;
    bench.event("Ev2", "C1").await;
    bench.event("Ev3", "C2").await;
    until("the commit was tried again", || bench.log.refused() >= 2).await;
    assert_eq!(handler.count(), 1);
    bench.log.refuse_changes(false);
    until("all commits", || bench.log.commits().len() == 3).await;
    assert_eq!(handler.count(), 3);
}

#[tokio::test]
async fn a_paused_route_waits_for_its_operator() {
    let handler = Handler::always(say(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    let name = RouteName::new("bot").expect("a name");
    assert!(bench.handle.pause(&name));
    bench.event("Ev1", "C1").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((handler.count(), bench.handle.routes()[0].down), (0, Some("paused")));
    assert!(bench.handle.resume(&name));
    until("delivered", || bench.log.commits() == [(1, Delivered)]).await;
    assert!(!bench.handle.pause(&RouteName::new("other").expect("a name")));
}

#[tokio::test]
async fn a_drain_ends_attempts_and_starts_none() {
    let handler = Handler::always(Say { after: Duration::from_millis(200), ..say(200, "") }).await;
    let mut bench = Bench::start(vec![route("bot", &handler.url, "")]);
    for n in 0..3 {
        bench.event(&format!("Ev{n}"), "C1").await;
    }
    until("the first attempt", || handler.count() == 1).await;
    let deadline = BootClock.now() + Duration::from_secs(5);
    assert_eq!(bench.handle.drain(deadline).await, DeliveryEnd::Drained);
    assert_eq!((bench.log.commits(), handler.count()), (vec![(1, Delivered)], 1));
}

#[tokio::test]
async fn a_drain_past_its_deadline_cuts_off() {
    let handler = Handler::always(Say { after: Duration::from_mins(1), ..say(200, "") }).await;
    let mut bench = Bench::start(vec![route("bot", &handler.url, "")]);
    bench.event("Ev1", "C1").await;
    until("the attempt", || handler.count() == 1).await;
    let deadline = BootClock.now() + Duration::from_millis(50);
    assert_eq!(bench.handle.drain(deadline).await, DeliveryEnd::CutOff);
    assert_eq!(bench.log.open(), 1);
}

#[tokio::test]
async fn a_target_outside_allow_hosts_is_refused_before_anything_starts() {
    for url in ["http://169.254.169.254/latest", "http://user:pw@127.0.0.1/", "http://bot.example/"] {
        assert!(Bench::try_start(vec![route("bot", url, "")]).is_err(), "{url}");
    }
}

#[tokio::test]
async fn a_panic_is_told_to_the_supervisor() {
    let mut bench = Bench::start(vec![route("bot", &nobody().await, "")]);
    bench.log.panic_on_backlog();
    assert_eq!(bench.handle.join().await, DeliveryEnd::Panicked);
    assert_eq!(bench.handle.join().await, DeliveryEnd::Panicked);
}

#[tokio::test]
async fn nothing_goes_out_while_a_refused_commit_is_tried_again() {
    let handler = Handler::always(say(200, "")).await;
    let bench = Bench::start(vec![route("bot", &handler.url, "")]);
    bench.log.refuse_changes(true);
    bench.event("Ev1", "C1").await;
    until("the second try", || bench.log.refused() == 2).await;
    bench.event("Ev2", "C2").await;
    until("the third try", || bench.log.refused() == 3).await;
    assert_eq!(handler.count(), 1);
    bench.log.refuse_changes(false);
    until("all commits", || bench.log.commits().len() == 2).await;
    assert_eq!(handler.count(), 2);
}

#[tokio::test]
async fn an_exchange_lets_the_lane_end_its_attempt_first_and_keeps_a_pause() {
    let old = Handler::start(|_, _| Say { after: Duration::from_millis(300), ..say(200, "") }).await;
    let new = Handler::always(say(200, "")).await;
    let mut bench = Bench::start(vec![route("bot", &old.url, ""), route("audit", &old.url, "")]);
    assert!(bench.handle.pause(&RouteName::new("audit").expect("a name")));
    bench.event("Ev1", "C1").await;
    bench.event("Ev2", "C1").await;
    until("the first is under way", || old.seen().len() == 1).await;
    let deadline = BootClock.now() + Duration::from_secs(30);
    let routes = vec![route("bot", &new.url, ""), route("audit", &new.url, "")];
    let end = bench.exchange(routes, deadline).await.expect("usable routes");
    assert_eq!(end, DeliveryEnd::Drained);
    assert_eq!(bench.attempts("done"), 1, "the old attempt ended before the exchange did");
    until("the second is delivered", || new.seen().len() == 1).await;
    assert!(new.seen()[0].text().contains("Ev2") && old.seen().len() == 1);
    assert_eq!(bench.handle.routes()[1].down, Some("paused"));

    let refused = bench.exchange(vec![route("bot", "http://192.0.2.1/", "")], deadline).await;
    assert!(refused.is_err());
    bench.event("Ev3", "C1").await;
    until("it goes on as it was", || new.seen().len() == 2).await;
}

#[tokio::test]
async fn the_backlog_behind_a_whole_plan_that_left_otherwise_is_not_forgotten() {
    let handler = Handler::always(say(200, "")).await;
    let routes = vec![route("bot", &handler.url, r#","order":"none""#)];
    let bench = Bench::start_paused(&Arc::default(), routes, true, Vec::new());
    let (planned, more) = (PLAN_ENVELOPES_MAX as u64, 5);
    for n in 1..=planned + more {
        bench.event(&n.to_string(), "C1").await;
    }
    for _ in 0..100 {
        // The delivery task, on this very thread, plans with all that its plan takes.
        tokio::task::yield_now().await;
    }
    // A full queue makes dead letters of its oldest behind delivery's back.
    let leave = |seq| Change::Commit { seq: Seq(seq), routes: RouteBits::one(0), outcome: DeadLetter };
    bench.log.change(&tenant(), (1..=planned).map(leave).collect()).await.expect("kept");
    bench.handle.suspend(false);
    until("what is behind them", || bench.log.open() == 0).await;
    assert_eq!(bench.attempts("done"), more);
}

#[tokio::test]
async fn what_is_read_again_for_a_long_lane_goes_out_once() {
    const HOT: usize = 4_000;
    let (hot, cold) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (hot_seen, cold_seen) = (Arc::clone(&hot), Arc::clone(&cold));
    let count =
        move |text: &str| if text.contains("Hot") { &hot_seen } else { &cold_seen }.fetch_add(1, Relaxed);
    let handler = Handler::start(move |seen, _| {
        count(&seen.text());
        say(200, "")
    })
    .await;
    let routes = vec![route("bot", &handler.url, r#","concurrency":64"#)];
    let bench = Bench::start_paused(&Arc::default(), routes, true, Vec::new());
    for n in 0..HOT {
        bench.event(&format!("Hot{n}"), "C1").await;
    }
    bench.handle.suspend(false);
    let mut others = 0;
    while hot.load(Relaxed) < 1_100 {
        if others < cold.load(Relaxed) + 40 {
            others += 1;
            bench.event(&format!("Ev{others}"), &format!("D{others}")).await;
        }
        tokio::task::yield_now().await;
    }
    let seen: Vec<_> = handler.seen().iter().map(|seen| seen.header("idempotency-key")).collect();
    let once: BTreeSet<_> = seen.iter().collect();
    assert_eq!(seen.len(), once.len(), "each once");
}

#[tokio::test]
async fn a_route_that_starts_paused_is_so_from_its_first_moment() {
    let handler = Handler::always(say(200, "")).await;
    let log = Arc::<MemLog>::default();
    let routes = || vec![route("bot", &handler.url, ""), route("audit", &handler.url, "")];
    let audit = RouteName::new("audit").expect("a name");
    let bench = Bench::start_paused(&log, routes(), true, Vec::new());
    bench.event("Ev1", "C1").await;
    assert!(bench.handle.routes().iter().all(|route| route.down == Some("paused")));
    drop(bench);
    let bench = Bench::start_paused(&log, routes(), false, vec![audit]);
    until("the other route's delivery", || log.commits() == [(1, Delivered)]).await;
    assert_eq!(bench.board.status().routes_down, [("audit".to_owned(), "paused".to_owned())]);
    assert_eq!((handler.count(), log.open()), (1, 1));
}
