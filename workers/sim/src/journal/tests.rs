use super::*;
use crate::envelope::EnvelopeType;

fn journal(envelopes_max: usize) -> Journal {
    Journal::new(Epoch::start(), envelopes_max, 2)
}

fn sent(id: u128, dedup_id: &str, retry_attempt: u8) -> SentEnvelope {
    SentEnvelope {
        app: "A1".into(),
        envelope_id: Uuid::from_u128(id),
        dedup_id: dedup_id.into(),
        envelope_type: EnvelopeType::EventsApi,
        name: "message",
        accepts_response_payload: false,
        retry_attempt,
        connection: Some(1),
        at: Duration::ZERO,
        end: End::Waiting,
    }
}

fn ack(payload: Option<&'static [u8]>) -> Ack {
    Ack {
        after: Duration::from_millis(2),
        connection: 1,
        frame_bytes: 60,
        payload: payload.map(Bytes::from_static),
        on_other_socket: false,
        unwanted_payload: false,
    }
}

use bytes::Bytes;

#[test]
fn totals_stay_exact_when_the_rings_are_full() {
    let journal = journal(3);
    let app: Arc<str> = "A1".into();
    for id in 0..10 {
        journal.attempt(sent(id, &format!("Ev{id}"), 0));
        journal.acked(&app, Uuid::from_u128(id), ack(None));
        journal.note(Some(&app), NoteKind::Connected { connection: 1 });
    }
    assert_eq!(journal.envelopes(None).len(), 3);
    assert_eq!(journal.dropped(), (7, 8));
    let totals = journal.totals(Some("A1"));
    assert_eq!((totals.produced, totals.acked, totals.open()), (10, 10, 0));
    assert!(journal.envelope(Uuid::from_u128(0)).is_none());
    assert!(journal.envelope(Uuid::from_u128(9)).is_some());
}

#[test]
fn an_event_acked_on_a_retry_counts_as_acked_once() {
    let journal = journal(10);
    let app: Arc<str> = "A1".into();
    journal.attempt(sent(1, "Ev1", 0));
    journal.missed(Uuid::from_u128(1), Missed::Deadline);
    journal.attempt(sent(2, "Ev1", 1));
    journal.attempt(sent(3, "Ev2", 0));
    journal.acked(&app, Uuid::from_u128(2), ack(None));
    assert_eq!(journal.acked_ids(Some("A1")), ["Ev1".into()]);
    assert_eq!(journal.unacked_ids(None), ["Ev2".into()]);
}

#[test]
fn stray_acks_are_told_apart() {
    let journal = journal(10);
    let app: Arc<str> = "A1".into();
    journal.attempt(sent(1, "Ev1", 0));
    journal.acked(&app, Uuid::from_u128(1), ack(None));
    journal.attempt(sent(2, "Ev2", 0));
    journal.missed(Uuid::from_u128(2), Missed::Deadline);
    for id in 1..=3 {
        journal.flawed_ack(&app, Some(Uuid::from_u128(id)), None, 60);
    }
    let totals = journal.totals(None);
    assert_eq!((totals.acks_duplicate, totals.acks_late, totals.acks_unknown), (1, 1, 1));
}

#[test]
fn the_dump_is_one_json_document_a_line() {
    let journal = journal(10);
    let app: Arc<str> = "A1".into();
    journal.attempt(sent(1, "Ev1", 0));
    journal.acked(&app, Uuid::from_u128(1), ack(Some(br#"{"text":"hi"}"#)));
    journal.note(None, NoteKind::Call { method: "auth.test".into(), body: String::new() });
    let mut out = Vec::new();
    journal.dump(&mut out).unwrap();
    let lines: Vec<serde_json::Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1]["end"]["acked"]["payload"]["text"], "hi");
    assert_eq!(lines[2]["note"], "call");
}
