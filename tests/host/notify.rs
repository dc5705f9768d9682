//! What the worker tells systemd, and when it stops saying that it lives.

use crate::manager::{Held, Told};
use crate::support::{Site, echo, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_slack_is_away_is_ready_lives_and_says_that_it_stops() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    app.revoke_token("account_inactive");
    let told = Told::listen(&mut site);
    site.start().await;
    until("ready", || told.count("READY=1") == 1).await;
    until("fed", || told.count("WATCHDOG=1") >= 3).await;
    let status = "STATUS=running: 0 of 1 tenants connected, store writable";
    assert!(told.count(status) >= 1, "{:?}", told.all());
    let (drained, _) = site.worker.terminate().await.expect("it stops");
    assert!(drained);
    until("stopping", || told.count("STOPPING=1") == 1).await;
    assert_eq!((told.count("WATCHDOG=trigger"), told.count("STATUS=no progress")), (0, 0));
}

/// Holds the threads of this name, waits until the watchdog is let starve, and lets them go on.
async fn starves_while_held(thread: &str, part: &str) {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    let told = Told::listen(&mut site);
    site.start_connected(&[&app]).await;
    until("fed", || told.count("WATCHDOG=1") >= 2).await;

    let process = site.worker.id().expect("it runs");
    let Some(held) = Held::threads(process, thread) else { return };
    until("hungry", || told.count("STATUS=no progress") >= 1).await;
    until("given up on", || told.count("WATCHDOG=trigger") >= 1).await;
    let all = told.all();
    let since = told.position("STATUS=no progress").expect("seen above");
    let end = told.position("WATCHDOG=trigger").expect("seen above");
    assert_eq!(all[since], format!("STATUS=no progress: {part}"));
    assert!(!all[since..end].iter().any(|line| line == "WATCHDOG=1"), "{all:?}");

    drop(held);
    let fed = told.count("WATCHDOG=1");
    until("fed again", || told.count("WATCHDOG=1") > fed).await;
    let line = format!("taut_stalls_total{{part=\"{part}\"}}");
    assert!(site.metric(&line).await >= 1.0);
    let log = site.read("worker.log");
    assert!(log.contains("makes no progress") && log.contains("there is progress again"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f66_a_log_thread_that_hangs_lets_the_watchdog_starve() {
    starves_while_held("taut-log", "log").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f66_runtime_threads_that_hang_let_the_watchdog_starve() {
    starves_while_held("taut-run", "timers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_waits_for_a_handler_asks_systemd_for_patience() {
    let mut site = Site::new("[worker]\ndrain_timeout = \"60s\"\n").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    let told = Told::listen(&mut site);
    site.start_connected(&[&app]).await;
    handler.outage(taut_sim::Outage::Slow(std::time::Duration::from_secs(30)));
    app.push(taut_sim::Sample::Message);
    until("an attempt is under way", || handler.totals().requests == 1).await;
    site.signal(rustix::process::Signal::TERM);
    until("patience is asked for", || told.count("EXTEND_TIMEOUT_USEC=4000000") >= 2).await;
    assert_eq!(told.count("STOPPING=1"), 1);
    // A second signal ends the drain.
    site.worker.terminate().await.expect("it stops");
}
