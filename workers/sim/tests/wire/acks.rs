//! Envelopes, acks, deadlines and retries.

use std::time::Duration;

use futures::SinkExt;
use serde_json::{Value, json};
use taut_sim::{AckOutcome, EnvelopeType, Missed, Push, Sample, Shape, Switches, Unanswered};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::client::Socket;
use crate::{LONG, fast, sim_with};

fn unacked(reason: Unanswered, attempts: u8) -> AckOutcome {
    AckOutcome::Unacked { reason, attempts }
}

#[tokio::test]
async fn every_sample_is_delivered_and_its_ack_read_back() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    for sample in Sample::ALL {
        let pushed = app.push(sample);
        let envelope = socket.json().await;
        assert_eq!(envelope["envelope_id"], pushed.envelope_id.to_string());
        assert_eq!(envelope["type"], sample.envelope_type().as_str());
        if let Some(app_id) = envelope["payload"].get("api_app_id") {
            assert_eq!(app_id, "A0TESTAPP01");
        }
        let accepts = envelope["accepts_response_payload"].as_bool().unwrap();
        if accepts {
            socket.ack_with(&envelope, json!({ "text": "é" })).await;
        } else {
            socket.ack(&envelope).await;
        }
        let AckOutcome::Acked { payload, retry_attempt: 0, .. } = pushed.wait_ack(LONG).await else {
            panic!("{sample} is acked");
        };
        let payload: Option<Value> = payload.map(|raw| serde_json::from_slice(&raw).unwrap());
        assert_eq!(payload, accepts.then(|| json!({ "text": "é" })), "{sample}");
    }
    let totals = app.totals();
    assert_eq!((totals.produced, totals.acked, totals.open()), (28, 28, 0));
    assert_eq!(totals.unwanted_payloads, 0);
}

