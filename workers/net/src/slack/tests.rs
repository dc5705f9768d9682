use std::collections::HashSet;

use proptest::prelude::*;

use super::answer::{missing, read};
use super::codes::CODES;
use super::*;
use crate::dial::{DialError, DialFault, Step};
use crate::http::{HttpAnswer, HttpError};

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: impl Into<Bytes>) -> HttpAnswer {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (name.parse().expect("a name"), HeaderValue::from_static(value))
    };
    HttpAnswer { status, headers: headers.iter().map(pair).collect(), body: body.into() }
}

fn refused(code: &str) -> OpenError {
    read(&answer(200, &[], format!(r#"{{"ok":false,"error":"{code}"}}"#)), true).expect_err("refused")
}

const PARK: [&str; 27] = [
    "not_authed",
    "missing_args",
    "invalid_auth",
    "token_revoked",
    "token_expired",
    "account_inactive",
    "not_allowed_token_type",
    "missing_scope",
    "no_permission",
    "access_denied",
    "forbidden_team",
    "two_factor_setup_required",
    "enterprise_is_restricted",
    "user_removed_from_team",
    "team_disabled",
    "accesslimited",
    "invalid_arg_name",
    "invalid_arguments",
    "invalid_array_arg",
    "invalid_charset",
    "invalid_form_data",
    "invalid_post_type",
    "missing_post_type",
    "insecure_request",
    "deprecated_endpoint",
    "method_deprecated",
    "unknown_method",
];
const WAIT: [&str; 2] = ["team_added_to_org", "org_login_required"];
const RETRY: [&str; 6] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
];

#[test]
fn every_code_has_its_class_and_a_sentence() {
    let rows = [(OpenClass::Park, &PARK[..]), (OpenClass::Wait, &WAIT[..]), (OpenClass::Retry, &RETRY[..])];
    for (class, codes) in rows {
        for code in codes {
            let error = refused(code);
            assert_eq!((error.class, error.code.as_str()), (class, *code));
            assert!(error.text.len() > 20, "{code} says nothing: {}", error.text);
        }
    }
    let known: HashSet<_> = CODES.iter().map(|row| row.code).collect();
    assert_eq!((known.len(), CODES.len()), (PARK.len() + WAIT.len() + RETRY.len(), known.len()));
}

#[test]
fn unknown_code_is_retried_and_shown() {
    let error = refused("brand_new_code");
    assert_eq!((error.class, error.code.as_str()), (OpenClass::Retry, "brand_new_code"));
    for odd in ["", "has space", "UPPER", "line\\nbreak", &"x".repeat(65)] {
        assert_eq!(refused(odd).code, "odd_code", "{odd}");
    }
}

#[test]
fn invalid_auth_names_the_token_and_the_address() {
    let text = refused("invalid_auth").text;
    assert!(text.contains("token") && text.contains("IP range"), "{text}");
}

#[test]
fn missing_scope_says_which() {
    let body = r#"{"ok":false,"error":"missing_scope","needed":"connections:write","provided":"chat:write,im:read"}"#;
    let error = read(&answer(200, &[], body), true).expect_err("refused");
    assert!(
        error.text.ends_with("(needed: connections:write) (it has: chat:write,im:read)"),
        "{}",
        error.text
    );
    let body = r#"{"ok":false,"error":"missing_scope","needed":"a\nb"}"#;
    let error = read(&answer(200, &[], body), true).expect_err("refused");
    assert!(!error.text.contains('\n'));
}

#[test]
fn too_many_requests_waits_as_long_as_slack_says() {
    let waits = |headers: &[(&'static str, &'static str)]| {
        let error = read(&answer(429, headers, "<html>"), true).expect_err("limited");
        assert_eq!((error.class, error.code.as_str()), (OpenClass::Retry, "ratelimited"));
        error.retry_after.expect("a wait").as_secs()
    };
    assert_eq!(waits(&[("retry-after", "7")]), 7);
    assert_eq!(waits(&[]), 30);
    assert_eq!(waits(&[("retry-after", "soon")]), 30);
    assert_eq!(waits(&[("retry-after", "86400")]), 3600);
    assert_eq!(refused("ratelimited").retry_after, Some(Duration::from_secs(30)));
}

#[test]
fn answers_that_are_not_slacks_are_retried() {
    let cases: [(u16, &str, &str); 14] = [
        (200, "", "empty_answer"),
        (200, "<html>Sign in</html>", "not_json"),
        (200, r#"{"ok":true,"url":"wss://x/?tick"#, "not_json"),
        (200, r#"{"ok":"yes"}"#, "not_json"),
        (200, "[]", "not_json"),
        (200, r#"{"ok":true}"#, "no_url"),
        (200, r#"{"ok":true,"url":"https://slack.com"}"#, "bad_url"),
        (200, r#"{"ok":true,"url":"ws://slack.com/?ticket=x"}"#, "bad_url"),
        (200, r#"{"ok":false}"#, "odd_code"),
        (302, "", "http_302"),
        (404, "no", "http_404"),
        (407, "<html>", "http_407"),
        (418, "teapot", "http_418"),
        (503, "<html>", "http_503"),
    ];
    for (status, body, code) in cases {
        let error = read(&answer(status, &[("content-type", "text/html")], body), true).expect_err(code);
        assert_eq!((error.class, error.code.as_str()), (OpenClass::Retry, code), "{body}");
        assert!(!format!("{error:?}").contains("ticket="), "{error:?}");
    }
}

#[test]
fn slacks_own_code_counts_whatever_the_status_and_the_content_type() {
    let body = r#"{"ok":false,"error":"token_revoked"}"#;
    for status in [200, 400, 401, 500] {
        let error =
            read(&answer(status, &[("content-type", "text/plain")], body), true).expect_err("refused");
        assert_eq!((error.class, error.code.as_str()), (OpenClass::Park, "token_revoked"));
    }
}

#[test]
fn success_gives_the_url_and_slacks_time() {
    let body =
        r#"{"ok":true,"url":"wss:\/\/wss-primary.slack.com\/link\/?ticket=t-1&app_id=ab","extra":[1]}"#;
    let opened =
        read(&answer(200, &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")], body), true).expect("opened");
    assert_eq!(opened.url.host(), "wss-primary.slack.com");
    assert_eq!(opened.server_date, Some(WallMs(784_111_777_000)));
    assert!(!opened.socket_mode_off);
    assert!(!format!("{opened:?}").contains("t-1"));
}

#[test]
fn switched_off_socket_mode_is_noticed_and_no_error() {
    let body = r#"{"ok":true,"url":"wss://a/","response_metadata":{"messages":["[WARN] Socket Mode is not turned on."]}}"#;
    assert!(read(&answer(200, &[], body), true).expect("opened").socket_mode_off);
    let body = r#"{"ok":true,"url":"wss://a/","response_metadata":{"messages":["[WARN] missing_charset"]}}"#;
    assert!(!read(&answer(200, &[], body), true).expect("opened").socket_mode_off);
}

#[test]
fn socket_without_tls_is_only_for_an_api_without_tls() {
    assert_eq!(TicketUrl::parse("ws://127.0.0.1:9/?ticket=x", true).unwrap_err(), TicketUrlError::NotSecure);
    let plain = TicketUrl::parse("ws://[::1]:9/?ticket=x", false).expect("a simulated Slack");
    assert_eq!(*plain.endpoint(), Endpoint { host: "::1".into(), port: 9, tls: false });
    let secure = TicketUrl::parse("wss://slack.com/link/?ticket=x", false).expect("TLS is always welcome");
    assert_eq!(*secure.endpoint(), Endpoint { host: "slack.com".into(), port: 443, tls: true });
    for odd in ["", "slack.com", "wss://", "wss://u:p@slack.com/", "https://slack.com/", "wss://a b/"] {
        assert_eq!(TicketUrl::parse(odd, false).unwrap_err(), TicketUrlError::NotWss, "{odd}");
    }
}

#[test]
fn no_answer_is_retried_and_a_wrong_address_is_not() {
    let dial = DialError { step: Step::Dns, host: "slack.com".into(), kind: DialFault::Refused };
    let cases = [
        (HttpError::Dial(dial), "dns_failed"),
        (HttpError::Timeout { waited: Duration::from_secs(10) }, "timeout"),
        (HttpError::Reset { text: "closed".into() }, "connection_lost"),
        (HttpError::AnswerTooLarge { status: 200, bytes_max: 1 }, "odd_answer"),
    ];
    for (error, code) in cases {
        let error = missing(&error);
        assert_eq!((error.class, error.code.as_str()), (OpenClass::Retry, code));
    }
    let error = missing(&HttpError::BadUrl { url: "x://".into() });
    assert_eq!((error.class, error.code.as_str()), (OpenClass::Park, "bad_api_url"));
}

proptest! {
    #[test]
    fn any_answer_is_read(status in 100u16..600, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&answer(status, &[], body), true).is_err());
    }

    #[test]
    fn any_url_and_code_are_read(url in "\\PC{0,60}", code in "\\PC{0,80}") {
        let text = |body: serde_json::Value| answer(200, &[], body.to_string());
        if let Ok(opened) = read(&text(serde_json::json!({"ok": true, "url": url})), true) {
            prop_assert!(opened.url.endpoint().tls);
        }
        let error = read(&text(serde_json::json!({"ok": false, "error": code})), true).expect_err("refused");
        prop_assert!(error.code.len() <= 64 && error.code.is_ascii());
    }
}
