//! The bytes a handler receives, against files written by a generator that shares no code with taut.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use taut_core::{Envelope, Epoch, RouteName, TenantId};
use taut_delivery::pure::headers::{AttemptHeaders, RouteHeaders};
use taut_delivery::pure::shape::shape;
use taut_delivery::pure::sign::SigningKey;
use taut_vault::SigningSecret;

/// One line of `index.tsv`.
struct Case {
    name: String,
    envelope_type: String,
    secret: String,
    timestamp: u64,
    retry_attempt: u32,
    retry_reason: String,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn cases() -> Vec<Case> {
    let index = fs::read_to_string(golden().join("index.tsv")).expect("the index is there");
    let case = |line: &str| {
        let fields: Vec<_> = line.split('\t').map(str::to_owned).collect();
        let [name, envelope_type, secret, timestamp, retry_attempt, retry_reason] =
            <[String; 6]>::try_from(fields).expect("six fields");
        let (timestamp, retry_attempt) =
            (timestamp.parse().expect("seconds"), retry_attempt.parse().expect("a count"));
        Case { name, envelope_type, secret, timestamp, retry_attempt, retry_reason }
    };
    index.lines().skip(1).map(case).collect()
}

/// The frame as Slack would send it: the payload's bytes stand in it untouched.
fn envelope(case: &Case) -> Envelope {
    let payload =
        fs::read(golden().join(format!("{}.payload.json", case.name))).expect("the payload is there");
    let head = format!(
        r#"{{"envelope_id":"e-1","type":"{}","accepts_response_payload":false,"retry_attempt":{},"retry_reason":"{}","payload":"#,
        case.envelope_type, case.retry_attempt, case.retry_reason
    );
    Envelope::from_frame(&Bytes::from([head.as_bytes(), &payload, b"}"].concat())).expect("an envelope")
}

/// The request in the golden files' spelling.
fn request(case: &Case) -> Vec<u8> {
    let envelope = envelope(case);
    let shaped = shape(&envelope);
    let key = SigningKey::new(&SigningSecret::from(case.secret.as_str()));
    let signature = key.signature(case.timestamp, &shaped.body);
    let tenant = TenantId::new("acme").expect("a tenant id");
    let route = RouteHeaders::new(&tenant, &RouteName::new("bot").expect("a name"), Epoch(1));
    let attempt = AttemptHeaders {
        content_type: shaped.content_type,
        timestamp: case.timestamp,
        signature: &signature,
        attempt: 1,
        left: Duration::from_secs(10),
    };
    let headers = route.of(&envelope, &attempt);
    let mut lines: BTreeMap<String, String> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().expect("plain ASCII").to_owned()))
        .filter(|(name, _)| !name.starts_with("taut-") && name != "idempotency-key")
        .collect();
    lines.insert("content-length".into(), shaped.body.len().to_string());
    let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let head = format!("POST /slack/events HTTP/1.1\n{}\n\n", lines.join("\n"));
    [head.as_bytes(), &shaped.body].concat()
}

/// Header names in lower case: names have none that matters.
fn expected(case: &Case) -> Vec<u8> {
    let bytes = fs::read(golden().join(format!("{}.request", case.name))).expect("the request is there");
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").expect("an empty line") + 2;
    let head = std::str::from_utf8(&bytes[..end]).expect("headers are ASCII");
    let lower = |line: &str| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}\n", name.to_lowercase()),
        None => format!("{line}\n"),
    };
    [head.lines().map(lower).collect::<String>().as_bytes(), &bytes[end..]].concat()
}

#[test]
fn every_kind_is_sent_byte_for_byte_as_slack_would() {
    let cases = cases();
    assert!(cases.len() >= 20, "only {} golden requests", cases.len());
    for case in cases {
        let (sent, wanted) = (request(&case), expected(&case));
        assert_eq!(String::from_utf8_lossy(&sent), String::from_utf8_lossy(&wanted), "{}", case.name);
    }
}
