//! The echo handler's listener and its outages.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::{Mutex, RwLock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{self, EchoAnswer};
use super::record::{EchoRequest, Log};
use super::verify::{Signature, verify};
use super::{EchoConfig, Outage};

/// Open connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;

/// Largest request body; Slack documents none, views are up to 250 KB.
const BODY_BYTES_MAX: usize = 16 << 20;

pub(super) struct Server {
    pub bound: SocketAddr,
    pub outage: watch::Sender<Outage>,
    pub log: Mutex<Log>,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    pub began: Instant,
    default_secret: Option<Vec<u8>>,
    secrets: RwLock<HashMap<String, Vec<u8>>>,
    answers: RwLock<HashMap<String, EchoAnswer>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("bound", &self.bound).finish_non_exhaustive()
    }
}

/// The connection ends instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection ends instead of an answer, as ordered")]
struct Abort;

impl Server {
    pub(super) fn new(config: EchoConfig, bound: SocketAddr) -> Self {
        Self {
            bound,
            outage: watch::Sender::new(Outage::None),
            log: Mutex::new(Log::new(config.requests_max, config.keys_max)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            began: Instant::now(),
            default_secret: config.signing_secret,
            secrets: RwLock::default(),
            answers: RwLock::default(),
        }
    }

    pub(super) fn add_secret(&self, path: &str, secret: Vec<u8>) {
        self.secrets.write().insert(path.to_owned(), secret);
    }

    pub(super) fn set_answer(&self, kind: &str, answer: Option<EchoAnswer>) {
        let mut answers = self.answers.write();
        match answer {
            Some(answer) => answers.insert(kind.to_owned(), answer),
            None => answers.remove(kind),
        };
    }

    fn signature(&self, path: &str, headers: &http::HeaderMap, body: &[u8]) -> Option<Signature> {
        let secrets = self.secrets.read();
        let secret = secrets.get(path).or(self.default_secret.as_ref())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Some(verify(secret, headers, body, now))
    }
}

/// Accepts until stopped; while nothing is to listen, the port is given back.
pub(super) async fn accept(server: Arc<Server>, listener: TcpListener) {
    let mut outage = server.outage.subscribe();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut listener = Some(listener);
    loop {
        let refusing = *outage.borrow_and_update() == Outage::Refuse;
        if refusing {
            listener = None;
        } else if listener.is_none() {
            listener = bind(server.bound).await;
        }
        tokio::select! {
            biased;
            () = server.stop.cancelled() => return,
            changed = outage.changed() => if changed.is_err() {
                return;
            },
            stream = next(listener.as_ref(), &permits) => {
                let task = serve(server.clone(), stream.0);
                let permit = stream.1;
                server.tasks.spawn(async move {
                    task.await;
                    drop(permit);
                });
            }
        }
    }
}

async fn next(
    listener: Option<&TcpListener>,
    permits: &Arc<Semaphore>,
) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        let permit = permits.clone().acquire_owned().await.expect("this semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Takes the port again; somebody else may have it for a moment.
async fn bind(addr: SocketAddr) -> Option<TcpListener> {
    for _ in 0..100 {
        match TcpListener::bind(addr).await {
            Ok(listener) => return Some(listener),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    tracing::warn!(%addr, "the echo handler's port is taken by somebody else");
    None
}

async fn serve(server: Arc<Server>, stream: TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "answers may be delayed");
    }
    let mut outage = server.outage.subscribe();
    let service = service_fn(|request| respond(server.clone(), request));
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        () = server.stop.cancelled() => {}
        _ = outage.wait_for(|outage| *outage == Outage::Refuse) => {}
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        },
    }
}

/// Counts a request as in flight, whatever becomes of it.
struct InFlight(Arc<Server>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.log.lock().ended();
    }
}

async fn respond(server: Arc<Server>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Abort> {
    server.log.lock().began();
    let in_flight = InFlight(server);
    let server = &in_flight.0;
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| Abort)?.to_bytes();
    let path = parts.uri.path();
    let content_type =
        parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let read = answer::read(content_type, &body);
    let signature = server.signature(path, &parts.headers, &body);
    let outage = server.outage.borrow().clone();
    let answer = match signature {
        Some(Signature::Missing | Signature::Stale | Signature::Wrong) => Some(EchoAnswer::status(401)),
        Some(Signature::Good) | None => {
            let own = server.answers.read().get(&read.kind).cloned();
            fail(&outage, own.unwrap_or_else(|| answer::built_in(&read)))
        }
    };
    if let Outage::Slow(wait) = outage {
        tokio::time::sleep(wait).await; // a client that leaves meanwhile is no answered request
    }
    let idempotency_key = || parts.headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let key = read.event_id.as_deref().or_else(idempotency_key).unwrap_or_default().into();
    let request = EchoRequest {
        at: server.began.elapsed(),
        path: path.to_owned(),
        kind: read.kind,
        key,
        verified: signature == Some(Signature::Good),
        status: answer.as_ref().map_or(0, |answer| answer.status),
        headers: parts.headers,
        body,
    };
    server.log.lock().add(request, signature, outage != Outage::None);
    match answer {
        Some(answer) => Ok(response(answer)),
        None if outage == Outage::Hang => std::future::pending().await,
        None => Err(Abort),
    }
}

/// The answer in an outage; none means that none is given.
fn fail(outage: &Outage, right: EchoAnswer) -> Option<EchoAnswer> {
    match outage {
        Outage::None | Outage::Slow(_) => Some(right),
        Outage::Status(status) => Some(EchoAnswer::status(*status)),
        Outage::Garbage => {
            let content_type = "application/json".to_owned();
            Some(EchoAnswer { status: 200, content_type, body: Bytes::from_static(b"{\"text\": <oops\xff") })
        }
        Outage::Oversized(bytes) => Some(EchoAnswer::text("x".repeat(*bytes))),
        Outage::Hang | Outage::Abort | Outage::Refuse => None,
    }
}

fn response(answer: EchoAnswer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !answer.content_type.is_empty()
        && let Ok(value) = HeaderValue::from_str(&answer.content_type)
    {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}
