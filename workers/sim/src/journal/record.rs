//! The lines of the journal.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Totals;
use crate::duration;
use crate::envelope::EnvelopeType;

/// One attempt to hand an envelope to the app.
#[derive(Debug, Clone, Serialize)]
pub struct SentEnvelope {
    pub app: Arc<str>,
    pub envelope_id: Uuid,
    /// The `event_id`, else the first attempt's envelope id: equal over all attempts.
    pub dedup_id: Arc<str>,
    #[serde(rename = "type", serialize_with = "as_text")]
    pub envelope_type: EnvelopeType,
    /// The sample's name, or `raw`.
    pub name: &'static str,
    pub accepts_response_payload: bool,
    pub retry_attempt: u8,
    /// The socket that took it; none when no socket was open or a ghost took it.
    pub connection: Option<u64>,
    /// Time of sending since the simulator started.
    #[serde(rename = "at_ms", serialize_with = "duration::as_millis")]
    pub at: Duration,
    pub end: End,
}

/// What became of one attempt.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Neither acked nor past its deadline.
    Waiting,
    Acked(Ack),
    Missed(Missed),
}

/// An ack that counted.
#[derive(Debug, Clone, Serialize)]
pub struct Ack {
    /// From sending the envelope to reading its ack.
    #[serde(rename = "after_ms", serialize_with = "duration::as_millis")]
    pub after: Duration,
    pub connection: u64,
    /// Length of the whole frame on the wire.
    pub frame_bytes: usize,
    /// The response payload, as the client spelt it.
    #[serde(serialize_with = "as_json")]
    pub payload: Option<Bytes>,
    /// The ack came on another socket than the envelope's.
    pub on_other_socket: bool,
    /// There is a payload although the envelope accepts none.
    pub unwanted_payload: bool,
}

/// Why an attempt was not acked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// No socket of the app was open, or all were full.
    NoSocket,
    /// No valid ack within the deadline.
    Deadline,
    /// A ghost took it.
    Stolen,
}

/// Why an ack frame counted for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AckFlaw {
    Duplicate,
    Late,
    UnknownId,
    Oversize,
    Fragmented,
    OtherSocket,
    UnwantedPayload,
    Unreadable,
}

/// Something that happened beside the envelopes.
#[derive(Debug, Clone, Serialize)]
pub struct Note {
    /// Time since the simulator started.
    #[serde(rename = "at_ms", serialize_with = "duration::as_millis")]
    pub at: Duration,
    pub app: Option<Arc<str>>,
    #[serde(flatten)]
    pub kind: NoteKind,
}

/// What a note is about.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum NoteKind {
    /// `apps.connections.open` was called; `outcome` is `ok`, an error code or a played fault.
    Open { outcome: String },
    /// An upgrade was refused with this HTTP status.
    UpgradeRefused { status: u16, why: &'static str },
    /// A socket is open (101 was sent).
    Connected { connection: u64 },
    /// A socket heard `hello`.
    Hello { connection: u64, num_connections: u32 },
    /// A socket was sent `disconnect`.
    Disconnect { connection: u64, reason: String },
    /// A socket is gone.
    Closed { connection: u64, why: String },
    /// An ack that counted for nothing.
    Ack { flaw: AckFlaw, envelope_id: Option<Uuid>, frame_bytes: usize },
    /// A Web API method was called; `body` is cut at 64 KiB.
    Call { method: String, body: String },
    /// Something was posted to a `response_url`; `body` is cut at 64 KiB.
    Response { path: String, body: String, accepted: bool },
    /// Slack would switch off the app's event subscriptions: over 95 % of at least 1,000 attempts in an hour failed.
    SubscriptionsWouldBeDisabled { attempts: u64, failed: u64 },
    /// A step of the script, or a control request, was carried out.
    Done { what: String },
}

#[derive(Serialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    Totals { app: &'a str, totals: &'a Totals },
    Envelope(&'a SentEnvelope),
    Note(&'a Note),
}

pub(super) fn line(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn as_text<S: Serializer>(value: &EnvelopeType, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(value.as_str())
}

#[expect(clippy::ref_option, reason = "serde hands the field over like this")]
fn as_json<S: Serializer>(value: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
    let raw = value.as_deref().and_then(|bytes| serde_json::from_slice::<&RawValue>(bytes).ok());
    raw.serialize(to)
}
