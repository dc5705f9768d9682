//! What one pass over the bytes finds, beside what `serde_json` finds in a tree of values.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// The text of a field, or of the `id` of the object there.
fn id_at(object: &Value, field: &str) -> Option<String> {
    text_at(object, field).or_else(|| text_at(object.get(field)?, "id"))
}

fn text_at(object: &Value, field: &str) -> Option<String> {
    object.as_object()?.get(field)?.as_str().map(str::to_owned)
}

fn present<'a>(object: &'a Value, field: &str) -> &'a Value {
    object.as_object().and_then(|object| object.get(field)).unwrap_or(&Value::Null)
}

/// Every fact with its name, by the rules in words of [`Facts`].
fn facts_of_tree(kind: Kind, payload: &Value) -> Vec<(&'static str, Option<String>)> {
    let view = present(payload, "view");
    let user = id_at(payload, "user").or_else(|| text_at(payload, "user_id"));
    let thread_of = |message: &Value| text_at(message, "thread_ts").or_else(|| text_at(message, "ts"));
    let first_action = || text_at(payload.get("actions")?.as_array()?.first()?, "action_id");
    let mut facts = Facts {
        payload_type: text_at(payload, "type").map(Into::into),
        api_app_id: text_at(payload, "api_app_id").map(Into::into),
        command: text_at(payload, "command").map(Into::into),
        response_url: text_at(payload, "response_url").map(Into::into),
        event_time: present(payload, "event_time").as_u64(),
        team: text_at(payload, "context_team_id")
            .or_else(|| text_at(payload, "team_id"))
            .or_else(|| id_at(payload, "team"))
            .or_else(|| text_at(present(payload, "user"), "team_id"))
            .map(Into::into),
        callback_id: text_at(view, "callback_id")
            .or_else(|| text_at(payload, "callback_id"))
            .or_else(|| text_at(payload, "action_id"))
            .or_else(first_action)
            .map(Into::into),
        channel: id_at(payload, "channel").or_else(|| text_at(payload, "channel_id")).map(Into::into),
        thread: thread_of(present(payload, "message")).map(Into::into),
        view_user: user.clone().filter(|_| !view.is_null()).map(Into::into),
        user: user.map(Into::into),
        event_type: None,
    };
    if kind == Kind::EventsApi {
        let event = present(payload, "event");
        let (message, item) = (present(event, "message"), present(event, "item"));
        let about = if message.is_null() { present(event, "previous_message") } else { message };
        facts.event_type = text_at(event, "type").map(Into::into);
        facts.channel = id_at(event, "channel")
            .or_else(|| text_at(event, "channel_id"))
            .or_else(|| id_at(item, "channel"))
            .or_else(|| id_at(about, "channel"))
            .map(Into::into);
        facts.user = id_at(event, "user").or_else(|| id_at(about, "user")).map(Into::into);
        facts.thread =
            thread_of(about).or_else(|| thread_of(event)).or_else(|| text_at(item, "ts")).map(Into::into);
        facts.callback_id = text_at(present(event, "function"), "callback_id")
            .or_else(|| text_at(event, "callback_id"))
            .map(Into::into);
        if !present(event, "view").is_null() {
            facts.view_user.clone_from(&facts.user);
        }
    }
    listed(&facts)
}

fn listed(facts: &Facts<'_>) -> Vec<(&'static str, Option<String>)> {
    let Facts {
        payload_type,
        event_type,
        command,
        callback_id,
        team,
        channel,
        thread,
        user,
        view_user,
        api_app_id,
        response_url,
        event_time,
    } = facts;
    let texts = [
        ("payload_type", payload_type),
        ("event_type", event_type),
        ("command", command),
        ("callback_id", callback_id),
        ("team", team),
        ("channel", channel),
        ("thread", thread),
        ("user", user),
        ("view_user", view_user),
        ("api_app_id", api_app_id),
        ("response_url", response_url),
    ];
    let mut all: Vec<_> = texts.map(|(name, text)| (name, text.as_deref().map(str::to_owned))).into();
    all.push(("event_time", event_time.map(|time| time.to_string())));
    all
}

