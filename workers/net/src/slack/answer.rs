//! What an answer to `apps.connections.open` means. Pure: bytes in, a verdict out; whatever the bytes, no panic.

use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use serde::Deserialize;
use taut_core::WallMs;

use super::codes::{self, OpenClass};
use super::{OpenError, Opened, TicketUrl, date};
use crate::http::{HttpAnswer, HttpError};

/// Waited after a 429 that does not say how long.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(30);

/// Longest wait that an answer can ask for; beyond, it is asked again.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Longest code that is shown.
const CODE_BYTES_MAX: usize = 64;

/// Longest list of scopes that is shown, in bytes.
const SCOPES_BYTES_MAX: usize = 200;

#[derive(Deserialize)]
struct Body {
    ok: bool,
    url: Option<String>,
    error: Option<String>,
    needed: Option<String>,
    provided: Option<String>,
    #[serde(default)]
    response_metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    messages: Vec<String>,
}

/// Reads an answer. Its content type is not looked at: what is JSON is read as such.
pub(crate) fn read(answer: &HttpAnswer, api_is_tls: bool) -> Result<Opened, OpenError> {
    if answer.status == 429 {
        return Err(limited("ratelimited", retry_after(&answer.headers)));
    }
    let Ok(body) = serde_json::from_slice::<Body>(&answer.body) else {
        return Err(not_json(answer));
    };
    if !body.ok {
        return Err(refused(&body, &answer.headers));
    }
    let Some(url) = &body.url else {
        return Err(odd(
            "no_url",
            "Slack said ok but gave no URL; it passes, or something rewrites answers on the way",
        ));
    };
    match TicketUrl::parse(url, api_is_tls) {
        Ok(url) => Ok(Opened {
            url,
            socket_mode_off: body.response_metadata.messages.iter().any(|message| says_off(message)),
            server_date: server_date(&answer.headers),
        }),
        Err(error) => Err(odd("bad_url", &format!("{error}; something rewrites answers on the way"))),
    }
}

/// What it means that there is no answer.
pub(super) fn missing(error: &HttpError) -> OpenError {
    match error {
        HttpError::Dial(dial) => odd(dial.code(), &dial.to_string()),
        HttpError::Timeout { .. } => {
            odd("timeout", &format!("{error}: Slack, the proxy or the network is slow"))
        }
        HttpError::Reset { .. } | HttpError::AnswerCut { .. } => odd("connection_lost", &error.to_string()),
        HttpError::AnswerTooLarge { .. } => odd(
            "odd_answer",
            &format!("{error}; that is not Slack's: what is slack.api_url, and what is in between?"),
        ),
        HttpError::BadUrl { .. } => OpenError {
            class: OpenClass::Park,
            code: "bad_api_url".into(),
            retry_after: None,
            text: format!("{error}: check slack.api_url"),
        },
    }
}

fn refused(body: &Body, headers: &HeaderMap) -> OpenError {
    let code = shown(body.error.as_deref().unwrap_or(""));
    let Some(known) = codes::find(&code) else {
        return OpenError { class: OpenClass::Retry, code, retry_after: None, text: codes::UNKNOWN.into() };
    };
    if matches!(known.code, "ratelimited" | "rate_limited") {
        return limited(known.code, retry_after(headers));
    }
    let mut text = known.text.to_owned();
    for (what, scopes) in [("needed", &body.needed), ("it has", &body.provided)] {
        if let Some(scopes) = scopes.as_deref().filter(|list| are_scopes(list)) {
            write!(text, " ({what}: {scopes})").expect("writing to a string cannot fail");
        }
    }
    OpenError { class: known.class, code, retry_after: None, text }
}

fn limited(code: &'static str, after: Duration) -> OpenError {
    let text = codes::find(code).map_or("", |known| known.text).to_owned();
    OpenError { class: OpenClass::Retry, code: code.to_owned(), retry_after: Some(after), text }
}

fn not_json(answer: &HttpAnswer) -> OpenError {
    let HttpAnswer { status, body, .. } = answer;
    match status {
        200..=299 if body.is_empty() => {
            odd("empty_answer", "the answer was empty; it passes, or a proxy is at fault")
        }
        200..=299 => odd(
            "not_json",
            "the answer is no whole JSON of Slack's; a proxy, a login page or a wrong slack.api_url?",
        ),
        300..=399 => odd(
            &format!("http_{status}"),
            "the answer is a redirect, which Slack never gives: a login page in between?",
        ),
        404 => odd("http_404", "nothing answers there: check slack.api_url"),
        407 => odd("http_407", "a proxy in between wants credentials: check [network]"),
        500..=599 => {
            odd(&format!("http_{status}"), "Slack, or a proxy in between, has a fault of its own; it passes")
        }
        _ => odd(&format!("http_{status}"), "the answer is not one of Slack's: what is in between?"),
    }
}

fn odd(code: &str, text: &str) -> OpenError {
    OpenError { class: OpenClass::Retry, code: code.to_owned(), retry_after: None, text: text.to_owned() }
}

/// A code from the wire, if it looks like one: it goes into log lines and metrics.
fn shown(code: &str) -> String {
    let fits = !code.is_empty()
        && code.len() <= CODE_BYTES_MAX
        && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if fits { code.to_owned() } else { "odd_code".to_owned() }
}

fn are_scopes(list: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b':' | b'.' | b',' | b'_' | b' ');
    !list.is_empty() && list.len() <= SCOPES_BYTES_MAX && list.bytes().all(allowed)
}

/// Slack warns so, as observed, when Socket Mode is switched off in the app's settings.
fn says_off(message: &str) -> bool {
    message.to_ascii_lowercase().contains("socket mode is not turned on")
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let said = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    said.map_or(RETRY_AFTER_DEFAULT, Duration::from_secs).min(RETRY_AFTER_MAX)
}

fn server_date(headers: &HeaderMap) -> Option<WallMs> {
    date::parse(headers.get(DATE)?.to_str().ok()?)
}
