//! The HTTP client: one request, one answer, over connections that are kept and reused.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use crate::dial::{DialError, Dialer, Endpoint, Stream, Way};

/// Largest head of an answer, in bytes, and most that one connection buffers.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Limits of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Idle connections kept for each host.
    pub idle_per_host: usize,
    /// How long an idle connection is kept.
    pub idle_max: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { idle_per_host: 32, idle_max: Duration::from_secs(30) }
    }
}

/// One request. `Host` and `Content-Length` are added; nothing else is.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// `http://…` or `https://…`. Parse it once and clone it: that is cheap.
    pub url: Uri,
    /// All other headers.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// From here to the last byte of the answer.
    pub timeout: Duration,
    /// Largest body that is read.
    pub answer_bytes_max: usize,
}

/// One whole answer.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as sent: nothing is decompressed.
    pub body: Bytes,
}

/// Why there is no whole answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HttpError {
    /// The host was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The status and the headers came, the body's end did not: in time, or before the connection ended.
    #[error("the answer (status {status}) broke off before its body was whole")]
    AnswerCut {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Box<HeaderMap>,
    },
    /// No status in time.
    #[error("no answer within {waited:?}")]
    Timeout {
        /// The request's time-out.
        waited: Duration,
    },
    /// The connection ended, or broke HTTP's rules, before the answer's headers were whole.
    #[error("the connection ended before the answer: {text}")]
    Reset {
        /// The HTTP library's words.
        text: String,
    },
    /// The answer's body is larger than the request allows; the rest was not read.
    #[error("the answer (status {status}) is larger than {bytes_max} bytes")]
    AnswerTooLarge {
        /// Its status.
        status: u16,
        /// The limit.
        bytes_max: usize,
    },
    /// The URL is not `http://host…` or `https://host…`, or has user info.
    #[error("`{url}` is not an http:// or https:// URL with a host and without user info")]
    BadUrl {
        /// The URL without its query.
        url: String,
    },
}

/// Sends requests over kept connections. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    /// One for all clones: each tenant and each route holds some.
    pool: Arc<Client<Connector, Full<Bytes>>>,
}

impl HttpClient {
    /// A client with its own pool.
    pub fn new(dialer: Dialer, way: Way, limits: HttpLimits) -> Self {
        let pool = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(limits.idle_per_host)
            .pool_idle_timeout(limits.idle_max)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(Connector { dialer, way });
        Self { pool: Arc::new(pool) }
    }

    /// Sends one request and reads the whole answer. Cancel safe: dropping it closes that connection.
    ///
    /// # Errors
    /// [`HttpError`]. Unless it is [`HttpError::Dial`] or [`HttpError::BadUrl`] the server may have acted.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, HttpError> {
        if !may_be_asked(&request.url) {
            return Err(HttpError::BadUrl { url: without_secrets(&request.url) });
        }
        let (waited, bytes_max) = (request.timeout, request.answer_bytes_max);
        let deadline = Instant::now() + waited;
        let answer = timeout_at(deadline, self.pool.request(assemble(request))).await;
        let answer = answer.map_err(|_| HttpError::Timeout { waited })?.map_err(|error| fault(&error))?;
        let (head, incoming) = answer.into_parts();
        let status = head.status.as_u16();
        match timeout_at(deadline, read(incoming, bytes_max)).await {
            Ok(Ok(body)) => Ok(HttpAnswer { status, headers: head.headers, body }),
            Ok(Err(Unread::TooLarge)) => Err(HttpError::AnswerTooLarge { status, bytes_max }),
            Ok(Err(Unread::Broken)) | Err(_) => {
                Err(HttpError::AnswerCut { status, headers: Box::new(head.headers) })
            }
        }
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

fn may_be_asked(url: &Uri) -> bool {
    let bare = |authority: &Authority| !authority.host().is_empty() && !authority.as_str().contains('@');
    matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some_and(bare)
}

fn assemble(request: HttpRequest) -> Request<Full<Bytes>> {
    let mut assembled = Request::new(Full::new(request.body));
    *assembled.method_mut() = request.method;
    *assembled.uri_mut() = request.url;
    *assembled.headers_mut() = request.headers;
    assembled
}

/// Why a body was not read to its end.
enum Unread {
    TooLarge,
    Broken,
}

async fn read(mut incoming: Incoming, bytes_max: usize) -> Result<Bytes, Unread> {
    if incoming.size_hint().lower() > bytes_max as u64 {
        return Err(Unread::TooLarge);
    }
    let mut body = Body::default();
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if body.len() + data.len() > bytes_max {
            return Err(Unread::TooLarge);
        }
        body.push(data);
    }
    Ok(body.whole())
}

/// A body as it grows: one piece, the usual case, is never copied.
#[derive(Default)]
struct Body {
    only: Bytes,
    joined: BytesMut,
}

impl Body {
    fn len(&self) -> usize {
        self.only.len() + self.joined.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.only = data;
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&std::mem::take(&mut self.only));
        }
        self.joined.extend_from_slice(&data);
    }

    fn whole(self) -> Bytes {
        if self.joined.is_empty() { self.only } else { self.joined.freeze() }
    }
}

/// The pool's error in our words: the dialer's own error comes back as it was.
fn fault(error: &hyper_util::client::legacy::Error) -> HttpError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(dial) = inner.downcast_ref::<DialError>() {
            return HttpError::Dial(dial.clone());
        }
        cause = inner.source();
    }
    broken(error)
}

/// The innermost cause says most.
fn broken(error: &(dyn Error + 'static)) -> HttpError {
    let mut innermost = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    HttpError::Reset { text: innermost.to_string() }
}

/// Scheme and host: path, query and user info may hold secrets.
fn without_secrets(url: &Uri) -> String {
    format!("{}://{}", url.scheme_str().unwrap_or(""), url.host().unwrap_or(""))
}

/// Gives the pool its connections.
#[derive(Clone)]
struct Connector {
    dialer: Dialer,
    way: Way,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Self::Response, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let Self { dialer, way } = self.clone();
        Box::pin(async move {
            let target = Endpoint::of(&url, "http", "https").expect("checked before it came to the pool");
            dialer.dial(&target, way).await.map(TokioIo::new)
        })
    }
}
