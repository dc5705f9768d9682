//! `/sim/`: the simulator's own requests, for people and scripts that are not in this process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Answer, Call, json as json_answer, with_type};
use crate::act::{Act, Sockets};
use crate::app::{AckOutcome, App};
use crate::duration;
use crate::envelope::{EnvelopeType, Push};
use crate::handle::AppHandle;
use crate::journal::NoteKind;
use crate::sample::Sample;
use crate::shared::Shared;

pub(super) async fn answer(sim: &Arc<Shared>, path: &str, call: &Call) -> Answer {
    let result = match (&call.method, path) {
        (&Method::POST, "push") => push(sim, &call.body).await,
        (&Method::POST, "do") => carry_out(sim, &call.body),
        (&Method::GET, "apps") => Ok(apps(sim)),
        (&Method::GET, "totals") => Ok(json!(sim.journal.totals(parameter(call, "app")))),
        (&Method::GET, "journal") => return journal(sim),
        _ => Err((StatusCode::NOT_FOUND, "POST push, do; GET apps, totals, journal".to_owned())),
    };
    match result {
        Ok(value) => json_answer(StatusCode::OK, &value),
        Err((status, reason)) => json_answer(status, &json!({ "error": reason })),
    }
}

type Refusal = (StatusCode, String);

fn bad(reason: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, reason.into())
}

/// `POST /sim/push`: either `kind` or `payload`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PushRequest<'a> {
    app: Option<String>,
    kind: Option<Sample>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    channel: Option<String>,
    envelope_type: Option<String>,
    accepts_response_payload: Option<bool>,
    /// How long to wait for the ack; the default covers one ack deadline.
    #[serde(default, with = "duration::option")]
    wait: Option<Duration>,
}

async fn push(sim: &Arc<Shared>, body: &[u8]) -> Result<Value, Refusal> {
    let request: PushRequest<'_> = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    let app = one_app(sim, request.app.as_deref())?;
    let mut push = match (request.kind, request.payload) {
        (Some(kind), None) => Push::from(kind),
        (None, Some(payload)) => Push::raw(Bytes::copy_from_slice(payload.get().as_bytes())),
        (None, None) => Push::from(Sample::Message),
        (Some(_), Some(_)) => return Err(bad("give `kind` or `payload`, not both")),
    };
    push.envelope_type = request.envelope_type.as_deref().map(EnvelopeType::from_name);
    push.accepts_payload = request.accepts_response_payload;
    push.channel = request.channel.map(Into::into);
    let pushed = handle(sim, &app).push(push);
    let (envelope_id, dedup_id) = (pushed.envelope_id, pushed.dedup_id.clone());
    let limit = request.wait.unwrap_or(sim.switches.ack_deadline + Duration::from_millis(500));
    let outcome = pushed.wait_ack(limit).await;
    let mut value = outcome_json(&outcome);
    value["app"] = json!(&*app.id);
    value["envelope_id"] = json!(envelope_id);
    value["dedup_id"] = json!(&*dedup_id);
    Ok(value)
}

fn outcome_json(outcome: &AckOutcome) -> Value {
    match outcome {
        AckOutcome::Acked { payload, after, on_connection, retry_attempt } => {
            let payload: Value =
                payload.as_deref().and_then(|raw| serde_json::from_slice(raw).ok()).unwrap_or_default();
            json!({
                "acked": true,
                "after_ms": (after.as_secs_f64() * 1_000_000.0).round() / 1_000.0,
                "payload": payload,
                "connection": on_connection,
                "retry_attempt": retry_attempt,
            })
        }
        AckOutcome::Unacked { reason, .. } => json!({ "acked": false, "error": reason.code() }),
    }
}

/// `POST /sim/do`: an order, with `app` for one app and without it for all.
fn carry_out(sim: &Arc<Shared>, body: &[u8]) -> Result<Value, Refusal> {
    let mut fields: serde_json::Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    let app = fields.remove("app");
    let socket = fields.remove("connection").as_ref().and_then(Value::as_u64);
    let keys: Vec<String> = fields.keys().cloned().collect();
    let what = Value::Object(fields);
    let act: Act = serde_json::from_value(what.clone()).map_err(|error| bad(error.to_string()))?;
    act.check(keys.iter().map(String::as_str)).map_err(bad)?;
    let apps = match app {
        Some(app_id) => vec![one_app(sim, Some(app_id.as_str().unwrap_or_default()))?],
        None => sim.apps(),
    };
    for app in &apps {
        act.apply(sim, app, socket.map_or(Sockets::All, Sockets::Only));
        sim.journal.note(Some(&app.id), NoteKind::Done { what: what.to_string() });
    }
    Ok(json!({ "ok": true, "apps": apps.len() }))
}

fn one_app(sim: &Shared, app_id: Option<&str>) -> Result<Arc<App>, Refusal> {
    if let Some(app_id) = app_id {
        let unknown = || (StatusCode::NOT_FOUND, format!("no app `{app_id}`; GET /sim/apps lists them"));
        return sim.app(app_id).ok_or_else(unknown);
    }
    match sim.apps().as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(bad("there is no app yet: connect one, or start with --app")),
        [_, _, ..] => Err(bad("there are several apps: name one as `app`")),
    }
}

fn handle(sim: &Arc<Shared>, app: &Arc<App>) -> AppHandle {
    AppHandle { sim: sim.clone(), app: app.clone(), sockets: Sockets::All }
}

fn apps(sim: &Arc<Shared>) -> Value {
    let one = |app: &Arc<App>| {
        let handle = handle(sim, app);
        let socket_mode = app.state.lock().socket_mode;
        json!({
            "app": handle.id(),
            "team": &*app.team_id,
            "socket_mode": socket_mode,
            "unacked": handle.unacked(),
            "connections": handle.connections(),
            "totals": handle.totals(),
        })
    };
    sim.apps().iter().map(one).collect()
}

fn journal(sim: &Shared) -> Answer {
    let mut out = Vec::new();
    sim.journal.dump(&mut out).expect("writing to memory cannot fail");
    with_type(StatusCode::OK, "application/x-ndjson", out.into())
}

fn parameter<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    call.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
