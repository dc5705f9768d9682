//! What must hold whatever a payload's or a handler's bytes. Run by the fuzzer and, over its kept corpora, by the
//! ordinary tests.

use std::time::Duration;

use bytes::Bytes;
use taut_core::fuzzing::Check;
use taut_core::request::AckChoice;
use taut_core::{Envelope, Kind, ack_fits, ack_frame};

use crate::pure::answer::{Asked, Body, HandlerAnswer, late_post, read_body, reply};
use crate::pure::shape::{JSON, shape};
use crate::pure::transcode::ascii_line;
use crate::pure::verdict::{Answered, End, RETRY_AFTER_MAX, Verdict, verdict};

/// The checks of this crate, by the names of their corpora.
pub const CHECKS: [(&str, Check); 4] =
    [("transcode", transcode), ("shape", shaped), ("answer", answer), ("verdict", judged)];

const ID: &str = "0f5a7f2e-5c7e-4b0a-9a62-7a3a1d2a9c11";

/// What goes out is one line of ASCII that reads as the same JSON.
fn transcode(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let line = ascii_line(text);
    assert!(line.bytes().all(|byte| byte.is_ascii() && byte != b'\n' && byte != b'\r'));
    assert_eq!(ascii_line(&line), line, "done twice it is the same");
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(text) {
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).ok(), Some(value));
    }
}

/// Every envelope has a body in one of Slack's two shapes, whatever its payload.
fn shaped(data: &[u8]) {
    let Ok(envelope) = Envelope::from_frame(&Bytes::copy_from_slice(data)) else { return };
    let shaped = shape(&envelope);
    assert!(shaped.body.is_ascii());
    if shaped.content_type != JSON {
        assert!(!shaped.body.iter().any(|byte| matches!(byte, b' ' | b'"' | b'\n')), "a form is encoded");
    }
}

/// A handler's answer becomes an ack Slack can read and takes, or a reason for silence.
fn answer(data: &[u8]) {
    let [kind, status, flags, body @ ..] = data else { return };
    let content_type = match flags & 3 {
        0 => None,
        1 => Some("application/json; charset=utf-8"),
        2 => Some("text/plain"),
        _ => Some("Application/JSON"),
    };
    let kinds: Vec<Kind> = (0..=u8::MAX).filter_map(Kind::from_number).collect();
    let asked = Asked {
        kind: kinds[usize::from(*kind) % kinds.len()],
        envelope_id: ID,
        accepts_payload: flags & 4 != 0,
        has_response_url: flags & 8 != 0,
    };
    let status = [200, 201, 204, 302, 404, 500, 0, 999][usize::from(*status) % 8];
    let answer = HandlerAnswer { status, content_type, body: (flags & 16 == 0).then_some(body) };
    let reply = reply(&asked, &answer);
    if let AckChoice::Payload(json) = &reply.ack {
        assert!(asked.accepts_payload && ack_fits(ID, json));
        let frame = ack_frame(ID, Some(json));
        assert!(is_object(&frame) && is_object(json), "Slack takes objects");
    }
    for post in [reply.post, late_post(&answer)].into_iter().flatten() {
        assert!(is_object(&post), "what is posted is an object");
    }
    if let (Body::Json(json), _) = read_body(content_type, body) {
        assert!(is_object(&json), "{json}");
    }
}

/// Every end of an attempt has a verdict, and no handler can make taut wait for longer than it honours.
fn judged(data: &[u8]) {
    let [high, low, flags, after, body @ ..] = data else { return };
    let answered = Answered {
        status: u16::from_be_bytes([*high, *low]) % 1000,
        body,
        no_retry: flags & 1 != 0,
        retry_after: (flags & 2 != 0).then(|| u64::MAX >> (after % 64)),
        took: Duration::from_millis(u64::from(*after) * 40),
    };
    let end = End::Answered(answered);
    let judged = verdict(&end, flags & 4 != 0);
    assert_eq!(judged == Verdict::Done, (200..300).contains(&answered.status));
    if let Verdict::Transient { retry_after: Some(span) } = judged {
        assert!(span <= RETRY_AFTER_MAX);
    }
    assert!(end.words().len() < 64 && end.words().is_ascii(), "words hold nothing of the handler's");
}

fn is_object(json: &str) -> bool {
    // Read without a value: numbers beyond f64 are JSON.
    json.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok()
}
