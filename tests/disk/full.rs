//! A disk that is really full: a small tmpfs under the store.

use std::path::{Path, PathBuf};
use std::process::Command;

use taut_sim::{Load, Outage};

use crate::failing::{EAGER, patient};
use crate::support::tools::reckon;
use crate::support::{SOON, Site, echo};

/// A small filesystem in memory, unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts it; `None`, said aloud, where that is not permitted.
    fn mount(path: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).expect("a directory");
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(path.to_owned()));
        }
        eprintln!("SKIPPED: a tmpfs cannot be mounted here; that needs root");
        None
    }

    /// A file that takes all room there is.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).expect("a file");
        let full = std::io::copy(&mut std::io::repeat(1), &mut file).expect_err("it ends somewhere");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f53_a_full_disk_acks_nothing_beyond_what_is_durable_and_heals_without_a_hand() {
    let mut site = Site::with_switches(EAGER, patient()).await;
    let Some(tmpfs) = Tmpfs::mount(&site.dir.path().join("store"), "8m") else { return };
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    handler.outage(Outage::Status(503));
    let load = site.sim.load(Load { rate: 2_000.0, in_flight_max: 200, ..Load::default() });
    assert!(app.wait_until(SOON, |app| app.totals().acked >= 100).await, "{:?}", app.totals());

    let filler = tmpfs.fill();
    let failing = site.until_status("the store cannot write", |status| !status.store.writable).await;
    assert!(failing.store.errors > 0);
    let (status, why) = site.get("/readyz").await;
    assert!(status == 503 && why.contains("the store cannot write"), "{status} {why}");
    assert!(site.metric("taut_store_errors_total{op=\"append\"}").await >= 1.0);
    let refused = "taut_envelopes_refused_total{tenant=\"acme\",reason=\"store_unavailable\"}";
    let before = site.metric(refused).await;
    let acked = app.totals().acked;
    while site.metric(refused).await < before + 50.0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(app.totals().acked, acked, "nothing is acked meanwhile");

    std::fs::remove_file(filler).expect("it was there");
    site.until_status("the store writes again", |status| status.store.writable).await;
    load.stop().await;
    assert!(app.wait_until(SOON, |app| app.totals().acked > acked).await, "Slack's retries are acked");
    site.worker.kill().await.expect("it runs");
    handler.outage(Outage::None);
    site.start().await;
    assert!(app.wait_settled(SOON).await, "{:?}", app.totals());
    site.until_tenant("acme", "the backlog is dry", |tenant| tenant.backlog_envelopes == 0).await;
    let reckoning = reckon(&site.sim, &app, &handler);
    assert_eq!(reckoning.lost, vec![], "of {} acked", reckoning.acked);
    let (whole, _) = site.worker.terminate().await.expect("it stops");
    assert!(whole, "{}", site.worker.log_tail());
    site.taut(&["store", "check", "--offline"]).await.ok();
}
