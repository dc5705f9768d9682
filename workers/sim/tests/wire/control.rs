//! `/sim/` requests, scripts, and `taut sim push` against them.

use clap::Parser;
use serde_json::{Value, json};
use taut_sim::{AppSpec, PushArgs, Script, SimArgs, Switches};

use crate::client::{Socket, get, post};
use crate::{LONG, fast, sim_with};

/// What the root command does with the arguments.
#[derive(Parser)]
struct Push {
    #[command(flatten)]
    push: PushArgs,
}

#[derive(Parser)]
struct Run {
    #[command(flatten)]
    sim: SimArgs,
}

#[tokio::test]
async fn a_push_over_http_reads_the_ack_back() {
    let (sim, _app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    let url = format!("{}/sim/push", sim.url());
    let client = async {
        let envelope = socket.json().await;
        assert_eq!(envelope["payload"]["command"], "/line");
        socket.ack_with(&envelope, json!({ "text": "hi" })).await;
    };
    let (answer, ()) = tokio::join!(post(&url, None, r#"{"kind":"slash_command"}"#), client);
    let answer = answer.json();
    assert_eq!((&answer["acked"], &answer["payload"]["text"]), (&json!(true), &json!("hi")));
    assert!(answer["after_ms"].as_f64().unwrap() < 3_000.0);
}

#[tokio::test]
async fn an_unacked_push_says_what_the_user_would_see() {
    let (sim, _app) = sim_with(fast()).await;
    let url = format!("{}/sim/push", sim.url());
    let nobody = post(&url, None, r#"{"kind":"block_actions"}"#).await.json();
    assert_eq!((&nobody["acked"], &nobody["error"]), (&json!(false), &json!("dispatch_failed")));
    let (_socket, _) = Socket::connect(&sim).await;
    let late = post(&url, None, r#"{"payload":{"type":"shortcut"}}"#).await.json();
    assert_eq!(late["error"], "operation_timeout");
    let event = post(&url, None, r#"{"kind":"message","wait":"1ms"}"#).await.json();
    assert_eq!(event["error"], "not_acked_yet");
}

#[tokio::test]
async fn wrong_control_requests_say_what_is_wrong() {
    let (sim, _app) = sim_with(Switches::default()).await;
    let error = async |path: &str, body: &str| {
        let answer = post(&format!("{}/sim/{path}", sim.url()), None, body).await;
        (answer.status, answer.json()["error"].as_str().unwrap().to_owned())
    };
    let (status, reason) = error("push", r#"{"kind":"mesage"}"#).await;
    assert!(status == 400 && reason.contains("view_submission"), "{reason}");
    let (status, reason) = error("push", r#"{"app":"A9","kind":"message"}"#).await;
    assert!(status == 404 && reason.contains("A9"), "{reason}");
    assert_eq!(error("push", r#"{"kind":"message","payload":{}}"#).await.0, 400);
    assert_eq!(error("do", r#"{"do":"refesh"}"#).await.0, 400);
    assert_eq!(error("do", "[]").await.0, 400);
    assert_eq!(error("nothing", "").await.0, 404);
    sim.add_app(AppSpec::new("A0OTHER0001", "xapp-1-A0OTHER0001-1-ab"));
    assert!(error("push", r#"{"kind":"message"}"#).await.1.contains("name one"));
}

#[tokio::test]
async fn faults_can_be_ordered_over_http() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    let order = |body: Value| {
        let url = format!("{}/sim/do", sim.url());
        async move { post(&url, None, &body.to_string()).await.json()["ok"].clone() }
    };
    assert_eq!(order(json!({ "do": "refresh", "app": "A0TESTAPP01" })).await, true);
    assert_eq!(socket.json().await["reason"], "refresh_requested");
    let first = app.connections()[0].id;
    assert_eq!(order(json!({ "do": "drop", "connection": first })).await, true);
    assert_eq!(socket.next().await, None);
    let failure = json!({ "with": "error", "code": "internal_error" });
    assert_eq!(order(json!({ "do": "fail_opens", "failure": failure })).await, true);
    assert_eq!(crate::client::open(&sim).await.json()["error"], "internal_error");
}

#[tokio::test]
async fn apps_totals_and_journal_can_be_read() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    app.push(taut_sim::Sample::Message);
    let envelope = socket.json().await;
    socket.ack(&envelope).await;
    assert!(app.wait_settled(LONG).await);
    let apps = get(&format!("{}/sim/apps", sim.url())).await.json();
    assert_eq!((&apps[0]["app"], &apps[0]["connections"][0]["acked"]), (&json!("A0TESTAPP01"), &json!(1)));
    let totals = get(&format!("{}/sim/totals?app=A0TESTAPP01", sim.url())).await.json();
    assert_eq!((&totals["produced"], &totals["acked"]), (&json!(1), &json!(1)));
    let journal = get(&format!("{}/sim/journal", sim.url())).await.body;
    let lines: Vec<Value> =
        journal.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert!(lines.iter().any(|line| line["line"] == "envelope" && !line["end"]["acked"].is_null()));
    assert!(lines.iter().any(|line| line["note"] == "hello"));
}

#[tokio::test]
async fn a_script_plays_its_steps_when_they_are_due() {
    let (sim, app) = sim_with(Switches::default()).await;
    let script = r#"
        [[app]]
        id = "A0TESTAPP01"
        [[step]]
        when = { hellos = 1 }
        do = "push"
        kind = "app_mention"
        [[step]]
        when = { acked = 1 }
        after = "5ms"
        app = "A0TESTAPP01"
        do = "drop"
        [[step]]
        at = "1ms"
        do = "ghosts"
        count = 3
    "#;
    sim.play(Script::parse(script).unwrap());
    let ghosts =
        |note: &taut_sim::Note| matches!(&note.kind, taut_sim::NoteKind::Done { what } if what == "ghosts");
    assert!(app.wait_until(LONG, |_| sim.journal().notes(None).iter().any(ghosts)).await);
    let (mut socket, hello) = Socket::connect(&sim).await;
    assert_eq!(hello["num_connections"], 4);
    let envelope = socket.json().await;
    assert_eq!(envelope["payload"]["event"]["type"], "app_mention");
    socket.ack(&envelope).await;
    assert_eq!(socket.next().await, None, "dropped");
}

#[tokio::test]
async fn a_scripts_load_begins_when_somebody_listens() {
    let (sim, app) = sim_with(Switches::default()).await;
    sim.play(Script::parse("[load]\nrate = 1000.0\ncount = 5").unwrap());
    let (mut socket, _) = Socket::connect(&sim).await;
    for _ in 0..5 {
        let envelope = socket.json().await;
        assert_eq!(envelope["retry_attempt"], 0);
        socket.ack(&envelope).await;
    }
    assert!(app.wait_settled(LONG).await);
    assert_eq!(app.totals().produced, 5);
}

#[tokio::test]
async fn sim_push_exits_0_with_an_ack_and_1_without() {
    let (sim, _app) = sim_with(fast()).await;
    let push = |arguments: &[&str]| {
        let all = ["push", "--url", sim.url()].into_iter().chain(arguments.iter().copied());
        Push::try_parse_from(all).unwrap().push.run()
    };
    let failure = push(&["--kind", "view-submission"]).await.unwrap();
    assert_eq!(format!("{failure:?}"), format!("{:?}", std::process::ExitCode::FAILURE));
    let (mut socket, _) = Socket::connect(&sim).await;
    let client = async {
        let envelope = socket.json().await;
        assert_eq!(envelope["payload"]["odd"], json!([1, "é"]));
        socket.ack(&envelope).await;
    };
    let payload = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(payload.path(), r#"{"type":"shortcut", "odd":[1,"é"]}"#).unwrap();
    let path = payload.path().to_str().unwrap();
    let (acked, ()) = tokio::join!(push(&["--payload", path, "--wait", "5s"]), client);
    assert_eq!(format!("{:?}", acked.unwrap()), format!("{:?}", std::process::ExitCode::SUCCESS));
    let refused = push(&["--app", "A9"]).await.unwrap_err().to_string();
    assert!(refused.contains("A9"), "{refused}");
}

#[tokio::test]
async fn sim_push_names_a_simulator_that_is_not_there() {
    let push = Push::try_parse_from(["push", "--url", "http://127.0.0.1:1"]).unwrap();
    let failure = push.push.run().await.unwrap_err().to_string();
    assert!(failure.contains("taut sim"), "{failure}");
    let push = Push::try_parse_from(["push", "--url", "wss://elsewhere"]).unwrap();
    assert!(push.push.run().await.unwrap_err().to_string().contains("http://"));
}

#[tokio::test]
async fn a_bad_script_or_speed_is_refused_before_anything_listens() {
    let bad = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bad.path(), "sede = 1").unwrap();
    let run =
        Run::try_parse_from(["sim", "--listen", "127.0.0.1:0", "--script", bad.path().to_str().unwrap()]);
    assert!(run.unwrap().sim.run().await.unwrap_err().to_string().contains("sede"));
    let run = Run::try_parse_from(["sim", "--listen", "127.0.0.1:0", "--speed", "0"]).unwrap();
    assert!(run.sim.run().await.is_err());
    assert!(Run::try_parse_from(["sim", "push", "--kind", "mesage"]).is_err());
}
