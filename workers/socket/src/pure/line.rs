//! One tenant's line to Slack: which sockets it has, which it opens and closes, and what its state is.
//!
//! ```text
//!             Open            Hello                 renewal's Hello         closed by Slack, or by us
//!  (nothing) ─────► attempt ─────────► current ─────────────────────► leaving ──────────────► (gone)
//!                      │ failed, refused, no hello       │ lost
//!                      ▼                                 ▼
//!                   back-off, wait or park (the stand) ◄─┘
//! ```
//!
//! What is wanted and what is there are kept apart and reconciled on every input. Invariants: at most one attempt and
//! one current socket, at most [`LEAVING_MAX`] leaving; an attempt starts only while a socket is wanted and the stand
//! allows it; a socket that still works is given up only for one that has said hello, for the operator, or because
//! Slack switched Socket Mode off.

mod ghosts;
mod input;
mod leaving;
mod machine;
mod stand;
#[cfg(test)]
mod tests;

use std::time::Duration;

use taut_core::{AppId, Moment, Reason, TenantState};

use self::ghosts::Ghosts;
pub use self::input::Desired;
pub(crate) use self::input::{
    Alarm, CloseWhy, Delays, Event, Generation, Input, Output, Refusal, RefusalClass, Rules,
    outcome_on_the_way,
};
use self::stand::{Show, Stand};

/// A socket that has been live for so long is stable: back-off starts over.
const STABLE_AFTER: Duration = Duration::from_mins(1);
/// Slack closes a socket about 10 s after its `warning`; we wait so long before we do it.
const ANNOUNCED_CLOSE_MAX: Duration = Duration::from_secs(20);
/// A polite close: 3 s for requests, 1 s to read on, and slack for writes.
const RETIRE_MAX: Duration = Duration::from_secs(8);
/// Sockets on their way out; beyond, the oldest is cut off.
pub(crate) const LEAVING_MAX: usize = 4;

/// A socket being opened.
#[derive(Debug, Clone)]
struct Attempt {
    generation: Generation,
    /// Set once upgraded.
    hello_by: Option<Moment>,
    socket_mode_off: bool,
}

/// The socket that is in use.
#[derive(Debug, Clone)]
struct Current {
    generation: Generation,
    stable_at: Option<Moment>,
    renew_at: Option<Moment>,
    renewal: Option<Renewal>,
}

/// Why the current socket is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    /// Slack said it closes it; the label of its end, and until when we let it.
    Announced(&'static str, Moment),
    /// It nears the age at which Slack closes it.
    Age,
    /// It was opened with another token.
    Token,
}

/// A socket on its way out.
#[derive(Debug, Clone)]
struct Leaving {
    generation: Generation,
    /// The label of its end; `None` if it never said hello.
    reason: Option<&'static str>,
    /// What happens if it is still there then.
    deadline: Moment,
    /// Whether we have asked it to close.
    retired: bool,
}

/// What a socket is to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Attempt,
    Current,
    Leaving,
    /// One the line has given up.
    Gone,
}

/// The line's machine. See the module.
#[derive(Debug, Clone)]
pub(crate) struct Line<D> {
    rules: Rules,
    desired: Desired,
    stand: Stand<D>,
    attempt: Option<Attempt>,
    current: Option<Current>,
    leaving: Vec<Leaving>,
    last: Generation,
    /// Slack warned about Socket Mode at the current socket's opening, and no envelope has come since.
    socket_mode_off: bool,
    claimed: bool,
    ghosts: Ghosts,
    shown: Option<(TenantState, Reason)>,
    out: Vec<Output>,
}

impl<D: Delays> Line<D> {
    /// A line without sockets that wants nothing; the first input says what is wanted.
    pub(crate) fn new(rules: Rules, delays: D) -> Self {
        Self {
            rules,
            desired: Desired::Paused,
            stand: Stand::new(delays),
            attempt: None,
            current: None,
            leaving: Vec::new(),
            last: Generation(0),
            socket_mode_off: false,
            claimed: false,
            ghosts: Ghosts::default(),
            shown: None,
            out: Vec::new(),
        }
    }

