//! P4, keep your Request URL code: an unmodified HTTP-mode Bolt app, or any receiver of Slack's requests, works behind
//! taut as it works behind Slack.
//!
//! ```text
//! simulated Slack ══ envelope ══► taut (the real binary) ── request ──► app      one listener, one run
//!        ▲──────────── ack ───────────┘ ◄───────── its answer ────────────┘
//! this test ── the same request, signed by its own code ───────────────► app ──► its answer, directly
//!                                                                                   │ the table of `expect.rs`
//! the ack that taut sent   must be   what the request table makes of ◄──────────────┘
//! ```
//!
//! Needs the apps of `tests/apps`: `.ci/install` installs them.

mod p4;
mod support;

use std::collections::BTreeMap;

use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use taut_sim::{AckOutcome, AppHandle, AppSpec, Push};

use p4::apps::{APPS, App};
use p4::cases::Case;
use p4::golden::{self, Golden, Recorder};
use p4::trial::{self, Trial};
use p4::{direct, expect, metrics};
use support::{SOON, Site, signing_secret};

/// Quick cases under way at once in each app. Those that are not acked take as long as Slack waits, 3 s.
const QUICK_AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unmodified_apps_answer_through_taut_as_they_answer_slack() {
    let mut site = Site::new("").await;
    let apps: Vec<App> = join_all(APPS.iter().map(App::start)).await;
    let mut lines = Vec::new();
    for (number, app) in (1..).zip(&apps) {
        lines.push(site.add_tenant(number, app.program.name, &route(app)));
    }
    site.start_connected(&lines.iter().collect::<Vec<_>>()).await;

    let through = apps.iter().zip(&lines).map(|(app, line)| whole_app(&site, app, line));
    let faults = join_all(through).await.concat();
    assert!(faults.is_empty(), "{} faults:\n{}\n{}", faults.len(), faults.join("\n"), site.worker.log_tail());
}

fn route(app: &App) -> String {
    let (url, at_once) = (app.url(), app.program.at_once);
    format!("[[tenants.routes]]\nname = \"bot\"\ntarget = {{ http = \"{url}\" }}\nconcurrency = {at_once}\n")
}

/// Every case through one app, and then what its tenant's books must say; the faults, one line each.
async fn whole_app(site: &Site, app: &App, line: &AppHandle) -> Vec<String> {
    let cases = Case::all(line.id(), &format!("{}/response", site.sim.url()));
    let at_once = app.program.at_once;
    let asked = stream::iter(cases).map(|case| Trial::ask(app, case));
    let trials: Vec<Trial> = asked.buffer_unordered(at_once).collect().await;

    // The slow ones come last, so that they hold up nobody else's answer in an app that serves one at a time.
    let (quick, slow): (Vec<_>, Vec<_>) = trials.iter().partition(|trial| trial.is_quick());
    let through = |trials: Vec<_>| stream::iter(trials).map(|trial: &Trial| trial.through(line));
    let mut faults: Vec<Option<String>> = through(quick).buffer_unordered(QUICK_AT_ONCE).collect().await;
    faults.extend(through(slow).buffer_unordered(at_once).collect::<Vec<_>>().await);

    let mut faults: Vec<String> = faults.into_iter().flatten().collect();
    faults.extend(books_fault(site, app.program.name, &trials).await);
    faults.extend(trial::posted_fault(site, line, &trials).await);
    faults.extend(trial::listener_faults(app, &trials).await);
    faults.into_iter().map(|fault| format!("{}: {fault}", app.program.name)).collect()
}

