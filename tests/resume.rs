//! What a person mended is read again when they say so: `taut tenant resume` needs no restart.

mod support;

use support::{SOON, Site, connected, echo};
use taut_sim::Sample;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_read_when_a_parked_tenant_is_resumed() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.write_secret("acme.app", "xapp-1-A0SIM000001-1-unknown");
    site.start().await;
    let parked = site.until_tenant("acme", "parked", |tenant| tenant.state == "parked").await;
    assert_eq!(parked.reason, "invalid_auth");

    let token = "xapp-1-A0SIM000001-2-fresh";
    app.add_app_token(token);
    site.write_secret("acme.app", token);
    assert_eq!(site.taut(&["tenant", "resume", "acme"]).await.code, 0);

    assert!(connected(&app).await, "{}", site.worker.log_tail());
    app.push(Sample::Message);
    assert!(handler.wait_until(SOON, |totals| totals.keys == 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_looked_for_at_once_when_its_tenant_is_resumed() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    let secret = site.dir.path().join("acme.signing");
    let text = std::fs::read_to_string(&secret).expect("the secret was written");
    std::fs::remove_file(&secret).expect("it is gone");
    site.start().await;
    let incomplete = site.until_tenant("acme", "incomplete", |tenant| tenant.state == "incomplete").await;
    assert!(incomplete.reason_text.contains("acme.signing"), "names the file: {}", incomplete.reason_text);

    site.write_secret("acme.signing", &text);
    assert_eq!(site.taut(&["tenant", "resume", "acme"]).await.code, 0);

    assert!(connected(&app).await, "{}", site.worker.log_tail());
    app.push(Sample::Message);
    assert!(
        handler.wait_until(SOON, |totals| totals.verified == 1).await,
        "signed with the secret that was put back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_outlive_a_crash_and_a_tenants_resume_leaves_its_routes_own() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    site.taut(&["route", "pause", "acme", "bot"]).await.ok();
    site.taut(&["tenant", "pause", "acme"]).await.ok();
    site.until_tenant("acme", "paused", |tenant| tenant.state == "paused").await;
    // The order is stored a moment after it was answered; a drain waits for that, and a second life changes nothing.
    site.worker.terminate().await.expect("it stops");
    site.start().await;
    site.worker.kill().await.expect("it runs");
    site.start().await;
    site.until_tenant("acme", "paused still", |tenant| tenant.state == "paused").await;
    site.taut(&["tenant", "resume", "acme"]).await.ok();
    assert!(connected(&app).await, "{}", site.worker.log_tail());
    app.push(Sample::Message);
    site.until_tenant("acme", "it waits", |tenant| tenant.backlog_envelopes == 1).await;
    assert_eq!(site.tenant("acme").await.routes_down, [("bot".to_owned(), "paused".to_owned())]);
    assert_eq!(handler.totals().requests, 0);
    site.taut(&["route", "resume", "acme", "bot"]).await.ok();
    assert!(handler.wait_until(SOON, |totals| totals.keys == 1).await);
}
