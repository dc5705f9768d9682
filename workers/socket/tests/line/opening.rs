//! Opening a socket: every way it can fail, and what is tried again.

use std::sync::Arc;
use std::time::Duration;

use taut_sim::{Act, AppHandle, AppSpec, OpenFailure, Sample, Sim, SimConfig, Switches, UpgradeFailure};
use taut_socket::Desired;

use crate::rig::{APP, Rig, Setup, SleepyClock, TOKEN, span};

/// A line that is started only after `prepare` has set the stage.
async fn prepared(setup: Setup, prepare: impl FnOnce(&taut_sim::AppHandle)) -> Rig {
    let config = SimConfig { switches: setup.switches.clone(), ..SimConfig::default() };
    let sim = Sim::start(config).await.expect("the simulator starts");
    let app = sim.add_app(AppSpec::new(APP, TOKEN));
    prepare(&app);
    Rig::over(sim, app, setup)
}

#[tokio::test]
async fn bad_answers_to_open_are_tried_again() {
    let body = |text: &str| OpenFailure::Body { body: text.into(), content_type: "text/html".into() };
    let failures = [
        OpenFailure::Status { status: 500 },
        OpenFailure::Error { code: "internal_error".into() },
        OpenFailure::Error { code: "never_heard_of".into() },
        body("<html>"),
        body(""),
        body("{\"ok\":tr"),
        body("null"),
        OpenFailure::NoUrl,
        OpenFailure::DeadUrl,
        OpenFailure::Abort,
    ];
    let rigs = failures.map(|failure| async move {
        let rig = prepared(Setup::default(), |app| app.fail_next_opens(1, failure.clone())).await;
        rig.wait("connected").await;
        assert_eq!(rig.opens(), 2, "{failure:?}");
    });
    futures::future::join_all(rigs).await;
}

#[tokio::test]
async fn steps_that_never_end_are_given_up_and_tried_again() {
    let patient = || Setup { patience: span(600), ..Setup::default() };
    let rig = prepared(patient(), |app| app.fail_next_opens(1, OpenFailure::Hang)).await;
    rig.wait("connected").await;
    assert_eq!((rig.opens(), rig.board.counters.socket_opens.at("retry").get()), (2, 1));

    let rig = prepared(patient(), |app| app.fail_next_upgrades(1, UpgradeFailure::Hang)).await;
    rig.wait("connected").await;
    assert_eq!((rig.opens(), rig.board.counters.socket_opens.at("dial_failed").get()), (2, 1));
}

#[tokio::test]
async fn an_answer_without_content_type_connects() {
    let rig = prepared(Setup::default(), |app| app.fail_next_opens(1, OpenFailure::NoContentType)).await;
    rig.wait("connected").await;
    assert_eq!(rig.opens(), 1);
}

#[tokio::test]
async fn a_bad_token_parks_until_another_comes() {
    let rig = prepared(Setup::default(), |app| app.revoke_token("invalid_auth")).await;
    rig.wait("parked: invalid_auth").await;
    assert!(rig.board.status().settled);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(rig.opens(), 1, "never tried again by itself");
    rig.app.restore_token();
    rig.line.set_desired(Desired::Connected);
    rig.wait("connected").await;
    assert_eq!(rig.board.counters.socket_opens.at("park").get(), 1);
}

#[tokio::test]
async fn a_rate_limit_is_waited_for() {
    let limited = OpenFailure::RateLimited { retry_after_seconds: Some(2) };
    let rig = prepared(Setup::default(), |app| app.fail_next_opens(1, limited)).await;
    rig.until("the answer", |rig| rig.board.counters.socket_opens.at("rate_limited").get() == 1).await;
    tokio::time::sleep(Duration::from_millis(1700)).await;
    assert_eq!(rig.opens(), 1);
    rig.wait("connected").await;
}

