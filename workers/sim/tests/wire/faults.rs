//! Faults on sockets and upgrades.

use std::time::Duration;

use serde_json::json;
use taut_sim::{AckOutcome, Act, Sample, Switches, Unanswered, UpgradeFailure};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::{Socket, socket_url};
use crate::{LONG, fast, sim_with};

#[tokio::test]
async fn upgrades_fail_as_ordered_and_spend_their_ticket() {
    let (sim, app) = sim_with(Switches::default()).await;
    app.fail_next_upgrades(1, UpgradeFailure::Status { status: 409 });
    app.fail_next_upgrades(1, UpgradeFailure::Html);
    app.fail_next_upgrades(1, UpgradeFailure::WrongAccept);
    app.fail_next_upgrades(1, UpgradeFailure::Abort);
    let url = socket_url(&sim).await;
    let Err(Error::Http(refusal)) = Socket::dial(&url).await else { panic!("409") };
    assert_eq!((refusal.status().as_u16(), refusal.headers()["server"].to_str().unwrap()), (409, "envoy"));
    let Err(Error::Http(refusal)) = Socket::dial(&url).await else { panic!("the ticket is spent") };
    assert_eq!(refusal.status(), 401);
    let Err(Error::Http(page)) = Socket::dial(&socket_url(&sim).await).await else { panic!("a page") };
    assert_eq!(
        (page.status().as_u16(), page.headers()["content-type"].to_str().unwrap()),
        (200, "text/html")
    );
    assert!(Socket::dial(&socket_url(&sim).await).await.is_err(), "a wrong accept key");
    assert!(Socket::dial(&socket_url(&sim).await).await.is_err(), "an aborted connection");
    app.fail_next_upgrades(1, UpgradeFailure::Hang);
    let url = socket_url(&sim).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), Socket::dial(&url)).await.is_err());
    Socket::connect(&sim).await;
}

#[tokio::test]
async fn sockets_begin_badly_as_ordered() {
    let (sim, app) = sim_with(Switches::default()).await;
    let text = "UNAUTHENTICATED: cache_error".to_owned();
    app.fail_next_upgrades(1, UpgradeFailure::Text { text: text.clone() });
    let mut socket = Socket::dial(&socket_url(&sim).await).await.unwrap();
    assert_eq!(socket.next().await, Some(Message::text(text)));
    assert!(socket.is_quiet_for(Duration::from_millis(30)).await);

    app.fail_next_upgrades(1, UpgradeFailure::NoHello);
    let mut socket = Socket::dial(&socket_url(&sim).await).await.unwrap();
    assert!(socket.is_quiet_for(Duration::from_millis(30)).await);

    app.fail_next_upgrades(1, UpgradeFailure::DropAfterHello);
    let (mut socket, _) = Socket::connect(&sim).await;
    assert_eq!(socket.next().await, None);

    app.fail_next_upgrades(1, UpgradeFailure::Disconnect { reason: "too_many_websockets".into() });
    let mut socket = Socket::dial(&socket_url(&sim).await).await.unwrap();
    assert_eq!(socket.json().await["reason"], "too_many_websockets");

    app.fail_next_upgrades(1, UpgradeFailure::HelloOfApp { app_id: "A0FOREIGN01".into() });
    let (_socket, hello) = Socket::connect(&sim).await;
    assert_eq!(hello["connection_info"]["app_id"], "A0FOREIGN01");
}

#[tokio::test]
async fn two_upgrades_at_once_race_into_409() {
    let (sim, _app) =
        sim_with(Switches { upgrade_race: Duration::from_mins(1), ..Switches::default() }).await;
    let urls = [socket_url(&sim).await, socket_url(&sim).await];
    Socket::dial(&urls[0]).await.unwrap();
    let Err(Error::Http(refusal)) = Socket::dial(&urls[1]).await else { panic!("the race") };
    assert_eq!(refusal.status(), 409);
}

