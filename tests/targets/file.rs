//! `file`: lines that are there when they are said to be.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use taut_sim::{End, EnvelopeType, Load, Sample};

use crate::Stand;
use crate::support::{SOON, until};

const ROUTE: &str = "[[tenants.routes]]\nname = \"audit\"\nmatch = { kinds = [\"events_api\"] }\n\
                     target = { file = \"DIR/acme.ndjson\" }\n";

/// The event ids in a file's whole lines; a line that is torn counts for none.
fn events(text: &str) -> Vec<String> {
    let event = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        assert_eq!((line["tenant"].as_str(), line["kind"].as_str()), (Some("acme"), Some("events_api")));
        let key = line["idempotency_key"].as_str()?.strip_prefix("acme:")?.to_owned();
        assert_eq!(line["payload"]["event_id"].as_str(), Some(key.as_str()));
        Some(key)
    };
    text.lines().filter_map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_a_line_through_rotation_and_restart() {
    let mut stand = Stand::new("", ROUTE).await;
    stand.start().await;
    for _ in 0..30 {
        stand.app.push(Sample::Message);
    }
    stand.until_dry().await;
    until("30 lines", || stand.lines("acme.ndjson").len() == 30).await;
    fs::rename(stand.path("acme.ndjson"), stand.path("acme.1")).expect("rotated");
    for _ in 0..10 {
        stand.app.push(Sample::Message);
    }
    until("10 more, in a fresh file", || stand.lines("acme.ndjson").len() == 10).await;
    stand.until_dry().await;
    stand.site.worker.terminate().await.expect("it stops");
    // As a crash in the middle of a line leaves it.
    let mut torn = stand.text("acme.ndjson");
    torn.push_str("{\"tenant\":\"ac");
    fs::write(stand.path("acme.ndjson"), torn).expect("a torn file");
    stand.start().await;
    stand.acked(Sample::Message).await;
    stand.until_dry().await;
    let (before, after) = (events(&stand.text("acme.1")), events(&stand.text("acme.ndjson")));
    assert_eq!((before.len(), after.len(), stand.lines("acme.ndjson").len()), (30, 11, 12));
    let all: BTreeSet<_> = before.iter().chain(&after).collect();
    assert_eq!(all.len(), 41, "each once");
    let line = stand.lines("acme.ndjson").pop().expect("a line");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert!(line["received_at"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{line}");
    assert_eq!(line["route"], "audit");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acked_is_in_the_file_after_kill_9_under_load() {
    let mut stand = Stand::new("", &format!("{ROUTE}concurrency = 32\norder = \"none\"\n")).await;
    stand.start().await;
    let load = stand.app.load(Load { rate: 300.0, in_flight_max: 50, ..Load::default() });
    for _ in 0..3 {
        let before = stand.app.totals().acked;
        assert!(stand.app.wait_until(SOON, |app| app.totals().acked >= before + 50).await);
        stand.site.worker.kill().await.expect("it runs");
        stand.start().await;
    }
    load.stop().await;
    assert!(stand.app.wait_settled(SOON).await, "{:?}", stand.app.totals());
    stand.until_dry().await;
    let written: BTreeSet<_> = events(&stand.text("acme.ndjson")).into_iter().collect();
    let sent = stand.site.sim.journal().envelopes(Some(stand.app.id()));
    let acked = sent
        .iter()
        .filter(|sent| sent.envelope_type == EnvelopeType::EventsApi && matches!(sent.end, End::Acked(_)));
    let lost: Vec<_> = acked.filter(|sent| !written.contains(&*sent.dedup_id)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_everything_until_there_is_room() {
    let mut stand = Stand::new("", &ROUTE.replace("DIR/", "DIR/small/")).await;
    let small = stand.path("small");
    fs::create_dir(&small).expect("a directory");
    let mounted = Mount::tmpfs(&small, "64k");
    let Some(mount) = mounted else { return println!("skipped: a tmpfs cannot be mounted here") };
    stand.start().await;
    for _ in 0..120 {
        stand.app.push(Sample::Message);
    }
    let broken = |tenant: &taut::seeing::status::TenantStatus| {
        tenant.routes_down.iter().any(|(_, why)| why == "breaker_open")
    };
    stand.site.until_tenant("acme", "the disk is full", broken).await;
    assert!(stand.site.read("worker.log").contains("No space left"), "{}", stand.site.worker.log_tail());
    assert!(stand.app.wait_settled(SOON).await, "all are acked: they are stored");
    mount.resize("4m");
    stand.until_dry().await;
    let text = stand.text("small/acme.ndjson");
    let all: BTreeSet<_> = events(&text).into_iter().collect();
    assert_eq!((all.len(), text.lines().count()), (120, 120), "each once, and nothing torn");
    assert_eq!(stand.site.tenant("acme").await.dead_letters, 0);
    stand.site.worker.terminate().await.expect("it stops");
}

/// A small file system, unmounted when dropped.
struct Mount(std::path::PathBuf);

impl Mount {
    fn tmpfs(at: &std::path::Path, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"]).arg(at);
        mount.output().is_ok_and(|done| done.status.success()).then(|| Self(at.to_owned()))
    }

    fn resize(&self, size: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "it grows");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "it is unmounted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_hands_the_file_over() {
    let mut stand = Stand::new("attempts_max = 8\n", ROUTE).await;
    stand.start().await;
    let config = stand.site.read("taut.toml");
    let load = stand.app.load(Load { rate: 200.0, ..Load::default() });
    for round in 1..=4 {
        let enough = round * 40;
        assert!(stand.app.wait_until(SOON, |app| app.totals().acked > enough).await);
        let changed = config.replace("attempts_max = 8", &format!("attempts_max = {}", 8 + round));
        stand.site.write_secret("taut.toml", &changed);
        stand.site.taut(&["reload"]).await.ok();
    }
    load.stop().await;
    stand.until_dry().await;
    let lines = events(&stand.text("acme.ndjson"));
    let once: BTreeSet<_> = lines.iter().collect();
    assert!(lines.len() > 160 && once.len() == lines.len(), "{} lines, {} events", lines.len(), once.len());
    assert!(stand.attempts("target_fault").await < 1.0, "nobody found the file taken");
}
