//! Fresh ids in sample payloads, by bytes: a payload is cut once where its made-up ids stand, then joined for each push.
//!
//! Cutting bytes instead of re-serialising keeps key order, number spelling and escapes as the file has them, and
//! costs one copy per envelope.

use std::io::Write;

use bytes::Bytes;

use crate::clock::Tick;

/// The ids that samples use, and what stands in their place on the wire.
const MARKS: [(&str, Field); 10] = [
    ("1790000000.1.simulated", Field::TriggerId),
    ("1790000000.000100", Field::Ts),
    ("1790000000", Field::Seconds),
    ("Ev0SIMULATED", Field::EventId),
    ("Fx0SIMULATED", Field::ExecutionId),
    ("A0SIMULATED", Field::AppId),
    ("T0SIMULATED", Field::TeamId),
    ("C0SIMULATED", Field::Channel),
    ("https:\\/\\/hooks.slack.com", Field::HooksEscaped),
    ("https://hooks.slack.com", Field::Hooks),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    TriggerId,
    Ts,
    Seconds,
    EventId,
    ExecutionId,
    AppId,
    TeamId,
    Channel,
    HooksEscaped,
    Hooks,
}

#[derive(Debug)]
enum Part {
    Text(Box<[u8]>),
    Field(Field),
}

/// A payload with holes.
#[derive(Debug)]
pub(crate) struct Template {
    parts: Vec<Part>,
    bytes: usize,
}

/// What goes into the holes of one payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp<'a> {
    pub app_id: &'a str,
    pub team_id: &'a str,
    /// The event id without its `Ev` or `Fx` prefix: unique within the simulator.
    pub serial: &'a str,
    pub channel: &'a str,
    /// `http://host:port/response`, which takes the place of `https://hooks.slack.com`.
    pub hooks: &'a str,
    pub tick: Tick,
}

impl Template {
    /// Cuts a valid JSON document, dropping white space between its tokens.
    pub(crate) fn new(json: &str) -> Self {
        let json = compact(json);
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let mut rest = &json[..];
        while let Some((&byte, tail)) = rest.split_first() {
            if let Some((mark, field)) = MARKS.iter().find(|(mark, _)| rest.starts_with(mark.as_bytes())) {
                parts.push(Part::Text(std::mem::take(&mut text).into()));
                parts.push(Part::Field(*field));
                rest = &rest[mark.len()..];
            } else {
                text.push(byte);
                rest = tail;
            }
        }
        parts.push(Part::Text(text.into()));
        Self { parts, bytes: json.len() }
    }

    /// Joins the payload for one push.
    pub(crate) fn fill(&self, stamp: Stamp<'_>) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes + 128);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Field(field) => put_field(&mut out, *field, stamp),
            }
        }
        out.into()
    }
}

fn put_field(out: &mut Vec<u8>, field: Field, stamp: Stamp<'_>) {
    let Tick { seconds, micros } = stamp.tick;
    match field {
        Field::TriggerId => put(out, format_args!("{seconds}.{micros}.{}", stamp.serial)),
        Field::Ts => put(out, format_args!("{seconds}.{micros:06}")),
        Field::Seconds => put(out, format_args!("{seconds}")),
        Field::EventId => put(out, format_args!("Ev{}", stamp.serial)),
        Field::ExecutionId => put(out, format_args!("Fx{}", stamp.serial)),
        Field::AppId => out.extend_from_slice(stamp.app_id.as_bytes()),
        Field::TeamId => out.extend_from_slice(stamp.team_id.as_bytes()),
        Field::Channel => out.extend_from_slice(stamp.channel.as_bytes()),
        Field::HooksEscaped => out.extend_from_slice(stamp.hooks.replace('/', "\\/").as_bytes()),
        Field::Hooks => out.extend_from_slice(stamp.hooks.as_bytes()),
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory cannot fail");
}

/// Drops white space outside strings.
fn compact(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;
    use serde_json::Value;

    const STAMP: Stamp<'_> = Stamp {
        app_id: "A1",
        team_id: "T1",
        serial: "0000000042",
        channel: "C1",
        hooks: "http://127.0.0.1:1/response",
        tick: Tick { seconds: 1_800_000_000, micros: 7 },
    };

    #[test]
    fn every_sample_stays_json_and_keeps_no_made_up_id() {
        for sample in Sample::ALL {
            let filled = sample.template().fill(STAMP);
            let payload: Value = serde_json::from_slice(&filled).unwrap();
            let text = payload.to_string();
            for made_up in ["0SIMULATED\"", "1790000000", "hooks.slack.com"] {
                assert!(
                    !text.replace("D0SIMULATED", "").replace("E0SIMULATED", "").contains(made_up),
                    "{sample}: {made_up}"
                );
            }
        }
    }

    #[test]
    fn only_the_holes_differ_from_the_file() {
        let message = Sample::Message.template().fill(STAMP);
        let payload: Value = serde_json::from_slice(&message).unwrap();
        assert_eq!(payload["event_id"], "Ev0000000042");
        assert_eq!(payload["event"]["ts"], "1800000000.000007");
        assert_eq!(payload["event_time"], 1_800_000_000);
        let text = std::str::from_utf8(&message).unwrap();
        assert!(text.contains("https:\\/\\/wiki.example.com"), "escapes stay: {text}");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn white_space_goes_only_between_tokens() {
        assert_eq!(compact("{ \"a b\" :\n [1, \"\\\" c\\\\\" ] }"), br#"{"a b":[1,"\" c\\"]}"#);
    }
}
