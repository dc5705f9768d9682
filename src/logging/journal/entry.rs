//! One log line as an entry of the journal: fields in its native protocol, each redacted and bounded.
//!
//! `tenant = "acme"` becomes `TENANT=acme`, and ` tenant="acme"` at the message's end too: `journalctl` shows messages
//! only, and `grep` should find what a text line would hold. A name that means something to the journal itself gets an
//! `F_` before it. A value with line breaks is sent with its length, so no value can pass for another field.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::logging::redact::{MASK, is_secret, redact};

/// Longest value of a field, and longest message, in bytes; the rest is cut.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// Of a value, bytes that are looked at before it is redacted and cut.
const RAW_BYTES_MAX: usize = 64 << 10;
/// All fields but the message together, in bytes; further ones are left out. With the message still a third of what a
/// Unix datagram may have by default (`net.core.wmem_default`, 208 KiB).
const FIELDS_BYTES_MAX: usize = 48 << 10;
/// Longest name the journal takes.
const NAME_BYTES_MAX: usize = 64;
/// Names with a meaning of their own, and beginnings of such names.
const RESERVED: [&str; 11] = [
    "MESSAGE",
    "PRIORITY",
    "CODE_",
    "SYSLOG_",
    "ERRNO",
    "INVOCATION_ID",
    "USER_",
    "UNIT",
    "COREDUMP_",
    "OBJECT_",
    "LINES_LOST",
];

/// An entry that is being put together.
#[derive(Debug)]
pub(super) struct Entry {
    message: String,
    /// ` name=value` of each field, for the message's end.
    tail: String,
    /// Finished fields in the protocol's form.
    fields: Vec<u8>,
    target: String,
}

impl Entry {
    /// The entry of one event; `lost` lines before it never reached the journal.
    pub(super) fn of(event: &Event<'_>, lost: u64) -> Self {
        let metadata = event.metadata();
        let mut entry = Self {
            message: String::new(),
            tail: String::new(),
            fields: Vec::new(),
            target: metadata.target().to_owned(),
        };
        put(&mut entry.fields, "PRIORITY", priority(*metadata.level()));
        put(&mut entry.fields, "SYSLOG_IDENTIFIER", "taut");
        if lost > 0 {
            put(&mut entry.fields, "LINES_LOST", &lost.to_string());
        }
        event.record(&mut entry);
        if lost > 0 {
            entry.tail = format!("{} ({lost} lines before this one are lost)", entry.tail);
        }
        entry
    }

    /// The datagram.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let Self { mut message, tail, mut fields, target } = self;
        message.push_str(&tail);
        // The parts are redacted; together they may make sense in another way.
        put(&mut fields, "MESSAGE", &cut(&redact(&one_line(&message)), VALUE_BYTES_MAX));
        put(&mut fields, "TARGET", &cut(&redact(&target), NAME_BYTES_MAX * 2));
        fields
    }

    /// Takes a field; `shown` is the form it has in the message.
    fn take(&mut self, name: &str, value: &str, shown: impl FnOnce(&str) -> String) {
        let value = if is_secret(name) { MASK.into() } else { redact(value) };
        let value = cut(&value, VALUE_BYTES_MAX);
        match name {
            "message" => self.message = value,
            // What a library logged by the `log` crate names its module so.
            "log.target" => self.target = value,
            _ if name.starts_with("log.") => {}
            name => {
                if self.fields.len() + name.len() + value.len() <= FIELDS_BYTES_MAX {
                    put(&mut self.fields, &journal_name(name), &value);
                }
                if self.tail.len() < VALUE_BYTES_MAX {
                    self.tail.extend([" ", name, "=", &shown(&value)]);
                }
            }
        }
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        let raw = value.get(..value.floor_char_boundary(RAW_BYTES_MAX)).unwrap_or_default();
        self.take(field.name(), raw, |value| format!("{value:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut raw = Bounded(String::new());
        // An error means that enough was written.
        write!(raw, "{value:?}").unwrap_or_default();
        self.take(field.name(), &raw.0, str::to_owned);
    }
}

/// Text of at most [`RAW_BYTES_MAX`]; refuses what comes after.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = RAW_BYTES_MAX - self.0.len();
        let fits = part.get(..part.floor_char_boundary(room)).unwrap_or_default();
        self.0.push_str(fits);
        if fits.len() == part.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Syslog's number for a level.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// A field's name as the journal takes it: capitals, digits and underscores, a capital first.
fn journal_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let mut name: String = name.chars().map(plain).collect();
    let reserved = RESERVED.iter().any(|known| match known.strip_suffix('_') {
        Some(_) => name.starts_with(known),
        None => name == *known || *known == "MESSAGE" && name.starts_with("MESSAGE_"),
    });
    if reserved || !name.starts_with(|first: char| first.is_ascii_uppercase()) {
        name.insert_str(0, "F_");
    }
    name.truncate(NAME_BYTES_MAX);
    name
}

/// Appends one field in the journal's native protocol.
fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// The text without line breaks and other control characters, which `journalctl` would show as a blob.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