#[tokio::test]
async fn bad_upgrades_get_a_new_ticket() {
    let failures = [
        UpgradeFailure::Status { status: 409 },
        UpgradeFailure::Status { status: 408 },
        UpgradeFailure::Html,
        UpgradeFailure::WrongAccept,
        UpgradeFailure::Abort,
        UpgradeFailure::Text { text: "UNAUTHENTICATED: cache_error".into() },
        UpgradeFailure::Disconnect { reason: "refresh_requested".into() },
        UpgradeFailure::NoHello,
        UpgradeFailure::DropAfterHello,
    ];
    let rigs = failures.map(|failure| async move {
        let mut setup = Setup::default();
        setup.slack.hello_timeout = span(1000);
        let rig = prepared(setup, |app| app.fail_next_upgrades(1, failure.clone())).await;
        rig.until("the second socket", |rig| rig.opens() == 2).await;
        rig.wait("connected").await;
        rig.acked(Sample::Message).await;
        assert_eq!(rig.opens(), 2, "{failure:?}");
    });
    futures::future::join_all(rigs).await;
}

#[tokio::test]
async fn a_proxy_that_answers_instead_of_slack_is_named() {
    let rig = prepared(Setup::default(), |app| app.fail_next_upgrades(1, UpgradeFailure::Html)).await;
    rig.wait("starting: upgrade_refused").await;
    assert!(rig.board.status().reason.text.contains("proxy"), "{:?}", rig.board.status().reason);
}

#[tokio::test]
async fn a_hello_of_another_app_parks_before_anything_is_stored() {
    let other = UpgradeFailure::HelloOfApp { app_id: "A0GLOBEX01".into() };
    let rig = prepared(Setup::default(), |app| app.fail_next_upgrades(1, other)).await;
    let _pushed = rig.app.push(Sample::Message);
    rig.wait("parked: foreign_app").await;
    rig.until("no socket", |rig| rig.app.connections().is_empty()).await;
    assert!(rig.log.entries().is_empty());
}

#[tokio::test]
async fn the_app_is_learnt_from_the_first_hello_and_a_taken_one_parks() {
    let rig = Rig::connected_with(Setup { app_id: None, ..Setup::default() }).await;
    assert_eq!(rig.board.status().app_id.map(|id| id.to_string()).as_deref(), Some(APP));

    let rig = Rig::start(Setup { app_id: None, ours: Some(false), ..Setup::default() }).await;
    rig.wait("parked: duplicate_app").await;
}

#[tokio::test]
async fn frames_before_hello_are_handled_up_to_a_limit() {
    let text = |n: usize| {
        format!(
            r#"{{"type":"events_api","envelope_id":"before-{n}","payload":{{"event_id":"Ev{n}","api_app_id":"{APP}"}}}}"#
        )
    };
    let greeted_by = |count| {
        prepared(Setup::default(), move |app| {
            app.hold_hello();
            app.act(&Act::BeforeHello { texts: (0..count).map(text).collect() });
        })
    };
    let rig = greeted_by(60).await;
    rig.until("all 60", |rig| rig.board.counters.acked.total() == 60).await;
    assert_eq!(rig.board.status().sockets, 0, "not connected before hello");
    rig.app.release_hello();
    rig.wait("connected").await;

    let rig = greeted_by(65).await;
    rig.wait("starting: useless_socket").await;
}

