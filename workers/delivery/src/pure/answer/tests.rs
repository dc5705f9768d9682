use proptest::prelude::*;
use taut_core::{ACK_BYTES_MAX, ack_frame};

use super::*;

const BARE_KINDS: [Kind; 3] = [Kind::Shortcut, Kind::MessageAction, Kind::BlockActions];
const OR_BARE_KINDS: [Kind; 2] = [Kind::SlashCommands, Kind::InteractiveMessage];
const ONLY_KINDS: [Kind; 4] =
    [Kind::ViewSubmission, Kind::DialogSubmission, Kind::BlockSuggestion, Kind::DialogSuggestion];

fn asked(kind: Kind) -> Asked<'static> {
    Asked { kind, envelope_id: "e-1", accepts_payload: true, has_response_url: true }
}

fn answer<'a>(status: u16, content_type: Option<&'a str>, body: &'a str) -> HandlerAnswer<'a> {
    HandlerAnswer { status, content_type, body: Some(body.as_bytes()) }
}

fn ack(kind: Kind, status: u16, content_type: Option<&str>, body: &str) -> AckChoice {
    reply(&asked(kind), &answer(status, content_type, body)).ack
}

fn payload(json: &str) -> AckChoice {
    AckChoice::Payload(json.into())
}

const REFUSED: AckChoice = AckChoice::Silent(SilentReason::Refused);