fn cut(text: &str, bytes_max: usize) -> String {
    match text.get(..text.floor_char_boundary(bytes_max)) {
        Some(kept) if kept.len() < text.len() => format!("{kept}… (cut)"),
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use proptest::prelude::*;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;

    /// Keeps the last entry.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl<S: tracing::Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            *self.0.lock() = Entry::of(event, 0).into_bytes();
        }
    }

    /// The entry of what `log` logs.
    fn entry(log: impl FnOnce()) -> Vec<u8> {
        let kept = Kept::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(kept.clone()), log);
        std::mem::take(&mut *kept.0.lock())
    }

    /// An entry taken apart, as the journal does it.
    fn fields(mut rest: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|b| matches!(b, b'=' | b'\n')).expect("a name's end");
            let name = String::from_utf8(rest[..end].to_vec()).expect("a name");
            let sized = rest[end] == b'\n';
            rest = &rest[end + 1..];
            let length = if sized {
                let (length, after) = rest.split_first_chunk().expect("a length");
                rest = after;
                usize::try_from(u64::from_le_bytes(*length)).expect("a length")
            } else {
                rest.iter().position(|b| *b == b'\n').expect("a value's end")
            };
            fields.push((name, String::from_utf8(rest[..length].to_vec()).expect("text")));
            assert_eq!(rest[length], b'\n');
            rest = &rest[length + 1..];
        }
        fields
    }

    #[test]
    fn a_line_becomes_fields_and_a_message_that_tells_all_of_them() {
        let bytes = entry(|| {
            tracing::warn!(tenant = "acme", route = %"bot", socket = 7, error = "a\nb", priority = 1, "lost it");
        });
        let expected = [
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "taut"),
            ("TENANT", "acme"),
            ("ROUTE", "bot"),
            ("SOCKET", "7"),
            ("ERROR", "a\nb"),
            ("F_PRIORITY", "1"),
            ("MESSAGE", r#"lost it tenant="acme" route=bot socket=7 error="a\nb" priority=1"#),
            ("TARGET", module_path!()),
        ];
        assert_eq!(fields(&bytes), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn names_the_journal_keeps_for_itself_are_left_to_it() {
        for (name, journals) in [
            ("tenant", "TENANT"),
            ("unit", "F_UNIT"),
            ("units", "UNITS"),
            ("message_id", "F_MESSAGE_ID"),
            ("_pid", "F__PID"),
            ("7th", "F_7TH"),
            ("otel.name", "OTEL_NAME"),
        ] {
            assert_eq!(journal_name(name), journals);
        }
        assert_eq!(journal_name(&"n".repeat(100)).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn a_careless_log_site_leaks_nothing_into_any_field() {
        let bytes = entry(|| {
            tracing::info!(
                token = "hunter2",
                bot_token = 2,
                signing_secret = ?"hunter2 again",
                payload = r#"{"token":"Kq3hunter2","trigger_id":"13345224609.738474920.8088930838d88f008e0"}"#,
                url = "wss://wss-primary.slack.com/link/?ticket=hunter2&app_id=A1",
                lines = "first\nxoxb-1-hunter2\nlast",
                tenant = "acme",
                "opened with xapp-1-A123-456-hunter2 and https://hooks.slack.com/commands/T1/hunter2"
            );
        });
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains("hunter2") && !text.contains("8088930838"), "{text}");
        let fields = fields(&bytes);
        let has = |name: &str, value: &str| fields.contains(&(name.to_owned(), value.to_owned()));
        assert!(has("TOKEN", MASK) && has("BOT_TOKEN", MASK) && has("SIGNING_SECRET", MASK), "{fields:?}");
        assert!(has("LINES", "first\n***\nlast") && has("TENANT", "acme"), "{fields:?}");
    }

    #[test]
    fn an_entry_stays_small_whatever_it_is_told() {
        let long = "é".repeat(100_000);
        let bytes = entry(|| {
            tracing::info!(a = long, b = ?long, c = %long, d = long, e = long, f = long, "{long} xapp-1-A-hunter2");
        });
        assert!(bytes.len() <= FIELDS_BYTES_MAX + VALUE_BYTES_MAX + 1024, "{}", bytes.len());
        let fields = fields(&bytes);
        assert!(fields.iter().any(|(name, value)| name == "MESSAGE" && value.ends_with("… (cut)")));
    }

    proptest! {
        #[test]
        fn no_secret_in_any_field_and_no_value_passes_for_a_field(
            before in "(\\PC|\n|\u{1b}|=){0,20}",
            after in "[ \",}\n](\\PC|\n|=){0,20}",
        ) {
            let value = format!("{before}xoxb-123-hunter2{after}");
            let secret = "hunter2".to_owned() + &after;
            let bytes = entry(|| {
                tracing::info!(shown = value, debugged = ?value, displayed = %value, app_token = secret, "{value}");
            });
            prop_assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"));
            let fields = fields(&bytes);
            let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
            prop_assert_eq!(
                names,
                ["PRIORITY", "SYSLOG_IDENTIFIER", "SHOWN", "DEBUGGED", "DISPLAYED", "APP_TOKEN", "MESSAGE", "TARGET"]
            );
            let message = fields.iter().find(|(name, _)| name == "MESSAGE");
            prop_assert!(message.is_some_and(|(_, message)| !message.contains(char::is_control)));
        }
    }
}
