//! `taut store check|backup|restore` on a worker under load, and on what it left behind.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use taut_sim::{Load, Outage, Sample};

use crate::support::tools::{reckon, taut};
use crate::support::{SOON, Site, echo};

const EAGER: &str = "[delivery]\nretry_first = \"50ms\"\nretry_max = \"500ms\"\nattempts_max = 1000\n";

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acked_before_a_backup_under_load_is_delivered_by_the_restored_store() {
    let mut site = Site::new(&format!("{EAGER}[queue]\nenvelopes_max = 300\n")).await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.outage(Outage::Status(503));
    let load = site.sim.load(Load { rate: 800.0, in_flight_max: 100, ..Load::default() });
    assert!(app.wait_until(SOON, |app| app.totals().acked >= 600).await, "the queue overflows by now");

    let acked = app.totals().acked;
    let backup = site.dir.path().join("backup");
    let made = site.taut(&["store", "backup", "--to", text(&backup)]).await.ok();
    assert!(made.contains("ok: nothing is damaged") && made.contains("as they were written"), "{made}");
    let checked = site.taut(&["store", "check"]).await.ok();
    assert!(checked.contains("ok: nothing is damaged"), "{checked}");
    load.stop().await;

    // The host is gone, with everything that came after the backup.
    site.worker.kill().await.expect("it runs");
    let store = site.dir.path().join("store");
    std::fs::remove_dir_all(&store).expect("it is there");
    let restored = site.taut(&["store", "restore", "--from", text(&backup)]).await.ok();
    assert!(restored.contains("Idempotency-Key"), "{restored}");
    for (name, wanted) in [("", 0o700), ("segments", 0o700), ("taut.redb", 0o600)] {
        assert_eq!(mode(&store.join(name)), wanted, "store/{name}");
        assert_eq!(mode(&backup.join(name)), wanted, "backup/{name}");
    }
    handler.outage(Outage::None);
    site.start().await;
    site.until_tenant("acme", "the backlog is dry", |tenant| tenant.backlog_envelopes == 0).await;
    let mut left = site.tenant("acme").await.dead_letters;
    assert!(left > 0, "the oldest left for the dead letters");
    while left > 0 {
        site.taut(&["deadletter", "replay", "acme", "--all"]).await.ok();
        left = site.tenant("acme").await.dead_letters;
    }
    site.until_tenant("acme", "the replayed are delivered", |tenant| tenant.backlog_envelopes == 0).await;
    let reckoning = reckon(&site.sim, &app, &handler);
    let found = reckoning.acked - reckoning.lost.len();
    assert!(found as u64 >= acked, "{found} of {acked} acked before the backup");
    let again = site.taut(&["store", "restore", "--from", text(&backup)]).await;
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("not empty"), "{}", again.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_whose_envelope_is_damaged_and_exits_with_1() {
    let mut site = Site::new(EAGER).await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.outage(Outage::Status(503));
    for _ in 0..20 {
        app.push(Sample::Message);
    }
    assert!(app.wait_until(SOON, |app| app.totals().acked >= 20).await);
    let locked = site.taut(&["store", "check", "--offline"]).await;
    assert_eq!(locked.code, 1, "{locked:?}");
    assert!(locked.stderr.contains("in use by another process"), "{}", locked.stderr);
    let (whole, _) = site.worker.terminate().await.expect("it stops");
    assert!(whole);

    let away = site.taut(&["store", "check"]).await;
    assert_eq!(away.code, 1, "{away:?}");
    assert!(away.stderr.contains("--offline"), "it says what else there is: {}", away.stderr);
    site.taut(&["store", "check", "--offline"]).await.ok();

    let segments = site.dir.path().join("store/segments");
    let first =
        std::fs::read_dir(&segments).expect("there").next().expect("a segment").expect("an entry").path();
    let mut bytes = std::fs::read(&first).expect("it is readable");
    let at = memchr::memmem::find(&bytes, b"\"envelope_id\"").expect("a frame");
    bytes[at + 2] ^= 1;
    std::fs::write(&first, bytes).expect("it is written");
    let store = site.dir.path().join("store");
    let damaged = taut(&["store", "check", "--state-dir", text(&store)]).await;
    assert_eq!(damaged.code, 1, "{damaged:?}");
    assert!(damaged.stdout.contains("tenant acme, number 1"), "{}", damaged.stdout);
    let json = taut(&["store", "check", "--state-dir", text(&store), "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&json.stdout).expect("a document");
    assert_eq!(report["damaged"][0]["tenant"], "acme");

    let backup = site.dir.path().join("backup");
    let made = site.taut(&["store", "backup", "--offline", "--to", text(&backup)]).await;
    assert_eq!(made.code, 1, "{made:?}");
    assert!(backup.join("backup.json").exists(), "the rest is worth keeping");
}
