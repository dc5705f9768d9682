//! The headers of one delivery: Slack's, and taut's own.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use taut_core::{DedupKey, Envelope, Epoch, RouteName, TenantId};

/// What Slack's own requests say (observed).
const SLACKBOT: HeaderValue = HeaderValue::from_static("Slackbot 1.0 (+https://api.slack.com/robots)");
/// What Slack's own requests say (observed).
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/json,*/*");

/// Headers that are ever set, `Host` and `Content-Length` included.
const HEADERS_MAX: usize = 16;
/// Longest event id that is passed on as it is, in bytes. Slack's have some twenty.
const ID_BYTES_MAX: usize = 256;

const TIMESTAMP: HeaderName = HeaderName::from_static("x-slack-request-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-slack-signature");
const RETRY_NUM: HeaderName = HeaderName::from_static("x-slack-retry-num");
const RETRY_REASON: HeaderName = HeaderName::from_static("x-slack-retry-reason");
const TENANT: HeaderName = HeaderName::from_static("taut-tenant");
const DELIVERY_ID: HeaderName = HeaderName::from_static("taut-delivery-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const ATTEMPT: HeaderName = HeaderName::from_static("taut-attempt");
const EPOCH: HeaderName = HeaderName::from_static("taut-epoch");
const DEADLINE_MS: HeaderName = HeaderName::from_static("taut-deadline-ms");

/// What a route's headers are made from.
#[derive(Debug, Clone)]
pub struct RouteHeaders {
    tenant: TenantId,
    route: RouteName,
    epoch: Epoch,
}

/// What changes with each attempt.
#[derive(Debug, Clone, Copy)]
pub struct AttemptHeaders<'a> {
    /// Exactly as the body's shape says.
    pub content_type: &'static str,
    /// The moment of sending, in Unix seconds.
    pub timestamp: u64,
    /// Over the body as sent.
    pub signature: &'a str,
    /// From 1.
    pub attempt: u32,
    /// Time the handler has left.
    pub left: Duration,
}

impl RouteHeaders {
    /// The headers of a route.
    pub fn new(tenant: &TenantId, route: &RouteName, epoch: Epoch) -> Self {
        Self { tenant: tenant.clone(), route: route.clone(), epoch }
    }

    /// All headers of one attempt, but for `Host` and `Content-Length`.
    pub fn of(&self, envelope: &Envelope, attempt: &AttemptHeaders<'_>) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(HEADERS_MAX);
        headers.insert(USER_AGENT, SLACKBOT);
        headers.insert(ACCEPT, ACCEPTED);
        headers.insert(TENANT, text(self.tenant.as_str()).expect("tenant ids are plain ASCII"));
        headers.insert(EPOCH, self.epoch.0.into());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(attempt.content_type));
        headers.insert(TIMESTAMP, attempt.timestamp.into());
        headers.insert(SIGNATURE, text(attempt.signature).expect("a signature is hex"));
        if envelope.retry_attempt > 0 {
            headers.insert(RETRY_NUM, envelope.retry_attempt.into());
            // The envelope's own word; one that no header can hold is left out.
            if let Some(reason) = text(&envelope.retry_reason) {
                headers.insert(RETRY_REASON, reason);
            }
        }
        headers.insert(DELIVERY_ID, text(&self.delivery_id(envelope)).expect("hex is plain ASCII"));
        headers.insert(
            IDEMPOTENCY_KEY,
            text(&self.idempotency_key(envelope)).expect("checked to be plain ASCII"),
        );
        headers.insert(ATTEMPT, attempt.attempt.into());
        let left = u64::try_from(attempt.left.as_millis()).unwrap_or(u64::MAX);
        headers.insert(DEADLINE_MS, left.into());
        headers
    }

    /// Whose route it is.
    pub fn tenant(&self) -> &str {
        self.tenant.as_str()
    }

    /// The route's name.
    pub fn route(&self) -> &str {
        self.route.as_str()
    }

    /// Which opening of the store delivers.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// 32 hex digits, the same over all attempts of one envelope at one route, restarts and replays included.
    pub fn delivery_id(&self, envelope: &Envelope) -> String {
        let parts = [self.tenant.as_str(), self.route.as_str(), &envelope.dedup_text];
        format!("{:032x}", DedupKey::of(&parts.join("\0")).0)
    }

    /// `<tenant>:<event id>`, in printable ASCII; an id that is not, or has more than 256 bytes, goes as its hash.
    pub fn idempotency_key(&self, envelope: &Envelope) -> String {
        let (tenant, id) = (self.tenant.as_str(), &envelope.dedup_text);
        if id.len() <= ID_BYTES_MAX && is_printable(id) {
            format!("{tenant}:{id}")
        } else {
            format!("{tenant}:{:032x}", envelope.dedup().0)
        }
    }
}

/// A header value of printable ASCII; `None` for anything else, because Slack's text reaches here.
fn text(value: &str) -> Option<HeaderValue> {
    is_printable(value).then(|| HeaderValue::from_str(value).ok()).flatten()
}

fn is_printable(value: &str) -> bool {
    value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn headers(frame: &str, route: &str, attempt: u32) -> HeaderMap {
        let envelope = Envelope::from_frame(&Bytes::copy_from_slice(frame.as_bytes())).unwrap();
        let tenant = TenantId::new("acme").unwrap();
        let headers = RouteHeaders::new(&tenant, &RouteName::new(route).unwrap(), Epoch(7));
        let left = Duration::from_millis(2_500);
        let attempt = AttemptHeaders {
            content_type: "application/json",
            timestamp: 17,
            signature: "v0=ab",
            attempt,
            left,
        };
        headers.of(&envelope, &attempt)
    }

    const FIRST: &str =
        r#"{"envelope_id":"e","type":"events_api","payload":{"event_id":"Ev1"},"retry_attempt":0}"#;

    #[test]
    fn a_first_delivery_has_no_retry_headers() {
        let mut found: Vec<_> = headers(FIRST, "bot", 1)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        found.sort();
        found.retain(|line| !line.starts_with("taut-delivery-id"));
        assert_eq!(
            found,
            [
                "accept: application/json,*/*",
                "content-type: application/json",
                "idempotency-key: acme:Ev1",
                "taut-attempt: 1",
                "taut-deadline-ms: 2500",
                "taut-epoch: 7",
                "taut-tenant: acme",
                "user-agent: Slackbot 1.0 (+https://api.slack.com/robots)",
                "x-slack-request-timestamp: 17",
                "x-slack-signature: v0=ab",
            ]
        );
    }

    #[test]
    fn retry_headers_carry_the_envelopes_own_words() {
        let frame = r#"{"envelope_id":"e","type":"events_api","payload":{},"retry_attempt":2,"retry_reason":"timeout"}"#;
        let found = headers(frame, "bot", 1);
        assert_eq!(
            (&found[RETRY_NUM], &found[RETRY_REASON]),
            (&HeaderValue::from(2), &HeaderValue::from_static("timeout"))
        );
    }

    #[test]
    fn the_delivery_id_is_stable_over_attempts_and_differs_by_route() {
        let id = |route, attempt| headers(FIRST, route, attempt)[DELIVERY_ID].clone();
        assert_eq!(id("bot", 1), id("bot", 4));
        assert_ne!(id("bot", 1), id("audit", 1));
    }

    #[test]
    fn text_that_no_header_can_hold_does_no_harm() {
        let frame = r#"{"envelope_id":"e","type":"events_api","payload":{"event_id":"a\r\nEvil: 1"},"retry_attempt":1,"retry_reason":"x\ny"}"#;
        let found = headers(frame, "bot", 1);
        assert!(found[IDEMPOTENCY_KEY].to_str().unwrap().starts_with("acme:"));
        assert_eq!(found.get(RETRY_REASON), None);
    }
}
