//! One envelope as a line of NDJSON, for `file` targets.
//!
//! ```json
//! {"tenant":"acme","route":"audit","delivery_id":"9f…","idempotency_key":"acme:Ev1","kind":"events_api",
//!  "received_at":1700000000123,"attempt":1,"payload":{…}}
//! ```
//! (on one line). `received_at` is Unix time in milliseconds; `payload` is Slack's, non-ASCII as `\uXXXX`, otherwise
//! untouched. Keys may be added; those here stay.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use taut_core::{Envelope, WallMs};

use super::exec::json_line;
use super::headers::RouteHeaders;

#[derive(Serialize)]
struct Line<'a> {
    tenant: &'a str,
    route: &'a str,
    delivery_id: String,
    idempotency_key: String,
    kind: &'static str,
    received_at: u64,
    attempt: u32,
    payload: Box<RawValue>,
}

/// The line, with its line break. Never holds another one.
pub fn line(route: &RouteHeaders, envelope: &Envelope, attempt: u32, received_at: WallMs) -> Bytes {
    let payload = raw(&json_line(envelope));
    let line = Line {
        tenant: route.tenant(),
        route: route.route(),
        delivery_id: route.delivery_id(envelope),
        idempotency_key: route.idempotency_key(envelope),
        kind: envelope.kind.name(),
        received_at: received_at.0,
        attempt,
        payload,
    };
    let mut bytes = serde_json::to_vec(&line).expect("texts, numbers and JSON are JSON");
    bytes.push(b'\n');
    bytes.into()
}

/// JSON as it is. What is none after all (intake looks at the routing fields alone) becomes a string.
fn raw(json: &str) -> Box<RawValue> {
    match serde_json::from_str::<&RawValue>(json) {
        Ok(raw) => raw.to_owned(),
        Err(_) => serde_json::value::to_raw_value(json).expect("a text is JSON"),
    }
}

#[cfg(test)]
mod tests {
    use taut_core::{Epoch, RouteName, TenantId};

    use super::*;

    fn route() -> RouteHeaders {
        RouteHeaders::new(&TenantId::new("acme").unwrap(), &RouteName::new("audit").unwrap(), Epoch(1))
    }

    #[test]
    fn a_line_holds_the_payload_as_slack_wrote_it() {
        let frame = Bytes::from(
            "{\"envelope_id\":\"e\",\"type\":\"events_api\",\"payload\":{\"event_id\":\"Ev1\",\n\"n\":1.50E+2,\"t\":\"é\"}}",
        );
        let envelope = Envelope::from_frame(&frame).unwrap();
        let line = line(&route(), &envelope, 2, WallMs(1_700_000_000_123));
        let text = std::str::from_utf8(&line).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
        assert!(text.starts_with(r#"{"tenant":"acme","route":"audit","delivery_id":""#), "{text}");
        let end = r#""idempotency_key":"acme:Ev1","kind":"events_api","received_at":1700000000123,"attempt":2,"payload":{"event_id":"Ev1","n":1.50E+2,"t":"\u00e9"}}"#;
        assert!(text.trim_end().ends_with(end), "{text}");
    }

    #[test]
    fn an_envelope_without_payload_has_a_line_all_the_same() {
        let frame = Bytes::from_static(br#"{"envelope_id":"e","type":"events_api"}"#);
        let line = line(&route(), &Envelope::from_frame(&frame).unwrap(), 1, WallMs(1));
        assert!(line.ends_with(b"\"payload\":{}}\n"));
    }
}
