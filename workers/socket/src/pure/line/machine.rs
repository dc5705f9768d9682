//! The line's transitions: one method for each input, one arm for each role and event.

use std::time::Duration;

use taut_core::envelope::Hello;
use taut_core::{AppId, Moment, Reason};

use super::{
    ANNOUNCED_CLOSE_MAX, Alarm, Attempt, CloseWhy, Current, Delays, Desired, Event, Generation, Line, Output,
    Refusal, RefusalClass, Renewal, Role, STABLE_AFTER, outcome_on_the_way,
};

/// Connections that Slack would refresh sooner than this are not replaced by age: its own word comes soon enough.
const AGED_MIN: Duration = Duration::from_mins(2);

impl<D: Delays> Line<D> {
    pub(super) fn on_desired(&mut self, now: Moment, desired: Desired) {
        self.desired = desired;
        if desired == Desired::Connected {
            self.stand.cleared(now, Reason::new("start", ""));
        }
    }

    pub(super) fn on_token(&mut self, now: Moment) {
        self.stand.cleared(now, Reason::new("token_changed", ""));
        self.give_up_attempt(now);
        if let Some(current) = &mut self.current {
            current.renewal.get_or_insert(Renewal::Token);
        }
    }

    pub(super) fn on_app_taken(&mut self, now: Moment) {
        self.out.push(Output::Alarm(Alarm::DuplicateApp));
        self.stand.park(
            now,
            Reason::new(
                "duplicate_app",
                "another tenant already holds this app; remove one of the two tenants",
            ),
        );
        // The app is to be claimed again before its envelopes count as this tenant's.
        self.claimed = false;
        self.give_up_attempt(now);
        self.leave_current(now, "foreign_app");
    }

