//! Slack's Web API, as far as the worker needs it: opening Socket Mode connections.

mod codes;

use std::fmt;
use std::time::Duration;

use taut_core::WallMs;
use taut_vault::AppToken;

use crate::dial::Endpoint;
use crate::http::HttpClient;

pub use self::codes::OpenClass;

/// The URL of one socket: good for one connection, a secret in its query.
#[derive(Clone)]
pub struct TicketUrl {
    pub(crate) endpoint: Endpoint,
    pub(crate) url: http::Uri,
}

impl TicketUrl {
    /// The host, which is all that may be shown.
    pub fn host(&self) -> &str {
        &self.endpoint.host
    }
}

impl fmt::Debug for TicketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketUrl({}, ***)", self.host())
    }
}

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
    /// Slack's own code, or ours in `snake_case` where Slack gave none.
    pub code: String,
    /// How long this app has to wait, where Slack said so.
    pub retry_after: Option<Duration>,
    /// Whose fault it is and what to do, for a person.
    pub text: String,
}

/// Slack's Web API at one base URL. Cheap to clone.
#[derive(Clone)]
pub struct SlackApi {
    http: HttpClient,
}

/// The base URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("slack.api_url must be an https:// URL (or http://, for a simulated Slack) that ends in a slash")]
pub struct ApiUrlError;

impl SlackApi {
    /// The Web API at `api_url`, e.g. `https://slack.com/api/`.
    ///
    /// # Errors
    /// [`ApiUrlError`] if it is not such a URL.
    pub fn new(http: HttpClient, api_url: &str) -> Result<Self, ApiUrlError> {
        let _ = api_url;
        Ok(Self { http })
    }

    /// Sets the longest that one call may take; 10 s without.
    #[must_use]
    pub fn with_timeout(self, call: Duration) -> Self {
        let _ = call;
        self
    }

    /// Calls `apps.connections.open`.
    ///
    /// # Errors
    /// [`OpenError`] says whether to park, to wait or to retry, and why.
    pub async fn open_connection(&self, token: &AppToken) -> Result<Opened, OpenError> {
        let _ = &self.http;
        todo!("{token:?}")
    }
}
