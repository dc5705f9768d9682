//! Hello, pings, limits, disconnects and closes.

use std::time::Duration;

use futures::SinkExt;
use serde_json::json;
use taut_sim::{NoteKind, Sample, Switches};
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Socket, socket_url};
use crate::{LONG, sim_with};

#[tokio::test]
async fn hello_names_the_app_the_sockets_and_the_life() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (_socket, hello) = Socket::connect(&sim).await;
    assert_eq!(hello["connection_info"]["app_id"], "A0TESTAPP01");
    assert_eq!(hello["num_connections"], 1);
    assert_eq!(hello["debug_info"]["approximate_connection_time"], 18_060);
    app.ghosts(2, false);
    let (_second, hello) = Socket::connect(&sim).await;
    assert_eq!(hello["num_connections"], 4);
}

#[tokio::test]
async fn the_server_pings_and_drops_who_never_answers() {
    let switches = Switches {
        first_ping: Duration::from_millis(10),
        ping_every: Duration::from_millis(10),
        pong_timeout: Duration::from_millis(250),
        ..Switches::default()
    };
    let (sim, app) = sim_with(switches).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    let Some(Message::Ping(payload)) = socket.next().await else { panic!("a ping") };
    assert!(payload.starts_with(b"Ping from applink-"), "{payload:?}");
    // Reading on sends the pongs; then nobody reads.
    assert!(socket.is_quiet_for(Duration::from_millis(500)).await);
    assert_eq!(app.connections().len(), 1);
    assert!(app.wait_connected(0, LONG).await, "no pong");
}

#[tokio::test]
async fn a_clients_ping_is_answered_with_its_payload() {
    let (sim, _app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    socket.stream.send(Message::Ping("tick".into())).await.unwrap();
    assert_eq!(socket.next().await, Some(Message::Pong("tick".into())));
}

#[tokio::test]
async fn the_eleventh_socket_hears_too_many_websockets() {
    for hello_first in [false, true] {
        let (sim, app) =
            sim_with(Switches { hello_before_too_many: hello_first, ..Switches::default() }).await;
        let mut held = Vec::new();
        for _ in 0..10 {
            held.push(Socket::connect(&sim).await);
        }
        let mut eleventh = Socket::dial(&socket_url(&sim).await).await.unwrap();
        if hello_first {
            assert_eq!(eleventh.json().await["type"], "hello");
        }
        let told = eleventh.json().await;
        assert_eq!((&told["type"], &told["reason"]), (&json!("disconnect"), &json!("too_many_websockets")));
        assert!(matches!(eleventh.next().await, Some(Message::Close(_))));
        assert_eq!(app.connections().len(), 10);
    }
}

#[tokio::test]
async fn a_vanished_socket_counts_for_a_while_and_a_closed_one_does_not() {
    let switches = Switches { dead_sockets_count_for: Duration::from_mins(1), ..Switches::default() };
    let (sim, app) = sim_with(switches).await;
    let (vanishing, _) = Socket::connect(&sim).await;
    drop(vanishing);
    assert!(app.wait_connected(0, LONG).await);
    let (mut closing, hello) = Socket::connect(&sim).await;
    assert_eq!(hello["num_connections"], 2);
    closing.stream.close(None).await.unwrap();
    assert!(app.wait_connected(0, LONG).await);
    assert_eq!(Socket::connect(&sim).await.1["num_connections"], 2);
}

#[tokio::test]
async fn after_a_warning_the_socket_still_delivers_until_slack_closes_it() {
    for deliver in [true, false] {
        let switches = Switches {
            close_after_warning: Duration::from_millis(250),
            deliver_after_disconnect: deliver,
            ..Switches::default()
        };
        let (sim, app) = sim_with(switches).await;
        let (mut socket, _) = Socket::connect(&sim).await;
        app.warn_then_close();
        let told = socket.json().await;
        assert_eq!((&told["type"], &told["reason"]), (&json!("disconnect"), &json!("warning")));
        app.push(Sample::SlashCommand);
        if deliver {
            assert_eq!(socket.json().await["type"], "slash_commands");
        }
        let Some(Message::Close(Some(frame))) = socket.next().await else { panic!("a close frame") };
        assert_eq!(u16::from(frame.code), 1001);
        assert!(app.wait_connected(0, LONG).await);
    }
}

#[tokio::test]
async fn a_refresh_may_end_without_a_close_frame() {
    let switches = Switches {
        close_after_disconnect: Duration::from_millis(20),
        close_with_frame: false,
        ..Switches::default()
    };
    let (sim, app) = sim_with(switches).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    app.refresh();
    assert_eq!(socket.json().await["reason"], "refresh_requested");
    assert_eq!(socket.next().await, None);
    app.link_disabled();
    assert!(app.wait_connected(0, LONG).await);
}

#[tokio::test]
async fn an_old_socket_is_warned() {
    let switches = Switches {
        connection_life: Duration::from_millis(40),
        close_after_warning: Duration::from_millis(20),
        ..Switches::default()
    };
    let (sim, _app) = sim_with(switches).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    assert_eq!(socket.json().await["reason"], "warning");
    assert!(matches!(socket.next().await, Some(Message::Close(_))));
}

#[tokio::test]
async fn debug_reconnects_shortens_the_life() {
    let (sim, _app) = sim_with(Switches::default()).await;
    let url = format!("{}&debug_reconnects=true", socket_url(&sim).await);
    let hello = Socket::dial(&url).await.unwrap().json().await;
    assert_eq!(hello["debug_info"]["approximate_connection_time"], 360);
}

#[tokio::test]
async fn link_disabled_and_unknown_reasons_are_told() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    app.disconnect("solar_flare");
    assert_eq!(socket.json().await["reason"], "solar_flare");
    app.link_disabled();
    assert_eq!(socket.json().await["reason"], "link_disabled");
    let open = crate::client::open(&sim).await.json();
    assert!(open["response_metadata"]["messages"][0].as_str().unwrap().starts_with("[WARN]"));
}

#[tokio::test]
async fn a_close_is_answered_and_tcp_stays_open_unless_switched() {
    for (answer, close_tcp) in [(true, false), (true, true), (false, false)] {
        let switches =
            Switches { answer_close: answer, close_tcp_after_handshake: close_tcp, ..Switches::default() };
        let (sim, app) = sim_with(switches).await;
        let (socket, _) = Socket::connect(&sim).await;
        let mut tcp = socket.stream.into_inner();
        // A masked close frame with code 1000 and the mask 0.
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
        assert!(app.wait_connected(0, LONG).await, "it no longer counts");
        let mut read = Vec::new();
        let ended = tokio::time::timeout(
            if close_tcp { LONG } else { Duration::from_millis(200) },
            tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut read),
        );
        assert_eq!(ended.await.is_ok(), close_tcp);
        assert_eq!(read, if answer { &b"\x88\x02\x03\xe8"[..] } else { b"" });
    }
}

#[tokio::test]
async fn the_journal_tells_the_story_of_a_socket() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (socket, _) = Socket::connect(&sim).await;
    drop(socket);
    assert!(app.wait_connected(0, LONG).await);
    let told =
        |wanted: fn(&NoteKind) -> bool| sim.journal().notes(None).iter().any(|note| wanted(&note.kind));
    assert!(told(|note| matches!(note, NoteKind::Connected { .. })));
    assert!(told(|note| matches!(note, NoteKind::Hello { num_connections: 1, .. })));
    assert!(app.wait_until(LONG, |_| told(|note| matches!(note, NoteKind::Closed { .. }))).await);
}
