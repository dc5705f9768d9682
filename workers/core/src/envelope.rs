//! What Slack sends over a socket, parsed only as far as routing needs; payloads stay the bytes they were.

mod fields;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;

use self::fields::{Fields, raw_fields};
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

raw_fields! {
    struct RawFrame {
        frame_type = "type",
        envelope_id = "envelope_id",
        accepts_response_payload = "accepts_response_payload",
        retry_attempt = "retry_attempt",
        retry_reason = "retry_reason",
        reason = "reason",
        num_connections = "num_connections",
        connection_info = "connection_info",
        debug_info = "debug_info",
        [payload = "payload", head: RawHead]
    }
}

impl Frame {
    /// Reads one text frame. Fields of unexpected types count as absent; only what is no JSON object is refused.
    ///
    /// # Errors
    /// [`FrameError`]; the socket lives on either way.
    pub fn parse(frame: &Bytes) -> Result<Self, FrameError> {
        let text = std::str::from_utf8(frame).map_err(|_| FrameError::NotJson)?;
        let raw = RawFrame::read(text).ok_or(FrameError::NotJson)?;
        let frame_type = text_of(raw.frame_type).unwrap_or_default();
        match text_of(raw.envelope_id) {
            Some(id) if id.len() > ENVELOPE_ID_BYTES_MAX => Err(FrameError::EnvelopeId),
            // Without a type it is no envelope: an ack that comes back as an echo would be acked without end.
            Some(id) if !id.is_empty() && frame_type.is_empty() => Err(FrameError::Half),
            Some(id) if !id.is_empty() => {
                let id = id.into_owned();
                Ok(Self::Envelope(Box::new(Envelope::read(frame, text, &raw, &frame_type, id))))
            }
            _ if frame_type == "hello" => Ok(Self::Hello(Hello::read(&raw))),
            _ if frame_type == "disconnect" => {
                Ok(Self::Disconnect(text_of(raw.reason).unwrap_or_default().into_owned()))
            }
            _ if raw.payload.is_some() => Err(FrameError::Half),
            _ => Ok(Self::Other),
        }
    }
}

impl Hello {
    fn read(raw: &RawFrame<'_>) -> Self {
        let field = |object: Option<&str>, name: &str| -> Option<serde_json::Value> {
            let object: serde_json::Value = serde_json::from_str(object?).ok()?;
            object.get(name).cloned()
        };
        Self {
            app_id: field(raw.connection_info, "app_id").and_then(|v| v.as_str().map(str::to_owned)),
            num_connections: number_of(raw.num_connections).and_then(|n| u32::try_from(n).ok()),
            approximate_connection_time: field(raw.debug_info, "approximate_connection_time")
                .and_then(|v| v.as_u64()),
            host: field(raw.debug_info, "host").and_then(|v| v.as_str().map(str::to_owned)),
        }
    }
}

impl Envelope {
    fn read(frame: &Bytes, text: &str, raw: &RawFrame<'_>, frame_type: &str, envelope_id: String) -> Self {
        let payload_text = raw.payload.unwrap_or("");
        let payload = span_in(text, payload_text);
        let facts = PayloadHead::read(&raw.head);
        let dedup_text = facts.event_id.map_or_else(
            || format!("{:032x}", DedupKey::of(&[&envelope_id, "\0", payload_text].concat()).0),
            Cow::into_owned,
        );
        Self {
            frame: frame.clone(),
            payload,
            kind: Kind::of(frame_type, facts.payload_type.as_deref()),
            accepts_response_payload: raw.accepts_response_payload == Some("true"),
            retry_attempt: number_of(raw.retry_attempt).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            retry_reason: text_of(raw.retry_reason).unwrap_or_default().into_owned(),
            envelope_id,
            dedup_text,
        }
    }

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

#[derive(Default)]
struct PayloadHead<'a> {
    payload_type: Option<Cow<'a, str>>,
    event_id: Option<Cow<'a, str>>,
}

impl<'a> PayloadHead<'a> {
    fn read(raw: &RawHead<'a>) -> Self {
        Self {
            payload_type: text_of(raw.payload_type),
            event_id: text_of(raw.event_id).filter(|id| !id.is_empty() && id.len() <= ENVELOPE_ID_BYTES_MAX),
        }
    }
}

raw_fields! {
    struct RawHead {
        payload_type = "type",
        event_id = "event_id",
    }
}

