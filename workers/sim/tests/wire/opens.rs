//! `apps.connections.open` and the tickets it hands out.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use taut_sim::{AppSpec, NoteKind, OpenFailure, Sim, SimConfig, Switches};
use tokio_tungstenite::tungstenite::Error;

use crate::client::{Socket, get, open, post, request, socket_url, try_post};
use crate::{TOKEN, sim_with};

#[tokio::test]
async fn a_ticket_opens_one_socket_and_no_second() {
    let (sim, _app) = sim_with(Switches::default()).await;
    let url = socket_url(&sim).await;
    assert!(url.starts_with("ws://127.0.0.1:"));
    let (path, query) = url.split_once('?').unwrap();
    assert!(path.ends_with("/link/"));
    let hash = query.split("app_id=").nth(1).unwrap();
    assert!(hash.len() == 64 && !query.contains("A0TESTAPP01"), "an opaque hash: {query}");

    Socket::dial(&url).await.unwrap();
    let Err(Error::Http(refusal)) = Socket::dial(&url).await else { panic!("a spent ticket") };
    assert_eq!(refusal.status(), 401);
}

#[tokio::test]
async fn an_old_ticket_is_refused_with_the_status_of_the_switch() {
    let switches =
        Switches { ticket_life: Duration::ZERO, ticket_refused_status: 410, ..Switches::default() };
    let (sim, _app) = sim_with(switches).await;
    let Err(Error::Http(refusal)) = Socket::dial(&socket_url(&sim).await).await else {
        panic!("an old ticket")
    };
    assert_eq!(refusal.status(), 410);
}

#[tokio::test]
async fn each_wrong_token_has_its_own_error() {
    let (sim, app) = sim_with(Switches::default()).await;
    let url = format!("{}apps.connections.open", sim.api_url());
    let error = async |token, body| post(&url, token, body).await.json()["error"].clone();
    assert_eq!(error(None, "").await, "not_authed");
    let elsewhere = [format!("token={TOKEN}"), json!({ "token": TOKEN }).to_string()];
    for body in &elsewhere {
        assert_eq!(error(None, body).await, "invalid_auth");
    }
    assert_eq!(error(Some("xapp-1-A9-9-unknown"), "").await, "invalid_auth");
    assert_eq!(error(Some("xoxb-test"), "").await, "not_allowed_token_type");
    assert_eq!(get(&url).await.json()["error"], "insecure_request");

    let lower = Request::post(&url).header("authorization", format!("bearer {TOKEN}"));
    let lower = request(&url, lower.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    assert_eq!(lower.json()["error"], "invalid_auth", "`Bearer` is case-sensitive");

    app.revoke_token("token_revoked");
    assert_eq!(error(Some(TOKEN), "").await, "token_revoked");
    app.restore_token();
    assert_eq!(open(&sim).await.json()["ok"], true);
}

#[tokio::test]
async fn a_token_without_its_scope_hears_which_one_is_needed() {
    let sim = Sim::start(SimConfig::default()).await.unwrap();
    let scopes = vec!["authorizations:read".to_owned()];
    sim.add_app(AppSpec { app_token_scopes: scopes, ..AppSpec::new("A0TESTAPP01", TOKEN) });
    let answer = open(&sim).await.json();
    assert_eq!(answer["error"], "missing_scope");
    assert_eq!(
        (&answer["needed"], &answer["provided"]),
        (&json!("connections:write"), &json!("authorizations:read"))
    );
}

#[tokio::test]
async fn the_rate_of_opens_is_limited_per_app() {
    let (sim, _app) = sim_with(Switches { opens_burst: 2, opens_per_minute: 6, ..Switches::default() }).await;
    sim.add_app(AppSpec::new("A0OTHER0001", "xapp-1-A0OTHER0001-1-ab"));
    for _ in 0..2 {
        assert_eq!(open(&sim).await.status, 200);
    }
    let limited = open(&sim).await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.headers["retry-after"], "10");
    assert_eq!(limited.json()["error"], "ratelimited");
    let other =
        post(&format!("{}apps.connections.open", sim.api_url()), Some("xapp-1-A0OTHER0001-1-ab"), "").await;
    assert_eq!(other.status, 200, "another app has its own limit");
}

#[tokio::test]
async fn socket_mode_off_still_says_ok_but_warns() {
    let (sim, app) = sim_with(Switches::default()).await;
    app.socket_mode(false);
    let answer = open(&sim).await.json();
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["response_metadata"]["messages"][0], "[WARN] Socket Mode is not turned on.");
    let (mut socket, _) = Socket::connect(&sim).await;
    app.push(taut_sim::Sample::Message);
    assert!(socket.is_quiet_for(Duration::from_millis(50)).await, "nothing is delivered");
}

