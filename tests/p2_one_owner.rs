//! P2: a tenant has one owner. On one host the store's lock is the lease, and of two tenants with one app one parks.

mod support;

use support::tools::taut;
use support::{SOON, Site, connected, echo};
use taut::seeing::status::TenantStatus;
use taut_sim::{AppSpec, Sample};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_on_the_same_store_is_refused() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    let path = site.dir.path().display();
    let second = format!(
        "[slack]\napi_url = \"{}\"\n[store]\npath = \"{path}/store\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
         [admin]\nlisten = \"unix:{path}/second.sock\"\n",
        site.sim.api_url()
    );
    let second = site.write_secret("second.toml", &second);
    let opens_before = app.totals();
    let run = taut(&["run", "--config", second.to_str().expect("a text")]).await;
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("store") && run.stderr.contains("another"), "says why: {}", run.stderr);
    assert_eq!(app.totals(), opens_before, "it dialled nobody");

    let offline = site.taut(&["deadletter", "list", "--offline"]).await;
    assert_eq!(offline.code, 1, "{offline:?}");

    app.push(Sample::Message);
    assert!(handler.wait_until(SOON, |totals| totals.keys == 1).await, "the first worker goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_free_as_soon_as_its_owner_was_killed() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    for _ in 0..3 {
        site.worker.kill().await.expect("it runs");
        site.start().await;
    }
    site.until_tenant("acme", "connected again", |tenant| tenant.sockets == 1).await;
    assert!(connected(&app).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tenants_with_one_app_one_parks_and_the_other_works() {
    let mut site = Site::new("").await;
    let handlers = [echo("acme").await, echo("globex").await];
    let app = site.add_simple(1, "acme", &handlers[0].url());
    site.add_simple(2, "globex", &handlers[1].url());
    let other = format!("{}-other", AppSpec::numbered(1).app_token);
    app.add_app_token(other.clone());
    site.write_secret("globex.app", &other);
    site.start_connected(&[&app]).await;

    let settled = site
        .until_status("one parks, the other is connected", |report| {
            let count = |wanted: &dyn Fn(&TenantStatus) -> bool| {
                report.tenants.iter().filter(|tenant| wanted(tenant)).count()
            };
            count(&|tenant| tenant.reason == "duplicate_app") == 1
                && count(&|tenant| tenant.state == "connected") == 1
        })
        .await;
    let parked = settled.tenants.iter().find(|tenant| tenant.reason == "duplicate_app");
    assert!(parked.is_some_and(|tenant| tenant.state == "parked"), "{settled:?}");
    assert!(app.wait_connected(1, SOON).await, "the parked tenant holds no socket");

    for _ in 0..20 {
        app.push(Sample::Message);
    }
    assert!(app.wait_settled(SOON).await);
    let keys = || handlers[0].totals().keys + handlers[1].totals().keys;
    support::until("all delivered by one of them", || keys() == 20).await;
    assert!(handlers.iter().any(|handler| handler.totals().keys == 0), "only one delivers");
}