    pub(super) fn on_event(&mut self, now: Moment, generation: Generation, event: Event) {
        match (self.role(generation), event) {
            (Role::Attempt, Event::Opened { socket_mode_off }) => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.socket_mode_off = socket_mode_off;
                }
            }
            (Role::Attempt, Event::OpenFailed(refusal)) => self.on_refused(now, refusal),
            (Role::Attempt, Event::DialFailed(reason)) => {
                self.end_attempt(outcome_on_the_way(&reason.code, "dial_failed"));
                self.stand.retry(now, reason);
            }
            (Role::Attempt, Event::UpgradeRefused { status, proxy_like }) => {
                self.end_attempt("upgrade_refused");
                self.stand.retry(now, upgrade_reason(status, proxy_like));
            }
            (Role::Attempt, Event::Upgraded) => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.hello_by = Some(now + self.rules.hello_timeout);
                }
            }
            (Role::Attempt, Event::Useless) => {
                self.abort_attempt("other");
                let text = "Slack accepted the socket and then sent something else than hello";
                self.stand.retry(now, Reason::new("useless_socket", text));
            }
            (Role::Attempt, Event::Hello(hello)) => self.on_hello(now, &hello),
            (Role::Attempt, Event::Disconnect(reason)) => self.on_turned_away(now, &reason),
            (Role::Attempt, Event::Closed(why)) => {
                self.end_attempt("other");
                if why == CloseWhy::FrameTooLarge {
                    self.out.push(Output::Alarm(Alarm::FrameTooLarge));
                }
                let text = "the socket ended before Slack said hello";
                self.stand.retry(now, Reason::new("closed_before_hello", text));
            }
            (Role::Current, Event::Disconnect(reason)) => self.on_disconnect(now, &reason),
            (Role::Current, Event::Closed(why)) => self.on_loss(now, why),
            (Role::Current | Role::Leaving, Event::EnvelopeSeen) => self.socket_mode_off = false,
            (Role::Leaving, Event::Disconnect(reason)) => self.on_parting_word(now, &reason),
            (Role::Leaving, Event::Closed(_)) => self.forget(now, generation),
            // An envelope before hello proves nothing about Socket Mode's switch: hello decides first.
            (Role::Attempt, Event::EnvelopeSeen) => {}
            // A socket is opened once and says hello once; a leaving one is past caring.
            (
                Role::Current | Role::Leaving,
                Event::Opened { .. }
                | Event::OpenFailed(_)
                | Event::DialFailed(_)
                | Event::UpgradeRefused { .. }
                | Event::Upgraded
                | Event::Useless
                | Event::Hello(_),
            ) => {}
            // Late news of a socket the line has given up.
            (Role::Gone, _) => {}
        }
    }

    fn on_refused(&mut self, now: Moment, refusal: Refusal) {
        let outcome = match refusal.class {
            _ if refusal.retry_after.is_some() => "rate_limited",
            RefusalClass::Park => "park",
            RefusalClass::Wait => "wait",
            RefusalClass::Retry => outcome_on_the_way(&refusal.code, "retry"),
        };
        self.end_attempt(outcome);
        if let Some(pause) = refusal.retry_after {
            self.out.push(Output::HoldOpens(now + pause));
        }
        self.stand.refused(now, refusal);
    }

    fn on_hello(&mut self, now: Moment, hello: &Hello) {
        let Some(attempt) = self.attempt.take() else { return };
        if let Some(found) = self.other_app(hello) {
            self.out.extend([
                Output::Abort(attempt.generation),
                Output::OpenEnded("other"),
                Output::Alarm(Alarm::ForeignApp { found: found.clone() }),
            ]);
            let text = format!(
                "the app-level token belongs to app {found}, not to this tenant's; correct app_token or app_id"
            );
            return self.stand.park(now, Reason::new("foreign_app", text));
        }
        self.pin(hello);
        self.stand.hello();
        self.socket_mode_off = attempt.socket_mode_off;
        if let Some(old) = self.current.take() {
            self.leave(now, &old);
        }
        self.current = Some(Current {
            generation: attempt.generation,
            stable_at: Some(now + STABLE_AFTER),
            renew_at: hello
                .approximate_connection_time
                .and_then(|secs| self.renewal_age(attempt.generation, secs))
                .map(|age| now + age),
            renewal: None,
        });
        self.out
            .extend([Output::OpenEnded("hello"), Output::Current(attempt.generation, hello.num_connections)]);
        let held = 1 + u32::try_from(self.leaving.len()).unwrap_or(u32::MAX);
        if let Some(foreign) = hello.num_connections.and_then(|count| self.ghosts.hello(now, count, held)) {
            self.out.push(Output::Foreign(foreign));
            if foreign > 0 {
                self.out.push(Output::Alarm(Alarm::ForeignSockets(foreign)));
            }
        }
    }

    /// The app a hello names, if it is not the tenant's.
    fn other_app(&self, hello: &Hello) -> Option<String> {
        let found = hello.app_id.as_ref()?;
        let expected = self.rules.app_id.as_ref()?;
        (found != expected.as_str()).then(|| found.clone())
    }

    /// Learns the app from the first hello that names one, and claims it once.
    fn pin(&mut self, hello: &Hello) {
        let Some(app_id) = hello.app_id.as_deref().and_then(|text| AppId::new(text).ok()) else { return };
        if !self.claimed {
            self.claimed = true;
            self.out.push(Output::Claim(app_id.clone()));
        }
        self.rules.app_id.get_or_insert(app_id);
    }

    /// At 75 to 90 % of the time Slack gives a connection, spread by tenant and socket.
    fn renewal_age(&self, generation: Generation, secs: u64) -> Option<Duration> {
        let secs = secs.min(7 * 86_400);
        if Duration::from_secs(secs) < AGED_MIN {
            return None;
        }
        let spread =
            self.rules.seed.wrapping_add(u64::from(generation.0)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let permille = 750 + (spread >> 32) % 150;
        Some(Duration::from_millis(secs * permille))
    }

    /// Slack will close the current socket.
    fn on_disconnect(&mut self, now: Moment, reason: &str) {
        match reason {
            "too_many_websockets" => {
                self.out.push(Output::Alarm(Alarm::TooManyWebsockets));
                self.stand.too_many(now);
                self.give_up_attempt(now);
                self.await_close(now, "too_many_websockets");
            }
            "link_disabled" => {
                self.stand.link_disabled(now);
                self.give_up_attempt(now);
                self.await_close(now, "link_disabled");
            }
            _ => {
                let label = match reason {
                    "warning" => "warning",
                    "refresh_requested" => "refresh_requested",
                    _ => "other",
                };
                let Some(current) = &mut self.current else { return };
                if matches!(current.renewal, Some(Renewal::Announced(..))) {
                    return;
                }
                let renewing = current.renewal.is_some();
                current.renewal = Some(Renewal::Announced(label, now + ANNOUNCED_CLOSE_MAX));
                if !renewing {
                    self.stand.lost(now, Reason::new(label, "Slack replaces the connection"));
                }
            }
        }
    }

    /// Slack turned an attempt away after the upgrade.
    fn on_turned_away(&mut self, now: Moment, reason: &str) {
        match reason {
            "too_many_websockets" => {
                self.out.push(Output::Alarm(Alarm::TooManyWebsockets));
                self.stand.too_many(now);
            }
            "link_disabled" => self.stand.link_disabled(now),
            _ => self.stand.retry(now, Reason::new("turned_away", "Slack ended the socket before its hello")),
        }
        self.give_up_attempt(now);
    }

    /// Something that concerns the whole app was said on a socket that is leaving anyway.
    fn on_parting_word(&mut self, now: Moment, reason: &str) {
        if reason == "too_many_websockets" && !self.stand.is_held(now) {
            self.out.push(Output::Alarm(Alarm::TooManyWebsockets));
            self.stand.too_many(now);
            self.give_up_attempt(now);
        }
        // `link_disabled` reaches every socket of the app; the current one says it for itself.
    }

    fn on_loss(&mut self, now: Moment, why: CloseWhy) {
        let Some(current) = self.current.take() else { return };
        let label = match (current.renewal, why) {
            (Some(Renewal::Announced(label, _)), CloseWhy::Peer | CloseWhy::Transport) => label,
            (_, why) => why.name(),
        };
        self.out.push(Output::SocketEnded(label));
        self.ghosts.closed(now);
        let reason = Reason::new(label, loss_text(why));
        if why == CloseWhy::FrameTooLarge {
            self.out.push(Output::Alarm(Alarm::FrameTooLarge));
            self.stand.retry(now, reason);
        } else if current.renewal.is_none() {
            self.stand.lost(now, reason);
        } else {
            // Its replacement is on the way, or already has its own pause.
            self.stand.note(reason);
        }
    }

    /// Brings what is there in line with what is wanted, and ends what has run out of time.
    pub(super) fn reconcile(&mut self, now: Moment) {
        match self.desired {
            Desired::Connected => {}
            Desired::Paused => {
                self.give_up_attempt(now);
                self.leave_current(now, "operator");
            }
            Desired::Draining => {
                self.give_up_attempt(now);
                self.leave_current(now, "drain");
            }
            Desired::Quarantined => self.cut_off(now),
        }
        if self.attempt.as_ref().is_some_and(|attempt| attempt.hello_by.is_some_and(|by| by <= now)) {
            self.abort_attempt("no_hello");
            let text = "Slack accepted the socket and said no hello in time";
            self.stand.retry(now, Reason::new("no_hello", text));
        }
        if let Some(current) = &mut self.current {
            if current.stable_at.is_some_and(|at| at <= now) {
                current.stable_at = None;
                self.stand.stable();
            }
            if current.renew_at.is_some_and(|at| at <= now) {
                current.renew_at = None;
                current.renewal.get_or_insert(Renewal::Age);
            }
        }
        self.hurry_leaving(now);
        if self.wants_socket() && self.stand.next_open().is_some_and(|at| at <= now) {
            self.last = Generation(self.last.0.wrapping_add(1));
            self.attempt = Some(Attempt { generation: self.last, hello_by: None, socket_mode_off: false });
            self.out.push(Output::Open(self.last));
        }
    }

    /// Ends an attempt whose task has already ended.
    fn end_attempt(&mut self, outcome: &'static str) {
        if self.attempt.take().is_some() {
            self.out.push(Output::OpenEnded(outcome));
        }
    }

    pub(super) fn abort_attempt(&mut self, outcome: &'static str) {
        if let Some(attempt) = &self.attempt {
            self.out.push(Output::Abort(attempt.generation));
        }
        self.end_attempt(outcome);
    }

    /// Stops an attempt: one that is upgraded is closed politely, so that it does not go on counting at Slack.
    fn give_up_attempt(&mut self, now: Moment) {
        let Some(attempt) = self.attempt.take() else { return };
        self.out.push(Output::OpenEnded("other"));
        if attempt.hello_by.is_some() {
            self.push_leaving(now, attempt.generation, None, None);
        } else {
            self.out.push(Output::Abort(attempt.generation));
        }
    }
}

fn loss_text(why: CloseWhy) -> &'static str {
    match why {
        CloseWhy::Peer => "Slack closed the connection; taut opens another",
        CloseWhy::Transport => "the connection to Slack was lost; taut opens another",
        CloseWhy::Quiet => {
            "nothing came from Slack within slack.quiet_max, not even the answer to a ping: the path is \
                            dead; taut opens another connection"
        }
        CloseWhy::FrameTooLarge => {
            "Slack sent a frame larger than slack.frame_bytes_max; it was not read, the \
                                    connection was closed, and taut opens another after a pause"
        }
        CloseWhy::Retired | CloseWhy::Lost => "the connection ended; taut opens another",
    }
}

fn upgrade_reason(status: u16, proxy_like: bool) -> Reason {
    let text = match status {
        _ if proxy_like => "a proxy answered instead of Slack: let it pass WebSocket upgrades",
        409 => "Slack refused the upgrade because another socket of the app was opening; taut tries again",
        408 => "Slack timed the upgrade out; taut tries again",
        _ => "Slack refused the upgrade; taut tries again with a new ticket",
    };
    Reason::new("upgrade_refused", format!("{text} (status {status})"))
}
