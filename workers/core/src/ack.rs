//! Ack frames: what goes back to Slack.

/// Largest ack frame taut sends, in bytes.
///
/// Frames of 20,480 bytes and more were seen to be discarded silently by Slack (reported by slack-go, issue 1196;
/// not documented by Slack), so taut stays below with a margin.
pub const ACK_BYTES_MAX: usize = 20_000;

/// The ack frame for an envelope: `{"envelope_id":"…"}`, with `payload` (JSON text) where there is one.
///
/// The caller keeps it within [`ACK_BYTES_MAX`].
pub fn ack_frame(envelope_id: &str, payload: Option<&str>) -> String {
    let payload_bytes = payload.map_or(0, |payload| payload.len() + 11);
    let mut frame = String::with_capacity(envelope_id.len() + payload_bytes + BARE_BYTES);
    push_ack(&mut frame, envelope_id, payload);
    frame
}

/// Appends the same frame to `out`, so that the acks of a batch share one piece of memory.
pub fn push_ack(out: &mut String, envelope_id: &str, payload: Option<&str>) {
    out.push_str(r#"{"envelope_id":"#);
    push_json_string(out, envelope_id);
    if let Some(payload) = payload {
        out.push_str(r#","payload":"#);
        out.push_str(payload);
    }
    out.push('}');
}

/// Bytes of an ack besides envelope id and payload.
pub const BARE_BYTES: usize = r#"{"envelope_id":""}"#.len();

/// Whether the whole ack frame with this payload (JSON text) stays within [`ACK_BYTES_MAX`].
pub fn ack_fits(envelope_id: &str, payload: &str) -> bool {
    ack_frame(envelope_id, Some("")).len() + payload.len() <= ACK_BYTES_MAX
}

/// Appends `text` as a JSON string. Envelope ids are UUIDs, so the escape is the exception.
fn push_json_string(out: &mut String, text: &str) {
    let plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if plain {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_names_its_envelope_and_carries_the_payload_as_it_is() {
        assert_eq!(ack_frame("e-1", None), r#"{"envelope_id":"e-1"}"#);
        assert_eq!(
            ack_frame("e-1", Some(r#"{"text":"a"}"#)),
            r#"{"envelope_id":"e-1","payload":{"text":"a"}}"#
        );
        assert_eq!(ack_frame("a\"b", None), r#"{"envelope_id":"a\"b"}"#);
    }
}