#[tokio::test]
async fn an_unknown_app_is_adopted_only_when_asked_for() {
    let config = SimConfig { adopt_unknown_apps: true, ..SimConfig::default() };
    let sim = Sim::start(config).await.unwrap();
    assert_eq!(open(&sim).await.json()["ok"], true);
    assert!(sim.app("A0TESTAPP01").is_some());
    let auth = post(&format!("{}auth.test", sim.api_url()), Some("xoxb-anything"), "").await.json();
    assert_eq!(auth["ok"], true, "bot tokens of adopted apps are nobody's secret");
}

#[tokio::test]
async fn opens_fail_as_ordered_and_then_succeed() {
    let (sim, app) = sim_with(Switches::default()).await;
    let url = format!("{}apps.connections.open", sim.api_url());
    app.fail_next_opens(1, OpenFailure::Error { code: "internal_error".into() });
    app.fail_next_opens(1, OpenFailure::RateLimited { retry_after_seconds: Some(7) });
    app.fail_next_opens(1, OpenFailure::RateLimited { retry_after_seconds: None });
    app.fail_next_opens(1, OpenFailure::Status { status: 503 });
    app.fail_next_opens(1, OpenFailure::Body { body: "<html>".into(), content_type: "text/html".into() });
    app.fail_next_opens(1, OpenFailure::NoUrl);
    app.fail_next_opens(1, OpenFailure::NoContentType);
    app.fail_next_opens(1, OpenFailure::Slow { wait: Duration::from_millis(20) });
    app.fail_next_opens(1, OpenFailure::Abort);
    app.fail_next_opens(1, OpenFailure::Hang);

    assert_eq!(open(&sim).await.json()["error"], "internal_error");
    assert_eq!(open(&sim).await.headers["retry-after"], "7");
    assert!(!open(&sim).await.headers.contains_key("retry-after"));
    assert_eq!(open(&sim).await.status, 503);
    assert_eq!(open(&sim).await.body, "<html>");
    assert_eq!(open(&sim).await.json(), json!({ "ok": true }));
    let untyped = open(&sim).await;
    assert!(untyped.json()["url"].is_string() && !untyped.headers.contains_key("content-type"));
    assert!(open(&sim).await.json()["url"].is_string());
    assert!(try_post(&url, Some(TOKEN), "").await.is_err());
    assert!(tokio::time::timeout(Duration::from_millis(50), open(&sim)).await.is_err());
    assert_eq!(open(&sim).await.json()["ok"], true);

    let opens = sim.journal().notes(Some("A0TESTAPP01"));
    assert_eq!(opens.iter().filter(|note| matches!(note.kind, NoteKind::Open { .. })).count(), 11);
}

#[tokio::test]
async fn other_methods_and_response_urls_are_recorded() {
    let (sim, _app) = sim_with(Switches::default()).await;
    let auth = post(&format!("{}auth.test", sim.api_url()), Some("xoxb-test"), "").await.json();
    assert_eq!((&auth["ok"], &auth["app_id"]), (&json!(true), &json!("A0TESTAPP01")));
    let posted = json!({ "channel": "C7", "text": "hi" }).to_string();
    let posted = post(&format!("{}chat.postMessage", sim.api_url()), Some("xoxb-test"), &posted).await.json();
    assert_eq!((&posted["ok"], &posted["channel"]), (&json!(true), &json!("C7")));
    assert_eq!(post(&format!("{}views.open", sim.api_url()), Some("xoxb-test"), "").await.json()["ok"], true);
    assert_eq!(post(&format!("{}views.open", sim.api_url()), None, "").await.json()["error"], "not_authed");
    post(&format!("{}/response/commands/T1/A0TESTAPP01/Ev1", sim.url()), None, r#"{"text":"late"}"#).await;

    let notes = sim.journal().notes(Some("A0TESTAPP01"));
    let mut calls = Vec::new();
    for note in &notes {
        if let NoteKind::Call { method, .. } = &note.kind {
            calls.push(method.clone());
        }
        if let NoteKind::Response { path, body, .. } = &note.kind {
            calls.push(format!("{path} {body}"));
        }
    }
    let late = r#"commands/T1/A0TESTAPP01/Ev1 {"text":"late"}"#;
    assert_eq!(calls, ["auth.test", "chat.postMessage", "views.open", late]);
}

#[tokio::test]
async fn urls_name_the_public_address() {
    let config = SimConfig { public: Some("slack.sim.internal:9470".into()), ..SimConfig::default() };
    let sim = Sim::start(config).await.unwrap();
    let app = sim.add_app(AppSpec::new("A0TESTAPP01", TOKEN));
    assert_eq!(sim.api_url(), "http://slack.sim.internal:9470/api/");
    assert!(app.socket_url().starts_with("ws://slack.sim.internal:9470/link/?ticket="));
}
