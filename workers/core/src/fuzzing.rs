//! What must hold whatever the bytes: envelopes' frames and acks. Run by the fuzzer and, over its kept corpora, by the
//! ordinary tests.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::envelope::{ENVELOPE_ID_BYTES_MAX, Frame, FrameError};
use crate::order::OrderKeys;
use crate::{ACK_BYTES_MAX, Envelope, Facts, Kind, ack_fits, ack_frame};

/// A check of one input: it panics where a promise does not hold.
pub type Check = fn(&[u8]);

/// The checks of this crate, by the names of their corpora.
pub const CHECKS: [(&str, Check); 3] = [("frame", frame), ("facts", facts), ("ack", ack)];

/// A frame is read as `serde_json` reads it, or refused as `serde_json` refuses it; the payload stays its bytes.
fn frame(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let parsed = Frame::parse(&bytes);
    let fields = std::str::from_utf8(data).ok().and_then(fields);
    let Some(fields) = fields else {
        assert_eq!(parsed, Err(FrameError::NotJson), "what is no JSON object is refused");
        return;
    };
    let payload = fields.get("payload").map_or("", |payload| payload.get());
    let inner = self::fields(payload).unwrap_or_default();
    if repeats(&fields, data) || repeats(&inner, payload.as_bytes()) {
        // Two readers could take such a text for two different ones; it may be refused.
        return;
    }
    match parsed {
        Err(FrameError::NotJson) => panic!("a JSON object is read"),
        Err(FrameError::EnvelopeId) => {
            assert!(string(&fields, "envelope_id").is_some_and(|id| id.len() > ENVELOPE_ID_BYTES_MAX));
        }
        Err(FrameError::Half) => {
            let has = |name| string(&fields, name).is_some_and(|text| !text.is_empty());
            assert!(has("envelope_id") && !has("type") || !has("envelope_id") && !payload.is_empty());
        }
        Ok(Frame::Envelope(envelope)) => {
            assert_eq!(string(&fields, "envelope_id").as_deref(), Some(&*envelope.envelope_id));
            assert_eq!(payload, envelope.payload_text());
            assert_eq!(
                Envelope::from_frame(&bytes).as_ref(),
                Ok(&*envelope),
                "a stored frame reads the same"
            );
            let _keys = OrderKeys::of(&envelope.facts());
            let _dedup = envelope.dedup();
        }
        Ok(Frame::Hello(_)) => assert_eq!(string(&fields, "type").as_deref(), Some("hello")),
        Ok(Frame::Disconnect(reason)) => {
            assert_eq!(reason, string(&fields, "reason").unwrap_or_default());
        }
        Ok(Frame::Other) => {
            let wants_ack = ["envelope_id", "type"]
                .iter()
                .all(|name| string(&fields, name).is_some_and(|text| !text.is_empty()));
            assert!(!wants_ack, "what wants an ack is an envelope");
        }
    }
}

/// A payload's facts are what `serde_json` finds at their places.
fn facts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let facts = Facts::read(Kind::EventsApi, text);
    let _keys = OrderKeys::of(&facts);
    let Some(payload) = fields(text) else {
        assert_eq!(facts, Facts::default(), "what is no JSON object has no facts");
        return;
    };
    let event = payload.get("event").map_or("", |event| event.get());
    let inner = self::fields(event).unwrap_or_default();
    if repeats(&payload, data) || repeats(&inner, event.as_bytes()) {
        return;
    }
    assert_eq!(facts.payload_type.as_deref(), string(&payload, "type").as_deref());
    assert_eq!(facts.api_app_id.as_deref(), string(&payload, "api_app_id").as_deref());
    assert_eq!(facts.response_url.as_deref(), string(&payload, "response_url").as_deref());
    assert_eq!(facts.event_type.as_deref(), string(&inner, "type").as_deref());
}

/// An ack names its envelope, is JSON whenever its payload is, and is never larger than it says.
fn ack(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (id, payload) = text.split_once('\n').unwrap_or((&text, ""));
    let payload = (!payload.is_empty()).then_some(payload);
    let frame = ack_frame(id, payload);
    assert_eq!(
        payload.is_none_or(|payload| ack_fits(id, payload)),
        frame.len() <= ACK_BYTES_MAX || payload.is_none()
    );
    let whole = payload.is_none_or(|payload| serde_json::from_str::<&RawValue>(payload).is_ok());
    if whole {
        let fields = fields(&frame).expect("an ack is a JSON object");
        assert_eq!(string(&fields, "envelope_id").as_deref(), Some(id));
        assert_eq!(fields.get("payload").map(|raw| raw.get()), payload.map(str::trim_ascii));
    }
}

/// Whether the object of `text`, whose members are `fields`, names one of them twice.
fn repeats(fields: &BTreeMap<String, &RawValue>, text: &[u8]) -> bool {
    let members: Members = serde_json::from_slice(text).unwrap_or_default();
    members.0 != fields.len()
}

/// How many members an object has, repeated ones counted each time.
#[derive(Default)]
struct Members(usize);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> serde::de::Visitor<'de> for Count {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = 0;
                while map.next_entry::<String, serde::de::IgnoredAny>()?.is_some() {
                    members += 1;
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Count)
    }
}

fn fields(text: &str) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(text).ok()
}

fn string(fields: &BTreeMap<String, &RawValue>, name: &str) -> Option<String> {
    serde_json::from_str(fields.get(name)?.get()).ok()
}
