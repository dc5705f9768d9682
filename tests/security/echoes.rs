//! Slack, a proxy and a handler that say back what they were told, in every place where they may speak.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use parking_lot::Mutex;
use taut_sim::{AppSpec, EchoAnswer, OpenFailure, Push, UpgradeFailure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::search::{Canaries, every_path};
use crate::support::{SOON, Site, echo, signing_secret, until};

const TRACE: &str = "[log]\nlevel = \"trace\"\n";
const TICKET: &str = "planted-ticket-77";
const PASSWORD: &str = "p/w+canary\"7";
const TEXT: &str = "planted-text-of-a-member";
const ANSWER: &str = "planted-answer-of-a-handler";

/// Everything that may be read of a worker, but its files.
async fn assert_silent(site: &Site, canaries: &Canaries) {
    canaries.assert_absent("/metrics", site.get("/metrics").await.1);
    canaries.assert_absent("/readyz", site.get("/readyz").await.1);
    for command in [
        &["status"][..],
        &["status", "--json"],
        &["tenant", "list", "--json"],
        &["tenant", "show", "acme"],
        &["deadletter", "list", "--json"],
        &["store", "check", "--json"],
        &["check"],
        &["doctor"],
        &["doctor", "--json"],
    ] {
        canaries.assert_absent(&format!("taut {command:?}"), site.taut(command).await.all());
    }
    canaries.assert_absent("the log", site.read("worker.log"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_slack_says_back_of_a_token_or_a_ticket_is_shown_to_nobody() {
    let mut site = Site::new(TRACE).await;
    site.slack("opens_per_app = \"100 then 1/1s\"");
    let token = AppSpec::numbered(1).app_token;
    let json = |body: String| OpenFailure::Body { body, content_type: "application/json".into() };
    let url = |url: &str| json(format!(r#"{{"ok":true,"url":"{url}"}}"#));
    let opens = [
        ("acme", OpenFailure::Error { code: token.clone() }),
        (
            "needed",
            json(format!(
                r#"{{"ok":false,"error":"missing_scope","needed":"{token}","provided":"{TICKET}"}}"#
            )),
        ),
        (
            "metadata",
            json(format!(r#"{{"ok":false,"error":"x","response_metadata":{{"messages":["{token}"]}}}}"#)),
        ),
        ("dead", url(&format!("ws://127.0.0.1:1/link/?ticket={TICKET}&app_id=A1"))),
        ("named", url(&format!("ws://slack.invalid:70000/{TICKET}?ticket={TICKET}"))),
        ("user", url(&format!("ws://{TICKET}@127.0.0.1:1/{TICKET}"))),
        ("page", json(format!("<html>{token} {TICKET}"))),
    ];
    let upgrades = [
        ("text", UpgradeFailure::Text { text: format!("{token} {TICKET}") }),
        ("reason", UpgradeFailure::Disconnect { reason: format!("{token} {TICKET}") }),
        ("foreign", UpgradeFailure::HelloOfApp { app_id: format!("{token} {TICKET}") }),
    ];
    let ids: Vec<_> = opens.iter().map(|(id, _)| *id).chain(upgrades.iter().map(|(id, _)| *id)).collect();
    let mut apps = Vec::new();
    for (number, id) in (1..).zip(&ids) {
        apps.push(site.add_simple(number, id, "http://127.0.0.1:9/"));
    }
    for (app, (_, failure)) in apps.iter().zip(opens) {
        app.fail_next_opens(10_000, failure);
    }
    for (app, (_, failure)) in apps.iter().rev().zip(upgrades.into_iter().rev()) {
        app.fail_next_upgrades(10_000, failure);
    }
    site.start().await;
    for id in &ids {
        site.until_tenant(id, "it has a reason", |tenant| !["", "start"].contains(&tenant.reason.as_str()))
            .await;
    }
    let secret = signing_secret("acme");
    assert_silent(&site, &Canaries::new(&[&token, TICKET, &secret])).await;
}

/// A proxy that answers with what it was told; returns its URL and the heads it saw.
async fn telltale(status: &'static str) -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let told = Arc::<Mutex<String>>::default();
    let record = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 8192];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            record.lock().push_str(&head);
            let said = head.lines().find(|line| line.to_lowercase().starts_with("proxy-authorization"));
            let said = said.unwrap_or("nothing").to_owned();
            let answer = format!(
                "HTTP/1.1 {status} {said}\r\nProxy-Authenticate: Basic realm=\"{said}\"\r\nX-{said}\r\nConnection: close\r\n\r\n{head} {PASSWORD}"
            );
            // A client that has heard enough may be gone.
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    (url, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_tells_its_password_is_not_repeated() {
    let mut site = Site::new(TRACE).await;
    // A name that only a proxy can reach.
    let api = site.sim.api_url();
    site.replace(&api, "https://slack.invalid/api/");
    site.write_secret("proxy.password", PASSWORD);
    let mut proxies = Vec::new();
    for (number, (id, status)) in (1..).zip([("acme", "407"), ("globex", "502"), ("initech", "200")]) {
        let (url, told) = telltale(status).await;
        let network = format!(
            "network = {{ proxy = \"{url}\", proxy_user = \"taut\", proxy_password = {{ file = \"proxy.password\" }} }}\n\
             [[tenants.routes]]\nname = \"bot\"\ntarget = {{ http = \"http://127.0.0.1:9/\" }}\n"
        );
        site.add_tenant(number, id, &network);
        proxies.push((id, told));
    }
    site.start().await;
    for (id, told) in &proxies {
        site.until_tenant(id, "it has a reason", |tenant| !["", "start"].contains(&tenant.reason.as_str()))
            .await;
        assert!(told.lock().contains("dGF1dDpwL3crY2FuYXJ5Ijc"), "the proxy of {id} was told the password");
    }
    let token = AppSpec::numbered(1).app_token;
    assert_silent(&site, &Canaries::new(&[PASSWORD, &token])).await;
    for (id, told) in &proxies {
        Canaries::new(&[&token, &signing_secret("acme")]).assert_absent(id, told.lock().as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_where_they_belong_and_secrets_nowhere() {
    let mut site = Site::new(TRACE).await;
    let run = site.dir.path().join("run");
    std::fs::create_dir(&run).expect("a fresh directory");
    let dir = run.display();
    site.head(&format!("[delivery]\nexec_allow = [\"{dir}/\"]\nfile_dirs = [\"{dir}\"]\nattempts_max = 1\n"));
    let program = site.write_secret(
        "run/handler",
        &format!("#!/bin/sh\ncat > /dev/null\necho {ANSWER} | tee /dev/stderr\nexit 3\n"),
    );
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).expect("its mode is set");
    let handler = echo("acme").await;
    handler.answer("message", Some(EchoAnswer { status: 400, ..EchoAnswer::text(ANSWER) }));
    let routes = format!(
        "environment = \"prod\"\n[[tenants.routes]]\nname = \"http\"\ntarget = {{ http = \"{}\" }}\n\
         [[tenants.routes]]\nname = \"exec\"\ntarget = {{ exec = [\"{dir}/handler\"] }}\n\
         [[tenants.routes]]\nname = \"file\"\nmatch = {{ kinds = [\"events_api\"] }}\ntarget = {{ file = \"{dir}/acme.ndjson\" }}\n",
        handler.url()
    );
    let app = site.add_tenant(1, "acme", &routes);
    site.start_connected(&[&app]).await;
    let event = format!(
        r#"{{"token":"planted-verification","type":"event_callback","api_app_id":"{}","event_id":"Ev0P1","team_id":"T1","event":{{"type":"message","channel":"C1","text":"{TEXT}"}}}}"#,
        app.id()
    );
    app.push(Push::raw(event)).wait_ack(SOON).await;
    site.until_tenant("acme", "both dead letters", |tenant| tenant.dead_letters == 2).await;
    until("the line", || {
        std::fs::read_to_string(run.join("acme.ndjson")).is_ok_and(|text| text.contains(TEXT))
    })
    .await;
    let backup = site.dir.path().join("backup");
    site.taut(&["store", "backup", "--to", backup.to_str().expect("a text")]).await.ok();

    for path in every_path(&backup) {
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }

    let token = AppSpec::numbered(1).app_token;
    let secrets = [token.as_str(), &signing_secret("acme")];
    let payload = [TEXT, ANSWER, "planted-verification"];
    assert_silent(&site, &Canaries::new(&[&secrets[..], &payload[..]].concat())).await;
    let shown = site.taut(&["deadletter", "show", "acme", "1", "http"]).await;
    Canaries::new(&payload).assert_absent("a dead letter of a prod tenant", shown.all());

    site.worker.terminate().await.expect("it stops");
    let root = site.dir.path();
    let own = ["acme.app", "acme.signing"];
    assert_eq!(
        Canaries::new(&secrets).files(root, &own),
        Vec::<std::path::PathBuf>::new(),
        "a file holds a secret"
    );
    let holders = Canaries::new(&[TEXT]).files(root, &[]);
    let places = ["store", "backup", "run"].map(|name| root.join(name));
    assert!(holders.iter().all(|path| places.iter().any(|place| path.starts_with(place))), "{holders:?}");
    assert!(
        places.iter().all(|place| holders.iter().any(|path| path.starts_with(place))),
        "the search finds: {holders:?}"
    );
}
