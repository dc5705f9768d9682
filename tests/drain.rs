//! SIGTERM: nothing new, what is held is finished, sockets are closed politely, and no handler can hold it for long.

mod support;

use std::time::Duration;

use rustix::process::Signal;
use support::tools::reckon;
use support::{SOON, Site, echo};
use taut_sim::{AckOutcome, AppHandle, EchoHandler, Load, Note, NoteKind, OpenFailure, Outage, Sample};

struct Stand {
    site: Site,
    app: AppHandle,
    handler: EchoHandler,
}

impl Stand {
    async fn new(head: &str) -> Self {
        let mut site = Site::new(head).await;
        let handler = echo("acme").await;
        let app = site.add_simple(1, "acme", &handler.url());
        site.start_connected(&[&app]).await;
        Self { site, app, handler }
    }

    /// Why the app's sockets ended, in the simulated Slack's words.
    fn ends(&self) -> Vec<String> {
        let notes = self.site.sim.journal().notes(Some(self.app.id()));
        let why = |note: Note| if let NoteKind::Closed { why, .. } = note.kind { Some(why) } else { None };
        notes.into_iter().filter_map(why).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_loses_nothing_it_acked() {
    let mut stand = Stand::new("").await;
    let load = stand.site.sim.load(Load { rate: 500.0, ..Load::default() });
    let flowing = |app: &AppHandle| app.totals().acked > 200;
    assert!(stand.app.wait_until(SOON, flowing).await);
    let (whole, took) = stand.site.worker.terminate().await.expect("it stops");
    assert!(whole, "exit 0\n{}", stand.site.worker.log_tail());
    assert!(took < Duration::from_secs(10), "{took:?}");
    load.stop().await;
    let ends = stand.ends();
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert!(ends[0].contains("close"), "closed by a close frame: {ends:?}");
    stand.site.start().await;
    assert!(stand.app.wait_settled(SOON).await, "{:?}", stand.app.totals());
    let acked = stand.app.totals().acked;
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys >= acked).await);
    let reckoning = reckon(&stand.site.sim, &stand.app, &stand.handler);
    assert_eq!((reckoning.lost, reckoning.unacked), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_the_answer_it_owes() {
    let mut stand = Stand::new("").await;
    stand.handler.outage(Outage::Slow(Duration::from_millis(700)));
    let command = stand.app.push(Sample::SlashCommand);
    assert!(stand.handler.wait_until(SOON, |totals| totals.in_flight == 1).await);
    let (whole, _) = stand.site.worker.terminate().await.expect("it stops");
    assert!(whole, "{}", stand.site.worker.log_tail());
    let outcome = command.wait_ack(SOON).await;
    assert!(matches!(&outcome, AckOutcome::Acked { payload: Some(_), .. }), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_handler_holds_the_drain_no_longer_than_its_timeout() {
    let mut stand = Stand::new("[worker]\ndrain_timeout = \"2s\"\n").await;
    stand.handler.outage(Outage::Hang);
    for _ in 0..20 {
        stand.app.push(Sample::Message);
    }
    assert!(stand.app.wait_until(SOON, |app| app.totals().acked == 20).await);
    assert!(stand.handler.wait_until(SOON, |totals| totals.in_flight > 0).await);
    let (whole, took) = stand.site.worker.terminate().await.expect("it stops");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(!whole, "an attempt was cut off: exit 1");
    stand.handler.outage(Outage::None);
    stand.site.start().await;
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 20).await, "what was stored is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_drain_and_keeps_what_is_stored() {
    let mut stand = Stand::new("[worker]\ndrain_timeout = \"5m\"\n").await;
    stand.handler.outage(Outage::Hang);
    for _ in 0..20 {
        stand.app.push(Sample::Message);
    }
    assert!(stand.app.wait_until(SOON, |app| app.totals().acked == 20).await);
    assert!(stand.handler.wait_until(SOON, |totals| totals.in_flight > 0).await);
    stand.site.signal(Signal::TERM);
    stand
        .site
        .until_status("the drain has begun", |report| {
            report.ready.reasons.iter().any(|reason| reason.part == "drain")
        })
        .await;
    let (whole, took) = stand.site.worker.terminate().await.expect("it stops");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(!whole, "the drain was cut short: exit 1");
    stand.handler.outage(Outage::None);
    stand.site.start().await;
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 20).await, "what was stored is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn taut_drain_does_the_same_by_hand() {
    let mut stand = Stand::new("").await;
    stand.app.push(Sample::Message);
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 1).await);
    let said = stand.site.taut(&["drain", "--wait"]).await.ok();
    assert!(said.contains("stopped"), "{said}");
    let (whole, _) = stand.site.worker.terminate().await.expect("it has stopped");
    assert!(whole, "exit 0");
    assert!(stand.app.wait_connected(0, SOON).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_on_its_way_to_a_socket_holds_no_drain() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let waiting = site.add_simple(1, "acme", &handler.url());
    let hanging = site.add_simple(2, "globex", &handler.url());
    site.add_simple(3, "initech", &handler.url());
    std::fs::remove_file(site.dir.path().join("initech.app")).expect("it was written");
    waiting.hold_hello();
    hanging.fail_next_opens(100, OpenFailure::Hang);
    site.start().await;
    let opening = |app: &AppHandle| !app.connections().is_empty();
    assert!(waiting.wait_until(SOON, opening).await);
    let (whole, took) = site.worker.terminate().await.expect("it stops");
    assert!(whole && took < Duration::from_secs(10), "{took:?}\n{}", site.worker.log_tail());
    assert!(waiting.wait_until(SOON, |app| app.connections().is_empty()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupt_drains_like_terminate() {
    let mut stand = Stand::new("").await;
    stand.site.signal(Signal::INT);
    assert!(stand.app.wait_connected(0, SOON).await);
    let ends = stand.ends();
    assert!(ends.len() == 1 && ends[0].contains("close"), "closed by a close frame: {ends:?}");
    support::until("the worker has left its socket", || !stand.site.dir.path().join("admin.sock").exists())
        .await;
    stand.site.start().await;
    assert!(stand.app.wait_connected(1, SOON).await);
}
