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