#[test]
fn buttons_and_shortcuts_are_acked_bare_by_any_2xx() {
    for kind in BARE_KINDS {
        for status in [200, 201, 204] {
            assert_eq!(ack(kind, status, Some("application/json"), r#"{"text":"x"}"#), AckChoice::Bare);
        }
        for status in [302, 400, 404, 500] {
            assert_eq!(ack(kind, status, None, ""), REFUSED, "{status}");
        }
    }
}

#[test]
fn a_200_body_becomes_the_payload() {
    for kind in OR_BARE_KINDS.into_iter().chain(ONLY_KINDS) {
        assert_eq!(ack(kind, 200, None, ""), AckChoice::Bare);
        assert_eq!(
            ack(kind, 200, Some("Application/JSON; charset=utf-8"), r#"{"a": 1}"#),
            payload(r#"{"a": 1}"#)
        );
    }
}

#[test]
fn other_2xx_ack_commands_bare_but_never_forms_and_menus() {
    for kind in OR_BARE_KINDS {
        assert_eq!(ack(kind, 201, Some("application/json"), r#"{"text":"x"}"#), AckChoice::Bare);
    }
    for kind in ONLY_KINDS {
        for status in [201, 202, 204, 302, 404, 500] {
            assert_eq!(ack(kind, status, None, ""), REFUSED, "{status}");
        }
    }
}

#[test]
fn text_becomes_a_text_payload_with_or_without_a_content_type() {
    for content_type in [None, Some("text/plain"), Some("text/plain;charset=utf-8"), Some("")] {
        assert_eq!(
            ack(Kind::SlashCommands, 200, content_type, "hi \"you\""),
            payload(r#"{"text":"hi \"you\""}"#)
        );
    }
}

#[test]
fn a_json_object_is_taken_for_json_whatever_its_type_says() {
    assert_eq!(ack(Kind::SlashCommands, 200, None, "{\"text\":\"x\"}\n"), payload(r#"{"text":"x"}"#));
    assert_eq!(
        ack(Kind::SlashCommands, 200, Some("text/html"), "{\"text\":\"x\"}"),
        payload(r#"{"text":"x"}"#)
    );
    assert_eq!(ack(Kind::SlashCommands, 200, None, "{not json}"), payload(r#"{"text":"{not json}"}"#));
}

#[test]
fn json_that_is_no_object_is_text_or_nothing() {
    let json = Some("application/json");
    assert_eq!(ack(Kind::SlashCommands, 200, json, "\"hi\""), payload(r#"{"text":"hi"}"#));
    for body in ["null", "[1]", "3", "true"] {
        let reply = reply(&asked(Kind::SlashCommands), &answer(200, json, body));
        assert_eq!((reply.ack, reply.oddity), (AckChoice::Bare, Some(Oddity::NotAnObject)), "{body}");
    }
    assert_eq!(ack(Kind::SlashCommands, 200, None, "\"hi\""), payload(r#"{"text":"\"hi\""}"#));
}

#[test]
fn broken_json_is_text_for_a_command_and_closes_no_form() {
    let json = Some("application/json");
    assert_eq!(ack(Kind::SlashCommands, 200, json, "{oops"), payload(r#"{"text":"{oops"}"#));
    for kind in ONLY_KINDS {
        assert_eq!(ack(kind, 200, json, "{oops"), REFUSED);
    }
}

#[test]
fn no_payload_goes_where_slack_takes_none() {
    let asked = Asked { accepts_payload: false, ..asked(Kind::SlashCommands) };
    let reply = reply(&asked, &answer(200, None, "hi"));
    assert_eq!((reply.ack, reply.oddity), (AckChoice::Bare, Some(Oddity::NotAccepted)));
}

#[test]
fn a_too_large_answer_of_a_command_goes_to_its_response_url() {
    let big = "x".repeat(30_000);
    for kind in OR_BARE_KINDS {
        let with = reply(&asked(kind), &answer(200, None, &big));
        assert_eq!(with.ack, AckChoice::Bare);
        assert_eq!(with.post, Some(format!(r#"{{"text":"{big}"}}"#)));
        let without = reply(&Asked { has_response_url: false, ..asked(kind) }, &answer(200, None, &big));
        assert_eq!(without.ack, AckChoice::Silent(SilentReason::AnswerTooLarge));
    }
}

#[test]
fn a_too_large_answer_never_closes_a_form_or_empties_a_menu() {
    let big = format!(r#"{{"a":"{}"}}"#, "x".repeat(30_000));
    for kind in ONLY_KINDS {
        let reply = reply(&asked(kind), &answer(200, Some("application/json"), &big));
        assert_eq!((reply.ack, reply.post), (AckChoice::Silent(SilentReason::AnswerTooLarge), None));
    }
}

#[test]
fn the_limit_counts_the_whole_frame() {
    let asked = asked(Kind::SlashCommands);
    let overhead = ack_frame("e-1", Some(r#"{"text":""}"#)).len();
    let fitting = "x".repeat(ACK_BYTES_MAX - overhead);
    let AckChoice::Payload(json) = reply(&asked, &answer(200, None, &fitting)).ack else {
        panic!("fits exactly");
    };
    assert_eq!(ack_frame("e-1", Some(&json)).len(), ACK_BYTES_MAX);
    assert_eq!(reply(&asked, &answer(200, None, &format!("{fitting}x"))).ack, AckChoice::Bare);
}

#[test]
fn a_body_beyond_what_is_read_has_nowhere_to_go() {
    let unread = HandlerAnswer { status: 200, content_type: None, body: None };
    for kind in OR_BARE_KINDS.into_iter().chain(ONLY_KINDS) {
        assert_eq!(reply(&asked(kind), &unread).ack, AckChoice::Silent(SilentReason::AnswerTooLarge));
    }
    for kind in BARE_KINDS {
        assert_eq!(reply(&asked(kind), &unread).ack, AckChoice::Bare);
    }
}

#[test]
fn late_answers_say_what_the_ack_would_have_said() {
    assert_eq!(late_post(&answer(200, None, "hi")), Some(r#"{"text":"hi"}"#.into()));
    assert_eq!(late_post(&answer(200, None, "")), None);
    assert_eq!(late_post(&answer(202, None, "hi")), None);
    assert_eq!(late_post(&answer(500, None, "oops")), None);
}

proptest! {
    #[test]
    fn every_answer_gets_an_ack_that_fits_or_none(
        number in 1_u8..=13, status: u16, content_type: Option<String>, body: Vec<u8>, accepts: bool, url: bool,
    ) {
        let kind = Kind::from_number(number).unwrap();
        let asked = Asked { kind, envelope_id: "e-1", accepts_payload: accepts, has_response_url: url };
        let answer = HandlerAnswer { status, content_type: content_type.as_deref(), body: Some(&body) };
        if let AckChoice::Payload(json) = reply(&asked, &answer).ack {
            prop_assert!(ack_frame("e-1", Some(&json)).len() <= ACK_BYTES_MAX);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap().is_object());
            prop_assert!(accepts);
        }
    }
}