/// Both readings of a frame must agree: on whether it is one, and on all that intake takes from it.
fn compare(text: &str) -> Result<(), TestCaseError> {
    let tree = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    let read = Incoming::read(text);
    prop_assert_eq!(tree.is_some(), !matches!(read, Err(FrameError::NotJson)), "{}", text);
    let (Some(tree), Ok(Incoming::Envelope(arrival))) = (tree, read) else { return Ok(()) };
    prop_assert_eq!(text_at(&tree, "envelope_id").unwrap_or_default(), &*arrival.envelope_id);
    let payload = present(&tree, "payload");
    let written = serde_json::from_str(arrival.payload).unwrap_or(Value::Null);
    prop_assert_eq!(&written, payload, "the payload's text is the payload");
    let payload_type = text_at(payload, "type");
    prop_assert_eq!(arrival.kind, Kind::of(tree["type"].as_str().unwrap_or(""), payload_type.as_deref()));
    prop_assert_eq!(
        arrival.accepts_response_payload,
        tree.get("accepts_response_payload") == Some(&true.into())
    );
    let event_id = text_at(payload, "event_id").filter(|id| !id.is_empty());
    prop_assert_eq!(arrival.event_id.as_deref(), event_id.as_deref());
    prop_assert_eq!(listed(&arrival.facts), facts_of_tree(arrival.kind, payload));
    let kept = arrival.clone().into_envelope(Bytes::copy_from_slice(text.as_bytes()));
    prop_assert_eq!(kept.payload_text(), arrival.payload);
    prop_assert_eq!(kept.dedup(), arrival.dedup());
    prop_assert_eq!(kept.facts(), arrival.facts);
    Ok(())
}

fn string() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        r#""C1""#,
        r#""U1""#,
        r#""T1""#,
        r#""1.0""#,
        r#""a long text behind which a field must still be found""#,
        r#""""#,
        r#""\u0043\n\"x""#,
        r#""Grüße \u00fc 了解""#,
        r#""message""#,
        r#""event_callback""#,
        r#""block_actions""#,
    ])
    .prop_map(str::to_owned)
}

/// An object over the fields that intake looks for, their keys sometimes escaped, sometimes twice.
fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "type",
        "event_id",
        "api_app_id",
        "event_time",
        "context_team_id",
        "team_id",
        "team",
        "user",
        "user_id",
        "channel",
        "channel_id",
        "view",
        "message",
        "previous_message",
        "command",
        "callback_id",
        "actions",
        "action_id",
        "response_url",
        "event",
        "item",
        "ts",
        "thread_ts",
        "function",
        "id",
        "t\\u0079pe",
        "blocks",
        "typ",
        "types",
    ]);
    let space = prop::sample::select(vec!["", "", "", " ", "\n\t"]);
    prop::collection::vec((key, value, space), 0..8).prop_map(|fields| {
        let mut text = String::from("{");
        for (index, (key, value, space)) in fields.into_iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(text, "{comma}{space}\"{key}\"{space}:{space}{value}{space}")
                .expect("a String takes everything");
        }
        text + "}"
    })
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => string(),
        1 => prop::sample::select(vec!["null", "true", "false", "0", "-1.5e3", "1700000000", "[]", "{}"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            object(inner.clone()),
            prop::collection::vec(inner, 0..3).prop_map(|values| format!("[{}]", values.join(","))),
        ]
    })
}

fn frame() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec!["events_api", "interactive", "slash_commands", "brand_new"]);
    let payload = prop_oneof![9 => object(value()), 1 => value()];
    (kind, payload, any::<bool>(), any::<bool>()).prop_map(|(kind, payload, first, accepts)| {
        let head = format!(r#""envelope_id":"e-1","type":"{kind}","accepts_response_payload":{accepts}"#);
        if first {
            format!(r#"{{"payload":{payload},{head}}}"#)
        } else {
            format!(r#"{{{head} , "payload" : {payload}}}"#)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn one_pass_finds_what_a_tree_of_values_holds(text in frame()) {
        compare(&text)?;
    }

    #[test]
    fn a_damaged_frame_is_refused_or_read_as_serde_reads_it(
        text in frame(),
        place in any::<prop::sample::Index>(),
        byte in prop::sample::select(b"\"\\{}[]:,0a \n\x01".to_vec()),
    ) {
        let mut bytes = text.into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            compare(text)?;
        }
    }
}
