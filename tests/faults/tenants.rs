//! Row 73: a tenant is removed from the configuration.

use crate::support::{SOON, Site, echo};
use crate::{brisk, messages};
use taut_sim::Outage;

/// What was acked for a tenant is kept for its return, and named meanwhile; nobody else notices.
#[tokio::test(flavor = "multi_thread")]
async fn f73_a_removed_tenants_backlog_is_kept_named_and_delivered_when_it_returns() {
    let mut site = Site::with_switches("", brisk()).await;
    let (first, second) = (echo("globex").await, echo("acme").await);
    let globex = site.add_simple(1, "globex", &first.url());
    let with_one = site.text().to_owned();
    let acme = site.add_simple(2, "acme", &second.url());
    let with_both = site.text().to_owned();
    site.start_connected(&[&globex, &acme]).await;
    second.outage(Outage::Status(503));
    messages(&acme, 20);
    assert!(acme.wait_until(SOON, |app| app.totals().acked == 20).await);
    site.worker.terminate().await.expect("it stops");

    site.write_secret("taut.toml", &with_one);
    site.worker.start().await.expect("it starts without acme");
    site.until_tenant("globex", "connected", |tenant| tenant.sockets == 1).await;
    assert!(acme.connections().is_empty(), "a tenant that is not configured has no socket");
    let named = |line: &str| line.contains("not configured") && line.contains("acme") && line.contains("20");
    assert!(site.read("worker.log").lines().any(named), "{}", site.worker.log_tail());
    messages(&globex, 5);
    assert!(first.wait_until(SOON, |totals| totals.keys == 5).await);
    assert_eq!(second.totals().keys, 0);
    site.worker.terminate().await.expect("it stops");

    second.outage(Outage::None);
    site.write_secret("taut.toml", &with_both);
    site.worker.start().await.expect("it starts with both");
    assert!(second.wait_until(SOON, |totals| totals.keys == 20).await, "{:?}", second.totals());
}
