//! `taut handler test`.

use std::time::Duration;

use bytes::Bytes;
use taut_delivery::handler_test::{ProbeError, ProbeRow, probe};
use taut_net::clock::BootClock;
use taut_vault::SigningSecret;

use crate::handler::{Handler, Say, nobody, say};
use crate::support::{SECRET, command, event, http, interactive};

async fn rows(url: &str) -> Vec<ProbeRow> {
    let samples: Vec<_> = [
        ("message", event("Ev1", "C1")),
        ("slash_command", command("e-1", "")),
        ("view_submission", interactive("e-2", "view_submission")),
    ]
    .map(|(name, frame)| (name.to_owned(), Bytes::from(frame)))
    .into();
    probe(url, &SigningSecret::from(SECRET), &http(), &BootClock, &samples).await.expect("a usable URL")
}

#[tokio::test]
async fn each_row_says_what_taut_makes_of_the_answer() {
    let handler = Handler::start(|seen, _| {
        let body = seen.text();
        let json = Some("application/json");
        if body.contains("url_verification") {
            Say { content_type: json, ..say(200, r#"{"challenge":"taut-handler-test"}"#) }
        } else if body.contains("view_submission") {
            Say { content_type: json, after: Duration::from_millis(2_600), ..say(200, "") }
        } else if body.contains("command=") {
            say(200, "pong")
        } else {
            say(404, r#"{"error":"unhandled request"}"#)
        }
    })
    .await;
    let rows = rows(&handler.url).await;
    let said: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.status, row.ok)).collect();
    assert_eq!(
        said,
        [
            ("url_verification", Some(200), true),
            ("message", Some(404), true),
            ("slash_command", Some(200), true),
            ("view_submission", Some(200), false),
        ]
    );
    assert_eq!(rows[2].outcome, r#"ack with payload {"text":"pong"}"#);
    assert!(rows[3].outcome.starts_with("no ack: answered after 2.6"), "{}", rows[3].outcome);
}

#[tokio::test]
async fn a_handler_that_is_away_or_has_another_secret_is_told_apart() {
    let away = rows(&nobody().await).await;
    assert!(away.iter().all(|row| !row.ok && row.status.is_none()));
    let handler = Handler::always(say(401, "")).await;
    let refused = rows(&handler.url).await;
    assert!(refused[0].outcome.contains("signing secret"), "{}", refused[0].outcome);
}

#[tokio::test]
async fn an_unusable_url_is_refused() {
    for url in ["ftp://127.0.0.1/", "/slack/events"] {
        let result = probe(url, &SigningSecret::from(SECRET), &http(), &BootClock, &[]).await;
        assert!(matches!(result, Err(ProbeError::Url(_))), "{url}");
    }
}
