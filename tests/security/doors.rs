//! The worker's two doors, the admin socket and the listener, and clients that mean no good.

use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::support::{SOON, Site};

/// Places that either door has.
const PLACES: usize = 32;
/// Clients at each of them.
const CROWD: usize = 40;

/// What comes back for these bytes, as far as it comes.
async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    // The other side may close before it has read all.
    drop(stream.write_all(bytes).await);
    let mut answer = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection was never closed");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn admin(site: &Site) -> UnixStream {
    UnixStream::connect(site.dir.path().join("admin.sock")).await.expect("it listens")
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: taut\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn f71_garbage_and_too_much_are_refused_at_both_doors() {
    let mut site = Site::new("").await;
    site.start().await;
    let listener = site.listener();
    let tcp = async || TcpStream::connect(&listener).await.expect("it listens");
    let huge = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    for garbage in [b"\0\xff\x16\x03\x01garbage\r\n\r\n".as_slice(), huge.as_bytes()] {
        for answer in [say(admin(&site).await, garbage).await, say(tcp().await, garbage).await] {
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    }
    let large = post("/v1/deadletters/drop", "", &format!(r#"{{"tenant":"{}"}}"#, "a".repeat(1 << 20)));
    assert!(say(admin(&site).await, &large).await.starts_with("HTTP/1.1 413"));
    for (body, headers) in [(r#"{"tenant":"#, ""), (r#"{"tenant":"../../etc"}"#, ""), ("[]", "")] {
        let answer = say(admin(&site).await, &post("/v1/deadletters/drop", headers, body)).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // A web page's requests, and one for a name that was led here.
    for headers in ["Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        assert!(say(admin(&site).await, &post("/v1/drain", headers, "")).await.starts_with("HTTP/1.1 403"));
        let get = format!("GET /metrics HTTP/1.1\r\nHost: {listener}\r\nConnection: close\r\n{headers}\r\n");
        assert!(say(tcp().await, get.as_bytes()).await.starts_with("HTTP/1.1 403"));
    }
    let led = b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let answer = say(tcp().await, led).await;
    assert!(answer.starts_with("HTTP/1.1 421") && !answer.contains("taut_"), "{answer}");
    let order =
        b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert!(say(tcp().await, order).await.starts_with("HTTP/1.1 405"));
    assert!(site.status().await.ready.ready, "and the worker works on");
}

#[tokio::test(flavor = "multi_thread")]
async fn f71_clients_that_only_wait_hold_a_place_for_a_while_and_no_more() {
    let mut site = Site::new("").await;
    site.start().await;
    let listener = site.listener();
    let before = descriptors(&site);
    let mut crowd: Vec<Box<dyn Send>> = Vec::new();
    for number in 0..CROWD {
        let mut one = admin(&site).await;
        let mut other = TcpStream::connect(&listener).await.expect("it listens");
        // Some say nothing, some half a head, some a head and half a body.
        let said: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET /livez HTTP/1.1\r\nHost: lo",
            _ => b"POST /v1/deadletters/drop HTTP/1.1\r\nHost: taut\r\nContent-Length: 1000\r\n\r\n{",
        };
        one.write_all(said).await.expect("it is taken");
        other.write_all(said).await.expect("it is taken");
        crowd.push(Box::new((one, other)));
    }
    let let_in = descriptors(&site) - before;
    assert!(let_in <= 2 * PLACES, "{let_in} of {} were let in", 2 * CROWD);
    // While all places are taken others are kept waiting, until the first of the crowd are put out.
    let busy = site.cpu();
    let ((status, _), report) = tokio::join!(site.get("/livez"), site.status());
    assert_eq!((status, report.ready.ready), (200, true));
    let spent = site.cpu().saturating_sub(busy);
    assert!(spent.as_secs() < 4, "a full door is waited at, not spun at: {spent:?}");
    drop(crowd);
}

fn descriptors(site: &Site) -> usize {
    let id = site.worker.id().expect("it runs");
    let there = Path::new("/proc").join(id.to_string()).join("fd");
    std::fs::read_dir(there).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_interface_takes_no_address_on_the_network() {
    for listen in ["0.0.0.0:9466", "127.0.0.1:9466", "https://127.0.0.1:9466", "unix:relative.sock"] {
        let mut site = Site::new("").await;
        let own = format!("unix:{}/admin.sock", site.dir.path().display());
        site.replace(&own, listen);
        site.write_config();
        let run = site.taut(&["check"]).await;
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.stderr.contains("admin.listen") && run.stderr.contains("unix:/PATH"), "{}", run.stderr);
    }
    let mut site = Site::new("").await;
    site.replace("127.0.0.1:0", "0.0.0.0:0");
    site.write_config();
    let run = site.taut(&["check"]).await;
    assert!(run.code == 0 && run.stderr.contains("reachable from other hosts"), "{run:?}");
}
