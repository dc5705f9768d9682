//! The URL of one socket.

use std::fmt;

use http::Uri;

use crate::dial::Endpoint;

/// The URL of one socket: good for one connection, a secret in its query.
#[derive(Clone)]
pub struct TicketUrl {
    endpoint: Endpoint,
    url: Uri,
}

/// Why a URL cannot be a socket's. It never shows the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketUrlError {
    /// Not `wss://HOST…`.
    #[error("the socket's URL is not a wss:// URL with a host")]
    NotWss,
    /// `ws://`, though the Web API is reached over TLS.
    #[error("the socket's URL is ws://, without TLS, though slack.api_url is https://")]
    NotSecure,
}

impl TicketUrl {
    /// Checks a URL as Slack gave it. `ws://` passes only where the Web API itself is `http://`: a simulated Slack.
    ///
    /// # Errors
    /// [`TicketUrlError`].
    pub fn parse(text: &str, api_is_tls: bool) -> Result<Self, TicketUrlError> {
        let url: Uri = text.parse().map_err(|_| TicketUrlError::NotWss)?;
        let endpoint = Endpoint::of(&url, "ws", "wss").ok_or(TicketUrlError::NotWss)?;
        if url.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(TicketUrlError::NotWss);
        }
        if api_is_tls && !endpoint.tls {
            return Err(TicketUrlError::NotSecure);
        }
        Ok(Self { endpoint, url })
    }

    /// The host, which is all that may be shown.
    pub fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// Where to dial.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.url
    }
}

impl fmt::Debug for TicketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketUrl({}, ***)", self.host())
    }
}