    /// Takes one input and says what to do. Never blocks, never reads a clock.
    pub(crate) fn step(&mut self, now: Moment, input: Input) -> Vec<Output> {
        match input {
            Input::Desired(desired) => self.on_desired(now, desired),
            Input::TokenChanged => self.on_token(now),
            Input::AppTaken => self.on_app_taken(now),
            Input::Tick => {}
            Input::Socket(generation, event) => self.on_event(now, generation, event),
        }
        self.reconcile(now);
        self.show();
        std::mem::take(&mut self.out)
    }

    /// When to say [`Input::Tick`] at the latest.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        let attempt = self.attempt.as_ref().and_then(|attempt| attempt.hello_by);
        let renewal = self.current.as_ref().and_then(|current| current.renew_at);
        let stable = self.current.as_ref().and_then(|current| current.stable_at);
        let leaving = self.leaving.iter().map(|leaving| leaving.deadline).min();
        let open = if self.wants_socket() { self.stand.next_open() } else { None };
        [attempt, renewal, stable, leaving, open].into_iter().flatten().min()
    }

    /// Whether no socket is left, in whatever role.
    pub(crate) fn is_empty(&self) -> bool {
        self.attempt.is_none() && self.current.is_none() && self.leaving.is_empty()
    }

    /// Whether a socket has said hello and is in use.
    pub(crate) const fn is_live(&self) -> bool {
        self.current.is_some()
    }

    /// Sockets that have said hello and are still open.
    pub(crate) fn sockets(&self) -> u32 {
        let leaving = self.leaving.iter().filter(|leaving| leaving.reason.is_some()).count();
        u32::from(self.is_live()) + u32::try_from(leaving).unwrap_or(u32::MAX)
    }

    /// Whether the tenant is meant to hear: wanted, and not parked for a person.
    pub(crate) fn is_wanted(&self) -> bool {
        self.desired == Desired::Connected && (self.current.is_some() || !self.stand.parked())
    }

    /// The app this line is pinned to.
    pub(crate) const fn app_id(&self) -> Option<&AppId> {
        self.rules.app_id.as_ref()
    }

    fn role(&self, generation: Generation) -> Role {
        if self.attempt.as_ref().is_some_and(|attempt| attempt.generation == generation) {
            Role::Attempt
        } else if self.current.as_ref().is_some_and(|current| current.generation == generation) {
            Role::Current
        } else if self.leaving.iter().any(|leaving| leaving.generation == generation) {
            Role::Leaving
        } else {
            Role::Gone
        }
    }

    fn wants_socket(&self) -> bool {
        self.desired == Desired::Connected
            && self.attempt.is_none()
            && self.current.as_ref().is_none_or(|current| current.renewal.is_some())
    }

    /// Says the state where it is another than last said.
    fn show(&mut self) {
        let state = self.state();
        if self.shown.as_ref() != Some(&state) {
            self.out.push(Output::State(state.0, state.1.clone()));
            self.shown = Some(state);
        }
    }

    fn state(&self) -> (TenantState, Reason) {
        match (self.desired, &self.current, &self.stand.show) {
            (Desired::Paused, _, _) => {
                (TenantState::Paused, Reason::new("operator", "paused by an operator"))
            }
            (Desired::Quarantined, _, _) => {
                (TenantState::Quarantined, Reason::new("operator", "cut off by an operator"))
            }
            (Desired::Draining, _, _) => (TenantState::Moving, Reason::new("drain", "the worker stops")),
            (Desired::Connected, Some(_), _) if self.socket_mode_off => (
                TenantState::Waiting,
                Reason::new(
                    "socket_mode_off",
                    "Slack says that Socket Mode is not turned on; an admin of the app can switch it on in its \
                     settings. The socket is open all the same",
                ),
            ),
            // What stands against the next socket is worth showing beside the live one, its mere history is not.
            (Desired::Connected, Some(_), Show::Starting(_)) => {
                (TenantState::Connected, Reason::new("hello", ""))
            }
            (Desired::Connected, Some(_), Show::Waiting(reason) | Show::Parked(reason)) => {
                (TenantState::Connected, reason.clone())
            }
            (Desired::Connected, None, Show::Starting(reason)) => (TenantState::Starting, reason.clone()),
            (Desired::Connected, None, Show::Waiting(reason)) => (TenantState::Waiting, reason.clone()),
            (Desired::Connected, None, Show::Parked(reason)) => (TenantState::Parked, reason.clone()),
        }
    }
}
