//! Envelopes as text, in the key order observed on real sockets.

use std::fmt::{self, Write};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use uuid::Uuid;

use crate::frame;
use crate::sample::Sample;
use crate::switches::Switches;

/// The `type` of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EnvelopeType {
    EventsApi,
    Interactive,
    SlashCommands,
    /// Anything else, to prove that a client stands what Slack may add.
    Other(Box<str>),
}

impl EnvelopeType {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::EventsApi => "events_api",
            Self::Interactive => "interactive",
            Self::SlashCommands => "slash_commands",
            Self::Other(name) => name,
        }
    }

    /// Reads the word on the wire.
    pub fn from_name(name: &str) -> Self {
        match name {
            "events_api" => Self::EventsApi,
            "interactive" => Self::Interactive,
            "slash_commands" => Self::SlashCommands,
            other => Self::Other(other.into()),
        }
    }
}

/// What a payload of one's own says about its envelope.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Routing {
    pub envelope_type: EnvelopeType,
    pub event_id: Option<String>,
}

impl Routing {
    /// Reads only what it needs: odd numbers and escapes elsewhere do not matter, and what is no JSON object at all
    /// travels as an event without an id.
    pub(crate) fn of(payload: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Fields {
            r#type: Option<String>,
            event_id: Option<String>,
            event: Option<IgnoredAny>,
            command: Option<IgnoredAny>,
        }
        let Ok(fields) = serde_json::from_slice::<Fields>(payload) else {
            return Self { envelope_type: EnvelopeType::EventsApi, event_id: None };
        };
        let envelope_type = match fields.r#type.as_deref() {
            Some("event_callback" | "app_rate_limited") => EnvelopeType::EventsApi,
            None if fields.command.is_some() => EnvelopeType::SlashCommands,
            None if fields.event.is_some() => EnvelopeType::EventsApi,
            Some(_) | None => EnvelopeType::Interactive,
        };
        Self { envelope_type, event_id: fields.event_id }
    }
}

impl fmt::Display for EnvelopeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What to push: a sample, or a payload of one's own.
#[derive(Debug, Clone)]
pub struct Push {
    pub(crate) source: Source,
    pub(crate) envelope_type: Option<EnvelopeType>,
    pub(crate) accepts_payload: Option<bool>,
    pub(crate) channel: Option<Box<str>>,
    pub(crate) shape: Shape,
    pub(crate) envelope_id: Option<Uuid>,
}

/// How the frame travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// One text frame.
    #[default]
    Whole,
    /// A message in this many fragments.
    Fragments(usize),
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Sample(Sample),
    Raw(Bytes),
}

impl Push {
    /// A payload sent byte for byte as given; it need not be JSON.
    pub fn raw(payload: impl Into<Bytes>) -> Self {
        Self::from_source(Source::Raw(payload.into()))
    }

    fn from_source(source: Source) -> Self {
        let shape = Shape::Whole;
        Self { source, envelope_type: None, accepts_payload: None, channel: None, shape, envelope_id: None }
    }

    /// Names the envelope's type instead of deriving it from the payload.
    #[must_use]
    pub fn typed(mut self, envelope_type: EnvelopeType) -> Self {
        self.envelope_type = Some(envelope_type);
        self
    }

    /// Says whether a response payload is accepted, instead of deriving it.
    #[must_use]
    pub fn accepting_payload(mut self, accepts: bool) -> Self {
        self.accepts_payload = Some(accepts);
        self
    }

    /// The channel a sample happens in; its default is the app's first.
    #[must_use]
    pub fn in_channel(mut self, channel: &str) -> Self {
        self.channel = Some(channel.into());
        self
    }

    /// Sends the message in several fragments.
    #[must_use]
    pub fn shaped(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Uses this id; pushing one id twice is the duplicate that was observed in the field.
    #[must_use]
    pub fn with_envelope_id(mut self, envelope_id: Uuid) -> Self {
        self.envelope_id = Some(envelope_id);
        self
    }
}

impl From<Sample> for Push {
    fn from(sample: Sample) -> Self {
        Self::from_source(Source::Sample(sample))
    }
}

/// Everything about one envelope's frame but its payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    pub envelope_id: Uuid,
    pub envelope_type: &'a EnvelopeType,
    pub accepts_payload: bool,
    pub retry_attempt: u8,
    pub shape: Shape,
}

/// Appends the envelope's frame; `scratch` spares an allocation.
pub(crate) fn put(
    out: &mut BytesMut,
    scratch: &mut String,
    header: Header<'_>,
    payload: &[u8],
    switches: &Switches,
) {
    const HEAD: &[u8] = br#"{"envelope_id":""#;
    const MIDDLE: &[u8] = br#"","payload":"#;
    scratch.clear();
    tail(scratch, header, switches);
    let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = header.envelope_id.hyphenated().encode_lower(&mut id).as_bytes();
    let pieces = [HEAD, id, MIDDLE, payload, scratch.as_bytes()];
    let len = pieces.iter().map(|piece| piece.len()).sum();
    match header.shape {
        Shape::Whole => {
            out.reserve(len + 10);
            frame::put_header(out, OpCode::Data(Data::Text), true, len);
            for piece in pieces {
                out.put_slice(piece);
            }
        }
        Shape::Fragments(count) => frame::put_fragments(out, &pieces.concat(), count),
    }
}

fn tail(out: &mut String, header: Header<'_>, switches: &Switches) {
    let kind = header.envelope_type;
    let accepts = header.accepts_payload;
    write!(out, r#","type":"{kind}","accepts_response_payload":{accepts}"#)
        .expect("writing to memory cannot fail");
    let attempt = header.retry_attempt;
    if *kind == EnvelopeType::EventsApi && (attempt > 0 || switches.spell_out_first_attempt) {
        let reason = if attempt > 0 { "timeout" } else { "" };
        write!(out, r#","retry_attempt":{attempt},"retry_reason":"{reason}""#)
            .expect("writing to memory cannot fail");
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn rendered(header: Header<'_>, switches: &Switches) -> Value {
        let mut out = BytesMut::new();
        put(&mut out, &mut String::new(), header, b"{}", switches);
        serde_json::from_slice(&out[4..]).or_else(|_| serde_json::from_slice(&out[2..])).unwrap()
    }

    #[test]
    fn first_deliveries_spell_out_attempt_zero_unless_switched_off() {
        let header = Header {
            envelope_id: Uuid::nil(),
            envelope_type: &EnvelopeType::EventsApi,
            accepts_payload: false,
            retry_attempt: 0,
            shape: Shape::Whole,
        };
        let mut switches = Switches::default();
        assert_eq!(rendered(header, &switches)["retry_reason"], "");
        switches.spell_out_first_attempt = false;
        assert_eq!(rendered(header, &switches).get("retry_reason"), None);
        let retry = rendered(Header { retry_attempt: 2, ..header }, &switches);
        assert_eq!(
            (retry["retry_attempt"].as_u64(), retry["retry_reason"].as_str()),
            (Some(2), Some("timeout"))
        );
    }

    #[test]
    fn requests_carry_no_retry_words() {
        let header = Header {
            envelope_id: Uuid::nil(),
            envelope_type: &EnvelopeType::SlashCommands,
            accepts_payload: true,
            retry_attempt: 0,
            shape: Shape::Whole,
        };
        let envelope = rendered(header, &Switches::default());
        assert_eq!(envelope.get("retry_attempt"), None);
        assert_eq!(envelope["accepts_response_payload"], true);
    }
}
