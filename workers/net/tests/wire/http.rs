use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::{any, get};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use taut_net::dial::{DialFault, Way};
use taut_net::http::{HttpClient, HttpError, HttpLimits, HttpRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::kit::{Server, dialer, head};

fn client() -> HttpClient {
    HttpClient::new(dialer(), Way::Direct, HttpLimits::default())
}

fn post(server: &Server, path: &str, body: &'static str) -> HttpRequest {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    HttpRequest {
        method: Method::POST,
        url: format!("http://{}{path}", server.at).parse().expect("a URL"),
        headers,
        body: Bytes::from_static(body.as_bytes()),
        timeout: Duration::from_secs(10),
        answer_bytes_max: 1000,
    }
}

/// Passes bytes on to an axum application and counts its connections.
async fn app(router: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("its address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    Server::start(move |mut tcp| async move {
        let mut onward = tokio::net::TcpStream::connect(at).await.expect("the application");
        drop(tokio::io::copy_bidirectional(&mut tcp, &mut onward).await);
    })
    .await
}

#[tokio::test]
async fn request_has_exactly_the_given_headers_host_and_length() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let server = Server::start(move |mut tcp| {
        let tell = tell.lock().expect("no panic").take();
        async move {
            let head = head(&mut tcp).await;
            let mut body = [0; 7];
            tcp.read_exact(&mut body).await.expect("a body");
            tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("written");
            tell.expect("one connection").send((head, body)).expect("a listener");
        }
    })
    .await;
    client().send(post(&server, "/slack/events?x=1", r#"{"a":1}"#)).await.expect("an answer");
    let (head, body) = told.await.expect("a request");
    let wanted = format!(
        "POST /slack/events?x=1 HTTP/1.1\r\ncontent-type: application/json\r\nhost: {}\r\ncontent-length: 7\r\n\r\n",
        server.at
    );
    assert_eq!((head, &body), (wanted, br#"{"a":1}"#));
}

#[tokio::test]
async fn connection_is_reused() {
    let server = app(Router::new().route("/", any(|body: String| async move { body }))).await;
    let client = client();
    for _ in 0..20 {
        let answer = client.send(post(&server, "/", "echo")).await.expect("an answer");
        assert_eq!((answer.status, &*answer.body), (200, b"echo".as_slice()));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn chunked_answer_is_joined() {
    let server = Server::saying(
        "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n1\r\nh\r\n0\r\n\r\n",
    )
    .await;
    let answer = client().send(post(&server, "/", "")).await.expect("an answer");
    assert_eq!((answer.status, &*answer.body), (201, b"abcdefgh".as_slice()));
    assert_eq!(answer.headers["x-a"], "b");
}

#[tokio::test]
async fn redirect_and_compression_are_left_alone() {
    let router = Router::new()
        .route("/away", get(|| async { Redirect::temporary("http://169.254.169.254/") }))
        .route("/zip", get(|| async { ([("content-encoding", "gzip")], vec![0x1f_u8, 0x8b]) }));
    let server = app(router).await;
    let ask = |path| HttpRequest { method: Method::GET, ..post(&server, path, "") };
    let answer = client().send(ask("/away")).await.expect("an answer");
    assert_eq!(
        (answer.status, &answer.headers["location"]),
        (307, &HeaderValue::from_static("http://169.254.169.254/"))
    );
    let answer = client().send(ask("/zip")).await.expect("an answer");
    assert_eq!(&*answer.body, [0x1f, 0x8b]);
}

#[tokio::test]
async fn answer_beyond_the_limit_is_cut_whether_announced_or_not() {
    let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n{}", "x".repeat(1001));
    let chunked = format!(
        "HTTP/1.1 502 X\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "100\r\n".to_owned() + &"y".repeat(256) + "\r\n"
    ) + &format!("{:x}\r\n{}\r\n", 800, "z".repeat(800));
    for (answer, wanted) in [(announced, 200), (chunked, 502)] {
        let server = Server::saying(answer).await;
        let error = client().send(post(&server, "/", "")).await.expect_err("too large");
        assert!(
            matches!(error, HttpError::AnswerTooLarge { status, bytes_max: 1000 } if status == wanted),
            "{error}"
        );
    }
    let whole =
        Server::saying(format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000))).await;
    assert_eq!(client().send(post(&whole, "/", "")).await.expect("just fits").body.len(), 1000);
}

#[tokio::test]
async fn answer_that_breaks_off_or_is_no_http_is_a_reset() {
    for answer in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Len", "SSH-2.0-x\r\n"] {
        let server = Server::saying(answer).await;
        let error = client().send(post(&server, "/", "x")).await.expect_err("broken");
        assert!(matches!(error, HttpError::Reset { .. }), "{answer:?}: {error}");
        assert_eq!(server.connections(), 1, "{answer:?} was retried");
    }
}

#[tokio::test]
async fn answer_whose_body_breaks_off_still_says_its_status() {
    let server = Server::saying("HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nab").await;
    let error = client().send(post(&server, "/", "x")).await.expect_err("broken");
    let HttpError::AnswerCut { status, headers } = error else { panic!("{error}") };
    assert_eq!((status, headers["retry-after"].as_bytes()), (503, b"7".as_slice()));
    assert_eq!(server.connections(), 1, "it was retried");
}

#[tokio::test]
async fn endless_head_is_cut() {
    let server = Server::saying(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(200_000))).await;
    let error = client().send(post(&server, "/", "x")).await.expect_err("too large a head");
    assert!(matches!(error, HttpError::Reset { .. }), "{error}");
}

#[tokio::test]
async fn pooled_connection_that_the_server_closed_is_replaced() {
    let server = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let client = client();
    for _ in 0..10 {
        // The server closes after each answer, without saying so in a header.
        assert_eq!(client.send(post(&server, "/", "x")).await.expect("an answer").status, 200);
    }
    assert_eq!(server.connections(), 10);
}

#[tokio::test]
async fn silent_server_meets_the_requests_deadline() {
    let server = Server::silent().await;
    let waited = Duration::from_millis(50);
    let error = client().send(HttpRequest { timeout: waited, ..post(&server, "/", "x") }).await;
    assert!(matches!(error, Err(HttpError::Timeout { waited: said }) if said == waited));
    let drip = Server::start(|mut tcp| async move {
        head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na").await.expect("written");
        std::future::pending::<()>().await;
    })
    .await;
    let error = client().send(HttpRequest { timeout: waited, ..post(&drip, "/", "x") }).await;
    assert!(matches!(error, Err(HttpError::AnswerCut { status: 200, .. })));
}

#[tokio::test]
async fn dialers_error_comes_back_as_it_was() {
    let mut request = post(&Server::silent().await, "/", "x");
    request.url = "http://127.0.0.1:1/".parse().expect("a URL");
    let error = client().send(request).await.expect_err("nothing listens");
    assert!(matches!(error, HttpError::Dial(ref dial) if dial.kind == DialFault::Refused), "{error}");
}

#[tokio::test]
async fn url_that_cannot_be_asked_is_refused_without_showing_it() {
    let server = Server::silent().await;
    for url in ["/only/secret", "ftp://127.0.0.1/secret", "http://u:secret@127.0.0.1/", "127.0.0.1:80"] {
        let url = url.parse().expect("a URL of some kind");
        let error = client().send(HttpRequest { url, ..post(&server, "/", "x") }).await.expect_err("refused");
        assert!(
            matches!(error, HttpError::BadUrl { .. }) && !format!("{error:?}").contains("secret"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn statuses_come_back_as_they_are() {
    let router = Router::new().route("/", any(|| async { (StatusCode::IM_A_TEAPOT, "short and stout") }));
    let server = app(router).await;
    let answer = client().send(post(&server, "/", "x")).await.expect("an answer");
    assert_eq!((answer.status, &*answer.body), (418, b"short and stout".as_slice()));
}

#[tokio::test]
async fn idle_connections_are_bounded_in_number_and_time() {
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    let server = Server::start(move |mut tcp| {
        let open = Arc::clone(&counted);
        async move {
            open.fetch_add(1, Relaxed);
            while !head(&mut tcp).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                tcp.write_all(answer).await.expect("the client reads");
            }
            open.fetch_sub(1, Relaxed);
        }
    })
    .await;
    let limits = HttpLimits { idle_per_host: 2, idle_max: Duration::from_secs(1) };
    let client = HttpClient::new(dialer(), Way::Direct, limits);
    let asked = (0..6).map(|_| client.send(post(&server, "/", "")));
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(server.connections(), 6);
    for left in [2, 0] {
        let ends = async {
            while open.load(Relaxed) > left {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ends).await.expect("the others are closed");
        if left == 2 {
            client.send(post(&server, "/", "")).await.expect("an answer");
            assert_eq!(server.connections(), 6, "one of the two is used again");
        }
    }
}
