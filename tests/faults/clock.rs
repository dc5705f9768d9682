//! Rows 9 and 68: the host's wall clock is wrong.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::Duration;

use crate::support::{SOON, Site, echo};
use crate::{ACK_MAX, brisk, event};
use taut_sim::AckOutcome;
use tokio::time::timeout;

/// An hour either way: acks, sockets and retries do not care; signatures do, and a handler that refuses them for it
/// gets everything once the clock is right.
#[tokio::test(flavor = "multi_thread")]
async fn f09_f68_a_wrong_wall_clock_costs_signatures_and_nothing_else() {
    let mut site = Site::with_switches("[delivery]\nretry_max = \"1s\"\n", brisk()).await;
    let library = site.dir.path().join("clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/clock.c");
    let built = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).output();
    let built = built.expect("a C compiler, which the build needs as well");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let offset = site.dir.path().join("offset");
    let file = File::create(&offset).expect("the offset's file");
    let ahead = |seconds: i64| file.write_all_at(&seconds.to_ne_bytes(), 0).expect("the offset is written");
    ahead(0);
    site.launch_by(&format!(
        "LD_PRELOAD={} TAUT_TEST_CLOCK={} exec \"$@\"",
        library.display(),
        offset.display()
    ));
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    let socket = app.connections()[0].id;

    for (id, offset) in [("Ev0AHEAD", 3_600), ("Ev0BEHIND", -3_600)] {
        let refused = handler.totals().refused;
        ahead(offset);
        let outcome = app.push(event(&app, id, id)).wait_ack(ACK_MAX).await;
        assert!(matches!(outcome, AckOutcome::Acked { retry_attempt: 0, .. }), "{outcome:?}");
        assert!(handler.wait_until(SOON, |totals| totals.refused > refused).await, "{:?}", handler.totals());
    }
    let faults = "taut_delivery_attempts_total{tenant=\"acme\",outcome=\"target_fault\"}";
    let counted = async {
        while site.metric(faults).await < 2.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(SOON, counted).await.is_ok(), "a 401 is the target's fault, and costs no attempt");
    let tenant = site.tenant("acme").await;
    assert_eq!((tenant.state.as_str(), tenant.backlog_envelopes, tenant.dead_letters), ("connected", 2, 0));
    assert_eq!(app.connections().iter().map(|next| next.id).collect::<Vec<_>>(), [socket], "the same socket");
    assert!(tenant.deaf_seconds.abs() < f64::EPSILON, "{tenant:?}");

    ahead(3_600);
    app.drop_tcp();
    // The next `apps.connections.open` shows it.
    let skewed = async {
        while site.metric("taut_clock_skew_seconds").await < 3_500.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(SOON, skewed).await.is_ok(), "the skew is shown");

    ahead(0);
    site.taut(&["route", "reset-breaker", "acme", "bot"]).await.ok();
    assert!(handler.wait_until(SOON, |totals| totals.keys == 2).await, "{:?}", handler.totals());
}
