//! P7: planted secrets, and what Slack sends that works like one, never show in logs, pages, commands or the store.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::tools::{assert_absent, file_with, taut, taut_with};
use support::{SOON, Site, echo, signing_secret};
use taut_sim::{
    AppHandle, AppSpec, EchoAnswer, EchoHandler, OpenFailure, Outage, Push, Sample, UpgradeFailure,
};

/// What members wrote.
const TEXT: &str = "planted-text-of-a-member";
/// Opens a modal as the app, for three seconds.
const TRIGGER: &str = "4711.0815.planted-trigger";
/// Posts as the app, for half an hour.
const RESPONSE: &str = "planted-response-path";
/// What a handler answered.
const ANSWER: &str = "planted-answer-of-a-handler";

/// Everything that must stay in: the secret part of the token, the signing secret, and what came over the socket.
fn planted() -> Vec<String> {
    let token = AppSpec::numbered(1).app_token;
    let secret_part = token.rsplit('-').next().expect("it has parts").to_owned();
    let more = [TEXT, TRIGGER, RESPONSE, ANSWER].map(str::to_owned);
    [vec![token, secret_part, signing_secret("acme")], more.to_vec()].concat()
}

fn event(app: &AppHandle, number: u32) -> Push {
    Push::raw(format!(
        r#"{{"token":"{TRIGGER}","type":"event_callback","api_app_id":"{}","event_id":"Ev0P{number}","team_id":"T1","event":{{"type":"message","channel":"C1","text":"{TEXT}"}}}}"#,
        app.id()
    ))
}

fn command(app: &AppHandle) -> Push {
    Push::raw(format!(
        r#"{{"command":"/line","text":"{TEXT}","api_app_id":"{}","team_id":"T1","channel_id":"C1","trigger_id":"{TRIGGER}","response_url":"http:\/\/127.0.0.1:9\/commands\/{RESPONSE}"}}"#,
        app.id()
    ))
}

fn action(app: &AppHandle) -> Push {
    Push::raw(format!(
        r#"{{"type":"block_actions","api_app_id":"{}","team":{{"id":"T1"}},"trigger_id":"{TRIGGER}","response_url":"http:\/\/127.0.0.1:9\/actions\/{RESPONSE}","actions":[{{"action_id":"a","value":"{TEXT}"}}]}}"#,
        app.id()
    ))
}

