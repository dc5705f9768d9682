//! From a handler's HTTP answer to the ack of its request: one table for each kind.
//!
//! | kinds | acked by | payload |
//! |---|---|---|
//! | shortcut, `message_action`, `block_actions` | any 2xx | none |
//! | `slash_commands`, `interactive_message` | any 2xx | a 200's body; too large: to `response_url` |
//! | `view_submission`, `dialog_submission`, `block_suggestion`, `dialog_suggestion` | a 200 | its body; too large: no ack |

use serde::de::IgnoredAny;
use taut_core::kind::AckRule;
use taut_core::request::{AckChoice, SilentReason};
use taut_core::{Kind, ack_fits};

/// A handler's answer to a request.
#[derive(Debug, Clone, Copy)]
pub struct HandlerAnswer<'a> {
    /// Its status.
    pub status: u16,
    /// Its `Content-Type`, if it had one.
    pub content_type: Option<&'a str>,
    /// Its body; `None` if that was larger than what taut reads.
    pub body: Option<&'a [u8]>,
}

/// The request that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its envelope id: the ack's frame holds it beside the payload.
    pub envelope_id: &'a str,
    /// Whether Slack takes a payload in the ack.
    pub accepts_payload: bool,
    /// Whether it has a `response_url`.
    pub has_response_url: bool,
}

/// What becomes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The ack.
    pub ack: AckChoice,
    /// JSON to post to the `response_url` because it does not fit the ack.
    pub post: Option<String>,
    /// What was odd about the answer, for the handler's developer. Never its content.
    pub oddity: Option<Oddity>,
}

/// Something a handler's developer should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// JSON, but neither object nor string: acked without it.
    NotAnObject,
    /// Declared as JSON, but it is none.
    NotJson,
    /// Not valid UTF-8: read with replacement characters.
    NotUtf8,
    /// Slack takes no payload here: acked without it.
    NotAccepted,
    /// Larger than an ack may be.
    TooLarge,
}

impl Oddity {
    /// A few words for logs and `taut handler test`.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotAnObject => "the JSON body is neither an object nor a string",
            Self::NotJson => "the body is declared as JSON but is none",
            Self::NotUtf8 => "the body is not UTF-8",
            Self::NotAccepted => "Slack takes no payload in this ack; the body was dropped",
            Self::TooLarge => "the body does not fit an ack (20,000 bytes)",
        }
    }
}

/// The answer as JSON that Slack takes, whatever its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing to send.
    Empty,
    /// A JSON object, as the handler wrote it or as `{"text":…}`.
    Json(String),
}

/// The reply to a handler's answer that came in time. Total: nonsense gets a verdict too.
pub fn reply(asked: &Asked<'_>, answer: &HandlerAnswer<'_>) -> Reply {
    let acks = match asked.kind.ack_rule() {
        AckRule::WhenStored => return Reply::plain(AckChoice::Bare),
        AckRule::BareOnSuccess | AckRule::AnswerOrBare => (200..300).contains(&answer.status),
        AckRule::AnswerOnly => answer.status == 200,
    };
    if !acks {
        return Reply::plain(AckChoice::Silent(SilentReason::Refused));
    }
    if asked.kind.ack_rule() == AckRule::BareOnSuccess || answer.status != 200 {
        return Reply::plain(AckChoice::Bare);
    }
    let (body, oddity) = match answer.body {
        Some(bytes) => read_body(answer.content_type, bytes),
        None => return too_large(asked, None),
    };
    if oddity == Some(Oddity::NotJson) && asked.kind.ack_rule() == AckRule::AnswerOnly {
        return Reply { oddity, ..Reply::plain(AckChoice::Silent(SilentReason::Refused)) };
    }
    match body {
        Body::Empty => Reply { oddity, ..Reply::plain(AckChoice::Bare) },
        Body::Json(_) if !asked.accepts_payload => {
            Reply { oddity: Some(Oddity::NotAccepted), ..Reply::plain(AckChoice::Bare) }
        }
        Body::Json(json) if ack_fits(asked.envelope_id, &json) => {
            Reply { oddity, ..Reply::plain(AckChoice::Payload(json)) }
        }
        Body::Json(json) => too_large(asked, Some(json)),
    }
}

/// JSON to post to the `response_url` for an answer that came after the ack; `None` if there is nothing to say.
pub fn late_post(answer: &HandlerAnswer<'_>) -> Option<String> {
    if answer.status != 200 {
        return None;
    }
    match read_body(answer.content_type, answer.body?) {
        (Body::Json(json), _) => Some(json),
        (Body::Empty, _) => None,
    }
}

impl Reply {
    const fn plain(ack: AckChoice) -> Self {
        Self { ack, post: None, oddity: None }
    }
}

fn too_large(asked: &Asked<'_>, json: Option<String>) -> Reply {
    let may_post = asked.kind.ack_rule() == AckRule::AnswerOrBare && asked.has_response_url;
    match json {
        Some(json) if may_post => {
            Reply { ack: AckChoice::Bare, post: Some(json), oddity: Some(Oddity::TooLarge) }
        }
        _ => Reply {
            ack: AckChoice::Silent(SilentReason::AnswerTooLarge),
            post: None,
            oddity: Some(Oddity::TooLarge),
        },
    }
}

/// Reads a 200's body by its media type (parameters and case ignored): a JSON object as it is, a JSON string or any
/// other text as `{"text":…}`. An object is taken for JSON whatever its media type says.
pub fn read_body(content_type: Option<&str>, bytes: &[u8]) -> (Body, Option<Oddity>) {
    let text = String::from_utf8_lossy(bytes);
    let oddity = matches!(text, std::borrow::Cow::Owned(_)).then_some(Oddity::NotUtf8);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
    if trimmed.is_empty() {
        return (Body::Empty, oddity);
    }
    let declared = content_type.is_some_and(is_json);
    let parses = serde_json::from_str::<IgnoredAny>(trimmed).is_ok();
    match (parses, declared) {
        (true, _) if trimmed.starts_with('{') => (Body::Json(trimmed.to_owned()), oddity),
        (true, true) => match serde_json::from_str::<String>(trimmed) {
            Ok(inner) => (as_text(&inner), oddity),
            Err(_) => (Body::Empty, Some(Oddity::NotAnObject)),
        },
        (false, true) => (as_text(text), Some(Oddity::NotJson)),
        (_, false) => (as_text(text), oddity),
    }
}

fn is_json(content_type: &str) -> bool {
    content_type.get(..16).is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"))
}

fn as_text(text: &str) -> Body {
    if text.is_empty() {
        return Body::Empty;
    }
    Body::Json(serde_json::json!({ "text": text }).to_string())
}

#[cfg(test)]
mod tests;
