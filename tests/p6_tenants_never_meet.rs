//! P6: one broken or noisy tenant costs the others nothing; what belongs to another app is refused and alarmed.

mod support;

use std::time::Duration;

use support::{SOON, Site, echo};
use taut_sim::{AckOutcome, AppHandle, EchoHandler, OpenFailure, Outage, Push, Sample, UpgradeFailure};

/// Longest an ack may take here: Slack waits 3 s.
const ACK_MAX: Duration = Duration::from_secs(3);

struct Two {
    site: Site,
    /// The one that suffers or misbehaves.
    acme: (AppHandle, EchoHandler),
    /// The one that must not notice.
    globex: (AppHandle, EchoHandler),
}

impl Two {
    async fn new(head: &str) -> Self {
        let mut site = Site::new(head).await;
        site.slack("opens_per_app = \"100 then 1/1s\"");
        let (first, second) = (echo("acme").await, echo("globex").await);
        let acme = (site.add_simple(1, "acme", &first.url()), first);
        let globex = (site.add_simple(2, "globex", &second.url()), second);
        site.start_connected(&[&acme.0, &globex.0]).await;
        for tenant in ["acme", "globex"] {
            site.until_tenant(tenant, "connected", |tenant| tenant.state == "connected").await;
        }
        Self { site, acme, globex }
    }

    /// Globex is served as if it were alone: events acked at once and delivered, a command answered.
    async fn globex_is_served(&self) {
        let (app, handler) = &self.globex;
        let before = handler.totals().keys;
        for _ in 0..20 {
            let outcome = app.push(Sample::Message).wait_ack(ACK_MAX).await;
            assert!(matches!(outcome, AckOutcome::Acked { retry_attempt: 0, .. }), "{outcome:?}");
        }
        assert!(handler.wait_until(SOON, |totals| totals.keys >= before + 20).await);
        let outcome = app.push(Sample::SlashCommand).wait_ack(ACK_MAX).await;
        assert!(matches!(&outcome, AckOutcome::Acked { payload: Some(_), .. }), "{outcome:?}");
        let tenant = self.site.tenant("globex").await;
        assert_eq!((tenant.state.as_str(), tenant.refused, tenant.dead_letters), ("connected", 0, 0));
        assert!(tenant.deaf_seconds.abs() < f64::EPSILON);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_handler_costs_the_others_nothing() {
    for outage in [Outage::Refuse, Outage::Hang, Outage::Abort, Outage::Status(500)] {
        let two = Two::new("").await;
        let (app, handler) = &two.acme;
        handler.outage(outage);
        for _ in 0..100 {
            app.push(Sample::Message);
        }
        assert!(app.wait_until(SOON, |app| app.totals().acked == 100).await, "stored, so acked");
        two.globex_is_served().await;
        assert_eq!(two.site.tenant("acme").await.backlog_envelopes, 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_costs_the_others_nothing() {
    let two = Two::new("").await;
    for _ in 0..4_000 {
        two.acme.0.push(Sample::Message);
    }
    two.globex_is_served().await;
    assert!(two.acme.0.wait_settled(SOON).await);
    assert_eq!(two.acme.0.totals().acked, 4_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_costs_the_others_nothing() {
    let two = Two::new("[queue]\nenvelopes_max = 50\noverflow = \"refuse\"\n").await;
    two.acme.1.outage(Outage::Status(503));
    for _ in 0..200 {
        two.acme.0.push(Sample::Message);
    }
    two.site.until_tenant("acme", "refusals", |tenant| tenant.refused > 0).await;
    two.globex_is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_parks_its_tenant_alone() {
    let two = Two::new("").await;
    two.acme.0.revoke_token("token_revoked");
    two.acme.0.drop_tcp();
    let acme = two.site.until_tenant("acme", "parked", |tenant| tenant.state == "parked").await;
    assert_eq!(acme.reason, "token_revoked");
    assert!(!acme.reason_text.is_empty(), "a sentence for the person who can fix it");
    two.globex_is_served().await;

    two.acme.0.restore_token();
    two.site.taut(&["tenant", "resume", "acme"]).await.ok();
    two.site.until_tenant("acme", "connected", |tenant| tenant.state == "connected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_secrets_leave_their_tenant_incomplete_and_the_others_running() {
    let mut site = Site::new("").await;
    let (first, second) = (echo("acme").await, echo("globex").await);
    site.add_simple(1, "acme", &first.url());
    let app = site.add_simple(2, "globex", &second.url());
    std::fs::remove_file(site.dir.path().join("acme.app")).expect("it was written");
    site.start_connected(&[&app]).await;
    let acme = site.until_tenant("acme", "incomplete", |tenant| tenant.state == "incomplete").await;
    assert_eq!(acme.reason, "secret_missing");
    app.push(Sample::Message);
    assert!(second.wait_until(SOON, |totals| totals.keys == 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_for_one_app_is_no_trouble_for_another() {
    let two = Two::new("").await;
    two.acme.0.fail_next_opens(1_000, OpenFailure::Hang);
    two.acme.0.drop_tcp();
    two.globex_is_served().await;
    assert_ne!(two.site.tenant("acme").await.state, "connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_of_another_app_is_refused_and_parks_the_tenant() {
    let two = Two::new("").await;
    let app_id = two.globex.0.id().to_owned();
    two.acme.0.fail_next_upgrades(1, UpgradeFailure::HelloOfApp { app_id });
    two.acme.0.drop_tcp();
    let acme = two.site.until_tenant("acme", "parked", |tenant| tenant.state == "parked").await;
    assert_eq!(acme.reason, "foreign_app");
    assert!(two.site.read("worker.log").contains("\"ERROR\""), "an alarm is in the log");
    two.globex_is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_of_another_app_is_neither_stored_nor_acked() {
    let two = Two::new("").await;
    let foreign = format!(
        r#"{{"type":"event_callback","api_app_id":"{}","event_id":"Ev0FOREIGN","team_id":"T1","event":{{"type":"message","channel":"C1"}}}}"#,
        two.globex.0.id()
    );
    let outcome = two.acme.0.push(Push::raw(foreign)).wait_ack(Duration::from_millis(500)).await;
    assert!(matches!(outcome, AckOutcome::Unacked { .. }), "{outcome:?}");
    let metric = "taut_envelopes_refused_total{tenant=\"acme\",reason=\"foreign_app\"}";
    assert!(two.site.metric(metric).await >= 1.0);
    assert_eq!(two.site.tenant("acme").await.backlog_envelopes, 0);
    assert_eq!((two.acme.1.totals().requests, two.globex.1.totals().requests), (0, 0));

    let own = two.acme.0.push(Sample::Message).wait_ack(ACK_MAX).await;
    assert!(matches!(own, AckOutcome::Acked { .. }), "the socket lives on: {own:?}");
    two.globex_is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_id_at_two_tenants_is_two_events() {
    let two = Two::new("").await;
    for (app, handler) in [&two.acme, &two.globex] {
        let event = format!(
            r#"{{"type":"event_callback","api_app_id":"{}","event_id":"Ev0SAME","team_id":"T1","event":{{"type":"message","channel":"C1"}}}}"#,
            app.id()
        );
        let outcome = app.push(Push::raw(event)).wait_ack(ACK_MAX).await;
        assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
        assert!(handler.wait_until(SOON, |totals| totals.keys == 1).await);
        let delivery = &handler.requests()[0];
        let tenant = delivery.header("taut-tenant");
        assert_eq!(delivery.header("idempotency-key").split(':').next(), Some(tenant));
    }
}
