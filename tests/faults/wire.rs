//! Rows 29, 43 and 44: what a network does to a socket, made by the proxy.

use std::time::Duration;

use taut_sim::{AckOutcome, EchoAnswer, Load, Sample};
use tokio::time::sleep;

use crate::support::fault_proxy::Flow;
use crate::{ACK_MAX, SOON, Stand, patient};

const SHORT: &[&str] = &["ping_after = \"300ms\"", "quiet_max = \"800ms\""];

#[tokio::test(flavor = "multi_thread")]
async fn f29_half_open_to_slack_is_noticed() {
    let stand = Stand::new(SHORT).await;
    let old = stand.socket();
    let load = stand.site.sim.load(Load { rate: 100.0, in_flight_max: 50, ..Load::default() });
    assert!(stand.app.wait_until(SOON, |app| app.totals().acked > 20).await);
    stand.slack.half_open();
    stand.newer_than(old).await;
    load.stop().await;
    stand.nothing_is_lost().await;
    assert!(stand.closes("quiet").await >= 1.0, "found by our own ping");
    let tenant = stand.site.until_tenant("acme", "connected", |tenant| tenant.sockets == 1).await;
    assert!(tenant.deaf_seconds >= 0.8, "the silence counts as deaf: {tenant:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "30 s of silence: tests/long half-open"]
async fn f29_half_open_to_slack_is_noticed_within_thirty_seconds() {
    let stand = Stand::new(&[]).await;
    let old = stand.socket();
    stand.slack.half_open();
    let (asked, newer) = (tokio::time::Instant::now(), Duration::from_secs(45));
    let replaced =
        stand.app.wait_until(newer, |app| app.connections().iter().any(|next| next.id > old)).await;
    assert!(replaced, "{}", stand.site.worker.log_tail());
    println!("replaced {:?} after the last byte", asked.elapsed());
}

/// One direction is enough. Where nothing comes down, our ping finds it; where nothing goes up, Slack misses our pongs
/// and ends the socket, and what it saw no ack for comes again.
#[tokio::test(flavor = "multi_thread")]
async fn f29_a_path_that_is_dead_in_one_direction_is_noticed() {
    for upwards in [true, false] {
        let stand = Stand::new(SHORT).await;
        let old = stand.socket();
        if upwards {
            stand.slack.up(Flow::Swallow);
        } else {
            stand.slack.down(Flow::Stall);
        }
        let pushed = stand.app.push(Sample::Message);
        stand.site.until_tenant("acme", "given up", |tenant| tenant.sockets == 0).await;
        assert_eq!(stand.closes("quiet").await >= 1.0, !upwards, "{}", stand.site.worker.log_tail());
        stand.slack.both(Flow::Through);
        stand.newer_than(old).await;
        let outcome = pushed.wait_ack(SOON).await;
        assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
    }
}

/// Nothing to say is no death: a socket lives as long as its pings are answered.
#[tokio::test(flavor = "multi_thread")]
async fn f29_a_quiet_app_keeps_its_socket() {
    let stand = Stand::new(SHORT).await;
    let old = stand.socket();
    sleep(Duration::from_millis(2_500)).await;
    stand.acked(Sample::Message).await;
    assert_eq!((stand.socket(), stand.slack.accepted()), (old, 1));
}

/// A network that is slow in both directions costs time and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn f29_latency_costs_no_envelope_and_no_socket() {
    let stand = Stand::with(&[], patient()).await;
    let old = stand.socket();
    stand.slack.both(Flow::Late(Duration::from_millis(100)));
    let load = stand.site.sim.load(Load { rate: 50.0, count: Some(60), ..Load::default() });
    load.finished().await;
    stand.nothing_is_lost().await;
    assert_eq!(stand.socket(), old);
}

/// Bytes that end in the middle of a frame, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn f29_sockets_cut_in_the_middle_of_a_frame_lose_nothing() {
    let stand = Stand::new(&[]).await;
    let load = stand.site.sim.load(Load { rate: 200.0, in_flight_max: 60, ..Load::default() });
    for bytes in [9_001, 20_003] {
        let accepted = stand.slack.accepted();
        stand.slack.down(Flow::CutAfter(bytes));
        let cut = async {
            while stand.slack.accepted() == accepted {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(SOON, cut).await.is_ok(), "{}", stand.site.worker.log_tail());
    }
    stand.slack.down(Flow::Through);
    load.stop().await;
    stand.nothing_is_lost().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f43_a_flood_of_pings_is_answered_and_costs_no_envelope() {
    let stand = Stand::new(&[]).await;
    let (old, ping) = (stand.socket(), [0x89_u8, 4, b'p', b'i', b'n', b'g']);
    for _ in 0..20 {
        stand.slack.inject(ping.repeat(1_000)).await;
    }
    stand.acked(Sample::Message).await;
    let command = stand.app.push(Sample::SlashCommand).wait_ack(ACK_MAX).await;
    assert!(matches!(command, AckOutcome::Acked { payload: Some(_), .. }), "{command:?}");
    assert_eq!(stand.socket(), old);
}

/// Bytes keep coming, but no frame ever ends: not even a pong can come through, so the path is as good as dead.
#[tokio::test(flavor = "multi_thread")]
async fn f43_a_frame_that_dribbles_for_ever_costs_its_socket() {
    let stand = Stand::new(SHORT).await;
    let old = stand.socket();
    stand.slack.down(Flow::Dribble { bytes: 1, every: Duration::from_millis(40) });
    stand.app.push(Sample::Message);
    stand.site.until_tenant("acme", "given up", |tenant| tenant.sockets == 0).await;
    stand.slack.down(Flow::Through);
    stand.newer_than(old).await;
    stand.nothing_is_lost().await;
    assert!(stand.closes("quiet").await >= 1.0);
}

/// Slack does not read: acks pile up in the kernel, then the write meets its deadline, and the socket goes.
#[tokio::test(flavor = "multi_thread")]
async fn f44_acks_that_cannot_be_written_cost_the_socket_and_memory_stays_flat() {
    let stand = Stand::new(&[]).await;
    let (old, at_rest) = (stand.socket(), stand.site.memory("VmRSS"));
    stand.handler.answer("slash_commands", Some(EchoAnswer::text("x".repeat(18_000))));
    stand.acked(Sample::SlashCommand).await;
    stand.slack.up(Flow::Stall);
    let mut commands = tokio::task::JoinSet::new();
    while stand.closes("transport").await < 1.0 {
        assert!(commands.len() < 4_000, "the socket takes everything\n{}", stand.site.worker.log_tail());
        for _ in 0..40 {
            commands.spawn(stand.app.push(Sample::SlashCommand).wait_ack(SOON));
        }
        sleep(Duration::from_millis(100)).await;
    }
    stand.slack.up(Flow::Through);
    stand.newer_than(old).await;
    stand.acked(Sample::Message).await;
    let peak = stand.site.memory("VmHWM");
    assert!(peak <= at_rest + (64 << 20), "{at_rest} bytes at rest, {peak} at the peak");
}
