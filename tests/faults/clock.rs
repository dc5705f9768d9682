//! Rows 9 and 68: the host's wall clock is wrong.

use std::path::Path;

use crate::support::{SOON, Site, echo};
use crate::{ACK_MAX, brisk, event};
use taut_sim::AckOutcome;

/// Where Debian's package puts it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// An hour either way: acks, sockets and retries do not care; signatures do, and a handler that refuses them for it
/// gets everything once the clock is right.
#[tokio::test(flavor = "multi_thread")]
async fn f09_f68_a_wrong_wall_clock_costs_signatures_and_nothing_else() {
    if !Path::new(LIBRARY).exists() {
        eprintln!("skipped: {LIBRARY} is not there (package faketime)");
        return;
    }
    let mut site = Site::with_switches("[delivery]\nretry_max = \"1s\"\n", brisk()).await;
    let offset = site.dir.path().join("offset");
    let hour = |text: &str| std::fs::write(&offset, text).expect("the offset is written");
    hour("+0");
    site.launch_by(&format!(
        "LD_PRELOAD={LIBRARY} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 \
         DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 exec \"$@\"",
        offset.display()
    ));
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    let socket = app.connections()[0].id;

    for (id, offset) in [("Ev0AHEAD", "+3600"), ("Ev0BEHIND", "-3600")] {
        let refused = handler.totals().refused;
        hour(offset);
        let outcome = app.push(event(&app, id, id)).wait_ack(ACK_MAX).await;
        assert!(matches!(outcome, AckOutcome::Acked { retry_attempt: 0, .. }), "{outcome:?}");
        assert!(handler.wait_until(SOON, |totals| totals.refused > refused).await, "{:?}", handler.totals());
    }
    let faults = "taut_delivery_attempts_total{tenant=\"acme\",outcome=\"target_fault\"}";
    assert!(site.metric(faults).await >= 2.0, "a 401 is the target's fault, and costs no attempt");
    let tenant = site.tenant("acme").await;
    assert_eq!((tenant.state.as_str(), tenant.backlog_envelopes, tenant.dead_letters), ("connected", 2, 0));
    assert_eq!(app.connections().iter().map(|next| next.id).collect::<Vec<_>>(), [socket], "the same socket");
    assert!(tenant.deaf_seconds.abs() < f64::EPSILON, "{tenant:?}");

    hour("+3600");
    app.drop_tcp();
    site.until_tenant("acme", "connected again", |tenant| tenant.sockets == 1).await;
    let skew = site.metric("taut_clock_skew_seconds").await;
    assert!(skew > 3_500.0, "the skew is shown: {skew}");

    hour("+0");
    site.taut(&["route", "reset-breaker", "acme", "bot"]).await.ok();
    assert!(handler.wait_until(SOON, |totals| totals.keys == 2).await, "{:?}", handler.totals());
}
