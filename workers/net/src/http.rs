//! The HTTP client: one request, one answer, over connections that are kept and reused.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use crate::dial::{DialError, Dialer, Way};

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
    /// No whole answer in time.
    #[error("no answer within {waited:?}")]
    Timeout {
        /// The request's time-out.
        waited: Duration,
    },
    /// The connection ended, or broke HTTP's rules, before the answer was whole.
    #[error("the connection ended before the answer was whole: {text}")]
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
    /// The URL is not `http://host…` or `https://host…`.
    #[error("`{url}` is not an http:// or https:// URL with a host")]
    BadUrl {
        /// The URL without its query.
        url: String,
    },
}

/// Sends requests over kept connections. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    dialer: Dialer,
    way: Way,
    limits: HttpLimits,
}

impl HttpClient {
    /// A client with its own pool.
    pub fn new(dialer: Dialer, way: Way, limits: HttpLimits) -> Self {
        Self { dialer, way, limits }
    }

    /// Sends one request and reads the whole answer. Cancel safe: dropping it closes that connection.
    ///
    /// # Errors
    /// [`HttpError`]. Unless it is [`HttpError::Dial`] or [`HttpError::BadUrl`] the server may have acted.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, HttpError> {
        let _ = (&self.dialer, self.way, self.limits);
        todo!("{request:?}")
    }
}
