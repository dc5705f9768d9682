//! Rows 4 to 7: the process is stopped, goes on, or dies of itself.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use taut_sim::{AckOutcome, Act, Load, Outage, Switches};
use tokio::time::sleep;

use crate::support::fault_proxy::Flow;
use crate::support::tools::reckon;
use crate::support::{Site, echo, until};
use crate::{SOON, Stand, brisk, event, messages, patient};

const STANDSTILL: &str = "taut_standstill_seconds_total";

#[tokio::test(flavor = "multi_thread")]
async fn f04_a_stop_of_three_seconds_changes_nothing() {
    let stand = Stand::with(&[], patient()).await;
    let socket = stand.socket();
    let load = stand.site.sim.load(Load { rate: 100.0, in_flight_max: 200, ..Load::default() });
    assert!(stand.app.wait_until(SOON, |app| app.totals().acked > 30).await);
    stand.site.signal(Signal::STOP);
    sleep(Duration::from_millis(3_300)).await;
    stand.site.signal(Signal::CONT);
    let before = stand.app.totals().acked;
    assert!(stand.app.wait_until(SOON, |app| app.totals().acked > before + 30).await);
    load.stop().await;
    stand.nothing_is_lost().await;
    assert_eq!(stand.socket(), socket, "the socket was asked, and answered");
    assert!(stand.site.metric(STANDSTILL).await >= 2.0, "the standstill is counted");
    assert!(stand.site.tenant("acme").await.deaf_seconds.abs() < f64::EPSILON);
}

/// The field's numbers are 20 s of stop, 15 s and 30 s of silence, two minutes of unanswered pings.
#[tokio::test(flavor = "multi_thread")]
async fn f05_a_long_stop_costs_the_sockets_and_its_deaf_time_is_counted() {
    long_stop(Duration::from_millis(3_500), &["ping_after = \"500ms\"", "quiet_max = \"1s\""]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "20 s of stop: tests/long stop"]
async fn f05_a_stop_of_twenty_seconds() {
    long_stop(Duration::from_secs(20), &[]).await;
}

async fn long_stop(stop: Duration, slack: &[&str]) {
    let switches = Switches {
        retry_waits: [Duration::from_secs(1), Duration::from_secs(5), stop],
        speed: 1.0,
        ..brisk()
    };
    let stand = Stand::with(slack, switches).await;
    let old = stand.socket();
    let load = stand.site.sim.load(Load { rate: 50.0, in_flight_max: 100, ..Load::default() });
    assert!(stand.app.wait_until(SOON, |app| app.totals().acked > 20).await);
    stand.site.signal(Signal::STOP);
    sleep(stop).await;
    until("Slack has given the socket up", || stand.app.connections().iter().all(|next| next.id != old))
        .await;
    stand.site.signal(Signal::CONT);
    stand.newer_than(old).await;
    load.stop().await;
    // The last retry may come as long after the stop as it lasted.
    stand.app.wait_settled(SOON).await;
    stand.nothing_is_lost().await;
    let tenant = stand.site.until_tenant("acme", "connected", |tenant| tenant.sockets == 1).await;
    let (deaf, stopped) = (tenant.deaf_seconds, stop.as_secs_f64());
    assert!(
        deaf >= stopped - 1.0 && deaf < stopped + SOON.as_secs_f64(),
        "{deaf} s deaf, {stopped} s stopped"
    );
}

/// The ack never reaches Slack: what the process had stored is known when it comes again.
#[tokio::test(flavor = "multi_thread")]
async fn f06_a_stop_between_append_and_ack_makes_a_duplicate_and_one_delivery() {
    let stand = Stand::new(&[]).await;
    let old = stand.socket();
    stand.slack.up(Flow::Stall);
    let pushed = stand.app.push(event(&stand.app, "Ev0STOPPED", "C1"));
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 1).await, "stored, for it was delivered");
    stand.site.signal(Signal::STOP);
    stand.slack.reset();
    until("the socket is gone", || stand.slack.open() == 0).await;
    stand.slack.up(Flow::Through);
    stand.site.signal(Signal::CONT);
    stand.newer_than(old).await;
    let outcome = pushed.wait_ack(SOON).await;
    assert!(matches!(outcome, AckOutcome::Acked { retry_attempt: 1.., .. }), "{outcome:?}");
    stand.site.until_tenant("acme", "known", |tenant| tenant.duplicates >= 1).await;
    assert_eq!((stand.handler.answered("Ev0STOPPED"), stand.handler.totals().requests), (1, 1));
}

/// Memory is refused to the process: it aborts, says why, and the next one has all that was acked.
#[tokio::test(flavor = "multi_thread")]
async fn f07_an_abort_says_why_and_loses_nothing() {
    let mut site = Site::with_switches("", patient()).await;
    site.slack("frame_bytes_max = \"64MiB\"");
    // Else the allocator has room in what it has already reserved.
    site.launch_by("MALLOC_ARENA_MAX=1 exec \"$@\"");
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.outage(Outage::Status(503));
    messages(&app, 50);
    assert!(app.wait_until(SOON, |app| app.totals().acked == 50).await);
    let room = Some(site.memory("VmSize") + (1 << 20));
    let id = site.worker.id().expect("it runs").cast_signed();
    prlimit(Pid::from_raw(id), Resource::As, Rlimit { current: room, maximum: None })
        .expect("its limit is set");
    app.act(&Act::SendHuge { bytes: 60 << 20 });
    let gone = async {
        while site.worker.status().await.is_some() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, gone).await.is_ok(), "it never died");
    assert!(site.read("worker.log").contains("memory allocation of"), "{}", site.worker.log_tail());

    handler.outage(Outage::None);
    site.worker.kill().await.expect("what is dead is reaped");
    site.worker.start().await.expect("it starts again");
    assert!(handler.wait_until(SOON, |totals| totals.keys == 50).await, "{:?}", handler.totals());
    assert_eq!(reckon(&site.sim, &app, &handler).lost.len(), 0);
}
