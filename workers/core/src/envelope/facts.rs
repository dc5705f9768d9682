//! What a payload says that taut acts on.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::fields::{Fields, Value, fields};
use crate::Kind;

/// What routing, order and safety checks need to know of a payload. Absent where the payload does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// `payload.type`, e.g. `block_actions`.
    pub payload_type: Option<Cow<'a, str>>,
    /// `payload.event.type`, e.g. `message`.
    pub event_type: Option<Cow<'a, str>>,
    /// `payload.command`, with its slash.
    pub command: Option<Cow<'a, str>>,
    /// The callback id of the view, shortcut, dialog or function; for block actions the first action's id.
    pub callback_id: Option<Cow<'a, str>>,
    /// The workspace, through which the app received it where Slack says so.
    pub team: Option<Cow<'a, str>>,
    /// The channel it is about.
    pub channel: Option<Cow<'a, str>>,
    /// The thread, or the message that may start one.
    pub thread: Option<Cow<'a, str>>,
    /// The user who did it.
    pub user: Option<Cow<'a, str>>,
    /// For what happens in a view: the user who looks at it.
    pub view_user: Option<Cow<'a, str>>,
    /// The app it is meant for.
    pub api_app_id: Option<Cow<'a, str>>,
    /// Where a late or large answer may be posted.
    pub response_url: Option<Cow<'a, str>>,
    /// `payload.event_time`, in seconds since the Unix epoch.
    pub event_time: Option<u64>,
}

fields! {
    struct RawPayload {
        payload_type = b"type",
        event_id = b"event_id",
        api_app_id = b"api_app_id",
        event_time = b"event_time",
        context_team_id = b"context_team_id",
        team_id = b"team_id",
        team = b"team",
        user = b"user",
        user_id = b"user_id",
        channel = b"channel",
        channel_id = b"channel_id",
        view = b"view",
        message = b"message",
        command = b"command",
        callback_id = b"callback_id",
        actions = b"actions",
        action_id = b"action_id",
        response_url = b"response_url",
        [event = b"event": RawInner]
    }
}

fields! {
    struct RawInner {
        inner_type = b"type",
        channel = b"channel",
        channel_id = b"channel_id",
        item = b"item",
        user = b"user",
        ts = b"ts",
        thread_ts = b"thread_ts",
        message = b"message",
        previous_message = b"previous_message",
        function = b"function",
        id = b"id",
        callback_id = b"callback_id",
        action_id = b"action_id",
        view = b"view",
        team_id = b"team_id",
    }
}

impl<'a> Facts<'a> {
    /// Reads the facts of a payload. Whatever the bytes, this returns: what cannot be read is absent.
    pub fn read(kind: Kind, payload: &'a str) -> Self {
        RawPayload::read(payload).map_or_else(Self::default, |raw| Self::of(kind, &raw))
    }

    /// The facts of a payload whose fields have been found.
    pub(super) fn of(kind: Kind, raw: &RawPayload<'a>) -> Self {
        let mut facts = Self {
            payload_type: raw.payload_type.text(),
            api_app_id: raw.api_app_id.text(),
            team: raw
                .context_team_id
                .text()
                .or_else(|| raw.team_id.text())
                .or_else(|| id_of(raw.team))
                .or_else(|| inner(raw.user)?.team_id.text()),
            user: id_of(raw.user).or_else(|| raw.user_id.text()),
            channel: id_of(raw.channel).or_else(|| raw.channel_id.text()),
            command: raw.command.text(),
            response_url: raw.response_url.text(),
            event_time: raw.event_time.number(),
            ..Self::default()
        };
        facts.callback_id = inner(raw.view)
            .and_then(|view| view.callback_id.text())
            .or_else(|| raw.callback_id.text())
            .or_else(|| raw.action_id.text())
            .or_else(|| first_action(raw.actions));
        if !raw.view.is_absent() {
            facts.view_user.clone_from(&facts.user);
        }
        facts.thread = inner(raw.message).and_then(|message| thread_of(&message));
        if kind == Kind::EventsApi {
            facts.read_event(&raw.event.fields);
        }
        facts
    }

    fn read_event(&mut self, event: &RawInner<'a>) {
        let about = inner(if event.message.is_absent() { event.previous_message } else { event.message });
        let (about, item) = (about.as_ref(), inner(event.item));
        self.event_type = event.inner_type.text();
        self.channel = id_of(event.channel)
            .or_else(|| event.channel_id.text())
            .or_else(|| id_of(item.as_ref()?.channel))
            .or_else(|| id_of(about?.channel));
        self.user = id_of(event.user).or_else(|| id_of(about?.user));
        self.thread =
            about.and_then(thread_of).or_else(|| thread_of(event)).or_else(|| item.as_ref()?.ts.text());
        self.callback_id = inner(event.function)
            .and_then(|function| function.callback_id.text())
            .or_else(|| event.callback_id.text());
        if !event.view.is_absent() {
            self.view_user.clone_from(&self.user);
        }
    }
}

fn thread_of<'a>(message: &RawInner<'a>) -> Option<Cow<'a, str>> {
    message.thread_ts.text().or_else(|| message.ts.text())
}

fn first_action(actions: Value<'_>) -> Option<Cow<'_, str>> {
    let actions: Vec<&RawValue> = serde_json::from_str(actions.raw()?).ok()?;
    RawInner::read(actions.first()?.get())?.action_id.text()
}

fn inner(value: Value<'_>) -> Option<RawInner<'_>> {
    value.object()
}

/// A string, or the `id` of an object.
fn id_of(value: Value<'_>) -> Option<Cow<'_, str>> {
    value.text().or_else(|| inner(value)?.id.text())
}