/// Every case cost one attempt with the outcome its answer means, and nothing is left to deliver: what a handler took
/// is not sent again, nor is what it said nobody listens to.
async fn books_fault(site: &Site, tenant: &str, trials: &[Trial]) -> Option<String> {
    let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
    for trial in trials {
        *wanted.entry(expect::outcome(&trial.case, &trial.direct).to_owned()).or_default() += 1;
    }
    let poison = wanted.get("poison").copied().unwrap_or(0);
    let status = site.until_tenant(tenant, "an empty backlog", |tenant| tenant.backlog_envelopes == 0).await;
    let attempts = metrics::attempts(metrics::port(site), tenant, wanted.values().sum()).await;
    if attempts != wanted {
        return Some(format!("attempts by outcome are {attempts:?}, want {wanted:?}"));
    }
    let (letters, down) = (status.dead_letters, status.routes_down);
    (letters != poison || !down.is_empty())
        .then(|| format!("{letters} dead letters, want {poison}; down: {down:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_arrives_as_slack_would_have_sent_it() {
    let mut recorder = Recorder::start().await;
    let tenant = format!(
        "[[tenants]]\nid = \"acme\"\napp_token = {{ file = \"acme.app\" }}\nsigning_secret = {{ file = \"acme.signing\" }}\n\
         [[tenants.routes]]\nname = \"bot\"\ntarget = {{ http = \"{}\" }}\n",
        recorder.url()
    );
    let mut site = Site::new(&tenant).await;
    let spec = AppSpec { app_id: golden::APP_ID.into(), ..AppSpec::numbered(1) };
    site.write_secret("acme.app", &spec.app_token);
    site.write_secret("acme.signing", golden::SECRET);
    let line = site.sim.add_app(spec);
    site.start_connected(&[&line]).await;

    for golden in Golden::all() {
        if golden.retry_attempt == 0 {
            let pushed = line.push(Push::raw(golden.payload.clone()).typed(golden.wire.envelope_type()));
            golden.assert_same(&recorder.next().await);
            let outcome = pushed.wait_ack(SOON).await;
            assert!(matches!(outcome, AckOutcome::Acked { .. }), "{}: {outcome:?}", golden.name);
        } else {
            line.send_raw(&golden.envelope());
            golden.assert_same(&recorder.next().await);
        }
    }
}

/// The apps do verify signatures: with another secret taut's requests are refused, and what was acked waits for the
/// right one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_signing_secret_loses_nothing() {
    let mut site =
        Site::new("[delivery]\nretry_first = \"100ms\"\nretry_max = \"1s\"\nbreaker_faults = 2\n").await;
    let app = App::start(&APPS[0]).await;
    let tenant = app.program.name;
    let line = site.add_tenant(1, tenant, &route(&app));
    site.write_secret(&format!("{tenant}.signing"), "somebody else's");
    site.start_connected(&[&line]).await;

    let cases = Case::all(line.id(), &format!("{}/response", site.sim.url()));
    let case = |name: &str| cases.iter().find(|case| case.name == name).expect("a case of cases.json");
    let push = |name: &str| Push::raw(case(name).payload.to_string());
    let refused = line.push(push("command_echo")).wait_ack(SOON).await;
    assert!(matches!(refused, AckOutcome::Unacked { .. }), "{refused:?}");
    let stored = line.push(push("app_mention")).wait_ack(SOON).await;
    assert!(matches!(stored, AckOutcome::Acked { .. }), "{stored:?}");
    site.until_tenant(tenant, "a route that is down", |tenant| !tenant.routes_down.is_empty()).await;
    assert!(app.record().await.is_empty(), "a refused request reached a listener");

    site.worker.terminate().await.expect("the worker stops");
    site.write_secret(&format!("{tenant}.signing"), &signing_secret(tenant));
    site.worker.start().await.expect("the worker starts");
    site.until_tenant(tenant, "an empty backlog", |tenant| tenant.backlog_envelopes == 0).await;
    let ran: Vec<String> = app.record().await.into_iter().map(|ran| ran.listener).collect();
    assert_eq!(ran, ["app_mention"]);
}

/// What this file sends directly is what Slack would send: the published examples.
#[test]
fn direct_requests_have_slacks_shape() {
    let vectors = Golden::all().into_iter().filter(|golden| golden.name.ends_with("_vector"));
    for golden in vectors {
        let (name, request) = (&golden.name, &golden.request);
        let payload = serde_json::from_slice(&golden.payload).expect("a payload is JSON");
        let body = direct::body(golden.wire, &payload);
        let signature = direct::signature(&golden.secret, golden.timestamp, body.as_bytes());
        assert_eq!(body.as_bytes(), request.body, "{name}");
        assert_eq!(request.header("x-slack-signature"), Some(signature.as_str()), "{name}");
        assert_eq!(request.header("content-type"), Some(direct::content_type(golden.wire)), "{name}");
    }
}
