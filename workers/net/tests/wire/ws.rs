use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use taut_net::dial::{Dialer, Step, Way};
use taut_net::http::{HttpClient, HttpLimits};
use taut_net::slack::{SlackApi, TicketUrl};
use taut_net::ws::{UpgradeError, WebSocket, WsError, WsEvent, WsLimits, connect};
use taut_vault::AppToken;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::kit::{PrivateCa, Server, dialer, head, network};
use crate::proxy::{through, tunnelling};

const LIMITS: WsLimits = WsLimits { frame_bytes_max: 1000, write: Duration::from_secs(10) };

fn ticket(server: &Server) -> TicketUrl {
    TicketUrl::parse(&format!("ws://{}/link/?ticket=t1", server.at), false).expect("a URL")
}

/// Upgrades each connection, runs `script` on it, and reports every message that comes in afterwards.
async fn slack<F>(
    script: impl Fn(WebSocketStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> (Server, mpsc::Receiver<Message>)
where
    F: Future<Output = WebSocketStream<TcpStream>> + Send + 'static,
{
    let (tell, told) = mpsc::channel(1000);
    let server = Server::start(move |tcp| {
        let (tell, script) = (tell.clone(), script.clone());
        async move {
            let socket = accept_async(tcp).await.expect("an upgrade");
            let mut socket = script(socket).await;
            while let Some(Ok(message)) = socket.next().await {
                tell.send(message).await.expect("a listener");
            }
        }
    })
    .await;
    (server, told)
}

async fn open(server: &Server) -> WebSocket {
    connect(&dialer(), &ticket(server), LIMITS).await.expect("a socket")
}

#[tokio::test]
async fn text_comes_out_as_bytes_and_pings_are_answered() {
    let (server, mut told) = slack(|mut socket| async move {
        socket.feed(Message::Ping(Bytes::from_static(b"Ping from applink-1"))).await.expect("sent");
        socket.feed(Message::text("{\"type\":\"hello\"}")).await.expect("sent");
        socket.feed(Message::binary(vec![1, 2, 3])).await.expect("sent");
        socket.flush().await.expect("flushed");
        socket
    })
    .await;
    let mut socket = open(&server).await;
    assert_eq!(socket.next().await, WsEvent::Ping);
    // The pong has gone out with the ping, before anything else is read.
    assert_eq!(told.recv().await, Some(Message::Pong(Bytes::from_static(b"Ping from applink-1"))));
    assert_eq!(socket.next().await, WsEvent::Text("{\"type\":\"hello\"}".into()));
    assert_eq!(socket.next().await, WsEvent::Binary(3));
}

#[tokio::test]
async fn what_has_arrived_is_taken_without_waiting() {
    let (server, _told) = slack(|mut socket| async move {
        for number in 0..3 {
            socket.feed(Message::text(number.to_string())).await.expect("sent");
        }
        socket.flush().await.expect("flushed");
        socket
    })
    .await;
    let mut socket = open(&server).await;
    assert_eq!(socket.next().await, WsEvent::Text("0".into()));
    // One flush, one segment: the rest lies in the buffer.
    assert_eq!(socket.try_next(), Some(WsEvent::Text("1".into())));
    assert_eq!(socket.try_next(), Some(WsEvent::Text("2".into())));
    assert_eq!(socket.try_next(), None);
}

#[tokio::test]
async fn try_next_leaves_no_waiter_behind() {
    let (server, mut told) = slack(|socket| async move { socket }).await;
    let mut socket = open(&server).await;
    assert_eq!(socket.try_next(), None);
    socket.ping(Bytes::from_static(b"p")).await.expect("sent");
    assert_eq!(told.recv().await, Some(Message::Ping(Bytes::from_static(b"p"))));
    assert_eq!(socket.next().await, WsEvent::Pong);
}

#[tokio::test]
async fn frames_go_out_one_for_each_text_in_order() {
    let (server, mut told) = slack(|socket| async move { socket }).await;
    let mut socket = open(&server).await;
    socket
        .send_all((0..100).map(|number| format!("{{\"envelope_id\":\"{number}\"}}").into()))
        .await
        .expect("sent");
    for number in 0..100 {
        let wanted = Message::text(format!("{{\"envelope_id\":\"{number}\"}}"));
        assert_eq!(told.recv().await, Some(wanted));
    }
}

#[tokio::test]
async fn frame_beyond_the_limit_is_not_read_and_can_be_closed_with_1009() {
    let (server, mut told) = slack(|mut socket| async move {
        socket.send(Message::text("x".repeat(1000))).await.expect("sent");
        socket.send(Message::text("y".repeat(1001))).await.expect("sent");
        socket
    })
    .await;
    let mut socket = open(&server).await;
    assert!(matches!(socket.next().await, WsEvent::Text(text) if text.as_str().len() == 1000));
    assert_eq!(socket.next().await, WsEvent::TooLarge);
    socket.close(1009).await.expect("sent");
    let Some(Message::Close(Some(frame))) = told.recv().await else { panic!("no close frame") };
    assert_eq!(u16::from(frame.code), 1009);
}

#[tokio::test]
async fn fragments_are_joined_up_to_the_limit() {
    let (server, _told) = slack(|mut socket| async move {
        let part =
            |text: &str, op, last| Message::Frame(Frame::message(text.to_owned(), OpCode::Data(op), last));
        for (parts, first) in [(3, "a"), (11, "b")] {
            socket.feed(part(&first.repeat(100), Data::Text, false)).await.expect("sent");
            for number in 2..=parts {
                socket.feed(part(&"c".repeat(100), Data::Continue, number == parts)).await.expect("sent");
            }
        }
        socket.flush().await.expect("flushed");
        socket
    })
    .await;
    let mut socket = open(&server).await;
    assert!(matches!(socket.next().await, WsEvent::Text(text) if text.as_str().len() == 300));
    assert_eq!(socket.next().await, WsEvent::TooLarge);
}

#[tokio::test]
async fn text_that_is_no_utf8_ends_the_socket_without_a_panic() {
    let (server, _told) = slack(|mut socket| async move {
        let frame = Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
        socket.send(Message::Frame(frame)).await.expect("sent");
        socket
    })
    .await;
    let mut socket = open(&server).await;
    assert!(matches!(socket.next().await, WsEvent::Failed(_)));
}

#[tokio::test]
async fn what_the_peer_sent_before_it_saw_our_close_still_arrives() {
    let (server, _told) = slack(|mut socket| async move {
        // Sends on until it has read our close frame.
        assert!(matches!(socket.next().await, Some(Ok(Message::Ping(_)))));
        socket.send(Message::text("late")).await.expect("sent");
        socket
    })
    .await;
    let mut socket = open(&server).await;
    socket.ping(Bytes::new()).await.expect("sent");
    socket.close(1000).await.expect("sent");
    let mut seen = Vec::new();
    while !matches!(seen.last(), Some(WsEvent::Failed(_))) {
        seen.push(socket.next().await);
    }
    assert!(seen.contains(&WsEvent::Text("late".into())), "{seen:?}");
    assert!(seen.contains(&WsEvent::Closed { code: Some(1000) }), "{seen:?}");
    assert!(matches!(socket.send_all(["x".into()].into_iter()).await, Err(WsError::Closed { .. })));
}

#[tokio::test]
async fn peers_close_comes_with_its_code_and_is_answered() {
    let (server, mut told) = slack(|mut socket| async move {
        let frame = CloseFrame { code: 1001.into(), reason: "going away".into() };
        socket.send(Message::Close(Some(frame))).await.expect("sent");
        socket
    })
    .await;
    let mut socket = open(&server).await;
    assert_eq!(socket.next().await, WsEvent::Closed { code: Some(1001) });
    let Some(Message::Close(Some(frame))) = told.recv().await else { panic!("no answer") };
    assert_eq!(u16::from(frame.code), 1001);
    assert!(matches!(socket.next().await, WsEvent::Failed(_)));
}

#[tokio::test]
async fn lost_connection_is_said_again_and_again() {
    let server = Server::start(|tcp| async move { drop(accept_async(tcp).await) }).await;
    let mut socket = open(&server).await;
    for _ in 0..3 {
        assert!(matches!(socket.next().await, WsEvent::Failed(_)));
    }
}

#[tokio::test]
async fn abort_resets_the_connection() {
    let (tell, mut told) = mpsc::channel(1);
    let server = Server::start(move |tcp| {
        let tell = tell.clone();
        async move {
            let mut tcp = accept_async(tcp).await.expect("an upgrade").into_inner();
            let end = tcp.read_u8().await.expect_err("nothing comes").kind();
            tell.send(end).await.expect("a listener");
        }
    })
    .await;
    open(&server).await.abort();
    assert_eq!(told.recv().await, Some(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn peer_that_reads_nothing_meets_the_write_deadline() {
    let server = Server::start(|tcp| async move {
        let socket = accept_async(tcp).await.expect("an upgrade");
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let write = Duration::from_millis(100);
    let mut socket =
        connect(&dialer(), &ticket(&server), WsLimits { write, ..LIMITS }).await.expect("a socket");
    let stalled = socket.send_all(std::iter::repeat_n("x".repeat(20_000).into(), 1000)).await;
    assert_eq!(stalled, Err(WsError::Stalled { waited: write }));
}

#[tokio::test]
async fn refused_upgrades_are_told_apart() {
    let cases = [
        ("HTTP/1.1 409 Conflict\r\nserver: envoy\r\n\r\n", 409, false),
        ("HTTP/1.1 408 Request Timeout\r\n\r\n", 408, false),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", 200, true),
        ("HTTP/1.1 503 Busy\r\nContent-Type: text/html\r\n\r\n<html>", 503, true),
    ];
    for (answer, status, proxy_like) in cases {
        let server = Server::saying(answer).await;
        let error = connect(&dialer(), &ticket(&server), LIMITS).await.expect_err("refused");
        assert_eq!(error, UpgradeError::Refused { status, proxy_like }, "{answer}");
    }
    for answer in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"]
    {
        let server = Server::saying(answer).await;
        let error = connect(&dialer(), &ticket(&server), LIMITS).await.expect_err("broken");
        assert!(matches!(error, UpgradeError::Broken { .. }), "{answer:?}: {error}");
        assert!(!format!("{error} {error:?}").contains("ticket"));
    }
}

#[tokio::test]
async fn silent_upgrade_meets_its_deadline() {
    let server = Server::start(|mut tcp| async move {
        head(&mut tcp).await;
        std::future::pending::<()>().await;
    })
    .await;
    let limit = Duration::from_millis(250);
    let dialer = Dialer::new(&network(limit), None).expect("a dialer");
    let error = connect(&dialer, &ticket(&server), LIMITS).await.expect_err("silent");
    assert_eq!(error, UpgradeError::Timeout { limit });
}

#[tokio::test]
async fn socket_over_tls_works_and_an_unknown_ca_does_not() {
    let ca = PrivateCa::new();
    let tls = ca.acceptor("localhost");
    let server = Server::start(move |tcp| {
        let tls = tls.clone();
        async move {
            let Ok(stream) = tls.accept(tcp).await else { return };
            let mut socket = accept_async(stream).await.expect("an upgrade");
            socket.send(Message::text("hello")).await.expect("sent");
            while socket.next().await.is_some() {}
        }
    })
    .await;
    let url =
        TicketUrl::parse(&format!("wss://localhost:{}/?ticket=t1", server.at.port()), true).expect("a URL");
    let mut socket = connect(&ca.dialer(), &url, LIMITS).await.expect("a socket");
    assert_eq!(socket.next().await, WsEvent::Text("hello".into()));
    let error = connect(&dialer(), &url, LIMITS).await.expect_err("untrusted");
    assert!(matches!(error, UpgradeError::Dial(ref dial) if dial.step == Step::Tls), "{error}");
}

#[tokio::test]
async fn socket_and_call_go_through_the_proxy() {
    let (proxy, heads) = tunnelling().await;
    let dialer = through(&proxy, Duration::from_secs(10));
    let (server, _told) = slack(|mut socket| async move {
        socket.send(Message::text("hello")).await.expect("sent");
        socket
    })
    .await;
    let mut socket = connect(&dialer, &ticket(&server), LIMITS).await.expect("a socket");
    assert_eq!(socket.next().await, WsEvent::Text("hello".into()));

    let plain = Server::saying("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n").await;
    let http = HttpClient::new(dialer, Way::Outside, HttpLimits::default());
    let api = SlackApi::new(http, &format!("http://{}/api/", plain.at)).expect("a base URL");
    let error = api.open_connection(&AppToken::from("xapp-1-A0-1-a")).await.expect_err("a fault");
    assert_eq!(error.code, "http_500");

    let targets: Vec<_> =
        heads.lock().expect("no panic").iter().map(|head| head.contains("CONNECT")).collect();
    assert_eq!(targets, [true, true]);
}
