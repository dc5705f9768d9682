//! Serves HTTP/1.1 to clients that are not trusted: whatever they do, what they hold is bounded.
//!
//! ```text
//! door (TCP, Unix) ─► a place? ─► connection: head, body, answer ─► graceful end ─► the place is free
//!                     no: waits in the kernel's queue
//! ```
//! Deliberately absent: TLS and HTTP/2. What must be reachable from elsewhere goes behind a proxy that has both.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A request's line and headers together, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// A request's body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// From a connection's begin, or its last answer, to the end of the next head …
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// … and from there to the end of the body.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// How long an answer under way may take once its connection's time, or the worker's, is over.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(5);
/// Pause after the system refused to accept, as it does without descriptors.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// What the clients of one listener may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// How long one may last; it ends after the answer that is under way.
    pub lifetime: Duration,
}

/// Who is at the other end; every request has it among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Somebody on the network.
    Network,
    /// A process of this host, as the kernel names its user.
    User {
        /// Its user.
        uid: u32,
        /// Its process, where the kernel knows it.
        pid: Option<i32>,
    },
}

/// Where connections come in.
pub trait Door: Send + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection. Cancelling it loses none.
    fn next(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Caller)>> + Send;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn next(&mut self) -> io::Result<(TcpStream, Caller)> {
        self.accept().await.map(|(stream, _)| (stream, Caller::Network))
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn next(&mut self) -> io::Result<(UnixStream, Caller)> {
        let (stream, _) = self.accept().await?;
        let peer = stream.peer_cred()?;
        Ok((stream, Caller::User { uid: peer.uid(), pid: peer.pid() }))
    }
}

/// Serves until `stop`, then as long as answers under way take, 5 s at most.
pub async fn serve<D: Door>(
    mut door: D,
    name: &'static str,
    app: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let mut open = JoinSet::new();
    let mut refused = false;
    loop {
        // Without a place nothing is accepted.
        let place = Arc::clone(&places).acquire_owned();
        let met = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            met = async { (place.await, door.next().await) } => met,
        };
        while open.try_join_next().is_some() {}
        match met {
            (Ok(place), Ok((stream, caller))) => {
                refused = false;
                let app = app.clone().layer(Extension(caller));
                // Its end, by a panic too, is that connection's alone.
                open.spawn(converse(stream, app, bounds.lifetime, stop.clone(), place));
            }
            (_, Err(error)) if is_of_the_client(&error) => {}
            (_, Err(error)) => {
                if !std::mem::replace(&mut refused, true) {
                    tracing::warn!(listener = name, %error, "no connection could be accepted; trying again each second");
                }
                sleep(REFUSED_PAUSE).await;
            }
            (Err(_), Ok(_)) => break,
        }
    }
    drop(door);
    let all = async { while open.join_next().await.is_some() {} };
    if timeout(LAST_ANSWER_MAX, all).await.is_err() {
        tracing::debug!(listener = name, "connections that did not end were cut off");
    }
}

/// Whether it was the client that went away while it was accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected)
}

async fn converse<S>(
    stream: S,
    app: Router,
    lifetime: Duration,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled() => None,
        () = sleep(lifetime) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        timeout(LAST_ANSWER_MAX, connection).await.unwrap_or(Ok(()))
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a client of a listener broke off, or spoke no HTTP");
    }
}

/// Reads the whole body before anybody acts on the request: 413 for one that is too large, 408 for one too slow.
pub async fn whole_body(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match timeout(BODY_TIME_MAX, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(_)) => refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large, or broke off"),
        Err(_) => refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
    }
}

/// Refuses what a web page makes a browser send: no client of ours is a browser.
pub async fn no_browser(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return refusal(StatusCode::FORBIDDEN, "browsers are refused here");
    }
    next.run(request).await
}

/// Refuses requests for a name: a page whose name was led to this host's loopback asks for that name.
pub async fn addressed_to_loopback(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    if host.is_none_or(|host| host.to_str().is_ok_and(is_local)) {
        return next.run(request).await;
    }
    refusal(StatusCode::MISDIRECTED_REQUEST, "ask for an address, or for localhost")
}

/// Whether a `Host` is an address or `localhost`, with or without a port.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok()
}

/// A refusal in the words of [`crate::admin::Refusal`].
pub fn refusal(status: StatusCode, error: &str) -> Response {
    (status, axum::Json(crate::admin::Refusal { error: error.to_owned() })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_led_here_is_not_local() {
        for local in
            ["127.0.0.1:9464", "127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:9464", "[::1]", "10.0.0.7:1"]
        {
            assert!(is_local(local), "{local}");
        }
        for name in [
            "",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example:1",
            "x@127.0.0.1",
        ] {
            assert!(!is_local(name), "{name}");
        }
    }
}
