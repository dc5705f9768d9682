//! Events of one channel reach their handler in the order they were acked in, whatever happens in between.

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use support::{SOON, Site};
use taut_sim::{AppHandle, EchoConfig, EchoHandler, End, Load, Outage, Push, Sample, Sim};

/// Attempts follow each other fast, and nothing is given up within a test.
const EAGER: &str = "[delivery]\nretry_first = \"20ms\"\nretry_max = \"200ms\"\nattempts_max = 1000\n";

/// A handler that remembers all its requests.
async fn recorder() -> EchoHandler {
    let config = EchoConfig {
        signing_secret: Some(support::signing_secret("acme").into()),
        requests_max: 100_000,
        ..EchoConfig::default()
    };
    EchoHandler::start(config).await.expect("the handler listens")
}

/// The first successful delivery of each key, by its place.
fn first_deliveries(handler: &EchoHandler) -> HashMap<Arc<str>, usize> {
    let mut places = HashMap::new();
    let taken = handler.requests().into_iter().filter(|request| request.status == 200);
    for (place, request) in taken.enumerate() {
        places.entry(request.key).or_insert(place);
    }
    places
}

/// What was acked at its first attempt was delivered in the order it was sent.
fn assert_in_order(sim: &Sim, app: &AppHandle, handler: &EchoHandler) {
    let places = first_deliveries(handler);
    let first_acks = sim
        .journal()
        .envelopes(Some(app.id()))
        .into_iter()
        .filter(|sent| sent.retry_attempt == 0 && matches!(sent.end, End::Acked(_)));
    let order: Vec<_> = first_acks.map(|sent| (places.get(&sent.dedup_id).copied(), sent.dedup_id)).collect();
    assert!(!order.is_empty());
    for pair in order.windows(2) {
        assert!(pair[0].0.is_some() && pair[0].0 < pair[1].0, "out of order: {pair:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_keeps_its_order_through_outages() {
    let mut site = Site::new(EAGER).await;
    let handler = recorder().await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    let load = site.sim.load(Load { rate: 400.0, ..Load::default() });
    for outage in [Outage::Status(503), Outage::Abort, Outage::Refuse] {
        let before = app.totals().acked;
        handler.outage(outage);
        assert!(app.wait_until(SOON, |app| app.totals().acked >= before + 60).await);
        handler.outage(Outage::None);
        let before = handler.totals().keys;
        assert!(handler.wait_until(SOON, |totals| totals.keys >= before + 60).await);
    }
    let pushed = load.stop().await;
    assert!(handler.wait_until(SOON, |totals| totals.keys == pushed).await);
    assert_in_order(&site.sim, &app, &handler);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_keeps_its_order_over_kill_9() {
    let mut site = Site::new(EAGER).await;
    let handler = recorder().await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.outage(Outage::Status(503));
    let load = site.sim.load(Load { rate: 400.0, ..Load::default() });
    for _ in 0..2 {
        let before = app.totals().acked;
        assert!(app.wait_until(SOON, |app| app.totals().acked >= before + 100).await);
        site.worker.kill().await.expect("it runs");
        site.start().await;
    }
    load.stop().await;
    handler.outage(Outage::None);
    site.until_tenant("acme", "connected", |tenant| tenant.sockets == 1).await;
    site.until_tenant("acme", "delivered", |tenant| tenant.backlog_envelopes == 0).await;
    assert_in_order(&site.sim, &app, &handler);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_channels_failing_event_does_not_hold_another_channel() {
    let mut site = Site::new(EAGER).await;
    let handler = recorder().await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.answer("reaction_added", Some(taut_sim::EchoAnswer::status(500)));
    app.push(Push::from(Sample::ReactionAdded).in_channel("C0HELD"));
    for _ in 0..20 {
        app.push(Push::from(Sample::Message).in_channel("C0HELD"));
        app.push(Push::from(Sample::Message).in_channel("C0FREE"));
    }
    assert!(handler.wait_until(SOON, |totals| totals.keys >= 20).await, "{:?}", handler.totals());
    site.until_tenant("acme", "one lane waits", |tenant| tenant.backlog_envelopes == 21).await;
    assert_eq!(handler.totals().keys, 20);
    handler.answer("reaction_added", None);
    assert!(handler.wait_until(SOON, |totals| totals.keys == 41).await);
    assert_in_order_within(&site.sim, &app, &handler, "C0HELD");
}

/// As [`assert_in_order`] for one channel of several.
fn assert_in_order_within(sim: &Sim, app: &AppHandle, handler: &EchoHandler, channel: &str) {
    let places = first_deliveries(handler);
    let of_channel: HashMap<Arc<str>, bool> = handler
        .requests()
        .into_iter()
        .map(|request| (request.key, String::from_utf8_lossy(&request.body).contains(channel)))
        .collect();
    let sent = sim.journal().envelopes(Some(app.id())).into_iter().filter(|sent| of_channel[&sent.dedup_id]);
    let order: Vec<_> = sent.map(|sent| places[&sent.dedup_id]).collect();
    assert!(order.len() > 1 && order.is_sorted(), "out of order: {order:?}");
}
