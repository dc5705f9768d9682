//! What taut must make of an app's answer: the request table, written a second time from the documentation.

use std::time::Duration;

use serde_json::{Value, json};
use taut_sim::AckOutcome;

use super::cases::{AckedBy, Case};
use super::direct::Answer;

/// From reading a request to its ack. No answer of the apps comes within half a second of it.
const DEADLINE: Duration = Duration::from_millis(2_500);
/// Largest body that fits an ack beside the envelope's id, roughly: no answer of the apps comes near it.
const ACK_BODY_MAX: usize = 19_900;

/// An ack.
#[derive(Debug, PartialEq)]
pub(crate) enum Ack {
    /// None: the user sees Slack's own error.
    Silent,
    /// Without a payload.
    Bare,
    /// With the handler's own bytes.
    Verbatim(String),
    /// With the handler's words as `{"text":…}`.
    Text(String),
}

impl Ack {
    /// Whether this is what the simulated Slack saw.
    pub(crate) fn is(&self, seen: &AckOutcome) -> bool {
        match (self, seen) {
            (Self::Silent, AckOutcome::Unacked { .. })
            | (Self::Bare, AckOutcome::Acked { payload: None, .. }) => true,
            (Self::Verbatim(body), AckOutcome::Acked { payload: Some(payload), .. }) => {
                body.as_bytes() == payload
            }
            (Self::Text(_), AckOutcome::Acked { payload: Some(payload), .. }) => {
                serde_json::from_slice(payload).is_ok_and(|payload: Value| self.json() == Some(payload))
            }
            (Self::Silent | Self::Bare | Self::Verbatim(_) | Self::Text(_), _) => false,
        }
    }

    fn fits(&self) -> bool {
        match self {
            Self::Silent | Self::Bare => true,
            Self::Verbatim(body) | Self::Text(body) => body.len() <= ACK_BODY_MAX,
        }
    }

    fn json(&self) -> Option<Value> {
        match self {
            Self::Silent | Self::Bare => None,
            Self::Verbatim(body) => serde_json::from_str(body).ok(),
            Self::Text(text) => Some(json!({ "text": text })),
        }
    }
}

/// The ack that this answer, given to taut instead, has to become.
pub(crate) fn ack(case: &Case, answer: &Answer) -> Ack {
    let rule = case.acked_by();
    if rule == AckedBy::Storing {
        return Ack::Bare;
    }
    let success = (200..300).contains(&answer.status);
    if answer.took >= DEADLINE || !success || (rule == AckedBy::Answer && answer.status != 200) {
        return Ack::Silent;
    }
    if rule == AckedBy::Success || answer.status != 200 {
        return Ack::Bare;
    }
    let payload = payload(answer);
    match rule {
        _ if !case.accepts_response_payload => Ack::Bare,
        _ if payload.fits() => payload,
        AckedBy::AnswerOrSuccess => Ack::Bare,
        AckedBy::Answer | AckedBy::Success | AckedBy::Storing => Ack::Silent,
    }
}

/// What goes to the `response_url`: what came late or does not fit, where the kind has one.
pub(crate) fn posted(case: &Case, answer: &Answer) -> Option<Value> {
    let has_url = case.payload.get("response_url").is_some();
    if case.acked_by() != AckedBy::AnswerOrSuccess || answer.status != 200 || !has_url {
        return None;
    }
    let payload = payload(answer);
    if answer.took >= DEADLINE || !payload.fits() { payload.json() } else { None }
}

/// A 200's body: nothing, what is declared as JSON, or text.
fn payload(answer: &Answer) -> Ack {
    let text = String::from_utf8(answer.body.clone()).expect("the apps answer in UTF-8");
    let declared = answer.content_type.as_deref().is_some_and(|media| media.starts_with("application/json"));
    match text.is_empty() {
        true => Ack::Bare,
        false if declared => Ack::Verbatim(text),
        false => Ack::Text(text),
    }
}

/// The attempt's outcome in `taut_delivery_attempts_total`.
pub(crate) fn outcome(case: &Case, answer: &Answer) -> &'static str {
    if case.acked_by() != AckedBy::Storing && answer.took >= DEADLINE {
        return "expired";
    }
    match answer.status {
        200..=299 => "done",
        400..=499 if case.is_rate_limit_notice() => "unhandled",
        404 if says_nobody_listens(answer) => "unhandled",
        408 | 425 | 429 | 500.. => "transient",
        300..=399 | 401 | 403 | 404 | 405 | 407 | 410 | 421 => "target_fault",
        _ => "poison",
    }
}

fn says_nobody_listens(answer: &Answer) -> bool {
    let error = serde_json::from_slice::<Value>(&answer.body).map(|body| body["error"].clone());
    match error {
        Ok(error) => error == "unhandled request" || error == "no handler found",
        Err(_) => answer.body.is_empty() && answer.took >= Duration::from_millis(2_900),
    }
}
