//! P8: whatever a socket or a handler sends, the worker lives, its memory stays bounded, and what it met is counted.

mod support;

use std::time::Duration;

use support::{SOON, Site, echo};
use taut_sim::{AckOutcome, Act, AppHandle, EchoHandler, Outage, Push, Sample};

/// Longest an ack may take here: Slack waits 3 s.
const ACK_MAX: Duration = Duration::from_secs(3);
/// What a worker with one tenant may need beyond what it needs at rest, in a debug build.
const MEMORY_MORE_MAX: u64 = 48 << 20;

struct Stand {
    site: Site,
    app: AppHandle,
    handler: EchoHandler,
    at_rest: u64,
}

impl Stand {
    async fn new(head: &str) -> Self {
        let mut site = Site::new(head).await;
        site.slack("frame_bytes_max = \"256KiB\"\nopens_per_app = \"100 then 1/1s\"");
        let handler = echo("acme").await;
        let app = site.add_simple(1, "acme", &handler.url());
        site.start_connected(&[&app]).await;
        site.until_tenant("acme", "connected", |tenant| tenant.state == "connected").await;
        let at_rest = site.memory("VmRSS");
        Self { site, app, handler, at_rest }
    }

    /// The worker takes the next event and command as if nothing had happened, and needs no more memory than allowed.
    async fn lives(&self) {
        let event = self.app.push(Sample::Message).wait_ack(ACK_MAX).await;
        assert!(matches!(event, AckOutcome::Acked { .. }), "{event:?}");
        let command = self.app.push(Sample::SlashCommand).wait_ack(ACK_MAX).await;
        assert!(matches!(command, AckOutcome::Acked { payload: Some(_), .. }), "{command:?}");
        let peak = self.site.memory("VmHWM");
        let allowed = self.at_rest + MEMORY_MORE_MAX;
        assert!(peak <= allowed, "{peak} bytes at the peak, {allowed} allowed");
    }

    /// Pushes one of each and waits until each has its end; what that is, is delivery's own test.
    async fn push_all(&self, samples: &[Sample]) {
        let pushed: Vec<_> = samples.iter().map(|sample| self.app.push(*sample)).collect();
        futures::future::join_all(pushed.into_iter().map(|pushed| pushed.wait_ack(ACK_MAX))).await;
    }

    async fn unreadable(&self, count: f64) {
        let metric = "taut_frames_unreadable_total{tenant=\"acme\"}";
        let looking = async {
            while self.site.metric(metric).await < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(SOON, looking).await.is_ok(), "{}", self.site.metric(metric).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_frames_are_counted_and_the_socket_lives() {
    let stand = Stand::new("").await;
    let socket = stand.app.connections()[0].id;
    stand.app.send_raw("no JSON at all");
    stand.app.send_raw("{\"envelope_id\":");
    stand.app.send_raw("[1,2,3]");
    stand.app.act(&Act::SendNull);
    stand.app.send_binary(1_000);
    stand.app.act(&Act::SendDeepJson { depth: 100_000 });
    stand.unreadable(3.0).await;
    stand.lives().await;
    assert_eq!(stand.app.connections().iter().map(|socket| socket.id).collect::<Vec<_>>(), [socket]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_that_nests_without_end_is_acked_or_counted_and_never_fatal() {
    let stand = Stand::new("").await;
    let deep = format!(
        r#"{{"type":"event_callback","event_id":"Ev0DEEP","event":{{"type":"message","deep":{}{}}}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let outcome = stand.app.push(Push::raw(deep)).wait_ack(Duration::from_millis(500)).await;
    if !matches!(outcome, AckOutcome::Acked { .. }) {
        stand.unreadable(1.0).await;
    }
    stand.lives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversize_frame_closes_its_socket_and_the_next_one_works() {
    let stand = Stand::new("").await;
    let socket = stand.app.connections()[0].id;
    stand.app.act(&Act::SendHuge { bytes: 32 << 20 });
    let renewed = |app: &AppHandle| app.connections().iter().any(|next| next.id != socket && next.helloed);
    assert!(stand.app.wait_until(SOON, renewed).await, "{}", stand.site.worker.log_tail());
    stand.site.until_tenant("acme", "connected", |tenant| tenant.sockets == 1).await;
    let closed = "taut_socket_closes_total{tenant=\"acme\",reason=\"frame_too_large\"}";
    assert!(stand.site.metric(closed).await >= 1.0);
    stand.lives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn giant_answers_are_read_up_to_their_limit() {
    let stand = Stand::new("[delivery]\nanswer_bytes_max = \"64KiB\"\n").await;
    stand.handler.outage(Outage::Oversized(64 << 20));
    stand
        .push_all(&[
            Sample::SlashCommand,
            Sample::ViewSubmission,
            Sample::BlockSuggestion,
            Sample::BlockActions,
        ])
        .await;
    let event = stand.app.push(Sample::Message).wait_ack(ACK_MAX).await;
    assert!(matches!(event, AckOutcome::Acked { .. }), "{event:?}");
    stand.site.until_tenant("acme", "delivered", |tenant| tenant.backlog_envelopes == 0).await;
    stand.handler.outage(Outage::None);
    stand.lives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_answers_are_a_verdict_and_never_a_crash() {
    let stand = Stand::new("").await;
    stand.handler.outage(Outage::Garbage);
    stand.push_all(&Sample::ALL).await;
    stand.handler.outage(Outage::None);
    stand.lives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_takes_disk_and_not_memory() {
    let stand = Stand::new("").await;
    stand.handler.outage(Outage::Status(503));
    let padding = "x".repeat(60_000);
    for number in 0..600 {
        let event = format!(
            r#"{{"type":"event_callback","api_app_id":"{}","event_id":"Ev0BIG{number}","event":{{"type":"message","channel":"C1","text":"{padding}"}}}}"#,
            stand.app.id()
        );
        stand.app.push(Push::raw(event));
    }
    assert!(stand.app.wait_until(SOON, |app| app.totals().acked == 600).await, "{:?}", stand.app.totals());
    let tenant = stand.site.tenant("acme").await;
    assert!(tenant.backlog_bytes > 30 << 20, "{tenant:?}");
    stand.handler.outage(Outage::None);
    stand.site.until_tenant("acme", "delivered", |tenant| tenant.backlog_envelopes == 0).await;
    stand.lives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_bytes_is_bounded_too() {
    let stand = Stand::new("[queue]\nbytes_max = \"1MiB\"\n[dead_letters]\nbytes_max = \"1MiB\"\n").await;
    stand.handler.outage(Outage::Status(503));
    let padding = "x".repeat(60_000);
    for number in 0..80 {
        let event = format!(
            r#"{{"type":"event_callback","api_app_id":"{}","event_id":"Ev0BIG{number}","event":{{"type":"message","channel":"C1","text":"{padding}"}}}}"#,
            stand.app.id()
        );
        stand.app.push(Push::raw(event));
    }
    let tenant = stand.site.until_tenant("acme", "both full", |tenant| tenant.refused > 0).await;
    assert!(tenant.backlog_bytes <= 1 << 20 && tenant.dead_letters > 0, "{tenant:?}");
    let refused = "taut_envelopes_refused_total{tenant=\"acme\",reason=\"dead_letters_full\"}";
    assert!(stand.site.metric(refused).await >= 1.0);
}