#[tokio::test]
async fn response_urls_lead_to_the_simulator() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    app.push(Sample::SlashCommand);
    let url = socket.json().await["payload"]["response_url"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("{}/response/commands/", sim.url())), "{url}");
    crate::client::post(&url, None, r#"{"text":"late"}"#).await;
    let noted = |note: &taut_sim::Note| matches!(&note.kind, taut_sim::NoteKind::Response { body, .. } if body.contains("late"));
    assert!(sim.journal().notes(Some(app.id())).iter().any(noted));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(crate::client::post(&url, None, r#"{"text":"again"}"#).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 404], "five uses in all");
}

#[tokio::test]
async fn an_unacked_event_comes_three_more_times_under_new_envelope_ids() {
    let (sim, app) = sim_with(fast()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    let pushed = app.push(Sample::Message);
    let mut ids = std::collections::HashSet::new();
    let mut event_ids = std::collections::HashSet::new();
    for attempt in 0..4 {
        let envelope = socket.json().await;
        assert_eq!(envelope["retry_attempt"], attempt);
        assert_eq!(envelope["retry_reason"], if attempt == 0 { "" } else { "timeout" });
        ids.insert(envelope["envelope_id"].to_string());
        event_ids.insert(envelope["payload"]["event_id"].to_string());
    }
    assert_eq!((ids.len(), event_ids.len()), (4, 1));
    assert_eq!(pushed.wait_ack(LONG).await, unacked(Unanswered::GivenUp, 4));
    let totals = app.totals();
    assert_eq!((totals.produced, totals.sent, totals.retries, totals.events_lost), (1, 4, 3, 1));
}

#[tokio::test]
async fn a_retry_may_be_acked_and_may_keep_its_envelope_id() {
    let (sim, app) = sim_with(Switches { retry_with_new_envelope_id: false, ..fast() }).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    let pushed = app.push(Sample::Message);
    let first = socket.json().await;
    let second = socket.json().await;
    assert_eq!(first["envelope_id"], second["envelope_id"]);
    socket.ack(&second).await;
    let outcome = pushed.wait_ack(LONG).await;
    assert!(matches!(outcome, AckOutcome::Acked { retry_attempt: 1, .. }), "{outcome:?}");
}

#[tokio::test]
async fn requests_are_never_retried() {
    let (sim, app) = sim_with(fast()).await;
    assert_eq!(app.push(Sample::BlockActions).wait_ack(LONG).await, unacked(Unanswered::DispatchFailed, 1));
    let (mut socket, _) = Socket::connect(&sim).await;
    let pushed = app.push(Sample::SlashCommand);
    socket.json().await;
    assert_eq!(pushed.wait_ack(LONG).await, unacked(Unanswered::OperationTimeout, 1));
    assert!(socket.is_quiet_for(Duration::from_millis(50)).await);
    let totals = app.totals();
    assert_eq!((totals.dispatch_failed, totals.operation_timeout, totals.retries), (1, 1, 0));
}

#[tokio::test]
async fn an_event_without_a_socket_is_first_seen_as_a_retry() {
    let (sim, app) = sim_with(Switches { speed: 2.0, ..fast() }).await;
    let pushed = app.push(Sample::Message);
    let (mut socket, _) = Socket::connect(&sim).await;
    let envelope = socket.json().await;
    assert_eq!(envelope["retry_attempt"], 1);
    socket.ack(&envelope).await;
    assert!(matches!(pushed.wait_ack(LONG).await, AckOutcome::Acked { retry_attempt: 1, .. }));
    assert!(matches!(sim.journal().envelopes(None)[0].end, taut_sim::End::Missed(Missed::NoSocket)));

    let (_sim, app) = sim_with(Switches { retry_without_socket: false, ..fast() }).await;
    assert_eq!(app.push(Sample::Message).wait_ack(LONG).await, unacked(Unanswered::GivenUp, 1));
}

#[tokio::test]
async fn an_ack_of_20480_bytes_is_discarded_and_one_below_counts() {
    let (sim, app) = sim_with(fast()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    // The frame's header takes 8 bytes: 2, 2 of length, 4 of mask.
    for (frame_bytes, counts) in [(20_479, true), (20_480, false)] {
        let pushed = app.push(Sample::SlashCommand);
        let envelope = socket.json().await;
        let around =
            json!({ "envelope_id": envelope["envelope_id"], "payload": { "text": "" } }).to_string().len()
                + 8;
        socket.ack_with(&envelope, json!({ "text": "x".repeat(frame_bytes - around) })).await;
        assert_eq!(matches!(pushed.wait_ack(LONG).await, AckOutcome::Acked { .. }), counts, "{frame_bytes}");
    }
    assert_eq!(app.totals().acks_oversize, 1);
}

async fn ack_in_two_fragments(socket: &mut Socket, envelope: &Value) {
    let text = json!({ "envelope_id": envelope["envelope_id"] }).to_string();
    let (head, tail) = text.split_at(10);
    let frames = [(head, Data::Text, false), (tail, Data::Continue, true)];
    for (piece, data, is_final) in frames {
        let frame = Frame::message(piece.as_bytes().to_vec(), OpCode::Data(data), is_final);
        socket.stream.send(Message::Frame(frame)).await.unwrap();
    }
}

#[tokio::test]
async fn a_fragmented_ack_is_discarded_unless_switched_on() {
    for accept in [false, true] {
        let (sim, app) = sim_with(Switches { accept_fragmented_acks: accept, ..fast() }).await;
        let (mut socket, _) = Socket::connect(&sim).await;
        let pushed = app.push(Sample::SlashCommand);
        let envelope = socket.json().await;
        ack_in_two_fragments(&mut socket, &envelope).await;
        assert_eq!(matches!(pushed.wait_ack(LONG).await, AckOutcome::Acked { .. }), accept);
        assert_eq!(app.totals().acks_fragmented, u64::from(!accept));
    }
}

#[tokio::test]
async fn an_ack_on_another_socket_counts_or_not_by_its_switch() {
    for accept in [false, true] {
        let (sim, app) = sim_with(Switches { accept_ack_on_other_socket: accept, ..fast() }).await;
        let (mut one, _) = Socket::connect(&sim).await;
        let pushed = app.push(Sample::SlashCommand);
        let envelope = one.json().await;
        let (mut other, _) = Socket::connect(&sim).await;
        other.ack(&envelope).await;
        assert_eq!(matches!(pushed.wait_ack(LONG).await, AckOutcome::Acked { .. }), accept);
        assert_eq!(app.totals().acks_on_other_socket, u64::from(!accept));
    }
}

#[tokio::test]
async fn a_payload_nobody_asked_for_is_recorded_and_judged_by_its_switch() {
    for accept in [false, true] {
        let (sim, app) = sim_with(Switches { accept_unwanted_payload: accept, ..fast() }).await;
        let (mut socket, _) = Socket::connect(&sim).await;
        let pushed = app.push(Sample::Shortcut);
        let envelope = socket.json().await;
        socket.ack_with(&envelope, json!({})).await;
        assert_eq!(matches!(pushed.wait_ack(LONG).await, AckOutcome::Acked { .. }), accept);
        assert_eq!(app.totals().unwanted_payloads, 1);
    }
    let (sim, app) = sim_with(Switches { shortcuts_accept_payload: true, ..fast() }).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    app.push(Sample::Shortcut);
    assert_eq!(socket.json().await["accepts_response_payload"], true);
}

#[tokio::test]
async fn odd_acks_are_told_apart() {
    let (sim, app) = sim_with(fast()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    let pushed = app.push(Sample::SlashCommand);
    let envelope = socket.json().await;
    socket.ack(&envelope).await;
    socket.ack(&envelope).await;
    pushed.wait_ack(LONG).await;
    let late = app.push(Sample::SlashCommand);
    let envelope = socket.json().await;
    assert_eq!(late.wait_ack(LONG).await, unacked(Unanswered::OperationTimeout, 1));
    socket.ack(&envelope).await;
    socket.send(r#"{"envelope_id":"00000000-0000-4000-8000-000000000000"}"#).await;
    for nonsense in ["null", "{}", "not json", r#"{"payload":{}}"#] {
        socket.send(nonsense).await;
    }
    assert!(app.wait_until(LONG, |app| app.totals().acks_unreadable == 4).await);
    let totals = app.totals();
    assert_eq!((totals.acks_duplicate, totals.acks_late, totals.acks_unknown), (1, 1, 1));
}

#[tokio::test]
async fn each_envelope_goes_to_exactly_one_socket_and_all_sockets_get_some() {
    let (sim, app) = sim_with(Switches::default()).await;
    let mut sockets = Vec::new();
    for number in 1..=3 {
        let (socket, hello) = Socket::connect(&sim).await;
        assert_eq!(hello["num_connections"], number);
        sockets.push(socket);
    }
    for _ in 0..60 {
        app.push(Sample::Message);
    }
    let mut seen = [0; 3];
    let sent = app.connections();
    for ((socket, seen), info) in sockets.iter_mut().zip(&mut seen).zip(&sent) {
        while *seen < info.sent {
            socket.json().await;
            *seen += 1;
        }
        assert!(socket.is_quiet_for(Duration::from_millis(20)).await, "no more than were sent to it");
    }
    let total: u64 = seen.iter().sum();
    assert_eq!(total, 60);
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

#[tokio::test]
async fn a_payload_of_ones_own_travels_byte_for_byte() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    let payload = r#"{ "type":"event_callback",  "event_id":"Ev7","n":1e999, "s":"\ud800\/é" }"#;
    let pushed = app.push(Push::raw(payload));
    assert_eq!(&*pushed.dedup_id, "Ev7");
    let Some(Message::Text(text)) = socket.next().await else { panic!("an envelope") };
    assert!(text.contains(payload), "{text}");

    let odd = Push::raw("7")
        .typed(EnvelopeType::from_name("novelty"))
        .accepting_payload(true)
        .shaped(Shape::Fragments(3));
    app.push(odd);
    let envelope = socket.json().await;
    assert_eq!((&envelope["type"], &envelope["payload"]), (&json!("novelty"), &json!(7)));
    assert_eq!(envelope["accepts_response_payload"], true);
}

#[tokio::test]
async fn first_attempts_may_leave_the_retry_words_out() {
    let (sim, app) = sim_with(Switches { spell_out_first_attempt: false, ..Switches::default() }).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    app.push(Sample::Message);
    assert!(socket.json().await.get("retry_attempt").is_none());
}

#[tokio::test]
async fn one_envelope_id_may_be_delivered_twice() {
    let (sim, app) = sim_with(Switches::default()).await;
    let (mut socket, _) = Socket::connect(&sim).await;
    let first = app.push(Sample::Message);
    let once = socket.json().await;
    let again = Push::raw(once["payload"].to_string()).with_envelope_id(first.envelope_id);
    let second = app.push(again);
    let twice = socket.json().await;
    assert_eq!((&once["envelope_id"], &once["payload"]), (&twice["envelope_id"], &twice["payload"]));
    assert_eq!(first.wait_ack(LONG).await, unacked(Unanswered::Superseded, 1));
    socket.ack(&twice).await;
    assert!(matches!(second.wait_ack(LONG).await, AckOutcome::Acked { .. }));
    let totals = app.totals();
    assert_eq!((totals.produced, totals.acked, totals.superseded, totals.open()), (2, 1, 1, 0));
}

#[tokio::test]
async fn envelopes_may_come_before_hello_when_switched() {
    let (sim, app) = sim_with(Switches { deliver_before_hello: true, ..Switches::default() }).await;
    app.hold_hello();
    let mut socket = Socket::dial(&crate::client::socket_url(&sim).await).await.unwrap();
    let pushed = app.push(Sample::Message);
    let envelope = socket.json().await;
    assert_eq!(envelope["type"], "events_api");
    socket.ack(&envelope).await;
    assert!(matches!(pushed.wait_ack(LONG).await, AckOutcome::Acked { .. }));
    app.release_hello();
    assert_eq!(socket.json().await["type"], "hello");
}

#[tokio::test]
async fn failing_nearly_everything_for_long_is_noted_once() {
    let (sim, app) = sim_with(Switches { retry_without_socket: false, ..Switches::default() }).await;
    for _ in 0..1_500 {
        app.push(Sample::Message);
    }
    let noted = |note: &&taut_sim::Note| {
        matches!(
            note.kind,
            taut_sim::NoteKind::SubscriptionsWouldBeDisabled { attempts: 1_000, failed: 1_000 }
        )
    };
    assert_eq!(sim.journal().notes(Some(app.id())).iter().filter(noted).count(), 1);
}
