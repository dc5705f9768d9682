//! What an operator sees: health with reasons, metrics that say what happened and nothing else.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use support::{SOON, Site, echo};
use taut_sim::Sample;

/// One line of the exposition format: name, labels as text, value.
fn sample(line: &str) -> (&str, &str, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => {
            (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("no closing brace: {line}")))
        }
        None => (series, ""),
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    assert!(is_name(name) && name.starts_with("taut_"), "{line}");
    if !labels.is_empty() {
        for label in labels.split("\",") {
            let (key, text) = label.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert!(is_name(key) && !text.trim_end_matches('"').contains('"'), "{line}");
        }
    }
    (name, labels, value)
}

/// Reads a page as a scraper would: every family has its help and type once, before its samples, in one block.
fn scrape(page: &str) -> Vec<(&str, &str, f64)> {
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut helps = BTreeSet::new();
    let mut blocks: Vec<&str> = Vec::new();
    let mut series = BTreeSet::new();
    let mut samples = Vec::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(helps.insert(help.split(' ').next().expect("a name")), "twice: {line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
            assert!(types.insert(name, kind).is_none(), "twice: {line}");
        } else {
            let (name, labels, value) = sample(line);
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|family| types.contains_key(family)))
                .unwrap_or(name);
            assert!(types.contains_key(family) && helps.contains(family), "unannounced: {line}");
            assert!(series.insert((name, labels)), "twice: {line}");
            if blocks.last() != Some(&family) {
                assert!(!blocks.contains(&family), "{family} comes in two blocks");
                blocks.push(family);
            }
            samples.push((name, labels, value));
        }
    }
    samples
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_waits_for_every_tenants_first_outcome_and_says_for_whom() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let first = site.add_simple(1, "acme", &handler.url());
    let second = site.add_simple(2, "globex", &handler.url());
    let third = site.add_simple(3, "initech", &handler.url());
    second.hold_hello();
    third.revoke_token("account_inactive");
    site.start_connected(&[&first]).await;
    site.until_tenant("initech", "parked", |tenant| tenant.state == "parked").await;

    assert_eq!(site.get("/livez").await.0, 200);
    let (status, body) = site.get("/readyz").await;
    assert_eq!(status, 503);
    let body: Value = serde_json::from_str(&body).expect("reasons as JSON");
    assert_eq!((&body["ready"], &body["reasons"][0]["part"]), (&Value::Bool(false), &"tenants".into()));
    let text = body["reasons"][0]["text"].as_str().expect("a sentence");
    assert!(text.contains("globex") && !text.contains("acme") && !text.contains("initech"), "{text}");

    second.release_hello();
    site.until_status("ready", |report| report.ready.ready).await;
    assert_eq!(site.get("/readyz").await.0, 200, "a parked tenant has had its outcome");
    assert_eq!(site.get("/nothing").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_tenant_has_at_most_eight_series() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    site.until_tenant("acme", "connected", |tenant| tenant.state == "connected").await;
    let (status, page) = site.get("/metrics").await;
    assert_eq!(status, 200);
    let samples = scrape(&page);
    let own: Vec<_> = samples.iter().filter(|(_, labels, _)| labels.contains("tenant=\"acme\"")).collect();
    assert!((1..=8).contains(&own.len()), "{own:?}");
    assert!(samples.iter().any(|(name, ..)| *name == "taut_build_info"));
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_say_what_happened() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    let idle = site.add_simple(2, "globex", &handler.url());
    site.start_connected(&[&app, &idle]).await;
    for _ in 0..25 {
        app.push(Sample::Message);
    }
    app.push(Sample::SlashCommand);
    assert!(app.wait_settled(SOON).await);
    assert!(handler.wait_until(SOON, |totals| totals.answered == 26).await);
    site.until_tenant("acme", "delivered", |tenant| {
        tenant.backlog_envelopes == 0 && tenant.delivered == 26 && tenant.acked == 26
    })
    .await;

    let (_, page) = site.get("/metrics").await;
    let samples = scrape(&page);
    let value = |wanted: &str, with: &str| {
        let found = samples.iter().find(|(name, labels, _)| *name == wanted && labels.contains(with));
        found.map_or_else(|| panic!("no {wanted}{{{with}}} in\n{page}"), |(.., value)| *value)
    };
    let acme = |wanted: &str, with: &str| value(wanted, &format!("tenant=\"acme\"{with}"));
    assert_eq!(acme("taut_tenant_connected", "").to_string(), "1");
    assert_eq!(acme("taut_tenant_state", ",state=\"connected\"").to_string(), "1");
    assert_eq!(acme("taut_socket_opens_total", ",outcome=\"hello\"").to_string(), "1");
    assert_eq!(acme("taut_envelopes_received_total", ",kind=\"events_api\"").to_string(), "25");
    assert_eq!(acme("taut_envelopes_acked_total", ",kind=\"events_api\"").to_string(), "25");
    assert_eq!(acme("taut_envelopes_acked_total", ",kind=\"slash_commands\"").to_string(), "1");
    assert_eq!(acme("taut_delivery_attempts_total", ",outcome=\"done\"").to_string(), "26");
    assert_eq!(acme("taut_backlog_envelopes", "").to_string(), "0");
    assert_eq!(value("taut_tenants", "state=\"connected\"").to_string(), "2");
    for family in ["taut_ack_latency_seconds", "taut_delivery_latency_seconds", "taut_event_delay_seconds"] {
        assert_eq!(value(&format!("{family}_count"), "").to_string(), "25", "{family}");
    }
    assert_eq!(value("taut_answer_latency_seconds_count", "").to_string(), "1");
    assert!(value("taut_store_latency_seconds_count", "op=\"append\"") > 0.0);
    let globex = samples.iter().filter(|(_, labels, _)| labels.contains("tenant=\"globex\"")).count();
    assert!(globex <= 8, "{globex} series of an idle tenant beside a busy one");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_agrees_as_table_and_as_json() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.add_simple(2, "globex", &handler.url()).revoke_token("token_revoked");
    site.start_connected(&[&app]).await;
    app.push(Sample::Message);
    site.until_tenant("acme", "delivered", |tenant| tenant.delivered == 1).await;
    site.until_tenant("globex", "parked", |tenant| tenant.state == "parked").await;
    let json = site.taut(&["status", "--json"]).await.ok();
    let json: Value = serde_json::from_str(&json).expect("one document");
    assert_eq!((&json["tenants"][0]["id"], &json["tenants"][0]["acked"]), (&"acme".into(), &1.into()));
    assert_eq!(json["tenants"][1]["reason"], "token_revoked");
    let durability = json["store"]["durability"].as_str().expect("what an ack survives");
    let table = site.taut(&["status"]).await.ok();
    for wanted in ["acme", "connected", "globex", "parked", "token_revoked", "ready", durability] {
        assert!(table.contains(wanted), "{wanted} is not in\n{table}");
    }
    assert!(site.read("worker.log").contains(durability), "the log says it at the start");
}
