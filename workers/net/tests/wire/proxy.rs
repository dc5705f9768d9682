use std::sync::{Arc, Mutex};
use std::time::Duration;

use taut_core::config::NetworkConfig;
use taut_net::dial::{DialError, DialFault, Dialer, Endpoint, Step, Way};
use taut_vault::ProxyPassword;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::kit::{PrivateCa, Server, head, network};

pub(crate) fn through(proxy: &Server, limit: Duration) -> Dialer {
    let config = NetworkConfig { proxy: Some(format!("http://{}", proxy.at)), ..network(limit) };
    Dialer::new(&config, None).expect("a dialer")
}

/// A proxy that tunnels, and the heads it was asked with.
pub(crate) async fn tunnelling() -> (Server, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    let server = Server::start(move |mut tcp| {
        let seen = seen.clone();
        async move {
            let asked = head(&mut tcp).await;
            let target = asked.split(' ').nth(1).expect("a target").to_owned();
            seen.lock().expect("no panic").push(asked);
            let mut onward = TcpStream::connect(target).await.expect("the target");
            tcp.write_all(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 corp\r\n\r\n")
                .await
                .expect("written");
            drop(tokio::io::copy_bidirectional(&mut tcp, &mut onward).await);
        }
    })
    .await;
    (server, heads)
}

async fn greeter() -> Server {
    Server::start(|mut tcp| async move {
        tcp.write_all(b"hello").await.expect("written");
        std::future::pending::<()>().await;
    })
    .await
}

async fn refused_by(answer: &str) -> (DialError, usize) {
    let proxy = Server::saying(answer).await;
    let target = greeter().await;
    let error = through(&proxy, Duration::from_secs(10)).dial(&target.endpoint(false), Way::Outside).await;
    (error.expect_err("no tunnel"), target.connections())
}

#[tokio::test]
async fn tunnel_carries_bytes_and_the_request_names_the_target() {
    let (proxy, heads) = tunnelling().await;
    let target = greeter().await;
    let dialer = through(&proxy, Duration::from_secs(10));
    let mut stream = dialer.dial(&target.endpoint(false), Way::Outside).await.expect("a tunnel");
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).await.expect("a greeting");
    assert_eq!(&greeting, b"hello");
    let asked = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", target.at);
    assert_eq!(*heads.lock().expect("no panic"), [asked]);
    assert_eq!(dialer.proxy_for(&target.endpoint(true)), Some(proxy.at.to_string()));
}

#[tokio::test]
async fn direct_way_leaves_the_proxy_alone() {
    let (proxy, _) = tunnelling().await;
    let target = greeter().await;
    let dialer = through(&proxy, Duration::from_secs(10));
    let mut stream = dialer.dial(&target.endpoint(false), Way::Direct).await.expect("connected");
    assert_eq!(stream.read_u8().await.expect("a greeting"), b'h');
    assert_eq!((proxy.connections(), target.connections()), (0, 1));
}

#[tokio::test]
async fn credentials_go_to_the_proxy() {
    let (proxy, heads) = tunnelling().await;
    let target = greeter().await;
    let config = NetworkConfig {
        proxy: Some(format!("http://{}", proxy.at)),
        proxy_user: Some("taut".into()),
        ..network(Duration::from_secs(10))
    };
    let dialer = Dialer::new(&config, Some(ProxyPassword::from("hunter2"))).expect("a dialer");
    dialer.dial(&target.endpoint(false), Way::Outside).await.expect("a tunnel");
    assert!(
        heads.lock().expect("no panic")[0].contains("\r\nProxy-Authorization: Basic dGF1dDpodW50ZXIy\r\n")
    );
    assert!(!format!("{dialer:?}").contains("dGF1"));
}

#[tokio::test]
async fn refusing_proxy_is_never_bypassed_and_its_status_is_kept() {
    let status = |status| DialFault::ProxyStatus { status };
    let cases = [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", DialFault::ProxyAuth { sent: false }),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>", status(502)),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", status(403)),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", DialFault::NotAProxy),
        ("<html>captive portal</html>", DialFault::NotAProxy),
        ("220 mail.corp ESMTP\r\n", DialFault::NotAProxy),
    ];
    for (answer, kind) in cases {
        let (error, straight) = refused_by(answer).await;
        assert_eq!((error.step, error.kind, straight), (Step::Connect, kind, 0), "{answer}");
    }
}

#[tokio::test]
async fn proxy_that_hangs_up_is_named() {
    let (error, straight) = refused_by("").await;
    assert_eq!((error.step, error.host.as_str(), straight), (Step::Connect, "127.0.0.1", 0));
}

#[tokio::test]
async fn silent_proxy_meets_the_deadline_of_its_step() {
    let proxy = Server::silent().await;
    let target = greeter().await;
    let limit = Duration::from_millis(250);
    let error = through(&proxy, limit).dial(&target.endpoint(true), Way::Outside).await.expect_err("silent");
    assert_eq!((error.step, error.kind), (Step::Connect, DialFault::Timeout { limit }));
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn dead_proxy_is_never_bypassed() {
    let target = greeter().await;
    let config = NetworkConfig { proxy: Some("http://127.0.0.1:1".into()), ..NetworkConfig::default() };
    let dialer = Dialer::new(&config, None).expect("a dialer");
    let error = dialer.dial(&target.endpoint(false), Way::Outside).await.expect_err("nothing listens");
    assert_eq!((error.step, error.kind, target.connections()), (Step::ProxyTcp, DialFault::Refused, 0));
}

#[tokio::test]
async fn proxy_that_speaks_tls_carries_tls_inside() {
    let ca = PrivateCa::new();
    let (proxy_tls, target_tls) = (ca.acceptor("localhost"), ca.acceptor("localhost"));
    let target = Server::start(move |tcp| {
        let tls = target_tls.clone();
        async move {
            let mut stream = tls.accept(tcp).await.expect("TLS inside the tunnel");
            stream.write_all(b"hello").await.expect("written");
            stream.flush().await.expect("flushed");
            std::future::pending::<()>().await;
        }
    })
    .await;
    let onward = target.at;
    let proxy = Server::start(move |tcp| {
        let tls = proxy_tls.clone();
        async move {
            let mut stream = tls.accept(tcp).await.expect("TLS with the proxy");
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("written");
            let mut onward = TcpStream::connect(onward).await.expect("the target");
            drop(tokio::io::copy_bidirectional(&mut stream, &mut onward).await);
        }
    })
    .await;
    let config = NetworkConfig {
        proxy: Some(format!("https://localhost:{}", proxy.at.port())),
        ca_files: vec![ca.file()],
        ..network(Duration::from_secs(10))
    };
    let dialer = Dialer::new(&config, None).expect("a dialer");
    let endpoint = Endpoint { host: "localhost".into(), port: target.at.port(), tls: true };
    let mut stream = dialer.dial(&endpoint, Way::Outside).await.expect("a tunnel");
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).await.expect("a greeting");
    assert_eq!(&greeting, b"hello");
}
