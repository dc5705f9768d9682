//! Row 70: a store that version 0.1.0 wrote, found by this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use taut_core::log::{
    Append, AttemptNote, DeadLetter, DeadLetters as _, DeadReason, Log as _, NewEntry, Registry as _,
    TenantFacts,
};
use taut_core::order::OrderKeys;
use taut_core::{AppId, Envelope, Kind, RouteBits, RouteName, Seq, TenantId, WallMs};
use taut_net::clock::BootClock;
use taut_sim::AppSpec;
use taut_store::{DiskOptions, DiskStore};

use crate::brisk;
use crate::support::{SOON, Site, echo};

/// Envelopes in the backlog of the kept store.
const STORED: usize = 3;
/// Far enough ahead for no retention to remove what died then.
const FAR_AHEAD: WallMs = WallMs(4_102_444_800_000);
const SEGMENT_BYTES: u64 = 16 << 10;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store-0.1.0")
}

fn frame(number: usize) -> Bytes {
    let app = AppSpec::numbered(1).app_id;
    Bytes::from(format!(
        r#"{{"envelope_id":"00000000-0000-4000-8000-{number:012}","type":"events_api","accepts_response_payload":false,"payload":{{"type":"event_callback","api_app_id":"{app}","event_id":"Ev0KEPT{number}","event":{{"type":"message","channel":"C{number}","text":"Grüße"}}}}}}"#
    ))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let (path, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("a copy");
        }
    }
}

/// Writes the kept store anew. Only for a new major format: what old versions wrote must stay readable.
#[tokio::test]
#[ignore = "writes tests/golden/store-0.1.0"]
async fn write_the_kept_store() {
    let path = kept();
    fs::create_dir_all(&path).expect("a directory");
    let options = DiskOptions { segment_bytes: SEGMENT_BYTES, ..DiskOptions::new(&path) };
    let (store, _) = DiskStore::open(&options, Arc::new(BootClock)).expect("a fresh store");
    let tenant = TenantId::new("acme").expect("an id");
    let route = RouteName::new("bot").expect("a name");
    let numbers = store.route_numbers(&tenant, std::slice::from_ref(&route)).expect("numbers");
    let received_at = WallMs(1_700_000_000_000);
    for number in 0..STORED {
        let frame = frame(number);
        let envelope = Envelope::from_frame(&frame).expect("an envelope");
        let entry = NewEntry {
            tenant: tenant.clone(),
            epoch: store.epoch(),
            dedup: Some(envelope.dedup()),
            order: OrderKeys::of(&envelope.facts()),
            kind: envelope.kind,
            frame,
            routes: RouteBits::one(numbers.current[0]),
            answering: RouteBits::NONE,
            received_at,
        };
        assert!(matches!(store.append(vec![entry]).await[..], [Append::Stored(_)]));
    }
    let letter = DeadLetter {
        tenant: tenant.clone(),
        seq: Seq(99),
        route,
        kind: Kind::EventsApi,
        reason: DeadReason::Poison,
        received_at,
        died_at: FAR_AHEAD,
        attempts: vec![AttemptNote { at: received_at, what: "status 400".into() }],
        bytes: u32::try_from(frame(99).len()).expect("a small frame"),
    };
    store.put(vec![(letter, frame(99))]).expect("kept");
    let app_id = AppId::new(&AppSpec::numbered(1).app_id).ok();
    let facts = TenantFacts { app_id, last_frame_at: None, wanted: true, ..TenantFacts::default() };
    store.save_facts(&[(tenant, facts)]).expect("saved");
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn f70_a_store_of_version_0_1_0_is_delivered_by_this_one() {
    let mut site = Site::with_switches("", brisk()).await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    copy(&kept(), &site.dir.path().join("store"));
    site.start_connected(&[&app]).await;
    assert!(
        handler.wait_until(SOON, |totals| totals.keys == STORED as u64).await,
        "{}",
        site.worker.log_tail()
    );
    let first = handler.requests().into_iter().find(|request| &*request.key == "Ev0KEPT0").expect("it came");
    assert!(
        String::from_utf8_lossy(&first.body).contains("Gr\\u00fc\\u00dfe"),
        "byte for byte in Slack's shape"
    );
    let report = site.status().await;
    assert_eq!(report.store.damaged_ranges, 0, "{report:?}");
    let letters = site.taut(&["deadletter", "list"]).await.ok();
    assert!(letters.contains("poison") && letters.contains("bot"), "{letters}");
    site.taut(&["deadletter", "replay", "acme", "--all"]).await.ok();
    assert!(
        handler.wait_until(SOON, |totals| totals.keys == STORED as u64 + 1).await,
        "{}",
        site.worker.log_tail()
    );
}
