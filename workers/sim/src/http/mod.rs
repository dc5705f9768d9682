//! The listener: one port for the Web API, the sockets, the response URLs and the control requests.

mod control;
mod link;
mod response_url;
mod webapi;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::io::Io;
use crate::shared::Shared;

/// Open TCP connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 50_000;

/// Largest request body.
const BODY_BYTES_MAX: usize = 16 << 20;

/// How much of a body the journal keeps.
const NOTED_BYTES_MAX: usize = 64 << 10;

pub(crate) use response_url::ResponseUrls;

pub(crate) type Answer = Response<Full<Bytes>>;

/// The connection is to end without an answer: a fault that is played.
#[derive(Debug, thiserror::Error)]
#[error("the connection ends instead of an answer, as ordered")]
pub(crate) struct Abort;

/// A request whose body was read.
#[derive(Debug)]
pub(crate) struct Call {
    pub method: Method,
    pub headers: HeaderMap,
    pub query: String,
    pub body: Bytes,
}

/// Accepts until the simulator stops.
pub(crate) async fn accept(sim: Arc<Shared>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            biased;
            () = sim.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; is the limit of open files too low?");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let (sim, tls) = (sim.clone(), tls.clone());
        sim.tasks.clone().spawn(async move {
            serve(&sim, stream, tls).await;
            drop(permit);
        });
    }
}

async fn serve(sim: &Arc<Shared>, stream: TcpStream, tls: Option<TlsAcceptor>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small frames may be delayed");
    }
    let io = match tls {
        None => Io::Plain(stream),
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => Io::Tls(Box::new(stream)),
            Err(error) => return tracing::debug!(%error, "a client gave up the TLS handshake"),
        },
    };
    let service = service_fn(|request| route(sim.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .half_close(true)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    tokio::select! {
        biased;
        () = sim.stop.cancelled() => {}
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        },
    }
}

async fn route(sim: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Abort> {
    let path = request.uri().path().to_owned();
    if path == "/link/" || path == "/link" {
        return link::upgrade(sim, request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "body too large"));
    };
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let call = Call { method: parts.method, headers: parts.headers, query, body: body.to_bytes() };
    if let Some(method) = path.strip_prefix("/api/") {
        return webapi::call(&sim, method, &call).await;
    }
    if let Some(rest) = path.strip_prefix("/response/") {
        return Ok(response_url::answer(&sim, rest, &call));
    }
    if let Some(rest) = path.strip_prefix("/sim/") {
        return Ok(control::answer(&sim, rest, &call).await);
    }
    Ok(text(StatusCode::NOT_FOUND, "a simulated Slack: /api/, /link/, /response/, /sim/"))
}

/// The beginning of a body, for the journal.
fn noted(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(NOTED_BYTES_MAX)]).into_owned()
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    with_type(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    with_type(status, "application/json; charset=utf-8", value.to_string().into())
}

fn with_type(status: StatusCode, content_type: &str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    if let Ok(value) = HeaderValue::from_str(content_type) {
        answer.headers_mut().insert(CONTENT_TYPE, value);
    }
    answer
}

/// Waits for as long as the client does.
async fn hang() -> Infallible {
    std::future::pending().await
}
