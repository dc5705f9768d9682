//! What a program is told, and what its end means.
//!
//! | end | like the status | verdict |
//! |---|---|---|
//! | exit 0 | 200 | done; a request is answered with what it printed |
//! | exit 75 (`EX_TEMPFAIL` of sysexits.h) | 503 | transient |
//! | any other exit | 400 | poison; to an `app_rate_limited` notice: unhandled |
//! | killed by a signal that was not ours | none | transient: an out-of-memory kill is not the envelope's fault |
//! | out of time, and killed by us | none | transient |
//! | not started (missing, not allowed, no memory, no descriptors) | none | target fault |

use std::time::Duration;

use bytes::Bytes;
use taut_core::Envelope;

use super::headers::RouteHeaders;
use super::transcode::ascii_line;

/// Exit code that asks for a retry: `EX_TEMPFAIL`.
pub const EXIT_RETRY: i32 = 75;

/// The HTTP status that an exit code stands for, so that one table judges both.
pub const fn status_of_exit(code: i32) -> u16 {
    match code {
        0 => 200,
        EXIT_RETRY => 503,
        _ => 400,
    }
}

/// A program's standard input: the payload's JSON as one line of ASCII, whatever the kind, with a line break.
pub fn input(envelope: &Envelope) -> Bytes {
    let mut line = json_line(envelope).into_bytes();
    line.push(b'\n');
    line.into()
}

/// The payload as one line of ASCII JSON; `{}` where there is none.
pub fn json_line(envelope: &Envelope) -> String {
    match ascii_line(envelope.payload_text()) {
        line if line.is_empty() => "{}".to_owned(),
        line => line.into_owned(),
    }
}

/// A program's whole environment. No value holds a NUL or is longer than some hundred bytes.
pub fn environment(
    route: &RouteHeaders,
    envelope: &Envelope,
    attempt: u32,
    left: Duration,
) -> [(&'static str, String); 8] {
    [
        ("TAUT_TENANT", route.tenant().to_owned()),
        ("TAUT_ROUTE", route.route().to_owned()),
        ("TAUT_KIND", envelope.kind.name().to_owned()),
        ("TAUT_DELIVERY_ID", route.delivery_id(envelope)),
        ("TAUT_IDEMPOTENCY_KEY", route.idempotency_key(envelope)),
        ("TAUT_ATTEMPT", attempt.to_string()),
        ("TAUT_EPOCH", route.epoch().0.to_string()),
        ("TAUT_DEADLINE_MS", left.as_millis().to_string()),
    ]
}

/// What a program printed as an answer: without the line breaks at its end, as a shell's `$(…)` reads it.
pub fn answer(mut stdout: Bytes) -> Bytes {
    let last = stdout.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
    stdout.truncate(last.map_or(0, |last| last + 1));
    stdout
}

/// The last line of what a program said on its standard error, for a log line: at most 256 characters, none of them
/// a control character.
pub fn last_words(stderr: &[u8]) -> String {
    const CHARS_MAX: usize = 256;
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.chars().map(|char| if char.is_control() { ' ' } else { char }).take(CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use taut_core::{Epoch, RouteName, TenantId};

    use super::*;

    fn envelope(frame: &str) -> Envelope {
        Envelope::from_frame(&Bytes::copy_from_slice(frame.as_bytes())).unwrap()
    }

    #[test]
    fn programs_read_json_whatever_the_kind() {
        let command = r#"{"envelope_id":"e","type":"slash_commands","payload":{"command":"/é","text":"a"}}"#;
        assert_eq!(input(&envelope(command)), "{\"command\":\"/\\u00e9\",\"text\":\"a\"}\n");
        assert_eq!(input(&envelope(r#"{"envelope_id":"e","type":"events_api"}"#)), "{}\n");
    }

    #[test]
    fn line_breaks_at_the_end_are_no_answer() {
        for (printed, read) in [("hi\n", "hi"), ("hi \r\n\n", "hi "), ("\n", ""), ("", ""), ("a\nb", "a\nb")]
        {
            assert_eq!(answer(Bytes::copy_from_slice(printed.as_bytes())), read, "{printed:?}");
        }
    }

    #[test]
    fn last_words_are_one_short_plain_line() {
        assert_eq!(last_words(b"Traceback\n  x\nValueError: no\x1b[0m\n\n"), "ValueError: no [0m");
        assert_eq!(last_words(&vec![b'x'; 9_000]).chars().count(), 256);
        assert_eq!(last_words(b""), "");
    }

    proptest! {
        /// Slack's words reach the environment: whatever they are, a program can be started with them.
        #[test]
        fn whatever_slack_says_a_program_can_be_started(id in "\\PC{0,400}", event in ".{0,2000}") {
            let frame = serde_json::json!({
                "envelope_id": id, "type": "events_api", "payload": { "event_id": event, "event": {} }
            });
            let Ok(envelope) = Envelope::from_frame(&Bytes::from(frame.to_string())) else { return Ok(()) };
            let tenant = TenantId::new("acme").unwrap();
            let route = RouteHeaders::new(&tenant, &RouteName::new("bot").unwrap(), Epoch(1));
            for (name, value) in environment(&route, &envelope, 1, Duration::from_secs(1)) {
                prop_assert!(name.starts_with("TAUT_"));
                prop_assert!(value.len() <= 512 && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
            }
        }
    }
}
