//! The command line: exit codes, every breach at once, and commands that ask a running worker.

mod support;

use std::time::Duration;

use support::tools::{taut, taut_with};
use support::{SOON, Site, echo, signing_secret};
use taut_sim::{AppSpec, Outage, Sample};

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_errors_exit_with_2_and_help_with_0() {
    for wrong in [&["no-such-command"][..], &["run", "--no-such-flag"], &["check"], &["deadletter"], &[]] {
        let run = taut(wrong).await;
        assert_eq!(run.code, 2, "taut {wrong:?}: {run:?}");
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{run:?}");
    }
    for right in [&["--help"][..], &["--version"], &["run", "--help"], &["sim", "push", "--help"]] {
        assert!(!taut(right).await.ok().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_breach_is_listed_at_once_with_key_value_rule_and_suggestion() {
    let site = Site::new("").await;
    let config = site.write_secret(
        "wrong.toml",
        "[slack]\nframe_bytes_max = \"1B\"\n[queue]\nenvelope_max = 5\noverflow = \"drop\"\n[store]\nkind = \"tape\"\n\
         [[tenants]]\nid = \"Acme Corp\"\napp_token = { file = \"a\" }\nsigning_secret = { file = \"b\" }\n",
    );
    for command in ["check", "run"] {
        let run = taut(&[command, "--config", text(&config)]).await;
        assert_eq!(run.code, 2, "{run:?}");
        for breach in [
            "slack.frame_bytes_max",
            "\"1B\"",
            "queue.envelope_max",
            "did you mean queue.envelopes_max",
            "queue.overflow",
            "dead_letter_oldest",
            "store.kind",
            "tenants[0].id",
        ] {
            assert!(run.stderr.contains(breach), "{breach} is not in\n{}", run.stderr);
        }
    }
    let missing = taut(&["check", "--config", "/no/such/file.toml"]).await;
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.stderr.contains("/no/such/file.toml"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_prints_what_is_in_effect_and_where_it_came_from() {
    let site = Site::new("").await;
    let (first, second) = (
        site.write_secret("first.toml", "[queue]\nenvelopes_max = 500\ndedup_window = \"20m\"\n"),
        site.write_secret("second.toml", "[queue]\nenvelopes_max = 600\n"),
    );
    let args = ["check", "--config", text(&first), "--config", text(&second)];
    let shown = taut_with(&args, &[("TAUT__LOG__LEVEL", "debug")]).await.ok();
    let line =
        |key: &str| shown.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("{key}: {shown}"));
    assert!(
        line("envelopes_max").contains("600") && line("envelopes_max").contains("second.toml"),
        "{shown}"
    );
    assert!(line("dedup_window").contains("20m") && line("dedup_window").contains("first.toml"), "{shown}");
    assert!(line("level").contains("debug") && line("level").contains("TAUT__LOG__LEVEL"), "{shown}");
    assert!(line("bytes_max").contains("default"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_is_named_by_its_key() {
    let site = Site::new("").await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let path = site.dir.path().display();
    let (socket, blocked) = (format!("{path}/admin.sock"), site.write_secret("blocked", ""));
    for (listen, store, admin, named) in [
        (address.as_str(), format!("{path}/store"), socket.clone(), "metrics.listen"),
        ("127.0.0.1:0", format!("{}/store", text(&blocked)), socket.clone(), "blocked"),
        ("127.0.0.1:0", format!("{path}/store"), format!("{}/admin.sock", text(&blocked)), "admin.listen"),
    ] {
        let config = format!(
            "[store]\npath = \"{store}\"\n[metrics]\nlisten = \"{listen}\"\n[admin]\nlisten = \"unix:{admin}\"\n"
        );
        let config = site.write_secret("taut.toml", &config);
        let run = taut(&["run", "--config", text(&config)]).await;
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains(named), "{named} is not in {}", run.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_commands_fail_with_1_and_say_what_to_do() {
    let site = Site::new("").await;
    let socket = site.dir.path().join("nobody.sock");
    for command in [&["status"][..], &["deadletter", "list"], &["tenant", "pause", "acme"], &["drain"]] {
        let run = taut(&[command, &["--socket", text(&socket)]].concat()).await;
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains("nobody.sock") && run.stderr.contains("running"), "{}", run.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_tenant_holds_no_socket_until_it_is_resumed() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    site.taut(&["tenant", "pause", "acme"]).await.ok();
    site.until_tenant("acme", "paused", |tenant| tenant.state == "paused").await;
    assert!(app.wait_connected(0, SOON).await, "{:?}", app.connections());
    let listed = site.taut(&["tenant", "list"]).await.ok();
    assert!(listed.contains("acme") && listed.contains("paused"), "{listed}");
    site.taut(&["tenant", "resume", "acme"]).await.ok();
    assert!(app.wait_connected(1, SOON).await);
    let unknown = site.taut(&["tenant", "pause", "globex"]).await;
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(unknown.stderr.contains("globex"), "{}", unknown.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_route_keeps_its_backlog_until_it_is_resumed() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    site.taut(&["route", "pause", "acme", "bot"]).await.ok();
    site.until_tenant("acme", "shown as down", |tenant| !tenant.routes_down.is_empty()).await;
    for _ in 0..10 {
        app.push(Sample::Message);
    }
    site.until_tenant("acme", "the backlog", |tenant| tenant.backlog_envelopes == 10).await;
    assert_eq!(handler.totals().requests, 0);
    site.taut(&["route", "resume", "acme", "bot"]).await.ok();
    assert!(handler.wait_until(SOON, |totals| totals.keys == 10).await);
    let unknown = site.taut(&["route", "pause", "acme", "nobody"]).await;
    assert_eq!(unknown.code, 1, "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_breaker_tries_at_once() {
    let mut site = Site::new("[delivery]\nretry_first = \"50ms\"\nbreaker_faults = 2\n").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.outage(Outage::Refuse);
    for _ in 0..10 {
        app.push(Sample::Message);
    }
    site.until_tenant("acme", "the breaker", |tenant| !tenant.routes_down.is_empty()).await;
    handler.outage(Outage::None);
    site.taut(&["route", "reset-breaker", "acme", "bot"]).await.ok();
    assert!(handler.wait_until(SOON, |totals| totals.keys == 10).await, "{:?}", handler.totals());
    site.until_tenant("acme", "up again", |tenant| tenant.routes_down.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_short_form_needs_no_file() {
    let site = Site::new("").await;
    let spec = AppSpec::numbered(1);
    let app = site.sim.add_app(spec.clone());
    let handler = echo("default").await;
    let (api, store) = (site.sim.api_url(), site.dir.path().join("short"));
    let variables = [
        ("SLACK_APP_TOKEN", spec.app_token.as_str()),
        ("SLACK_SIGNING_SECRET", &signing_secret("default")),
        ("TAUT__SLACK__API_URL", &api),
        ("TAUT__STORE__PATH", text(&store)),
    ];
    let url = handler.url();
    let using = async {
        assert!(app.wait_connected(1, SOON).await);
        app.push(Sample::Message);
        assert!(handler.wait_until(SOON, |totals| totals.keys == 1).await);
        let socket = store.join("admin.sock");
        taut(&["drain", "--wait", "--socket", text(&socket)]).await.ok();
    };
    let args = ["run", "--forward", &url];
    let (run, ()) = tokio::join!(taut_with(&args, &variables), using);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("127.0.0.1:"), "it says which ports it took: {}", run.stderr);
    assert_eq!(handler.totals().refused, 0);

    let bare = taut(&["run", "--forward", &url]).await;
    assert_eq!(bare.code, 2, "{bare:?}");
    assert!(bare.stderr.contains("SLACK_APP_TOKEN") && bare.stderr.contains("SLACK_SIGNING_SECRET"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sim_push_prints_the_ack_of_a_running_simulator() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    let url = site.sim.url().to_owned();
    let command = taut(&["sim", "push", "--url", &url, "--kind", "slash_command"]).await.ok();
    assert!(command.contains("echo: tighten"), "{command}");
    let event = taut(&["sim", "push", "--url", &url, "--kind", "message"]).await;
    assert_eq!(event.code, 0, "{event:?}");
    assert!(handler.wait_until(SOON, |totals| totals.keys >= 1).await);

    handler.outage(Outage::Status(500));
    let failed = taut(&["sim", "push", "--url", &url, "--kind", "block_suggestion", "--wait", "4s"]).await;
    assert_eq!(failed.code, 1, "no ack is a failure: {failed:?}");
    let wrong = taut(&["sim", "push", "--url", &url, "--kind", "no_such_kind"]).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
    let nobody = taut(&["sim", "push", "--url", "http://127.0.0.1:9"]).await;
    assert_eq!(nobody.code, 1, "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_test_tries_every_kind_without_slack() {
    let site = Site::new("").await;
    let handler = echo("acme").await;
    let secret = site.write_secret("signing", &signing_secret("acme"));
    let args = |url: &str, secret: &str| {
        ["handler", "test", url, "--signing-secret-file", secret].map(str::to_owned)
    };
    let run = |args: [String; 5]| async move { taut(&args.each_ref().map(String::as_str)).await };
    let table = run(args(&handler.url(), text(&secret))).await.ok();
    for sample in Sample::ALL {
        assert!(table.contains(sample.name()), "{} is not in\n{table}", sample.name());
    }
    assert_eq!(handler.totals().refused, 0, "every signature verifies");

    let other = site.write_secret("other", "not the handler's secret");
    let refused = run(args(&handler.url(), text(&other))).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("signing secret"), "{}", refused.stderr);
    let nobody = run(args("http://127.0.0.1:9/", text(&secret))).await;
    assert_eq!(nobody.code, 1, "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_demo_reconciles() {
    let run = taut(&["demo", "--tenants", "2", "--rate", "20", "--seconds", "10"]);
    let run = tokio::time::timeout(Duration::from_mins(1), run).await.expect("it ends");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("OK:") && run.stdout.contains("0 lost"), "{}", run.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_a_command_without_a_panic() {
    let site = Site::new("").await;
    let config = site.write_secret("one.toml", "[queue]\nenvelopes_max = 500\n");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_taut"));
    check.args(["check", "--config", text(&config)]).stdout(writer);
    let run = check.output().expect("it runs");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.code() == Some(141) && said.is_empty(), "{:?} {said}", run.status);
}