#[tokio::test]
async fn frames_before_hello_that_do_not_say_whose_they_are_wait_for_it() {
    let nobodys = r#"{"type":"events_api","envelope_id":"before","payload":{"event_id":"Ev1"}}"#;
    let early = |app: &AppHandle| app.act(&Act::BeforeHello { texts: vec![nobodys.into()] });

    let rig = prepared(Setup::default(), |app| (app.hold_hello(), early(app)).1).await;
    rig.until("a socket", |rig| !rig.app.connections().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(rig.log.entries().is_empty(), "nobody has said whose it is");
    rig.app.release_hello();
    rig.until("its ack", |rig| rig.board.counters.acked.total() == 1).await;

    let other = UpgradeFailure::HelloOfApp { app_id: "A0GLOBEX01".into() };
    let rig = prepared(Setup::default(), |app| {
        early(app);
        app.fail_next_upgrades(1, other);
    })
    .await;
    rig.wait("parked: foreign_app").await;
    rig.until("no socket", |rig| rig.app.connections().is_empty()).await;
    assert!(rig.log.entries().is_empty(), "hello proved it another app's");
}

#[tokio::test]
async fn socket_mode_off_is_shown_until_an_envelope_comes() {
    let rig = prepared(Setup::default(), |app| app.socket_mode(false)).await;
    rig.wait("waiting: socket_mode_off").await;
    rig.app.socket_mode(true);
    rig.acked(Sample::Message).await;
    rig.wait("connected").await;
}

#[tokio::test]
async fn link_disabled_waits() {
    let close_after_disconnect = Duration::from_millis(50);
    let switches = Switches { close_after_disconnect, ..Switches::default() };
    let rig = Rig::connected_with(Setup { switches, ..Setup::default() }).await;
    rig.app.link_disabled();
    rig.wait("waiting: link_disabled").await;
    rig.until("the close", |rig| rig.board.counters.socket_closes.at("link_disabled").get() == 1).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(rig.opens(), 1, "no probe before its time");
}

#[tokio::test]
async fn too_many_websockets_at_every_socket_is_no_hot_loop() {
    let full = UpgradeFailure::Disconnect { reason: "too_many_websockets".into() };
    let rig = prepared(Setup::default(), |app| app.fail_next_upgrades(100, full)).await;
    rig.wait("waiting: too_many_websockets").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(rig.opens(), 1);
}

#[tokio::test]
async fn a_refresh_of_every_new_socket_is_no_hot_loop() {
    let rig = Rig::connected().await;
    let end = tokio::time::Instant::now() + Duration::from_secs(2);
    while tokio::time::Instant::now() < end {
        rig.app.refresh();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(rig.opens() <= 9, "{} opens in 2 s", rig.opens());
    rig.acked(Sample::Message).await;
}

#[tokio::test]
async fn ghosts_are_alarmed_only_after_a_minute_and_cost_no_socket() {
    let rig = Rig::connected().await;
    rig.app.ghosts(3, false);
    rig.app.warn_then_close();
    rig.until("the second socket", |rig| rig.board.status().num_connections == Some(5)).await;
    assert_eq!(rig.board.counters.socket_foreign.get(), 0, "one hello proves nothing");
    assert_eq!(rig.opens(), 2);
}

/// Somebody else uses the same app token: two hellos a minute apart count sockets that are not ours. The alarm is all:
/// more sockets of our own would only take part in the fight.
#[tokio::test]
async fn f74_sockets_of_somebody_else_are_alarmed_after_a_minute_and_forgotten_when_they_go() {
    let host = Arc::new(SleepyClock::default());
    let rig = Rig::connected_with(Setup { clock: Arc::clone(&host) as _, ..Setup::default() }).await;
    let renewed = async |ghosts: u32, opens: usize| {
        rig.app.ghosts(ghosts, false);
        host.sleep(Duration::from_secs(61));
        rig.app.warn_then_close();
        rig.until("the next socket", |rig| rig.opens() == opens && rig.board.status().sockets > 0).await;
        rig.until("one socket", |rig| rig.app.connections().len() <= 2).await;
    };
    renewed(3, 2).await;
    assert_eq!(rig.board.counters.socket_foreign.get(), 0, "one hello proves nothing");
    renewed(3, 3).await;
    // A socket of ours that has just ended may still be in Slack's count, and is taken off.
    rig.until("the alarm", |rig| rig.board.counters.socket_foreign.get() >= 2).await;
    renewed(0, 4).await;
    rig.until("its end", |rig| rig.board.counters.socket_foreign.get() == 0).await;
    assert_eq!(rig.opens(), 4, "not one more than was asked for");
}
