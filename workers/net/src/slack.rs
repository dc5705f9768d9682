//! Slack's Web API, as far as the worker needs it: opening Socket Mode connections.

mod answer;
mod codes;
mod date;
#[cfg(test)]
mod tests;
mod ticket;

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Uri};
use taut_core::WallMs;
use taut_vault::AppToken;

#[cfg(feature = "fuzzing")]
pub(crate) use self::answer::read as read_answer;
pub use self::codes::OpenClass;
pub use self::ticket::{TicketUrl, TicketUrlError};
use crate::dial::Endpoint;
use crate::http::{HttpClient, HttpRequest};

/// Longest that one call may take, unless told otherwise.
const CALL_DEFAULT: Duration = Duration::from_secs(10);

/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A socket may be opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Where; dial it at once.
    pub url: TicketUrl,
    /// Slack warned that Socket Mode is switched off in the app's settings; the socket may stay silent.
    pub socket_mode_off: bool,
    /// Slack's own time, for the clock's skew.
    pub server_date: Option<WallMs>,
}

/// Why no socket may be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct OpenError {
    /// What to do.
    pub class: OpenClass,
    /// Slack's own code, or ours in `snake_case` where Slack gave none; at most 64 bytes of `[a-z0-9_]`.
    pub code: String,
    /// How long this app has to wait, where Slack said so.
    pub retry_after: Option<Duration>,
    /// Whose fault it is and what to do, for a person.
    pub text: String,
}

/// The base URL cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "slack.api_url must be an https:// URL that ends in a slash (http:// for a simulated Slack), without user info or query"
)]
pub struct ApiUrlError;

/// Slack's Web API at one base URL. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SlackApi {
    http: HttpClient,
    open: Uri,
    endpoint: Endpoint,
    timeout: Duration,
}

impl SlackApi {
    /// The Web API at `api_url`, e.g. `https://slack.com/api/`.
    ///
    /// # Errors
    /// [`ApiUrlError`] if it is not such a URL.
    pub fn new(http: HttpClient, api_url: &str) -> Result<Self, ApiUrlError> {
        let open: Uri = format!("{api_url}apps.connections.open").parse().map_err(|_| ApiUrlError)?;
        let endpoint = Endpoint::of(&open, "http", "https").ok_or(ApiUrlError)?;
        let bare = open.query().is_none() && !api_url.contains(['@', '#']) && api_url.ends_with('/');
        if !bare {
            return Err(ApiUrlError);
        }
        Ok(Self { http, open, endpoint, timeout: CALL_DEFAULT })
    }

    /// Sets the longest that one call may take; 10 s without.
    #[must_use]
    pub fn with_timeout(self, call: Duration) -> Self {
        Self { timeout: call, ..self }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Calls `apps.connections.open`: one request, nothing retried.
    ///
    /// # Errors
    /// [`OpenError`] says whether to park, to wait or to retry, and why.
    pub async fn open_connection(&self, token: &AppToken) -> Result<Opened, OpenError> {
        let request = HttpRequest {
            method: Method::POST,
            url: self.open.clone(),
            headers: headers(token)?,
            body: Bytes::new(),
            timeout: self.timeout,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let answered = self.http.send(request).await.map_err(|error| answer::missing(&error))?;
        answer::read(&answered, self.endpoint.tls)
    }
}

fn headers(token: &AppToken) -> Result<HeaderMap, OpenError> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| OpenError {
        class: OpenClass::Park,
        code: "bad_token_text".into(),
        retry_after: None,
        text: "app_token has characters that no token has: was it pasted whole, and nothing else?".into(),
    })?;
    bearer.set_sensitive(true);
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("taut/", env!("CARGO_PKG_VERSION"))));
    Ok(headers)
}
