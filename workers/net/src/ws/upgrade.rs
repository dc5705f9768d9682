//! The upgrade: from a stream to a WebSocket.

use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_TYPE, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SERVER, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::{WebSocket, WsLimits};
use crate::dial::{DialError, Dialer, Way};
use crate::slack::TicketUrl;

/// Why there is no WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The host was not reached, TLS included.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The answer was not 101.
    #[error("the upgrade was answered with {status}: {}", refuser(*.proxy_like))]
    Refused {
        /// Its status.
        status: u16,
        /// It looks like a proxy's or an inspecting firewall's answer, not like Slack's.
        proxy_like: bool,
    },
    /// No answer in time.
    #[error("no answer to the upgrade within {limit:?}")]
    Timeout {
        /// The deadline.
        limit: Duration,
    },
    /// The answer broke the protocol, or the connection ended.
    #[error("the upgrade failed: {text}")]
    Broken {
        /// What was wrong.
        text: String,
    },
}

impl UpgradeError {
    /// A stable word for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Dial(error) => error.code(),
            Self::Refused { .. } => "upgrade_refused",
            Self::Timeout { .. } => "upgrade_timeout",
            Self::Broken { .. } => "upgrade_failed",
        }
    }
}

/// Dials and upgrades. The dialer's deadlines hold for all steps, the upgrade's among them.
///
/// # Errors
/// [`UpgradeError`].
pub async fn connect(dialer: &Dialer, url: &TicketUrl, limits: WsLimits) -> Result<WebSocket, UpgradeError> {
    let request = request(url)?;
    let stream = dialer.dial(url.endpoint(), Way::Outside).await?;
    let config = limits.config(url.endpoint().tls);
    let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    let limit = dialer.deadlines().upgrade.0;
    match tokio::time::timeout(limit, upgrade).await {
        Ok(Ok((inner, _))) => Ok(WebSocket { inner, write_max: limits.write }),
        Ok(Err(Error::Http(answer))) => {
            let status = answer.status().as_u16();
            Err(UpgradeError::Refused { status, proxy_like: proxy_like(status, answer.headers()) })
        }
        Ok(Err(error)) => Err(UpgradeError::Broken { text: error.to_string() }),
        Err(_) => Err(UpgradeError::Timeout { limit }),
    }
}

/// A bare RFC 6455 handshake: Slack wants no origin, no subprotocol and no extension.
fn request(url: &TicketUrl) -> Result<Request<()>, UpgradeError> {
    let broken =
        |what: &str| UpgradeError::Broken { text: format!("the URL has a {what} that no header can carry") };
    let uri = url.uri();
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::new(());
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::try_from(host).map_err(|_| broken("host"))?);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::try_from(generate_key()).map_err(|_| broken("key"))?);
    Ok(request)
}

fn refuser(proxy_like: bool) -> &'static str {
    if proxy_like {
        "something between this host and Slack does not let WebSockets through; tell the network's owner"
    } else {
        "Slack's edge refuses at times, mostly when several sockets of one app open at once; it passes"
    }
}

/// Whether a refusal looks like that of something in between. Slack's own refusals come from its edge, `envoy`, and
/// bring no page.
fn proxy_like(status: u16, headers: &HeaderMap) -> bool {
    let text =
        |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_ascii_lowercase();
    let slacks =
        text(SERVER).contains("envoy") || headers.keys().any(|name| name.as_str().starts_with("x-slack-"));
    !slacks && (matches!(status, 200..=399 | 407) || text(CONTENT_TYPE).starts_with("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_something_in_between_are_told_from_slacks() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
                .collect()
        };
        assert!(proxy_like(200, &headers(&[("content-type", "text/html")])));
        assert!(proxy_like(302, &headers(&[])));
        assert!(proxy_like(403, &headers(&[("content-type", "text/html; charset=utf-8")])));
        assert!(!proxy_like(409, &headers(&[("server", "envoy")])));
        assert!(!proxy_like(503, &headers(&[("server", "envoy"), ("content-type", "text/html")])));
        assert!(!proxy_like(429, &headers(&[("x-slack-backend", "r")])));
        assert!(!proxy_like(408, &headers(&[])));
    }

    #[test]
    fn request_is_bare_and_keeps_the_ticket_out_of_headers() {
        let url = TicketUrl::parse("wss://wss-primary.slack.com/link/?ticket=one-time&app_id=x", true)
            .expect("a URL");
        let request = request(&url).expect("a request");
        assert_eq!(request.headers()[HOST], "wss-primary.slack.com");
        assert_eq!(request.headers().len(), 5);
        assert!(!format!("{:?}", request.headers()).contains("one-time"));
    }
}
