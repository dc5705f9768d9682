//! Log lines: text or JSON on stderr, or entries of the systemd journal, with secrets redacted.
//!
//! ```text
//! log site ─► filter ─┬─► text, JSON ─► redact the line ────► stderr
//!                     └─► journal: redact each field, and ──► datagram to the journal, never waited for
//!                                  the message made of them
//! ```
//!
//! Log sites write no secrets; this is the net below them. Every finished line passes [`redact`] before it leaves the
//! process, whatever field, error text or `Debug` form it was made of, and so does what a panic says. Deliberately
//! absent: files and rotation (the service manager's), and rate limits.

mod journal;
mod redact;

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use taut_core::config::{LogConfig, LogFormat};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use self::journal::Journal;
pub use self::redact::redact;

/// Longest line, in bytes; the rest is cut.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `log.level` is neither a level nor a filter.
    #[error("must be error, warn, info, debug or trace, or a filter like info,taut_socket=debug")]
    Filter,
    /// The filter asks for lines that hold frames.
    #[error("must not name tungstenite: its debug lines hold whole frames and tickets")]
    Frames,
    /// Another subscriber is in force in this process.
    #[error("logging has already been set up in this process")]
    AlreadySet,
    /// `log.format` is `journald`, and there is none.
    #[error(
        "log.format is journald, but no journal listens at {} ({source}): start taut as a unit of systemd, or set \
         log.format to json",
        path.display()
    )]
    NoJournal {
        /// Where it was looked for.
        path: PathBuf,
        /// What connecting said.
        source: io::Error,
    },
}

/// The filter of a `log.level`.
///
/// # Errors
/// [`LoggingError::Filter`]. A bare word that is no level is refused here, though the filter's syntax would take it
/// for a target: it is a misspelt level.
pub fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    if !level.split(',').all(|part| part.contains('=') || is_level(part.trim())) {
        return Err(LoggingError::Filter);
    }
    if level.contains("tungstenite") {
        return Err(LoggingError::Frames);
    }
    let mut filter = EnvFilter::builder().parse(level).map_err(|_| LoggingError::Filter)?;
    // Below info these write whole frames and the upgrade's ticket: no level may open them.
    for directive in ["tungstenite=info", "tokio_tungstenite=info"] {
        filter = filter.add_directive(directive.parse().map_err(|_| LoggingError::Filter)?);
    }
    Ok(filter)
}

/// Sends this process's log lines to stderr or to the journal, and panics to the log. Call it once.
///
/// `is_terminal` says whether stderr is one: there `auto` means text in colour. Elsewhere it means the journal if stderr
/// leads to it and it listens, else JSON.
///
/// # Errors
/// [`LoggingError::Filter`] for a bad level, [`LoggingError::NoJournal`], [`LoggingError::AlreadySet`] on a second call.
pub fn init(config: &LogConfig, is_terminal: bool) -> Result<(), LoggingError> {
    let filter = filter(&config.level)?;
    let path = Path::new(&config.journal_socket);
    let sink = match config.format {
        LogFormat::Text => text(is_terminal),
        LogFormat::Json => json(),
        LogFormat::Journald => Journal::at(path)
            .map_err(|source| LoggingError::NoJournal { path: path.to_owned(), source })?
            .boxed(),
        LogFormat::Auto if is_terminal => text(true),
        LogFormat::Auto => match Journal::at(path) {
            Ok(journal) if journal::holds_stderr() => journal.boxed(),
            Ok(_) | Err(_) => json(),
        },
    };
    let (filter, handle) = reload::Layer::new(filter);
    let subscriber = tracing_subscriber::registry().with(filter).with(sink);
    subscriber.try_init().map_err(|_| LoggingError::AlreadySet)?;
    LEVEL.set(Box::new(move |new| handle.reload(new).is_ok())).unwrap_or_default();
    log_panics();
    Ok(())
}

/// What a line passes before it reaches a sink.
type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
/// Where lines go.
type Sink = Box<dyn Layer<Filtered> + Send + Sync>;

fn text(colour: bool) -> Sink {
    tracing_subscriber::fmt::layer().with_writer(Redacting(io::stderr)).with_ansi(colour).boxed()
}

fn json() -> Sink {
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    lines.with_writer(Redacting(io::stderr)).with_ansi(false).boxed()
}

/// Exchanges the filter of this process's subscriber.
type SetFilter = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;
static LEVEL: OnceLock<SetFilter> = OnceLock::new();

/// Goes on with another `log.level`; without [`init`] there is nothing to change.
///
/// # Errors
/// [`LoggingError::Filter`] for a bad level; the old one stays.
pub fn set_level(level: &str) -> Result<(), LoggingError> {
    let filter = filter(level)?;
    match LEVEL.get() {
        Some(set) if !set(filter) => Err(LoggingError::AlreadySet),
        Some(_) | None => Ok(()),
    }
}

/// Whether stderr is a terminal, for [`init`].
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Has a panic of a command, which has no log, say what it says without secrets.
pub fn redact_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = redact(&info.to_string()).into_owned();
        // Nobody is left to tell if stderr is gone.
        drop(writeln!(io::stderr(), "taut: {text}; this is a bug in taut"));
    }));
}

/// Panics become log lines, and so pass the same net.
fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload_as_str().unwrap_or("(a panic without a text)");
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        metrics::counter!(taut_core::metric::PANICS.name).increment(1);
        tracing::error!(panic = payload, at, thread = thread.name(), "panicked; this is a bug in taut");
    }));
}

