//! A configured proxy is never gone round: not by the Web API, not by sockets, not by posts to a `response_url`, whatever
//! the proxy does. Where Slack says that it is, a decoy counts who comes directly.

use std::time::Duration;

use taut_sim::{AckOutcome, AppHandle, EchoAnswer, NoteKind, Outage, Sample};

use crate::connect_proxy::{ConnectProxy, Manner};
use crate::stage::{Stage, through};
use crate::support::{SOON, connected, echo, until};

fn responses(stage: &Stage) -> usize {
    let notes = stage.site.sim.journal().notes(None);
    notes.iter().filter(|note| matches!(note.kind, NoteKind::Response { .. })).count()
}

async fn acked(app: &AppHandle, sample: Sample) {
    let outcome = app.push(sample).wait_ack(SOON).await;
    assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f38_nothing_goes_round_a_configured_proxy_whatever_it_does() {
    let proxy_of = |slack| async move { ConnectProxy::to(slack, Manner::Tunnel).await };
    let late = "on_late_answer = \"ack_then_deliver\"";
    // The host's proxy, and a tenant's own.
    let mut stage =
        Stage::new(true, |_| "proxy = \"http://PROXY\"\n[network.deadlines]\nconnect = \"500ms\"\n".into())
            .await;
    let (host, own) = (proxy_of(stage.slack).await, proxy_of(stage.slack).await);
    stage.site.replace("PROXY", &host.at.to_string());
    let handler = echo("acme").await;
    for kind in ["slash_commands", "message"] {
        handler.answer(kind, Some(EchoAnswer::text("late")));
    }
    let acme = stage.tenant(1, "acme", "", &handler.url(), late);
    let other = echo("globex").await;
    let globex = stage.tenant(2, "globex", &through(&own.url()), &other.url(), "");
    stage.site.start_connected(&[&acme, &globex]).await;
    assert_eq!((host.asked().len(), own.asked().len()), (2, 2), "each tenant: the Web API, and the socket");

    acked(&acme, Sample::Message).await;
    acked(&globex, Sample::Message).await;
    handler.outage(Outage::Slow(Duration::from_millis(2_800)));
    acked(&acme, Sample::SlashCommand).await;
    until("the late answer is posted to its response_url", || responses(&stage) == 1).await;
    assert!(host.asked().len() > 2, "the post took the proxy as well");

    // Down in every way; meanwhile sockets are lost, and a late answer wants out.
    let ways = [
        (Manner::Close, "proxy_closed"),
        (Manner::Say("HTTP/1.1 502 Bad Gateway\r\n\r\n"), "proxy_refused"),
        (Manner::Hang, "proxy_timeout"),
    ];
    acme.push(Sample::SlashCommand);
    assert!(handler.wait_until(SOON, |totals| totals.in_flight > 0).await);
    for (manner, code) in ways {
        host.behave(manner);
        own.behave(manner);
        stage.reason("acme", code).await;
        stage.reason("globex", code).await;
    }
    until("the late answer came while the proxy was away", || handler.totals().in_flight == 0).await;
    let asked = host.asked().len();
    until("its post knocked at the proxy", || host.asked().len() > asked).await;
    assert_eq!(stage.decoy.came(), 0, "somebody went round a proxy that was away");

    handler.outage(Outage::None);
    host.behave(Manner::Tunnel);
    own.behave(Manner::Tunnel);
    assert!(connected(&acme).await && connected(&globex).await, "{}", stage.site.worker.log_tail());
    acked(&acme, Sample::Message).await;
    let target = format!("localhost:{}", stage.decoy.at.port());
    assert!(host.asked().iter().chain(&own.asked()).all(|asked| *asked == target));
    assert_eq!(stage.decoy.came(), 0);
}
