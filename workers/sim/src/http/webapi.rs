//! The simulated Web API: `apps.connections.open`, `auth.test`, and a sink for every other method.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::{Abort, Answer, Call, hang, json as json_answer, noted, text, with_type};
use crate::app::{App, OpenAnswer};
use crate::faults::OpenFailure;
use crate::journal::NoteKind;
use crate::shared::{Shared, TokenKind};

pub(super) async fn call(sim: &Arc<Shared>, method: &str, call: &Call) -> Result<Answer, Abort> {
    if method == "apps.connections.open" {
        return open(sim, call).await;
    }
    let bearer = bearer(call).or_else(|| form_token(&call.body));
    let found = bearer.as_deref().and_then(|token| sim.by_token(token));
    let app = found.as_ref().map(|(app, _)| &app.id);
    sim.journal.note(app, NoteKind::Call { method: method.to_owned(), body: noted(&call.body) });
    let (app, kind) = match (found, bearer.as_deref()) {
        (Some((app, kind)), _) => (Some(app), kind),
        (None, Some(token)) if sim.adopt_unknown_apps && is_installation_token(token) => {
            (None, TokenKind::Bot)
        }
        (None, Some(_)) => return Ok(refused("invalid_auth")),
        (None, None) => return Ok(refused("not_authed")),
    };
    let answer = match (method, kind) {
        ("auth.test", TokenKind::Bot | TokenKind::App) => identity(app.as_deref()),
        (_, TokenKind::App) => json!({ "ok": false, "error": "not_allowed_token_type" }),
        ("chat.postMessage", TokenKind::Bot) => posted(sim, call),
        (_, TokenKind::Bot) => json!({ "ok": true }),
    };
    Ok(json_answer(StatusCode::OK, &answer))
}

/// Bot, user and workflow tokens.
fn is_installation_token(token: &str) -> bool {
    ["xoxb-", "xoxp-", "xoxe.", "xwfp-"].iter().any(|prefix| token.starts_with(prefix))
}

async fn open(sim: &Arc<Shared>, call: &Call) -> Result<Answer, Abort> {
    let app = match opener(sim, call) {
        Ok(app) => app,
        Err(code) => {
            sim.journal.note(None, NoteKind::Open { outcome: code.to_owned() });
            return Ok(refused(code));
        }
    };
    match app.open(sim) {
        OpenAnswer::Ticket { url, socket_mode } => {
            Ok(json_answer(StatusCode::OK, &opened(&url, socket_mode)))
        }
        OpenAnswer::Error { code } => Ok(refused(&code)),
        OpenAnswer::MissingScope { provided } => {
            let needed = "connections:write";
            let answer =
                json!({ "ok": false, "error": "missing_scope", "needed": needed, "provided": provided });
            Ok(json_answer(StatusCode::OK, &answer))
        }
        OpenAnswer::RateLimited { wait } => {
            Ok(rate_limited(Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))))
        }
        OpenAnswer::Fault { failure, url } => play(failure, &url).await,
    }
}

/// Whose app-level token this is. Only the header counts, as documented for this method.
fn opener(sim: &Arc<Shared>, call: &Call) -> Result<Arc<App>, &'static str> {
    if call.method != Method::POST {
        return Err("insecure_request");
    }
    let Some(token) = bearer(call) else {
        let elsewhere = call.headers.contains_key(AUTHORIZATION) || form_token(&call.body).is_some();
        return Err(if elsewhere { "invalid_auth" } else { "not_authed" });
    };
    match sim.by_token(&token) {
        Some((app, TokenKind::App)) => Ok(app),
        Some((_, TokenKind::Bot)) => Err("not_allowed_token_type"),
        None if is_installation_token(&token) => Err("not_allowed_token_type"),
        None => adopt(sim, token).ok_or("invalid_auth"),
    }
}

fn adopt(sim: &Arc<Shared>, token: String) -> Option<Arc<App>> {
    if !sim.adopt_unknown_apps {
        return None;
    }
    let app_id =
        token.strip_prefix("xapp-1-")?.split('-').next().filter(|id| id.starts_with('A'))?.to_owned();
    tracing::info!(app_id, "an app with an unknown token was added");
    Some(sim.add_app(crate::config::AppSpec::new(app_id, token)))
}

/// The token of `Authorization: Bearer …`; both words are case-sensitive.
fn bearer(call: &Call) -> Option<String> {
    let value = call.headers.get(AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(|token| token.trim().to_owned())
}

/// A token sent as a form or JSON parameter.
fn form_token(body: &Bytes) -> Option<String> {
    if let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(body) {
        return fields.get("token").and_then(Value::as_str).map(str::to_owned);
    }
    let text = std::str::from_utf8(body).ok()?;
    text.split('&').find_map(|pair| pair.strip_prefix("token=")).map(str::to_owned)
}

fn opened(url: &str, socket_mode: bool) -> Value {
    if socket_mode {
        return json!({ "ok": true, "url": url });
    }
    let messages = ["[WARN] Socket Mode is not turned on."];
    json!({ "ok": true, "url": url, "response_metadata": { "messages": messages } })
}

fn identity(app: Option<&App>) -> Value {
    json!({
        "ok": true,
        "url": "https://acme.slack.com/",
        "team": "acme",
        "user": "line-keeper",
        "team_id": app.map_or("T0SIMTEAM01", |app| &app.team_id),
        "user_id": "U0APPBOT001",
        "bot_id": "B0TAUTLINE1",
        "app_id": app.map_or("A0SIMAPP001", |app| &app.id),
        "is_enterprise_install": false,
    })
}

fn posted(sim: &Shared, call: &Call) -> Value {
    let fields: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let ts =
        format!("{}.{:06}", 1_790_000_000 + sim.epoch.elapsed().as_secs(), sim.next_serial() % 1_000_000);
    let channel = fields.get("channel").cloned().unwrap_or_else(|| "C0SIMLINE01".into());
    json!({ "ok": true, "channel": channel, "ts": ts, "message": { "type": "message", "ts": ts } })
}

fn refused(code: &str) -> Answer {
    json_answer(StatusCode::OK, &json!({ "ok": false, "error": code }))
}

fn rate_limited(retry_after_seconds: Option<u64>) -> Answer {
    let mut answer =
        json_answer(StatusCode::TOO_MANY_REQUESTS, &json!({ "ok": false, "error": "ratelimited" }));
    if let Some(seconds) = retry_after_seconds {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

async fn play(failure: OpenFailure, url: &str) -> Result<Answer, Abort> {
    let success = json_answer(StatusCode::OK, &opened(url, true));
    Ok(match failure {
        OpenFailure::Error { code } => refused(&code),
        OpenFailure::RateLimited { retry_after_seconds } => rate_limited(retry_after_seconds),
        OpenFailure::Status { status } => text(
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            "upstream trouble",
        ),
        OpenFailure::Body { body, content_type } => with_type(StatusCode::OK, &content_type, body.into()),
        OpenFailure::NoUrl => json_answer(StatusCode::OK, &json!({ "ok": true })),
        OpenFailure::DeadUrl => {
            json_answer(StatusCode::OK, &opened("ws://127.0.0.1:1/link/?ticket=dead", true))
        }
        OpenFailure::NoContentType => {
            let mut answer = success;
            answer.headers_mut().remove(CONTENT_TYPE);
            answer
        }
        OpenFailure::Slow { wait } => {
            tokio::time::sleep(wait).await;
            success
        }
        OpenFailure::Hang => match hang().await {},
        OpenFailure::Abort => return Err(Abort),
    })
}
