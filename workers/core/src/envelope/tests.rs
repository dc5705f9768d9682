use super::*;
use crate::order::{Order, OrderKeys};
use proptest::prelude::*;

fn envelope(text: &str) -> Envelope {
    Envelope::from_frame(&Bytes::copy_from_slice(text.as_bytes())).expect("an envelope")
}

fn facts_of(payload: &str) -> Facts<'_> {
    Facts::read(Kind::EventsApi, payload)
}

#[test]
fn the_payload_stays_the_bytes_it_was() {
    let payload =
        r#"{"type":"event_callback","n":1e999,"big":12345678901234567890123456789,"s":"\ud800","a":1,"a":2}"#;
    let text =
        format!(r#"{{"envelope_id":"e1","type":"events_api","payload": {payload} ,"retry_attempt":2}}"#);

    let envelope = envelope(&text);

    assert_eq!(envelope.payload_text(), payload);
    assert_eq!(envelope.retry_attempt, 2);
    assert_eq!(envelope.kind, Kind::EventsApi);
}

#[test]
fn hello_and_disconnect_are_read_tolerantly() {
    let hello = Bytes::from_static(br#"{"type":"hello","num_connections":2,"connection_info":{"app_id":"A1"},"debug_info":{"host":"h","approximate_connection_time":18060},"new":[]}"#);
    let Ok(Frame::Hello(hello)) = Frame::parse(&hello) else { panic!("no hello") };
    assert_eq!(hello.app_id.as_deref(), Some("A1"));
    assert_eq!((hello.num_connections, hello.approximate_connection_time), (Some(2), Some(18060)));

    let bare = Frame::parse(&Bytes::from_static(br#"{"type":"hello","connection_info":7}"#));
    assert_eq!(bare, Ok(Frame::Hello(Hello::default())));
    let disconnect = Frame::parse(&Bytes::from_static(br#"{"type":"disconnect","reason":"warning"}"#));
    assert_eq!(disconnect, Ok(Frame::Disconnect("warning".into())));
}

#[test]
fn what_cannot_be_read_is_refused_and_what_is_unknown_passes() {
    for bad in ["null", "[]", "UNAUTHENTICATED: cache_error", "{\"type\":NaN}", "{} {}", ""] {
        let parsed = Frame::parse(&Bytes::copy_from_slice(bad.as_bytes()));
        assert!(matches!(parsed, Err(FrameError::NotJson)), "{bad}: {parsed:?}");
    }
    assert_eq!(Frame::parse(&Bytes::from_static(b"{}")), Ok(Frame::Other));
    let echoed_ack = r#"{"envelope_id":"e","payload":{}}"#;
    for half in [echoed_ack, r#"{"envelope_id":"e"}"#, r#"{"type":"events_api","payload":{}}"#] {
        assert_eq!(Frame::parse(&Bytes::copy_from_slice(half.as_bytes())), Err(FrameError::Half), "{half}");
    }
    let unknown = envelope(r#"{"envelope_id":"e","type":"brand_new","payload":[1]}"#);
    assert_eq!((unknown.kind, unknown.payload_text()), (Kind::Unknown, "[1]"));
    let nested = format!(
        r#"{{"envelope_id":"e","type":"events_api","payload":{}{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    assert!(Frame::parse(&Bytes::from(nested.clone())).is_ok_and(|f| matches!(f, Frame::Envelope(_))));
}

#[test]
fn the_dedup_key_is_the_event_id_and_else_envelope_and_payload() {
    let event = |envelope: &str| {
        format!(r#"{{"envelope_id":"{envelope}","type":"events_api","payload":{{"event_id":"Ev1"}}}}"#)
    };
    assert_eq!(envelope(&event("a")).dedup(), envelope(&event("b")).dedup());
    let click = |envelope: &str, value: u8| {
        format!(
            r#"{{"envelope_id":"{envelope}","type":"interactive","payload":{{"type":"block_actions","v":{value}}}}}"#
        )
    };
    assert_eq!(envelope(&click("a", 1)).dedup(), envelope(&click("a", 1)).dedup());
    assert_ne!(envelope(&click("a", 1)).dedup(), envelope(&click("a", 2)).dedup());
    assert_ne!(envelope(&click("a", 1)).dedup(), envelope(&click("b", 1)).dedup());
}

#[test]
fn a_changed_or_deleted_message_keeps_its_channel_and_takes_its_inner_messages_thread() {
    let plain = facts_of(r#"{"team_id":"T","event":{"type":"message","channel":"C","ts":"1.0","user":"U"}}"#);
    let changed = facts_of(
        r#"{"team_id":"T","event":{"type":"message","subtype":"message_changed","channel":"C","ts":"2.0","message":{"ts":"1.0","user":"U"}}}"#,
    );
    let deleted = facts_of(
        r#"{"team_id":"T","event":{"type":"message","subtype":"message_deleted","channel":"C","ts":"3.0","previous_message":{"ts":"1.0"}}}"#,
    );
    let reply =
        facts_of(r#"{"team_id":"T","event":{"type":"message","channel":"C","ts":"4.0","thread_ts":"1.0"}}"#);
    for other in [&changed, &deleted, &reply] {
        assert_eq!(OrderKeys::of(&plain), OrderKeys::of(other));
    }
    let elsewhere = facts_of(r#"{"team_id":"T","event":{"type":"message","channel":"C","ts":"5.0"}}"#);
    assert_eq!(OrderKeys::of(&plain).channel, OrderKeys::of(&elsewhere).channel);
    assert_ne!(OrderKeys::of(&plain).thread, OrderKeys::of(&elsewhere).thread);
    assert_eq!(OrderKeys::of(&plain).under(Order::None), None);
}

#[test]
fn a_reaction_belongs_to_its_items_channel_and_a_home_tab_to_its_user() {
    let reaction = facts_of(
        r#"{"team_id":"T","event":{"type":"reaction_added","user":"U","item":{"type":"message","channel":"C","ts":"1.0"}}}"#,
    );
    assert_eq!(reaction.channel.as_deref(), Some("C"));
    let home = facts_of(r#"{"team_id":"T","event":{"type":"app_home_opened","user":"U","view":{"id":"V"}}}"#);
    assert_eq!((home.channel, home.view_user.as_deref()), (None, Some("U")));
}

#[test]
fn callback_ids_are_found_where_each_kind_keeps_them() {
    let view = Facts::read(
        Kind::ViewSubmission,
        r#"{"type":"view_submission","team":null,"user":{"id":"U","team_id":"T"},"view":{"callback_id":"v"}}"#,
    );
    assert_eq!((view.callback_id.as_deref(), view.team.as_deref()), (Some("v"), Some("T")));
    let click = Facts::read(Kind::BlockActions, r#"{"type":"block_actions","actions":[{"action_id":"a"}]}"#);
    assert_eq!(click.callback_id.as_deref(), Some("a"));
    let function = facts_of(r#"{"event":{"type":"function_executed","function":{"callback_id":"f"}}}"#);
    assert_eq!(function.callback_id.as_deref(), Some("f"));
}

proptest! {
    #[test]
    fn whatever_the_bytes_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _parsed = Frame::parse(&bytes);
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _facts = Facts::read(Kind::EventsApi, text);
        }
    }

    #[test]
    fn whatever_the_payload_it_is_passed_on_unchanged(payload in r#"\{("[a-z]{1,5}":("[^"\\\p{Cc}]{0,9}"|[1-9][0-9]{0,30}|null|true)(,"[a-z]{1,5}":[1-9])?)?\}"#) {
        let text = format!(r#"{{"payload":{payload},"envelope_id":"e","type":"interactive"}}"#);
        let envelope = Envelope::from_frame(&Bytes::from(text)).expect("an envelope");
        prop_assert_eq!(envelope.payload_text(), payload);
    }
}

mod oracle;

#[test]
fn an_envelope_id_is_bounded() {
    let frame = |bytes: usize| {
        let id = "e".repeat(bytes);
        Bytes::from(format!(r#"{{"envelope_id":"{id}","type":"events_api","payload":{{}}}}"#))
    };
    assert!(matches!(Frame::parse(&frame(ENVELOPE_ID_BYTES_MAX)), Ok(Frame::Envelope(_))));
    assert_eq!(Frame::parse(&frame(ENVELOPE_ID_BYTES_MAX + 1)), Err(FrameError::EnvelopeId));
}
