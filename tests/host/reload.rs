//! Another configuration for a worker that runs: all of it or nothing, and nobody else's socket moves.

use taut_sim::Sample;

use crate::support::{SOON, Site, connected, echo, signing_secret, until};

/// The site's configuration with one text replaced.
fn rewrite(site: &Site, from: &str, to: &str) {
    let config = site.read("taut.toml");
    assert!(config.contains(from), "{from} is not in\n{config}");
    site.write_secret("taut.toml", &config.replace(from, to));
}

/// How many sockets of a tenant have said hello so far.
async fn opened(site: &Site, tenant: &str) -> String {
    let series = format!("taut_socket_opens_total{{tenant=\"{tenant}\",outcome=\"hello\"}}");
    site.metric(&series).await.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn f60_a_configuration_with_an_error_changes_nothing_and_says_so() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    let good = site.read("taut.toml");
    rewrite(&site, "[store]", "[queue]\nenvelopes_max = 0\nno_such_key = 1\n[store]");

    let refused = crate::support::tools::taut(&["reload", "--socket", socket(&site).as_str()]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    for wanted in ["queue.envelopes_max", "queue.no_such_key"] {
        assert!(refused.stderr.contains(wanted), "{refused:?}");
    }
    let status = site.status().await;
    assert!(status.config.refused.is_some_and(|why| why.contains("queue.envelopes_max")));
    assert!(site.read("worker.log").contains("the old one stays in force"));
    assert_eq!(site.metric("taut_config_refused").await.to_string(), "1");
    assert_eq!(site.metric("taut_config_reloads_total{outcome=\"refused\"}").await.to_string(), "1");
    app.push(Sample::Message);
    assert!(handler.wait_until(SOON, |totals| totals.answered == 1).await, "it goes on as before");

    site.write_secret("taut.toml", &good);
    let applied = site.taut(&["reload"]).await;
    assert!(applied.ok().contains("nothing changed"));
    assert_eq!(site.status().await.config.refused, None);
    assert_eq!(site.metric("taut_config_refused").await.to_string(), "0");
}

fn socket(site: &Site) -> String {
    site.dir.path().join("admin.sock").display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_adds_removes_and_reroutes_tenants_and_leaves_others_alone() {
    let mut site = Site::new("").await;
    let (first, second) = (echo("acme").await, echo("acme").await);
    let other = echo("globex").await;
    let leaving = echo("initech").await;
    let acme = site.add_simple(1, "acme", &first.url());
    let globex = site.add_simple(2, "globex", &other.url());
    let initech = site.add_simple(3, "initech", &leaving.url());
    site.start_connected(&[&acme, &globex, &initech]).await;
    // What a removed tenant leaves behind: an acked event that its handler does not take.
    leaving.outage(taut_sim::Outage::Status(503));
    initech.push(Sample::Message);
    assert!(initech.wait_settled(SOON).await);

    let before = site.read("taut.toml");
    let (kept, gone) = before.split_once("[[tenants]]\nid = \"initech\"").expect("it is the last one");
    let added = format!("[[tenants]]\nid = \"umbrella\"{gone}").replace("initech.", "umbrella.");
    let kept = kept.replace(&first.url(), &second.url());
    site.write_secret("umbrella.signing", &signing_secret("initech"));
    // The app moves to another tenant's name: the old one lets go of it first.
    site.write_secret("umbrella.app", &site.read("initech.app"));
    site.write_secret("taut.toml", &(kept + &added));
    site.signal(rustix::process::Signal::HUP);
    let status = site
        .until_status("reloaded", |status| status.tenants.iter().any(|tenant| tenant.id == "umbrella"))
        .await;
    assert!(!status.tenants.iter().any(|tenant| tenant.id == "initech"));
    assert_eq!(status.unconfigured.len(), 1, "{:?}", status.unconfigured);
    assert_eq!((&*status.unconfigured[0].id, status.unconfigured[0].backlog_envelopes), ("initech", 1));
    assert_eq!(site.metric("taut_backlog_envelopes{tenant=\"initech\"}").await.to_string(), "1");
    site.until_tenant("umbrella", "connected", |tenant| tenant.state == "connected").await;

    acme.push(Sample::Message);
    acme.push(Sample::SlashCommand);
    assert!(second.wait_until(SOON, |totals| totals.answered == 2).await, "{:?}", second.totals());
    assert_eq!(first.totals().answered, 0);
    globex.push(Sample::Message);
    assert!(other.wait_until(SOON, |totals| totals.answered == 1).await);
    for tenant in ["acme", "globex"] {
        assert_eq!(opened(&site, tenant).await, "1", "its socket was not touched");
    }
    let log = site.read("worker.log");
    assert!(log.contains("tenant acme: routes") && log.contains("tenant initech: removed"), "{log}");

    // Configured again it delivers what it left behind.
    leaving.outage(taut_sim::Outage::None);
    rewrite(&site, "id = \"umbrella\"", "id = \"initech\"");
    site.taut(&["reload"]).await.ok();
    assert!(leaving.wait_until(SOON, |totals| totals.answered == 1).await, "{:?}", leaving.totals());
    assert!(site.status().await.unconfigured.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_secrets_are_taken_over_without_a_gap() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    let new = "xapp-1-A0000000001-2-second";
    app.add_app_token(new);
    let before = app.connections()[0].id;
    site.write_secret("acme.app", new);
    site.taut(&["reload"]).await.ok();
    until(
        "its socket is another one",
        || matches!(&app.connections()[..], [socket] if socket.helloed && socket.id != before),
    )
    .await;
    assert_eq!(opened(&site, "acme").await, "2");
    let deaf = site.tenant("acme").await.deaf_seconds;
    assert!(deaf < f64::EPSILON, "deaf for {deaf} s");

    site.write_secret("acme.app", "");
    let troubled = site.taut(&["reload"]).await;
    assert_eq!(troubled.code, 1);
    assert!(troubled.stderr.contains("the old secrets stay in use"), "{troubled:?}");
    assert!(connected(&app).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_in_place_and_what_needs_a_restart_is_named() {
    let mut site = Site::new("[queue]\nenvelopes_max = 1000\n").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.outage(taut_sim::Outage::Status(503));
    rewrite(&site, "envelopes_max = 1000", "envelopes_max = 10\noverflow = \"refuse\"");
    rewrite(&site, "[slack]\n", "[slack]\nunacked_max = 7\n");
    let said = site.taut(&["reload"]).await.ok();
    for wanted in ["queue.envelopes_max", "queue.overflow", "slack.unacked_max: needs a restart"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    for _ in 0..30 {
        app.push(Sample::Message);
    }
    site.until_tenant("acme", "its queue is full", |tenant| tenant.refused > 0).await;
    assert!(site.tenant("acme").await.backlog_envelopes <= 10);
    assert_eq!(site.metric("taut_config_needs_restart").await.to_string(), "1");
    let table = site.taut(&["status"]).await.ok();
    assert!(table.contains("waits for a restart: slack.unacked_max"), "{table}");
    assert_eq!(opened(&site, "acme").await, "1", "its socket was not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reroute_under_load_loses_nothing_and_touches_no_socket() {
    let mut site = Site::new("").await;
    let (first, second) = (echo("acme").await, echo("acme").await);
    let app = site.add_simple(1, "acme", &first.url());
    site.start_connected(&[&app]).await;
    let load = app.load(taut_sim::Load { rate: 200.0, ..taut_sim::Load::default() });
    let (mut from, mut to) = (first.url(), second.url());
    for round in 1..=6 {
        let enough = round * 60;
        assert!(app.wait_until(SOON, |app| app.totals().acked > enough).await);
        rewrite(&site, &from, &to);
        site.taut(&["reload"]).await.ok();
        std::mem::swap(&mut from, &mut to);
    }
    load.stop().await;
    assert!(app.wait_settled(SOON).await);
    site.until_tenant("acme", "delivered", |tenant| tenant.backlog_envelopes == 0).await;
    let answered: std::collections::BTreeSet<_> =
        [&first, &second].iter().flat_map(|handler| handler.keys()).map(|(key, _)| key).collect();
    let produced = crate::support::tools::reckon(&site.sim, &app, &first);
    assert_eq!(produced.unacked, Vec::<std::sync::Arc<str>>::new());
    let lost: Vec<_> = produced.lost.iter().filter(|key| !answered.contains(*key)).collect();
    assert!(lost.is_empty() && produced.acked > 360, "{} acked, lost {lost:?}", produced.acked);
    assert!(first.totals().answered > 0 && second.totals().answered > 0);
    assert_eq!(opened(&site, "acme").await, "1", "its socket was not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_that_wait_for_one_another_are_bounded() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    let config = site.dir.path().join("taut.toml");
    let pipe = site.dir.path().join("pipe.toml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    // Whoever reads the configuration now waits for what comes through the pipe.
    let link = site.dir.path().join("other-name");
    std::fs::hard_link(&pipe, &link).expect("a second name for the pipe");
    std::fs::rename(&pipe, &config).expect("it takes the file's place");
    let socket = socket(&site);
    let reload = || {
        let socket = socket.clone();
        tokio::spawn(async move { crate::support::tools::taut(&["reload", "--socket", &socket]).await })
    };
    let mut five: futures::stream::FuturesUnordered<_> = (0..5).map(|_| reload()).collect();
    let first = futures::StreamExt::next(&mut five).await.expect("five").expect("no panic");
    assert_eq!(first.code, 1, "{first:?}");
    assert!(first.stderr.contains("4 reloads wait already"), "{first:?}");

    let text = site.text().to_owned();
    site.write_secret("good.toml", &text);
    std::fs::rename(site.dir.path().join("good.toml"), &config).expect("a file again");
    let fed = tokio::task::spawn_blocking(move || std::fs::write(link, text));
    fed.await.expect("no panic").expect("the one who reads gets it");
    while let Some(run) = futures::StreamExt::next(&mut five).await {
        let run = run.expect("no panic");
        assert_eq!(run.code, 0, "{run:?}");
    }
    assert!(site.taut(&["reload"]).await.ok().contains("nothing changed"), "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_routes_requests_are_answered_while_an_old_attempt_is_still_under_way() {
    let mut site = Site::new("").await;
    let (events, commands) = (echo("acme").await, echo("acme").await);
    let route = |name: &str, kind: &str, url: &str| {
        format!(
            "[[tenants.routes]]\nname = \"{name}\"\nmatch = {{ kinds = [\"{kind}\"] }}\ntarget = {{ http = \"{url}\" }}\n"
        )
    };
    let old = route("events", "events_api", &events.url());
    let app = site.add_tenant(1, "acme", &old);
    site.start_connected(&[&app]).await;
    events.outage(taut_sim::Outage::Slow(std::time::Duration::from_secs(8)));
    app.push(Sample::Message);
    assert!(events.wait_until(SOON, |totals| totals.in_flight == 1).await);
    rewrite(&site, &old, &(old.clone() + &route("commands", "slash_commands", &commands.url())));
    site.signal(rustix::process::Signal::HUP);
    until("a command is answered", || {
        app.push(Sample::SlashCommand);
        commands.totals().answered > 0
    })
    .await;
    assert_eq!(events.totals().answered, 0, "the event's attempt is still under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_new_network_cannot_be_used_goes_on_and_the_next_reload_tries_again() {
    let mut site = Site::new("").await;
    let (first, second) = (echo("acme").await, echo("acme").await);
    let app = site.add_simple(1, "acme", &first.url());
    site.start_connected(&[&app]).await;
    rewrite(&site, "id = \"acme\"\n", "id = \"acme\"\nnetwork = { ca_files = [\"acme-root.pem\"] }\n");
    rewrite(&site, &first.url(), &second.url());
    for _ in 0..2 {
        let troubled = site.taut(&["reload"]).await;
        assert_eq!(troubled.code, 1, "{troubled:?}");
        assert!(troubled.stderr.contains("acme-root.pem") && troubled.stderr.contains("goes on as it was"));
    }
    app.push(Sample::Message);
    assert!(first.wait_until(SOON, |totals| totals.answered == 1).await, "by its old route");
    assert_eq!(opened(&site, "acme").await, "1", "its socket was not touched");

    let root = rcgen::generate_simple_self_signed(vec!["acme.test".to_owned()]).expect("a certificate");
    site.write_secret("acme-root.pem", &root.cert.pem());
    site.taut(&["reload"]).await.ok();
    site.until_tenant("acme", "connected anew", |tenant| tenant.state == "connected").await;
    assert!(app.wait_until(SOON, |app| app.connections().iter().any(|socket| socket.helloed)).await);
    app.push(Sample::Message);
    assert!(second.wait_until(SOON, |totals| totals.answered == 1).await, "by its new one");
}