#[tokio::test]
async fn a_held_hello_comes_when_released_and_nothing_is_delivered_before() {
    let (sim, app) = sim_with(Switches::default()).await;
    app.hold_hello();
    app.act(&Act::BeforeHello { texts: vec![r#"{"type":"early"}"#.into()] });
    let mut socket = Socket::dial(&socket_url(&sim).await).await.unwrap();
    assert_eq!(socket.json().await["type"], "early");
    assert_eq!(
        app.push(Sample::Shortcut).wait_ack(LONG).await,
        AckOutcome::Unacked { reason: Unanswered::DispatchFailed, attempts: 1 }
    );
    assert!(socket.is_quiet_for(Duration::from_millis(20)).await);
    app.release_hello();
    assert_eq!(socket.json().await["type"], "hello");
    app.push(Sample::Message);
    assert_eq!(socket.json().await["type"], "events_api");
}

#[tokio::test]
async fn texts_before_hello_come_before_it() {
    let (sim, app) = sim_with(Switches::default()).await;
    app.act(&Act::BeforeHello { texts: vec![r#"{"type":"early"}"#.into(), "null".into()] });
    let mut socket = Socket::dial(&socket_url(&sim).await).await.unwrap();
    assert_eq!(socket.json().await["type"], "early");
    assert_eq!(socket.json().await, json!(null));
    assert_eq!(socket.json().await["type"], "hello");
}

#[tokio::test]
async fn odd_frames_arrive_as_sent() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    app.send_raw("no json");
    assert_eq!(socket.next().await, Some(Message::text("no json")));
    app.send_binary(3);
    assert_eq!(socket.next().await, Some(Message::binary(vec![0xA5; 3])));
    app.act(&Act::SendNull);
    assert_eq!(socket.next().await, Some(Message::text("null")));
    app.act(&Act::SendDeepJson { depth: 100_000 });
    assert_eq!(socket.next().await.unwrap().len(), 200_026);
    app.act(&Act::SendHuge { bytes: 20 << 20 });
    assert_eq!(socket.next().await.unwrap().len(), 20 << 20);
}

#[tokio::test]
async fn a_silent_socket_takes_envelopes_and_answers_nothing_until_resumed() {
    let (sim, app) = sim_with(fast()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    app.silence();
    let lost = app.push(Sample::SlashCommand);
    assert!(socket.is_quiet_for(Duration::from_millis(50)).await);
    assert!(matches!(
        lost.wait_ack(LONG).await,
        AckOutcome::Unacked { reason: Unanswered::OperationTimeout, .. }
    ));
    assert_eq!(app.connections().len(), 1, "TCP stays open");
    app.resume();
    assert_eq!(socket.json().await["type"], "slash_commands");
}

#[tokio::test]
async fn dropped_and_reset_sockets_end_without_a_close_frame() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    app.drop_tcp();
    assert_eq!(socket.next().await, None);
    let (mut socket, _) = Socket::connect(&sim).await;
    app.reset_tcp();
    let end = futures::StreamExt::next(&mut socket.stream).await;
    let Some(Err(Error::Io(error))) = end else { panic!("a reset, not {end:?}") };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let (mut socket, _) = Socket::connect(&sim).await;
    app.act(&Act::Close { code: 4_000 });
    let Some(Message::Close(Some(frame))) = socket.next().await else { panic!("a close frame") };
    assert_eq!(u16::from(frame.code), 4_000);
}

#[tokio::test]
async fn a_fault_may_concern_one_socket_only() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut one, _) = Socket::connect(&sim).await;
    let (mut other, _) = Socket::connect(&sim).await;
    let first = app.connections()[0].id;
    app.on(first).drop_tcp();
    assert_eq!(one.next().await, None);
    assert!(other.is_quiet_for(Duration::from_millis(30)).await);
    assert_eq!(app.connections().len(), 1);
}

#[tokio::test]
async fn a_dripping_socket_still_delivers_whole_messages() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    app.act(&Act::Drip { bytes: 100, every: Duration::from_millis(1) });
    let pushed = app.push(Sample::Message);
    let envelope = socket.json().await;
    socket.ack(&envelope).await;
    assert!(matches!(pushed.wait_ack(LONG).await, AckOutcome::Acked { .. }));
}

#[tokio::test]
async fn ghosts_take_their_share_only_when_told() {
    let (sim, app) = sim_with(fast()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    app.ghosts(1, true);
    for _ in 0..40 {
        app.push(Sample::SlashCommand);
    }
    let stolen = app.totals().stolen;
    for _ in stolen..40 {
        assert_eq!(socket.json().await["type"], "slash_commands");
    }
    let seen = 40 - stolen;
    assert!((5..35).contains(&seen), "{seen}");
    app.ghosts(1, false);
    let pushed = app.push(Sample::SlashCommand);
    let envelope = socket.json().await;
    socket.ack_with(&envelope, json!({ "text": "ours" })).await;
    assert!(matches!(pushed.wait_ack(LONG).await, AckOutcome::Acked { .. }));
}
