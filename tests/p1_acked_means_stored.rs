//! P1: an ack leaves only after the envelope is durable; whatever was acked is delivered, or kept for a person.

mod support;

use std::time::Duration;

use support::tools::reckon;
use support::{SOON, Site, echo, until};
use taut::seeing::status::TenantStatus;
use taut_sim::{AppHandle, EchoHandler, Load, Outage, Sample, Switches};

/// Attempts follow each other fast, and nothing is given up within a test.
const EAGER: &str = "[delivery]\nretry_first = \"50ms\"\nretry_max = \"500ms\"\nattempts_max = 1000\n";

/// How often the worker is killed; more for a soak: `TAUT_TEST_KILLS=20`.
fn kills() -> u32 {
    std::env::var("TAUT_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(5)
}

/// Slack's times shortened; its order of retries kept.
fn hurried() -> Switches {
    Switches { speed: 60.0, ack_deadline: Duration::from_secs(1), ..Switches::default() }
}

async fn acked(app: &AppHandle, count: u64) {
    let reached = app.wait_until(SOON, |app| app.totals().acked >= count).await;
    assert!(reached, "never acked {count}: {:?}", app.totals());
}

/// Waits until the handler has answered every one of these events.
async fn delivered(handler: &EchoHandler, keys: u64) {
    let reached = handler.wait_until(SOON, |totals| totals.keys >= keys).await;
    assert!(reached, "never delivered {keys}: {:?}", handler.totals());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acked_survives_kill_9_under_load() {
    // The last retry comes after the last kill, or Slack itself would give events up that no worker was there to take.
    let retry_waits = [20, 1_000, 1_000 * u64::from(kills())].map(Duration::from_millis);
    let switches = Switches { speed: 1.0, retry_waits, opens_burst: 1_000, ..hurried() };
    let mut site = Site::with_switches(EAGER, switches).await;
    let handlers = [echo("acme").await, echo("globex").await];
    let apps =
        [site.add_simple(1, "acme", &handlers[0].url()), site.add_simple(2, "globex", &handlers[1].url())];
    site.start_connected(&[&apps[0], &apps[1]]).await;
    let load = site.sim.load(Load { rate: 600.0, in_flight_max: 100, ..Load::default() });
    for _ in 0..kills() {
        let before = [apps[0].totals().acked, apps[1].totals().acked];
        for (app, before) in apps.iter().zip(before) {
            acked(app, before + 100).await;
        }
        site.worker.kill().await.expect("it runs");
        site.start().await;
    }
    load.stop().await;
    let mut by_retry = 0;
    for (app, handler) in apps.iter().zip(&handlers) {
        assert!(app.wait_settled(SOON).await, "{:?}", app.totals());
        delivered(handler, app.totals().acked).await;
        let reckoning = reckon(&site.sim, app, handler);
        assert_eq!((&reckoning.lost, &reckoning.unacked), (&vec![], &vec![]));
        assert_eq!(handler.totals().refused, 0, "every signature verifies");
        by_retry += reckoning.by_retry;
    }
    assert!(by_retry > 0, "some envelope was cut off before its ack and came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_outlives_a_restart_during_the_handlers_outage() {
    let mut site = Site::new(EAGER).await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.outage(Outage::Status(503));
    for _ in 0..200 {
        app.push(Sample::Message);
    }
    acked(&app, 200).await;
    assert_eq!(site.tenant("acme").await.backlog_envelopes, 200);
    let (whole, _) = site.worker.terminate().await.expect("it stops");
    assert!(whole, "a dead handler does not cut the drain short\n{}", site.worker.log_tail());
    site.start().await;
    site.until_tenant("acme", "the backlog is back", |tenant| tenant.backlog_envelopes == 200).await;
    handler.outage(Outage::None);
    delivered(&handler, 200).await;
    site.until_tenant("acme", "the backlog is dry", |tenant| tenant.backlog_envelopes == 0).await;
    assert_eq!(reckon(&site.sim, &app, &handler).lost, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backlog_sheds_its_oldest_into_dead_letters_that_replay() {
    let mut site = Site::new(&format!("{EAGER}[queue]\nenvelopes_max = 50\n")).await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.outage(Outage::Status(503));
    for _ in 0..120 {
        app.push(Sample::Message);
    }
    acked(&app, 120).await;
    let kept = |tenant: &TenantStatus| tenant.backlog_envelopes + tenant.dead_letters;
    let tenant = site.until_tenant("acme", "all are kept", |tenant| kept(tenant) == 120).await;
    assert!(tenant.backlog_envelopes <= 50, "{tenant:?}");
    assert_eq!(tenant.refused, 0);
    handler.outage(Outage::None);
    site.until_tenant("acme", "the backlog is dry", |tenant| tenant.backlog_envelopes == 0).await;
    let mut left = tenant.dead_letters;
    while left > 0 {
        site.taut(&["deadletter", "replay", "acme", "--all"]).await.ok();
        left = site.tenant("acme").await.dead_letters;
    }
    delivered(&handler, 120).await;
    assert_eq!(reckon(&site.sim, &app, &handler).lost, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backlog_that_refuses_acks_nothing_it_cannot_store() {
    let head = format!("{EAGER}[queue]\nenvelopes_max = 50\noverflow = \"refuse\"\n");
    let mut site = Site::with_switches(&head, hurried()).await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.outage(Outage::Status(503));
    for _ in 0..60 {
        app.push(Sample::Message);
    }
    let tenant = site.until_tenant("acme", "refusals", |tenant| tenant.refused >= 10).await;
    assert!(tenant.backlog_envelopes <= 50, "{tenant:?}");
    assert!(app.totals().acked <= 50, "{:?}", app.totals());
    let metric = "taut_envelopes_refused_total{tenant=\"acme\",reason=\"envelopes_max\"}";
    assert!(site.metric(metric).await >= 10.0);
    handler.outage(Outage::None);
    assert!(app.wait_settled(SOON).await);
    until("Slack's retries bring what was refused", || handler.totals().keys == 60).await;
    assert_eq!(app.totals().acked, 60);
    assert_eq!(site.tenant("acme").await.dead_letters, 0);
}
