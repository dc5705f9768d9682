//! What Slack sends over a socket, parsed only as far as routing needs; payloads stay the bytes they were.
//!
//! ```text
//! text ─► Incoming::read: one pass over the whole frame ─► Arrival (borrowed: ids, kind, payload, facts) ─► intake
//!                                                            └─► Envelope (owned) ─► requests, delivery
//! ```

mod facts;
mod fields;
mod skip;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

pub use self::facts::Facts;
use self::facts::RawPayload;
use self::fields::{Fields as _, Value, fields};
use crate::{DedupKey, Kind};

/// Longest envelope id taut acks, in bytes. Slack sends UUIDs of 36.
pub const ENVELOPE_ID_BYTES_MAX: usize = 256;

/// One text frame from Slack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The connection is usable.
    Hello(Hello),
    /// Slack is about to close the connection; the text is Slack's reason.
    Disconnect(String),
    /// Something that wants an ack.
    Envelope(Box<Envelope>),
    /// JSON that wants no ack, and nothing taut knows: without an envelope id and without a payload.
    Other,
}

/// Slack's `hello`. Every field but the type is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hello {
    /// The app the connection belongs to.
    pub app_id: Option<String>,
    /// Open sockets of this app, this one included.
    pub num_connections: Option<u32>,
    /// Seconds until Slack refreshes this connection.
    pub approximate_connection_time: Option<u64>,
    /// Slack's host, as it names itself in pings.
    pub host: Option<String>,
}

/// One text frame, read where it stands: what it holds borrows from the text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack for as long as one frame is looked at")]
pub enum Incoming<'a> {
    /// The connection is usable.
    Hello(Hello),
    /// Slack is about to close the connection; the text is Slack's reason.
    Disconnect(Cow<'a, str>),
    /// Something that wants an ack.
    Envelope(Arrival<'a>),
    /// JSON that wants no ack: without an envelope id or without a type, and nothing taut knows.
    Other,
}

/// An [`Envelope`] where it stands in its frame, with its facts: all that intake needs, from one pass over the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// The whole frame.
    pub text: &'a str,
    /// The payload's JSON text; empty if there is none.
    pub payload: &'a str,
    /// Slack's id for this delivery.
    pub envelope_id: Cow<'a, str>,
    /// What it is.
    pub kind: Kind,
    /// Whether Slack takes a payload in the ack.
    pub accepts_response_payload: bool,
    /// Slack's retry count; 0 on first deliveries.
    pub retry_attempt: u32,
    /// Slack's word for why it retries.
    pub retry_reason: Cow<'a, str>,
    /// `payload.event_id`, if it has one that can be a key.
    pub event_id: Option<Cow<'a, str>>,
    /// The payload's routing facts.
    pub facts: Facts<'a>,
}

/// Why a frame could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not a JSON object of the expected shape.
    #[error("not a JSON object taut can read")]
    NotJson,
    /// It wants an ack, but its id is too long to be one.
    #[error("envelope id longer than {ENVELOPE_ID_BYTES_MAX} bytes")]
    EnvelopeId,
    /// An id without a type, or a payload without an id: nothing that can be stored and acked.
    #[error("half an envelope: an id without a type, or a payload without an id")]
    Half,
}

/// One message that carries an `envelope_id` and wants an ack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The whole frame as it came.
    pub frame: Bytes,
    /// Where in `frame` the payload stands; empty if there is none.
    pub payload: Range<usize>,
    /// Slack's id for this delivery.
    pub envelope_id: String,
    /// What it is.
    pub kind: Kind,
    /// Whether Slack takes a payload in the ack.
    pub accepts_response_payload: bool,
    /// Slack's retry count; 0 on first deliveries. Passed on, never decided by.
    pub retry_attempt: u32,
    /// Slack's word for why it retries.
    pub retry_reason: String,
    /// The text of the dedup key: `event_id`, else a hash of envelope id and payload.
    pub dedup_text: String,
}

fields! {
    struct RawFrame {
        frame_type = b"type",
        envelope_id = b"envelope_id",
        accepts_response_payload = b"accepts_response_payload",
        retry_attempt = b"retry_attempt",
        retry_reason = b"retry_reason",
        reason = b"reason",
        num_connections = b"num_connections",
        connection_info = b"connection_info",
        debug_info = b"debug_info",
        [payload = b"payload": RawPayload]
    }
}

impl<'a> Incoming<'a> {
    /// Reads one text frame. Fields of unexpected types count as absent; only what is no JSON object is refused.
    ///
    /// # Errors
    /// [`FrameError`]; the socket lives on either way.
    pub fn read(text: &'a str) -> Result<Self, FrameError> {
        let raw = RawFrame::read(text).ok_or(FrameError::NotJson)?;
        let frame_type = raw.frame_type.text().unwrap_or_default();
        match raw.envelope_id.text() {
            Some(id) if id.len() > ENVELOPE_ID_BYTES_MAX => Err(FrameError::EnvelopeId),
            // Without a type it is no envelope: an ack that comes back as an echo would be acked without end.
            Some(id) if !id.is_empty() && frame_type.is_empty() => Err(FrameError::Half),
            Some(id) if !id.is_empty() => Ok(Self::Envelope(Arrival::of(text, &raw, &frame_type, id))),
            _ if frame_type == "hello" => Ok(Self::Hello(Hello::read(&raw))),
            _ if frame_type == "disconnect" => Ok(Self::Disconnect(raw.reason.text().unwrap_or_default())),
            _ if raw.payload.written.is_some() => Err(FrameError::Half),
            _ => Ok(Self::Other),
        }
    }
}

