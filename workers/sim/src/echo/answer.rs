//! What a request is, and what a Bolt app would answer to it.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

/// An answer as a handler gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EchoAnswer {
    pub status: u16,
    /// No Content-Type at all when empty, as Bolt JS does it for text.
    pub content_type: String,
    pub body: Bytes,
}

impl EchoAnswer {
    /// 200 with an empty body: `ack()`.
    pub const fn empty() -> Self {
        Self::status(200)
    }

    /// A status and no body.
    pub const fn status(status: u16) -> Self {
        Self { status, content_type: String::new(), body: Bytes::new() }
    }

    /// 200 with text and no Content-Type: `ack("text")` in Bolt JS.
    pub fn text(text: impl Into<String>) -> Self {
        Self { body: text.into().into(), ..Self::empty() }
    }

    /// 200 with JSON: `ack({ … })`.
    pub fn json(value: &serde_json::Value) -> Self {
        Self { status: 200, content_type: "application/json".to_owned(), body: value.to_string().into() }
    }
}

/// What a body turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Request {
    pub kind: String,
    pub event_id: Option<String>,
    /// A command's text, a view's or action's callback id, a challenge.
    pub detail: String,
}

#[derive(Deserialize)]
struct Body {
    r#type: Option<String>,
    event_id: Option<String>,
    challenge: Option<String>,
    event: Option<Inner>,
    view: Option<Inner>,
}

#[derive(Deserialize, Default)]
struct Inner {
    r#type: Option<String>,
    callback_id: Option<String>,
}

/// Reads a body by its content type, as Slack sends them: JSON for events, forms for the rest.
pub(super) fn read(content_type: &str, body: &[u8]) -> Request {
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return read_json(body);
    }
    let field = |name: &str| {
        let mut pairs = body.split(|byte| *byte == b'&');
        let value = pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        value.map(decode)
    };
    if let Some(payload) = field("payload") {
        return read_json(&payload);
    }
    let kind = if field("command").is_some() { "slash_commands" } else { "form" };
    let detail = String::from_utf8_lossy(&field("text").unwrap_or_default()).into_owned();
    Request { kind: kind.to_owned(), event_id: None, detail }
}

fn read_json(body: &[u8]) -> Request {
    let Ok(body) = serde_json::from_slice::<Body>(body) else {
        return Request { kind: "unreadable".to_owned(), ..Request::default() };
    };
    let outer = body.r#type.unwrap_or_default();
    let inner = body.event.and_then(|event| event.r#type);
    let kind = if outer == "event_callback" { inner.unwrap_or(outer) } else { outer };
    let detail = body.challenge.or_else(|| body.view?.callback_id).unwrap_or_default();
    Request { kind, event_id: body.event_id, detail }
}

/// Decodes one value of a form.
fn decode(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = tail.first_chunk::<2>().filter(|_| byte == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        match (byte, escaped) {
            (_, Some(decoded)) => {
                out.push(decoded);
                rest = &tail[2..];
            }
            (b'+', None) => out.push(b' '),
            (other, None) => out.push(other),
        }
    }
    out
}

/// The built-in answer of each kind. A submitted view is answered by its callback id: `errors`, `update`, `push`, `clear`
/// get that response action, any other closes it.
pub(super) fn built_in(request: &Request) -> EchoAnswer {
    let option = |text: &str| json!({ "text": { "type": "plain_text", "text": text }, "value": text });
    let view = json!({
        "type": "modal",
        "callback_id": "next",
        "title": { "type": "plain_text", "text": "Next" },
        "blocks": [],
    });
    match (request.kind.as_str(), request.detail.as_str()) {
        ("url_verification", challenge) => EchoAnswer::json(&json!({ "challenge": challenge })),
        ("slash_commands", text) => EchoAnswer::text(format!("echo: {text}")),
        ("block_suggestion", _) => EchoAnswer::json(&json!({ "options": [option("steel"), option("hemp")] })),
        ("dialog_suggestion", _) => {
            EchoAnswer::json(&json!({ "options": [{ "label": "north", "value": "north" }] }))
        }
        ("view_submission", "errors") => {
            EchoAnswer::json(&json!({ "response_action": "errors", "errors": { "name": "too short" } }))
        }
        ("view_submission", "clear") => EchoAnswer::json(&json!({ "response_action": "clear" })),
        ("view_submission", action @ ("update" | "push")) => {
            EchoAnswer::json(&json!({ "response_action": action, "view": view }))
        }
        _ => EchoAnswer::empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn events_are_read_as_their_inner_type_and_id() {
        let request = read("application/json", Sample::Message.load().as_bytes());
        assert_eq!((request.kind.as_str(), request.event_id.as_deref()), ("message", Some("Ev0SIMULATED")));
        let limited = read("application/json; charset=utf-8", Sample::AppRateLimited.load().as_bytes());
        assert_eq!((limited.kind.as_str(), limited.event_id), ("app_rate_limited", None));
        assert_eq!(read("", b"\xff").kind, "unreadable");
    }

    #[test]
    fn forms_are_decoded() {
        let command = read(FORM, b"token=x&command=%2Fline&text=a+b%26%C3%A9%zz&x=1");
        assert_eq!((command.kind.as_str(), command.detail.as_str()), ("slash_commands", "a b&é%zz"));
        let view = br"payload=%7B%22type%22%3A%22view_submission%22,%22view%22:%7b%22callback_id%22:%22errors%22%7D%7D";
        let view = read(FORM, view);
        assert_eq!((view.kind.as_str(), view.detail.as_str()), ("view_submission", "errors"));
        assert!(built_in(&view).body.starts_with(b"{\"response_action\":\"errors\""));
    }

    #[test]
    fn each_kind_gets_what_bolt_would_say() {
        let request = |kind: &str| Request { kind: kind.to_owned(), ..Request::default() };
        assert_eq!(built_in(&request("message")), EchoAnswer::empty());
        assert_eq!(built_in(&request("slash_commands")), EchoAnswer::text("echo: "));
        assert!(built_in(&request("block_suggestion")).body.starts_with(b"{\"options\":"));
        assert_eq!(built_in(&request("view_submission")), EchoAnswer::empty());
    }
}
