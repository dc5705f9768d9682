//! A planned change never leaves the tenant deaf.

use std::time::Duration;

use taut_core::Clock as _;
use taut_core::request::AckChoice;
use taut_net::clock::BootClock;
use taut_sim::{AckOutcome, NoteKind, Sample, Switches};
use taut_socket::{Desired, LineEnd};

use crate::rig::{Rig, SOON, Setup, token};

fn hellos(rig: &Rig) -> usize {
    rig.notes(|kind| matches!(kind, NoteKind::Hello { .. }))
}

fn closes(rig: &Rig) -> usize {
    rig.notes(|kind| matches!(kind, NoteKind::Closed { .. }))
}

#[tokio::test]
async fn a_refresh_leaves_no_gap_and_loses_no_ack() {
    for reason in ["warning", "refresh_requested", "something_new"] {
        let close = Duration::from_millis(600);
        let switches =
            Switches { close_after_warning: close, close_after_disconnect: close, ..Switches::default() };
        let rig = Rig::connected_with(Setup { switches, ..Setup::default() }).await;
        rig.app.disconnect(reason);
        let mut acked = 0;
        while hellos(&rig) < 2 || closes(&rig) < 1 {
            rig.acked(Sample::Message).await;
            acked += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let label = if reason == "something_new" { "other" } else { reason };
        rig.until("the close", |rig| rig.board.counters.socket_closes.at(label).get() == 1).await;
        assert_eq!((rig.opens(), rig.log.entries().len()), (2, acked));
        assert_eq!(rig.app.totals().retries, 0);
        assert_eq!(rig.board.counters.deaf_ms.get(), 0);
    }
}

#[tokio::test]
async fn an_envelope_sent_right_after_the_disconnect_is_acked() {
    let rig = Rig::connected().await;
    rig.app.warn_then_close();
    let pushed: Vec<_> = (0..50).map(|_| rig.app.push(Sample::Message)).collect();
    for push in pushed {
        assert!(matches!(push.wait_ack(SOON).await, AckOutcome::Acked { retry_attempt: 0, .. }));
    }
}

#[tokio::test]
async fn another_token_opens_the_next_socket_before_the_first_is_closed() {
    let mut rig = Rig::connected().await;
    rig.app.add_app_token("xapp-1-A0ACME0001-2-b");
    rig.line.replace_token(token("xapp-1-A0ACME0001-2-b"));
    rig.until("the old socket's end", |rig| rig.board.counters.socket_closes.at("operator").get() == 1).await;
    assert_eq!((hellos(&rig), rig.board.counters.deaf_ms.get()), (2, 0));
    rig.acked(Sample::Message).await;
    assert_eq!(rig.line.drain(BootClock.now() + SOON).await, LineEnd::Drained);
}

#[tokio::test]
async fn a_socket_we_close_first_answers_its_requests() {
    let rig = Rig::connected().await;
    rig.handler.answer(AckChoice::Bare, Duration::from_millis(500));
    let request = rig.app.push(Sample::BlockActions);
    rig.until("the request", |rig| rig.board.counters.received.total() == 1).await;
    rig.line.set_desired(Desired::Paused);
    assert!(matches!(request.wait_ack(SOON).await, AckOutcome::Acked { .. }));
    rig.wait("paused").await;
    rig.until("the close", |rig| rig.app.connections().is_empty()).await;
    assert_eq!(rig.board.counters.requests_cut.get(), 0);
}

#[tokio::test]
async fn a_drain_acks_what_is_stored_and_ends_the_line() {
    let mut rig = Rig::connected().await;
    rig.handler.answer(AckChoice::Bare, Duration::from_millis(300));
    let pushed: Vec<_> = [Sample::Message, Sample::SlashCommand].map(|sample| rig.app.push(sample)).into();
    rig.until("both", |rig| rig.board.counters.received.total() == 2).await;
    assert_eq!(rig.line.drain(BootClock.now() + SOON).await, LineEnd::Drained);
    for push in pushed {
        assert!(matches!(push.wait_ack(SOON).await, AckOutcome::Acked { .. }));
    }
    assert!(rig.app.connections().is_empty());
    assert_eq!(rig.line.join().await, LineEnd::Drained, "said again");
}

#[tokio::test]
async fn a_drain_is_bounded_by_its_deadline() {
    let mut rig = Rig::connected().await;
    rig.handler.answer(AckChoice::Bare, Duration::from_mins(1));
    let _pushed = rig.app.push(Sample::SlashCommand);
    rig.until("the request", |rig| rig.board.counters.received.total() == 1).await;
    let deadline = BootClock.now() + Duration::from_millis(300);
    assert_eq!(rig.line.drain(deadline).await, LineEnd::CutOff);
    assert!(BootClock.now().since(deadline) < Duration::from_secs(1));
    rig.until("its settling", |rig| rig.app.connections().is_empty()).await;
}

#[tokio::test]
async fn a_pause_and_its_end() {
    let rig = Rig::connected().await;
    rig.line.set_desired(Desired::Paused);
    rig.until("no socket", |rig| rig.app.connections().is_empty()).await;
    rig.wait("paused: operator").await;
    rig.line.set_desired(Desired::Connected);
    rig.wait("connected").await;
    rig.acked(Sample::Message).await;
    assert_eq!(rig.board.counters.deaf_ms.get(), 0, "a pause is no deafness");
}

#[tokio::test]
async fn a_handle_dropped_cuts_its_sockets() {
    let rig = Rig::connected().await;
    let Rig { line, app, sim, .. } = rig;
    drop(line);
    assert!(app.wait_until(SOON, |app| app.connections().is_empty()).await);
    sim.stop().await;
}

#[tokio::test]
async fn a_restart_counts_the_gap_as_deaf() {
    let rig = Rig::connected_with(Setup { deaf_for: Some(Duration::from_secs(5)), ..Setup::default() }).await;
    let deaf = rig.board.counters.deaf_ms.get();
    assert!((5000..7000).contains(&deaf), "{deaf} ms");
    assert_eq!(rig.board.status().deaf_since, None);

    let paused =
        Setup { deaf_for: Some(Duration::from_secs(5)), desired: Desired::Paused, ..Setup::default() };
    let rig = Rig::start(paused).await;
    rig.wait("paused").await;
    assert_eq!(rig.board.counters.deaf_ms.get(), 0, "nobody wants it to hear");
}