/// Makes writers that redact each line before it reaches the sink.
#[derive(Debug, Clone)]
pub struct Redacting<M>(pub M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Redacting<M> {
    type Writer = Line<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { sink: self.0.make_writer(), bytes: Vec::new() }
    }
}

/// One log line. It is held until it is whole, then written at once.
#[derive(Debug)]
pub struct Line<W: Write> {
    sink: W,
    /// At most [`LINE_BYTES_MAX`] and one write.
    bytes: Vec<u8>,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.bytes.len() <= LINE_BYTES_MAX {
            self.bytes.extend_from_slice(part);
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&self.bytes);
        let line = redact(&line);
        let whole = if line.len() <= LINE_BYTES_MAX {
            self.sink.write_all(line.as_bytes())
        } else {
            let cut = line.floor_char_boundary(LINE_BYTES_MAX);
            let kept = line.get(..cut).unwrap_or_default();
            self.sink.write_all(format!("{kept}… (cut)\n").as_bytes())
        };
        self.bytes.clear();
        whole.and_then(|()| self.sink.flush())
    }
}

impl<W: Write> Drop for Line<W> {
    fn drop(&mut self) {
        // Nobody is left to tell if stderr is gone.
        drop(self.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a subscriber writes for one careless log site.
    fn careless(json: bool, ansi: bool) -> String {
        let memory = Memory::default();
        let sink = memory.clone();
        let builder = tracing_subscriber::fmt().with_writer(Redacting(move || sink.clone())).with_ansi(ansi);
        let log = || {
            let payload =
                r#"{"token":"Kq3hunter2","trigger_id":"13345224609.738474920.8088930838d88f008e0"}"#;
            tracing::info!(
                token = "hunter2",
                signing_secret = ?"hunter2 again",
                payload,
                url = "wss://wss-primary.slack.com/link/?ticket=hunter2&app_id=A1",
                tenant = "acme",
                "opened with xapp-1-A123-456-hunter2 and https://hooks.slack.com/commands/T1/hunter2"
            );
        };
        if json {
            tracing::subscriber::with_default(builder.json().flatten_event(true).finish(), log);
        } else {
            tracing::subscriber::with_default(builder.finish(), log);
        }
        let bytes = memory.0.lock().clone();
        String::from_utf8(bytes).expect("lines are text")
    }

    #[test]
    fn a_careless_log_site_leaks_nothing_in_any_format() {
        for (json, ansi) in [(true, false), (false, false), (false, true)] {
            let line = careless(json, ansi);
            assert!(!line.contains("hunter2") && !line.contains("8088930838"), "{line}");
            assert!(line.contains("acme") && line.contains("wss-primary.slack.com"), "{line}");
            assert_eq!(line.lines().count(), 1);
        }
    }

    #[test]
    fn a_redacted_json_line_is_still_json() {
        let line = careless(true, false);
        let parsed: serde_json::Value = serde_json::from_str(&line).expect("one object");
        assert_eq!(parsed["token"], "***");
        assert_eq!(parsed["tenant"], "acme");
    }

    #[test]
    fn an_endless_line_is_cut_after_it_was_redacted() {
        let memory = Memory::default();
        let mut line = Line { sink: memory.clone(), bytes: Vec::new() };
        let padding = "x".repeat(LINE_BYTES_MAX - 8);
        writeln!(line, "{padding} xapp-1-A123-hunter2").expect("memory takes everything");
        drop(line);
        let text = String::from_utf8(memory.0.lock().clone()).expect("text");
        assert!(text.len() < LINE_BYTES_MAX + 32 && text.ends_with('\n') && !text.contains("xapp-1"), "cut");
    }

    /// A hook and a subscriber belong to a whole process, so this test is run again in one of its own.
    #[test]
    fn a_panic_becomes_a_redacted_line() {
        const CHILD: &str = "TAUT_TEST_PANICS";
        if std::env::var_os(CHILD).is_some() {
            let json = LogConfig { format: LogFormat::Json, ..LogConfig::default() };
            init(&json, false).expect("the first call");
            assert!(matches!(init(&LogConfig::default(), false), Err(LoggingError::AlreadySet)));
            panic!("token xoxb-1-hunter2 does not fit");
        }
        let child = std::env::current_exe().and_then(|test| {
            std::process::Command::new(test)
                .args(["--exact", "logging::tests::a_panic_becomes_a_redacted_line", "--nocapture"])
                .env(CHILD, "1")
                .output()
        });
        let stderr = String::from_utf8(child.expect("this test runs again").stderr).expect("text");
        let line = stderr.lines().find(|line| line.starts_with('{')).expect("a JSON line");
        let line: serde_json::Value = serde_json::from_str(line).expect("one object");
        assert_eq!((&line["level"], &line["panic"]), (&"ERROR".into(), &"token *** does not fit".into()));
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }

    #[test]
    fn a_panic_of_a_command_is_redacted() {
        const CHILD: &str = "TAUT_TEST_COMMAND_PANICS";
        if std::env::var_os(CHILD).is_some() {
            redact_panics();
            panic!("token xoxb-1-hunter2 does not fit");
        }
        let child = std::env::current_exe().and_then(|test| {
            std::process::Command::new(test)
                .args(["--exact", "logging::tests::a_panic_of_a_command_is_redacted", "--nocapture"])
                .env(CHILD, "1")
                .output()
        });
        let stderr = String::from_utf8(child.expect("this test runs again").stderr).expect("text");
        assert!(stderr.contains("token *** does not fit") && !stderr.contains("hunter2"), "{stderr}");
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for good in ["info", "DEBUG", "info,taut_socket=debug", "off"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["", "inof", "info,", "info,taut=loud"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
