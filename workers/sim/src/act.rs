//! Everything the simulated Slack can be told to do to an app, as data: for scripts, control requests and handles.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::app::App;
use crate::duration;
use crate::envelope::{EnvelopeType, Push, Shape};
use crate::faults::{OpenFailure, UpgradeFailure};
use crate::journal::NoteKind;
use crate::sample::Sample;
use crate::shared::Shared;
use crate::socket::{CloseStyle, Command, Connection};

/// One order. In TOML and JSON the variant is the key `do`, in snake case.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// Pushes samples or a payload of one's own; nobody waits for the ack.
    Push {
        #[serde(default)]
        kind: Option<Sample>,
        /// A payload as JSON text, sent byte for byte; instead of `kind`.
        #[serde(default)]
        payload: Option<String>,
        #[serde(default = "one")]
        count: u32,
        #[serde(default)]
        channel: Option<String>,
        /// The envelope's type, if it should not be derived.
        #[serde(default)]
        envelope_type: Option<String>,
        #[serde(default)]
        accepts_response_payload: Option<bool>,
        /// Cuts the message into this many WebSocket fragments.
        #[serde(default = "one")]
        fragments: u32,
    },
    /// `disconnect` / `warning`, then the close after the switch's time.
    Warn,
    /// `disconnect` / `refresh_requested`, then the close.
    Refresh,
    /// `disconnect` with any reason, then the close unless `close = false`.
    Disconnect {
        reason: String,
        #[serde(default = "yes")]
        close: bool,
    },
    /// Socket Mode is switched off in the app's settings: `disconnect` / `link_disabled`.
    LinkDisabled,
    /// Only the setting: with `false` opens carry the `[WARN]` message and nothing is delivered.
    SocketMode { on: bool },
    /// TCP ends without a close frame.
    Drop,
    /// A TCP reset.
    Reset,
    /// A close frame with this code, unannounced.
    Close { code: u16 },
    /// The socket neither reads, writes nor pings, while TCP stays open.
    Silence,
    /// Ends silence and drip.
    Resume,
    /// The socket writes at most `bytes` every `every`.
    Drip {
        bytes: usize,
        #[serde(with = "duration")]
        every: Duration,
    },
    /// One text frame with these words.
    SendText { text: String },
    /// One binary frame of this length.
    SendBinary { bytes: usize },
    /// The text frame `null`.
    SendNull,
    /// An object nested this deep (at most 1,000,000).
    SendDeepJson { depth: usize },
    /// A valid envelope-less object of this many bytes (at most 256 MiB).
    SendHuge { bytes: usize },
    /// Every use of the app-level token answers this code.
    RevokeToken { code: String },
    /// The app-level token works again.
    RestoreToken,
    /// The next calls of `apps.connections.open` fail.
    FailOpens {
        #[serde(default = "one")]
        times: u32,
        failure: OpenFailure,
    },
    /// The next upgrades fail, or their sockets begin badly.
    FailUpgrades {
        #[serde(default = "one")]
        times: u32,
        failure: UpgradeFailure,
    },
    /// New sockets are not greeted until `release_hello`.
    HoldHello,
    /// Greets those that wait, and new ones again.
    ReleaseHello,
    /// Text frames that every new socket receives before its hello.
    BeforeHello { texts: Vec<String> },
    /// Sockets of somebody else: they count, and with `take` they take their share of envelopes.
    Ghosts {
        count: u32,
        #[serde(default)]
        take: bool,
    },
}

/// Queued faults an app may hold of either kind.
const FAULTS_MAX: usize = 10_000;

const fn one() -> u32 {
    1
}

const fn yes() -> bool {
    true
}

/// The sockets an order is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sockets {
    All,
    Only(u64),
}