impl Frame {
    /// Reads one text frame, as [`Incoming::read`] does, into values of its own.
    ///
    /// # Errors
    /// [`FrameError`]; the socket lives on either way.
    pub fn parse(frame: &Bytes) -> Result<Self, FrameError> {
        let text = std::str::from_utf8(frame).map_err(|_| FrameError::NotJson)?;
        Ok(match Incoming::read(text)? {
            Incoming::Hello(hello) => Self::Hello(hello),
            Incoming::Disconnect(reason) => Self::Disconnect(reason.into_owned()),
            Incoming::Envelope(arrival) => Self::Envelope(Box::new(arrival.into_envelope(frame.clone()))),
            Incoming::Other => Self::Other,
        })
    }
}

impl Hello {
    fn read(raw: &RawFrame<'_>) -> Self {
        let field = |object: Value<'_>, name: &str| -> Option<serde_json::Value> {
            let object: serde_json::Value = serde_json::from_str(object.raw()?).ok()?;
            object.get(name).cloned()
        };
        Self {
            app_id: field(raw.connection_info, "app_id").and_then(|v| v.as_str().map(str::to_owned)),
            num_connections: raw.num_connections.number().and_then(|n| u32::try_from(n).ok()),
            approximate_connection_time: field(raw.debug_info, "approximate_connection_time")
                .and_then(|v| v.as_u64()),
            host: field(raw.debug_info, "host").and_then(|v| v.as_str().map(str::to_owned)),
        }
    }
}

impl<'a> Arrival<'a> {
    fn of(text: &'a str, raw: &RawFrame<'a>, frame_type: &str, envelope_id: Cow<'a, str>) -> Self {
        let payload = &raw.payload.fields;
        let kind = Kind::of(frame_type, payload.payload_type.text().as_deref());
        Self {
            text,
            payload: raw.payload.written.unwrap_or(""),
            envelope_id,
            kind,
            accepts_response_payload: raw.accepts_response_payload.raw() == Some("true"),
            retry_attempt: raw.retry_attempt.number().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            retry_reason: raw.retry_reason.text().unwrap_or_default(),
            event_id: payload
                .event_id
                .text()
                .filter(|id| !id.is_empty() && id.len() <= ENVELOPE_ID_BYTES_MAX),
            facts: Facts::of(kind, payload),
        }
    }

    /// What makes another envelope the same one.
    pub fn dedup(&self) -> DedupKey {
        DedupKey::of(&self.dedup_text())
    }

    /// The text of the dedup key: `event_id`, else a hash of envelope id and payload.
    fn dedup_text(&self) -> Cow<'_, str> {
        if let Some(id) = &self.event_id {
            return Cow::Borrowed(id);
        }
        let text = [&self.envelope_id, "\0", self.payload].concat();
        Cow::Owned(format!("{:032x}", DedupKey::of(&text).0))
    }

    /// The same with values of its own; `frame` holds the text this was read from.
    pub fn into_envelope(self, frame: Bytes) -> Envelope {
        Envelope {
            frame,
            payload: span_in(self.text, self.payload),
            kind: self.kind,
            accepts_response_payload: self.accepts_response_payload,
            retry_attempt: self.retry_attempt,
            dedup_text: self.dedup_text().into_owned(),
            retry_reason: self.retry_reason.into_owned(),
            envelope_id: self.envelope_id.into_owned(),
        }
    }
}

impl Envelope {
    /// Reads an envelope back from the frame that was stored.
    ///
    /// # Errors
    /// [`FrameError::NotJson`] if the bytes are not an envelope's frame.
    pub fn from_frame(frame: &Bytes) -> Result<Self, FrameError> {
        match Frame::parse(frame)? {
            Frame::Envelope(envelope) => Ok(*envelope),
            Frame::Hello(_) | Frame::Disconnect(_) | Frame::Other => Err(FrameError::NotJson),
        }
    }

    /// The payload's JSON text as Slack wrote it; empty if the envelope has none.
    pub fn payload_text(&self) -> &str {
        self.frame.get(self.payload.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// What makes another envelope the same one.
    pub fn dedup(&self) -> DedupKey {
        DedupKey::of(&self.dedup_text)
    }

    /// The payload's routing facts.
    pub fn facts(&self) -> Facts<'_> {
        Facts::read(self.kind, self.payload_text())
    }
}

/// Where `part`, a sub-slice of `whole`, stands in it.
fn span_in(whole: &str, part: &str) -> Range<usize> {
    if part.is_empty() {
        return 0..0;
    }
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

#[cfg(test)]
mod tests;