/// What routing, order and safety checks need to know of a payload. Absent where the payload does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// `payload.type`, e.g. `block_actions`.
    pub payload_type: Option<Cow<'a, str>>,
    /// `payload.event.type`, e.g. `message`.
    pub event_type: Option<Cow<'a, str>>,
    /// `payload.command`, with its slash.
    pub command: Option<Cow<'a, str>>,
    /// The callback id of the view, shortcut, dialog or function; for block actions the first action's id.
    pub callback_id: Option<Cow<'a, str>>,
    /// The workspace, through which the app received it where Slack says so.
    pub team: Option<Cow<'a, str>>,
    /// The channel it is about.
    pub channel: Option<Cow<'a, str>>,
    /// The thread, or the message that may start one.
    pub thread: Option<Cow<'a, str>>,
    /// The user who did it.
    pub user: Option<Cow<'a, str>>,
    /// For what happens in a view: the user who looks at it.
    pub view_user: Option<Cow<'a, str>>,
    /// The app it is meant for.
    pub api_app_id: Option<Cow<'a, str>>,
    /// Where a late or large answer may be posted.
    pub response_url: Option<Cow<'a, str>>,
    /// `payload.event_time`, in seconds since the Unix epoch.
    pub event_time: Option<u64>,
}

raw_fields! {
    struct RawPayload {
        payload_type = "type",
        api_app_id = "api_app_id",
        event_time = "event_time",
        context_team_id = "context_team_id",
        team_id = "team_id",
        team = "team",
        user = "user",
        user_id = "user_id",
        channel = "channel",
        channel_id = "channel_id",
        view = "view",
        message = "message",
        command = "command",
        callback_id = "callback_id",
        actions = "actions",
        action_id = "action_id",
        response_url = "response_url",
        [event = "event", event_fields: RawInner]
    }
}

raw_fields! {
    struct RawInner {
        inner_type = "type",
        channel = "channel",
        channel_id = "channel_id",
        item = "item",
        user = "user",
        ts = "ts",
        thread_ts = "thread_ts",
        message = "message",
        previous_message = "previous_message",
        function = "function",
        id = "id",
        callback_id = "callback_id",
        action_id = "action_id",
        view = "view",
        team_id = "team_id",
    }
}

impl<'a> Facts<'a> {
    /// Reads the facts of a payload. Whatever the bytes, this returns: what cannot be read is absent.
    pub fn read(kind: Kind, payload: &'a str) -> Self {
        let Some(raw) = RawPayload::read(payload) else {
            return Self::default();
        };
        let view = inner(raw.view);
        let mut facts = Self {
            payload_type: text_of(raw.payload_type),
            api_app_id: text_of(raw.api_app_id),
            team: text_of(raw.context_team_id)
                .or_else(|| text_of(raw.team_id))
                .or_else(|| id_of(raw.team))
                .or_else(|| text_of(inner(raw.user).team_id)),
            user: id_of(raw.user).or_else(|| text_of(raw.user_id)),
            channel: id_of(raw.channel).or_else(|| text_of(raw.channel_id)),
            command: text_of(raw.command),
            response_url: text_of(raw.response_url),
            event_time: number_of(raw.event_time),
            ..Self::default()
        };
        facts.callback_id = text_of(view.callback_id)
            .or_else(|| text_of(raw.callback_id))
            .or_else(|| text_of(raw.action_id))
            .or_else(|| first_action(raw.actions));
        if raw.view.is_some() {
            facts.view_user.clone_from(&facts.user);
        }
        facts.thread = thread_of(&inner(raw.message));
        if kind == Kind::EventsApi {
            facts.read_event(&raw.event_fields);
        }
        facts
    }

    fn read_event(&mut self, event: &RawInner<'a>) {
        let about =
            if event.message.is_some() { inner(event.message) } else { inner(event.previous_message) };
        let item = inner(event.item);
        self.event_type = text_of(event.inner_type);
        self.channel = id_of(event.channel)
            .or_else(|| text_of(event.channel_id))
            .or_else(|| id_of(item.channel))
            .or_else(|| id_of(about.channel));
        self.user = id_of(event.user).or_else(|| id_of(about.user));
        self.thread = thread_of(&about).or_else(|| thread_of(event)).or_else(|| text_of(item.ts));
        self.callback_id = text_of(inner(event.function).callback_id).or_else(|| text_of(event.callback_id));
        if event.view.is_some() {
            self.view_user.clone_from(&self.user);
        }
    }
}

fn thread_of<'a>(message: &RawInner<'a>) -> Option<Cow<'a, str>> {
    text_of(message.thread_ts).or_else(|| text_of(message.ts))
}

fn first_action(actions: Option<&str>) -> Option<Cow<'_, str>> {
    let actions: Vec<&RawValue> = serde_json::from_str(actions?).ok()?;
    text_of(inner(actions.first().map(|action| action.get())).action_id)
}

fn inner(raw: Option<&str>) -> RawInner<'_> {
    raw.and_then(RawInner::read).unwrap_or_default()
}

/// A string, or the `id` of an object.
fn id_of(raw: Option<&str>) -> Option<Cow<'_, str>> {
    text_of(raw).or_else(|| text_of(inner(raw).id))
}

fn text_of(raw: Option<&str>) -> Option<Cow<'_, str>> {
    let raw = raw?;
    let body = raw.strip_prefix('"')?.strip_suffix('"')?;
    if body.contains('\\') {
        return serde_json::from_str::<String>(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(body))
}

fn number_of(raw: Option<&str>) -> Option<u64> {
    raw?.parse().ok()
}

#[cfg(test)]
mod tests;