impl Act {
    /// Carries the order out on one app.
    pub(crate) fn apply(&self, sim: &Arc<Shared>, app: &Arc<App>, sockets: Sockets) {
        let each =
            |run: &dyn Fn(&Connection)| chosen(app, sockets).iter().for_each(|connection| run(connection));
        let switches = &sim.switches;
        match self {
            Self::Push { .. } => self.push(sim, app),
            Self::Warn => disconnect(sim, app, sockets, "warning", Some(switches.close_after_warning)),
            Self::Refresh => {
                disconnect(sim, app, sockets, "refresh_requested", Some(switches.close_after_disconnect));
            }
            Self::Disconnect { reason, close } => {
                disconnect(sim, app, sockets, reason, close.then_some(switches.close_after_disconnect));
            }
            Self::LinkDisabled => {
                app.state.lock().socket_mode = false;
                disconnect(sim, app, sockets, "link_disabled", Some(switches.close_after_disconnect));
            }
            Self::SocketMode { on } => app.state.lock().socket_mode = *on,
            Self::Drop => each(&|connection| connection.command_now(close_now(CloseStyle::End))),
            Self::Reset => each(&|connection| connection.command_now(close_now(CloseStyle::Reset))),
            Self::Close { code } => {
                each(&|connection| connection.command(close_now(CloseStyle::Frame(*code))));
            }
            Self::Silence => each(&|connection| connection.command_now(Command::Silence)),
            Self::Resume => each(&|connection| connection.command_now(Command::Resume)),
            Self::Drip { bytes, every } => {
                each(&|connection| connection.command_now(Command::Drip { bytes: *bytes, every: *every }));
            }
            Self::SendText { text } => each(&|connection| connection.send_text(text.as_bytes())),
            Self::SendBinary { bytes } => {
                each(&|connection| connection.send_binary(&vec![0xA5; *bytes.min(&HUGE_MAX)]));
            }
            Self::SendNull => each(&|connection| connection.send_text(b"null")),
            Self::SendDeepJson { depth } => each(&|connection| connection.send_text(&deep_json(*depth))),
            Self::SendHuge { bytes } => each(&|connection| connection.send_text(&huge_json(*bytes))),
            Self::RevokeToken { code } => app.state.lock().token_error = Some(code.clone()),
            Self::RestoreToken => app.state.lock().token_error = None,
            Self::FailOpens { times, failure } => {
                let failures = &mut app.state.lock().open_failures;
                let room = FAULTS_MAX.saturating_sub(failures.len());
                failures.extend(std::iter::repeat_n(failure.clone(), room.min(*times as usize)));
            }
            Self::FailUpgrades { times, failure } => {
                let failures = &mut app.state.lock().upgrade_failures;
                let room = FAULTS_MAX.saturating_sub(failures.len());
                failures.extend(std::iter::repeat_n(failure.clone(), room.min(*times as usize)));
            }
            Self::HoldHello => app.state.lock().hold_hello = true,
            Self::ReleaseHello => {
                app.state.lock().hold_hello = false;
                each(&|connection| connection.command(Command::Hello));
            }
            Self::BeforeHello { texts } => app.state.lock().before_hello.clone_from(texts),
            Self::Ghosts { count, take } => {
                let mut state = app.state.lock();
                (state.ghosts, state.ghosts_take) = (*count, *take);
            }
        }
    }

    fn push(&self, sim: &Arc<Shared>, app: &Arc<App>) {
        let Self::Push { kind, payload, count, channel, envelope_type, accepts_response_payload, fragments } =
            self
        else {
            return;
        };
        let mut push = match payload {
            Some(payload) => Push::raw(payload.clone()),
            None => Push::from(kind.unwrap_or(Sample::Message)),
        };
        push.envelope_type = envelope_type.as_deref().map(EnvelopeType::from_name);
        push.accepts_payload = *accepts_response_payload;
        push.channel = channel.as_deref().map(Into::into);
        push.shape = if *fragments > 1 { Shape::Fragments(*fragments as usize) } else { Shape::Whole };
        for _ in 0..*count {
            app.produce(sim, &push, None);
        }
    }

    /// What reading alone cannot tell: keys beside an order that takes none, and payloads that are no JSON.
    pub(crate) fn check<'a>(&self, mut keys: impl Iterator<Item = &'a str>) -> Result<(), String> {
        if self.takes_nothing()
            && let Some(key) = keys.find(|key| *key != "do")
        {
            return Err(format!("this order takes no `{key}`"));
        }
        let Self::Push { kind, payload, .. } = self else { return Ok(()) };
        if kind.is_some() && payload.is_some() {
            return Err("push takes `kind` or `payload`, not both".to_owned());
        }
        match payload.as_deref().map(serde_json::from_str::<&RawValue>) {
            Some(Err(error)) => Err(format!("`payload` is not JSON: {error}")),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Orders without fields; serde lets unknown keys pass beside them.
    const fn takes_nothing(&self) -> bool {
        matches!(
            self,
            Self::Warn
                | Self::Refresh
                | Self::LinkDisabled
                | Self::Drop
                | Self::Reset
                | Self::Silence
                | Self::Resume
                | Self::SendNull
                | Self::RestoreToken
                | Self::HoldHello
                | Self::ReleaseHello
        )
    }
}

const HUGE_MAX: usize = 256 << 20;

const fn close_now(style: CloseStyle) -> Command {
    Command::Close { after: Duration::ZERO, style }
}

fn chosen(app: &App, sockets: Sockets) -> Vec<Arc<Connection>> {
    let state = app.state.lock();
    let wanted = |connection: &&Arc<Connection>| match sockets {
        Sockets::All => true,
        Sockets::Only(id) => connection.id == id,
    };
    state.connections.iter().filter(wanted).cloned().collect()
}

fn disconnect(sim: &Shared, app: &App, sockets: Sockets, reason: &str, close_after: Option<Duration>) {
    let style = if sim.switches.close_with_frame { CloseStyle::Frame(1001) } else { CloseStyle::End };
    for connection in chosen(app, sockets) {
        connection.send_disconnect(reason);
        if let Some(after) = close_after {
            connection.command(Command::Close { after, style });
        }
        let note = NoteKind::Disconnect { connection: connection.id, reason: reason.to_owned() };
        sim.journal.note(Some(&app.id), note);
    }
}

fn deep_json(depth: usize) -> Vec<u8> {
    let depth = depth.min(1_000_000);
    [br#"{"type":"deep","payload":"#.to_vec(), vec![b'['; depth], vec![b']'; depth], b"}".to_vec()].concat()
}

fn huge_json(bytes: usize) -> Vec<u8> {
    const AROUND: usize = br#"{"type":"huge","filler":""}"#.len();
    let filler = vec![b'x'; bytes.min(HUGE_MAX).saturating_sub(AROUND)];
    [br#"{"type":"huge","filler":""#.as_slice(), &filler, br#""}"#].concat()
}
