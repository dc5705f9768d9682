//! `taut doctor` names the step, whose fault it is, and what to do; it opens no socket and shows no secret.

use serde_json::Value;
use taut_sim::{AppSpec, NoteKind, Outage, Sim, SimConfig};

use crate::ca::{PrivateCa, self_signed};
use crate::connect_proxy::{ConnectProxy, Manner};
use crate::stage::{AUTHORIZATION, PASSWORD, Stage, through, trusting};
use crate::support::tools::assert_absent;
use crate::support::{echo, signing_secret};

/// The finding of a step, of one part.
fn finding<'a>(report: &'a Value, part: &str, step: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    let of_part = |finding: &&Value| finding["part"] == part;
    let found = findings.iter().filter(of_part).find(|finding| {
        finding["step"].as_str().is_some_and(|text| text == step || text.split(' ').next() == Some(step))
    });
    found.unwrap_or_else(|| panic!("{part} has no step {step}: {report:#}"))
}

fn failed<'a>(report: &'a Value, part: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["part"] == part && finding["mark"] == "failed");
    found.unwrap_or_else(|| panic!("nothing of {part} failed: {report:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_with_a_worker_and_without() {
    let mut stage = Stage::new(true, |_| String::new()).await;
    let proxy = ConnectProxy::wanting(AUTHORIZATION, stage.slack).await;
    stage.site.write_secret("proxy.password", PASSWORD);
    let handler = echo("acme").await;
    let network = format!(
        "network = {{ proxy = \"{}\", proxy_user = \"taut\", proxy_password = {{ file = \"proxy.password\" }} }}",
        proxy.url()
    );
    let app = stage.tenant(1, "acme", &network, &handler.url(), "");
    stage.site.start_connected(&[&app]).await;
    stage.site.until_tenant("acme", "connected", |tenant| tenant.state == "connected").await;
    let opens = || {
        let notes = stage.site.sim.journal().notes(None);
        notes.iter().filter(|note| matches!(note.kind, NoteKind::Open { .. })).count()
    };
    let sockets = app.connections().len();
    let before = opens();

    let run = stage.site.taut(&["doctor"]).await;
    let token = AppSpec::numbered(1).app_token;
    let secrets = [token.as_str(), PASSWORD, &signing_secret("acme"), "ticket=", "dGF1dDpodW50ZXIy"];
    assert_absent("taut doctor", &run.all(), &secrets);
    let page = run.ok();
    for words in [
        "ok       worker",
        "ok       app_token",
        "proxy connect 127.0.0.1",
        "tls localhost",
        "CN=rcgen self signed cert, signed by CN=Corp Slack Root, valid ",
        "trusted by CN=Corp Slack Root",
        "root.pem)",
        "Slack takes the token",
        "the worker holds 1, last frame",
        "ghosts",
        "the challenge came back",
        "all is well",
    ] {
        assert!(page.contains(words), "{words} is not in:\n{page}");
    }
    assert_eq!((opens(), app.connections().len()), (before + 1, sockets), "an open, and no socket");
    assert_eq!(stage.decoy.came(), 0);

    stage.site.worker.terminate().await.expect("it stops");
    let page = stage.site.taut(&["doctor", "--tenant", "acme"]).await.ok();
    assert!(page.contains("no worker answers at") && page.contains("doctor opens no socket"), "{page}");
    assert!(app.connections().is_empty(), "no socket was opened in the worker's place");

    let nobody = stage.site.taut(&["doctor", "--tenant", "initech"]).await;
    assert_eq!(nobody.code, 2, "{nobody:?}");
}

/// Tenants whose proxies lead to servers with bad certificates: each with whose fault that is, and a word of advice.
async fn impostors(stage: &mut Stage, url: &str) -> (Vec<Sim>, Vec<[&'static str; 3]>) {
    let inspector = PrivateCa::named("Corp Inspection Root");
    let servers = [
        ("inspected", inspector.identity("localhost"), "host", "network.ca_files"),
        ("alone", self_signed("localhost"), "host", "network.ca_files"),
        ("expired", inspector.expired("localhost"), "slack", "clock"),
        ("misnamed", inspector.identity("other.test"), "slack", "DNS"),
    ];
    let (mut held, mut certificates) = (Vec::new(), Vec::new());
    // The root's file has to last for the test.
    let root = stage.site.dir.path().join("inspector.pem");
    std::fs::copy(inspector.file(), &root).expect("copied");
    for (number, (id, identity, whose, advice)) in (30..).zip(servers) {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let listen = free.local_addr().expect("its address");
        drop(free);
        let config = SimConfig { listen, tls: Some(identity), ..SimConfig::default() };
        held.push(Sim::start(config).await.expect("it listens"));
        let proxy = ConnectProxy::to(listen, Manner::Tunnel).await;
        let trusted = matches!(id, "expired" | "misnamed");
        let network = if trusted { trusting(&proxy.url(), &root) } else { through(&proxy.url()) };
        stage.tenant(number, id, &network, url, "");
        certificates.push([id, whose, advice]);
    }
    (held, certificates)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_names_its_owner_and_what_to_do() {
    let mut stage = Stage::new(true, |_| "[network.deadlines]\nconnect = \"300ms\"\n".into()).await;
    let slack = stage.slack;
    let good = echo("well").await;
    let url = good.url();
    let way = ConnectProxy::to(slack, Manner::Tunnel).await;
    let proxies = [
        ("p407", ConnectProxy::wanting(AUTHORIZATION, slack).await, "proxy", "configuration", "proxy_user"),
        (
            "p502",
            ConnectProxy::to(slack, Manner::Say("HTTP/1.1 502 Bad Gateway\r\n\r\n")).await,
            "proxy",
            "proxy",
            "CONNECT",
        ),
        ("hang", ConnectProxy::to(slack, Manner::Hang).await, "proxy", "proxy", "proxy's own log"),
        ("page", ConnectProxy::to(slack, Manner::TunnelTo("<html>")).await, "tls", "network", "middlebox"),
    ];
    for (number, (id, proxy, ..)) in (1..).zip(&proxies) {
        stage.tenant(number, id, &through(&proxy.url()), &url, "");
    }
    stage.tenant(20, "absent", &through("http://127.0.0.1:1"), &url, "");
    let (_held, certificates) = impostors(&mut stage, &url).await;
    // The way is well for these; something behind it is not.
    let network = through(&way.url());
    stage.tenant(40, "well", &network, &url, "");
    stage.tenant(41, "revoked", &network, &url, "").revoke_token("token_revoked");
    stage.tenant(42, "off", &network, &url, "").socket_mode(false);
    stage.tenant(43, "stranger", &network, &url, "");
    let away = echo("away").await;
    stage.tenant(44, "away", &network, &away.url(), "");
    away.outage(Outage::Refuse);
    stage.tenant(45, "lost", &network, &url, "");
    stage.site.write_config();
    std::fs::remove_file(stage.site.dir.path().join("lost.app")).expect("it was there");

    let run = stage.site.taut(&["doctor", "--json"]).await;
    assert_eq!(run.code, 1, "{run:?}");
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let blamed = |id: &str, step: &str, whose: &str, advice: &str| {
        let found = failed(&report, id);
        let names = found["step"].as_str().is_some_and(|text| text.starts_with(step));
        assert!(names && found["whose"] == whose, "{id}: {found:#}");
        let said = format!("{}{}", found["advice"], found["seen"]);
        assert!(said.contains(advice), "{id}: {found:#}");
    };
    for (id, _, step, whose, advice) in &proxies {
        blamed(id, step, whose, advice);
    }
    blamed("absent", "proxy tcp", "proxy", "never goes round it");
    for [id, whose, advice] in &certificates {
        blamed(id, "tls localhost", whose, advice);
        assert!(!failed(&report, id)["details"].as_array().expect("a chain").is_empty(), "{id}");
    }
    let shown = failed(&report, "inspected").to_string();
    assert!(shown.contains("signed by CN=Corp Inspection Root"), "{shown}");
    blamed("revoked", "open", "admin", "token");
    blamed("off", "open", "admin", "Socket Mode");
    blamed("stranger", "route bot", "handler", "signing secret");
    blamed("away", "tcp 127.0.0.1", "handler", "something listens there");
    blamed("lost", "app_token", "host", "lost.app");
    assert_eq!(finding(&report, "well", "route")["mark"], "ok", "{report:#}");
    assert_eq!(
        finding(&report, "lost", "route")["mark"],
        "failed",
        "its handler knows another tenant's secret"
    );
    assert_eq!(finding(&report, "host", "store")["mark"], "notice", "it does not exist yet");
    assert_eq!(stage.decoy.came(), 0);

    let page = stage.site.taut(&["doctor", "--tenant", "inspected"]).await;
    assert_eq!(page.code, 1);
    let lines =
        ["FAILED   tls localhost", "whose: this host", "do:    if a proxy inspects TLS here", "2 of "];
    for words in lines {
        assert!(page.stdout.contains(words), "{words} is not in:\n{}", page.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_tenants_at_most_are_examined_at_once_and_all_in_the_end() {
    const TENANTS: u32 = 12;
    let mut stage = Stage::new(true, |_| "[network.deadlines]\nconnect = \"2s\"\n".into()).await;
    let proxy = ConnectProxy::to(stage.slack, Manner::Hang).await;
    for number in 1..=TENANTS {
        let network = through(&proxy.url());
        stage.tenant(number, &format!("t{number}"), &network, "http://127.0.0.1:1/", "");
    }
    stage.site.write_config();
    let examined = stage.site.taut(&["doctor", "--json"]);
    let first_eight = async {
        while proxy.asked().len() < 8 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // Far less than the deadline that the eight wait for.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        proxy.asked().len()
    };
    let (run, at_once) = tokio::join!(examined, first_eight);
    assert_eq!(at_once, 8);
    assert_eq!(run.code, 1, "{run:?}");
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    for number in 1..=TENANTS {
        assert_eq!(failed(&report, &format!("t{number}"))["whose"], "proxy");
    }
}
