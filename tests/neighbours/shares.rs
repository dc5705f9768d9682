//! Quotas and fair shares: who is over his share makes room, and nobody else.

use taut_sim::{AckOutcome, AppHandle, Outage, Push, Sample};

use crate::support::{SOON, Site, echo};

fn push_sized(app: &AppHandle, count: u64, bytes: usize) {
    let padding = "x".repeat(bytes);
    for number in 0..count {
        let event = format!(
            r#"{{"type":"event_callback","api_app_id":"{}","event_id":"Ev{number}","event":{{"type":"message","channel":"C1","text":"{padding}"}}}}"#,
            app.id()
        );
        app.push(Push::raw(event));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_total_limit_the_tenant_above_its_fair_share_yields_first() {
    let head = "[queue]\nbytes_max = \"2MiB\"\ntotal_bytes_max = \"2MiB\"\nrequest_reserve_percent = 0\n";
    let mut site = Site::new(head).await;
    let handlers = [echo("acme").await, echo("globex").await];
    let acme = site.add_simple(1, "acme", &handlers[0].url());
    let globex = site.add_simple(2, "globex", &handlers[1].url());
    site.start_connected(&[&acme, &globex]).await;
    for handler in &handlers {
        handler.outage(Outage::Status(503));
    }
    // Acme fills the host alone: nobody else wants it.
    push_sized(&acme, 96, 20_000);
    assert!(acme.wait_until(SOON, |app| app.totals().acked == 96).await, "{:?}", acme.totals());
    let tenant = site.until_tenant("acme", "its bytes", |tenant| tenant.backlog_bytes > 1_900_000).await;
    assert_eq!((tenant.refused, tenant.dead_letters), (0, 0));
    // Globex stays below its half: acme makes the room, into its own dead letters.
    push_sized(&globex, 45, 20_000);
    assert!(globex.wait_until(SOON, |app| app.totals().acked == 45).await, "{:?}", globex.totals());
    let tenant = site.tenant("globex").await;
    assert_eq!((tenant.backlog_envelopes, tenant.dead_letters, tenant.refused), (45, 0, 0));
    let tenant = site.tenant("acme").await;
    assert_eq!(tenant.backlog_envelopes + tenant.dead_letters, 96, "{tenant:?}");
    assert!(tenant.dead_letters > 30, "{tenant:?}");
    assert!(tenant.backlog_bytes >= 1 << 19, "it keeps its own half, roughly: {tenant:?}");
    let total = tenant.backlog_bytes + site.tenant("globex").await.backlog_bytes;
    assert!(total <= 2 << 20, "{total} bytes in all backlogs");
    // When the cause ends, what is left is delivered.
    for handler in &handlers {
        handler.outage(Outage::None);
    }
    assert!(handlers[1].wait_until(SOON, |totals| totals.keys == 45).await, "{:?}", handlers[1].totals());
    site.until_tenant("acme", "an empty backlog", |tenant| tenant.backlog_envelopes == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_leave_the_requests_their_reserve() {
    let head = "[queue]\nenvelopes_max = 50\noverflow = \"refuse\"\n";
    let mut site = Site::new(head).await;
    let handler = echo("acme").await;
    let app = site.add_tenant(
        1,
        "acme",
        &format!(
            "[[tenants.routes]]\nname = \"events\"\ntarget = {{ http = \"http://127.0.0.1:1/\" }}\n\
             match = {{ kinds = [\"events_api\"] }}\n\
             [[tenants.routes]]\nname = \"requests\"\ntarget = {{ http = \"{}\" }}\n\
             match = {{ kinds = [\"slash_commands\"] }}\n",
            handler.url()
        ),
    );
    site.start_connected(&[&app]).await;
    for _ in 0..60 {
        app.push(Sample::Message);
    }
    let tenant = site.until_tenant("acme", "refusals", |tenant| tenant.refused >= 15).await;
    assert_eq!(tenant.backlog_envelopes, 45, "nine tenths are for events");
    for _ in 0..10 {
        let outcome = app.push(Sample::SlashCommand).wait_ack(SOON).await;
        assert!(matches!(outcome, AckOutcome::Acked { payload: Some(_), .. }), "{outcome:?}");
    }
}