/// Goes through as much as a day brings, mishaps first of all.
async fn a_busy_day(site: &Site, app: &AppHandle, handler: &EchoHandler) {
    let mishaps = [
        Outage::None,
        Outage::Status(503),
        Outage::Abort,
        Outage::Refuse,
        Outage::Garbage,
        Outage::Oversized(3 << 20),
    ];
    for (number, outage) in (0..).zip(mishaps) {
        handler.outage(outage);
        let pushed = [app.push(event(app, number)), app.push(command(app)), app.push(action(app))];
        let waits = pushed.into_iter().map(|pushed| pushed.wait_ack(Duration::from_millis(300)));
        futures::future::join_all(waits).await;
    }
    handler.outage(Outage::None);
    handler.answer("message", Some(EchoAnswer { status: 400, ..EchoAnswer::text(ANSWER) }));
    app.push(event(app, 100));
    site.until_tenant("acme", "a dead letter", |tenant| tenant.dead_letters > 0).await;
    for frame in [
        format!(r#"{{"envelope_id":"{TRIGGER}","payload":{{"text":"{TEXT}"#),
        format!(r#"{{"type":"{TEXT}","payload":{{"text":"{TEXT}"}}}}"#),
        format!("{TEXT} {RESPONSE} https://hooks.slack.com/commands/T1/2/{RESPONSE}"),
    ] {
        app.send_raw(&frame);
    }
    app.push(Push::raw(format!(r#"{{"type":"{TEXT}","trigger_id":"{TRIGGER}"}}"#)));
    app.push(Sample::FunctionExecuted);
}

/// Loses the socket in every way that has words of its own, ending with a revoked token.
async fn a_bad_night(site: &Site, app: &AppHandle) {
    app.fail_next_opens(
        1,
        OpenFailure::Body { body: format!("<html>{TEXT}"), content_type: "text/html".into() },
    );
    app.fail_next_upgrades(1, UpgradeFailure::Text { text: format!("UNAUTHENTICATED: {TEXT}") });
    app.drop_tcp();
    site.until_tenant("acme", "connected again", |tenant| tenant.state == "connected").await;
    app.fail_next_upgrades(1, UpgradeFailure::Html);
    app.drop_tcp();
    site.until_tenant("acme", "connected again", |tenant| tenant.state == "connected").await;
    app.revoke_token("token_revoked");
    app.drop_tcp();
    site.until_tenant("acme", "parked", |tenant| tenant.state == "parked").await;
}

async fn nothing_comes_out(level: &str) {
    let head = format!(
        "[log]\nlevel = \"{level}\"\n[delivery]\nretry_first = \"20ms\"\nretry_max = \"50ms\"\nattempts_max = 1000\n"
    );
    let mut site = Site::new(&head).await;
    site.slack("opens_per_app = \"100 then 1/1s\"");
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    a_busy_day(&site, &app, &handler).await;
    a_bad_night(&site, &app).await;

    let planted = planted();
    let words: Vec<_> = planted.iter().map(String::as_str).collect();
    assert_absent("/metrics", &site.get("/metrics").await.1, &words);
    assert_absent("/readyz", &site.get("/readyz").await.1, &words);
    for command in [
        &["status"][..],
        &["status", "--json"],
        &["tenant", "list", "--json"],
        &["tenant", "show", "acme"],
        &["deadletter", "list"],
        &["deadletter", "list", "--json"],
        &["route", "pause", "acme", "bot"],
        &["tenant", "pause", "acme"],
        &["check"],
    ] {
        let run = site.taut(command).await;
        assert_eq!(run.code, 0, "{run:?}");
        assert_absent(&format!("taut {command:?}"), &run.all(), &words);
    }
    site.worker.terminate().await.expect("it stops");
    let log = site.read("worker.log");
    assert!(log.lines().count() > 20, "the level {level} is in force");
    assert_absent("the log", &log, &words);
    let store = site.dir.path().join("store");
    for secret in &planted[..3] {
        let found = file_with(&store, secret.as_bytes());
        assert_eq!(found, None, "the store holds a secret");
    }
    assert!(file_with(&store, TEXT.as_bytes()).is_some(), "the search finds what is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_level_debug() {
    nothing_comes_out("debug").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_level_trace() {
    nothing_comes_out("trace").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_readable_by_its_owner_alone_and_a_crash_leaves_no_copy() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    app.push(event(&app, 1));
    assert!(handler.wait_until(SOON, |totals| totals.keys == 1).await);
    let id = site.worker.id().expect("it runs");
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).expect("it runs");
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"]);
    for path in
        every_file(&site.dir.path().join("store")).into_iter().chain([site.dir.path().join("admin.sock")])
    {
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

/// A directory and everything below it.
fn every_file(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory is readable");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let below = paths.flat_map(|path| if path.is_dir() { every_file(&path) } else { vec![path] });
    std::iter::once(directory.to_owned()).chain(below).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_configuration_does_not_repeat_its_secrets() {
    let site = Site::new("").await;
    let pasted = AppSpec::numbered(1).app_token;
    let text = format!(
        "[network]\nproxy = \"http://user:planted-password@proxy.example:3128\"\n[[tenants]]\nid = \"acme\"\n\
         app_token = \"{pasted}\"\nsigning_secret = {{ fil = \"planted-file\" }}\nbot_token = \"xoxb-1-planted\"\n\
         [[tenants.routes]]\nname = \"bot\"\ntarget = {{ http = \"http://user:planted-password@127.0.0.1:1/\" }}\n"
    );
    let path = site.write_secret("taut.toml", &text);
    let path = path.to_str().expect("a text");
    for command in [["check", "--config", path], ["run", "--config", path]] {
        let run = taut(&command).await;
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.stderr.contains("tenants[0].app_token"), "{}", run.stderr);
        assert_absent("the refusal", &run.all(), &[&pasted, "planted-password", "xoxb-1-planted"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_the_environment_stay_there() {
    let site = Site::new("").await;
    let spec = AppSpec::numbered(1);
    let app = site.sim.add_app(spec.clone());
    let (api, store) = (site.sim.api_url(), site.dir.path().join("short"));
    let variables = [
        ("SLACK_APP_TOKEN", spec.app_token.as_str()),
        ("SLACK_SIGNING_SECRET", "planted-signing-secret"),
        ("TAUT__SLACK__API_URL", &api),
        ("TAUT__STORE__PATH", store.to_str().expect("a text")),
        ("TAUT__LOG__LEVEL", "trace"),
    ];
    let stop = stop_when_connected(&app, &store);
    let (run, ()) = tokio::join!(taut_with(&["run", "--forward", "http://127.0.0.1:9/"], &variables), stop);
    assert_eq!(run.code, 0, "{run:?}");
    assert_absent("the log", &run.all(), &[&spec.app_token, "planted-signing-secret"]);
    assert_eq!(file_with(&store, b"planted-signing-secret"), None);
}

async fn stop_when_connected(app: &AppHandle, store: &Path) {
    assert!(app.wait_connected(1, SOON).await);
    let socket = store.join("admin.sock");
    taut(&["drain", "--socket", socket.to_str().expect("a text")]).await.ok();
}
