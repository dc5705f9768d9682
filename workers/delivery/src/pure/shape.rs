//! From an envelope to the body of Slack's HTTP request.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use taut_core::{Envelope, Kind};

use super::form::{command_form, push_encoded};
use super::transcode::ascii_line;

/// Events API. Exactly this: receivers compare the whole string.
pub const JSON: &str = "application/json";
/// Everything else. Exactly this: with `; charset=utf-8` Bolt JS answers 400.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// What a handler is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shaped {
    /// [`JSON`] or [`FORM`].
    pub content_type: &'static str,
    /// One line of ASCII.
    pub body: Bytes,
}

/// Slack's body for this envelope: JSON for events, `payload=` for what is interactive, flat fields for commands.
///
/// An envelope type this version does not know goes out as JSON, and one without payload as `{}`.
pub fn shape(envelope: &Envelope) -> Shaped {
    match envelope.kind {
        Kind::EventsApi => json_body(envelope),
        Kind::SlashCommands => form_body(command_form(envelope.payload_text())),
        Kind::BlockActions
        | Kind::BlockSuggestion
        | Kind::ViewSubmission
        | Kind::ViewClosed
        | Kind::Shortcut
        | Kind::MessageAction
        | Kind::InteractiveMessage
        | Kind::DialogSubmission
        | Kind::DialogCancellation
        | Kind::DialogSuggestion => payload_field(envelope),
        Kind::Unknown if is_interactive(&envelope.frame) => payload_field(envelope),
        Kind::Unknown => json_body(envelope),
    }
}

fn json_body(envelope: &Envelope) -> Shaped {
    let body = match ascii_line(envelope.payload_text()) {
        Cow::Borrowed("") => Bytes::from_static(b"{}"),
        Cow::Borrowed(_) => envelope.frame.slice(envelope.payload.clone()),
        Cow::Owned(line) => line.into(),
    };
    Shaped { content_type: JSON, body }
}

fn payload_field(envelope: &Envelope) -> Shaped {
    let line = ascii_line(envelope.payload_text());
    let mut body = Vec::with_capacity(8 + line.len() * 2);
    body.extend(b"payload=");
    push_encoded(&mut body, line.as_bytes());
    form_body(body)
}

fn form_body(body: Vec<u8>) -> Shaped {
    Shaped { content_type: FORM, body: body.into() }
}

/// Whether the frame's own type is `interactive`: the payload's type may be one that Slack added later.
fn is_interactive(frame: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, rename = "type")]
        frame_type: Cow<'a, str>,
    }
    serde_json::from_slice::<Head<'_>>(frame).is_ok_and(|head| head.frame_type == "interactive")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(frame: &str) -> (&'static str, String) {
        let envelope = Envelope::from_frame(&Bytes::copy_from_slice(frame.as_bytes())).unwrap();
        let Shaped { content_type, body } = shape(&envelope);
        (content_type, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn an_event_is_its_payload_without_a_copy() {
        let frame = Bytes::from_static(
            br#"{"envelope_id":"e","type":"events_api","payload":{"type":"event_callback","event_id":"Ev1"}}"#,
        );
        let envelope = Envelope::from_frame(&frame).unwrap();
        let body = shape(&envelope).body;
        assert_eq!(&body[..], br#"{"type":"event_callback","event_id":"Ev1"}"#);
        assert!(frame.as_ptr_range().contains(&body.as_ptr()));
    }

    #[test]
    fn interactive_payloads_of_unknown_types_are_still_interactive() {
        let frame = r#"{"envelope_id":"e","type":"interactive","payload":{"type":"brand_new"}}"#;
        assert_eq!(shaped(frame), (FORM, "payload=%7B%22type%22%3A%22brand_new%22%7D".into()));
    }

    #[test]
    fn unknown_envelopes_go_out_as_json() {
        let frame = r#"{"envelope_id":"e","type":"brand_new","payload":{"a":"é"}}"#;
        assert_eq!(shaped(frame), (JSON, r#"{"a":"\u00e9"}"#.into()));
    }

    #[test]
    fn an_envelope_without_payload_has_a_body_all_the_same() {
        assert_eq!(shaped(r#"{"envelope_id":"e","type":"events_api"}"#), (JSON, "{}".into()));
        assert_eq!(shaped(r#"{"envelope_id":"e","type":"slash_commands"}"#), (FORM, String::new()));
        assert_eq!(
            shaped(r#"{"envelope_id":"e","type":"interactive","payload":null}"#),
            (FORM, "payload=".into())
        );
    }
}
