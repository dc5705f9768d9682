//! Failed syncs and writes under the real binary: nothing is acked that is not durable, and what passes heals.

use std::time::Duration;

use taut_sim::{AppHandle, EchoHandler, Load, Outage, Switches};

use crate::shim::{EIO, ENOSPC, FOREVER, Order, Shim};
use crate::support::tools::reckon;
use crate::support::{SOON, Site, echo, until};

pub const EAGER: &str = "[delivery]\nretry_first = \"50ms\"\nretry_max = \"500ms\"\nattempts_max = 1000\n";

const APPEND_ERRORS: &str = "taut_store_errors_total{op=\"append\"}";

/// Slack's times shortened; its last retry comes late enough for a disk to heal.
pub fn patient() -> Switches {
    Switches {
        ack_deadline: Duration::from_secs(1),
        retry_waits: [50, 1_000, 4_000].map(Duration::from_millis),
        opens_burst: 1_000,
        speed: 1.0,
        ..Switches::default()
    }
}

/// A worker with the shim, a tenant whose handler is away, and a load.
struct Stand {
    site: Site,
    shim: Shim,
    handler: EchoHandler,
    app: AppHandle,
}

impl Stand {
    async fn new() -> Option<Self> {
        let mut site = Site::with_switches(EAGER, patient()).await;
        let shim = Shim::build(site.dir.path())?;
        for (key, value) in shim.variables() {
            site.worker.variable(key, &value);
        }
        let handler = echo("acme").await;
        let app = site.add_simple(1, "acme", &handler.url());
        site.start_connected(&[&app]).await;
        handler.outage(Outage::Status(503));
        Some(Self { site, shim, handler, app })
    }

    async fn acked(&self, more: u64) {
        let wanted = self.app.totals().acked + more;
        let reached = self.app.wait_until(SOON, |app| app.totals().acked >= wanted).await;
        assert!(reached, "never acked {wanted}: {:?}\n{}", self.app.totals(), self.site.worker.log_tail());
    }

    /// Everything acked is in the store after the worst end: delivered by the next process.
    async fn reconciled_after_kill(mut self) {
        self.site.worker.kill().await.expect("it ran");
        self.handler.outage(Outage::None);
        self.site.start().await;
        assert!(self.app.wait_settled(SOON).await, "{:?}", self.app.totals());
        self.site.until_tenant("acme", "the backlog is dry", |tenant| tenant.backlog_envelopes == 0).await;
        let reckoning = reckon(&self.site.sim, &self.app, &self.handler);
        assert_eq!(reckoning.lost, vec![], "of {} acked", reckoning.acked);
        let (whole, _) = self.site.worker.terminate().await.expect("it stops");
        assert!(whole);
        self.site.taut(&["store", "check", "--offline"]).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f54_a_sync_that_fails_once_acks_nothing_and_the_log_heals() {
    let Some(stand) = Stand::new().await else { return };
    let load = stand.site.sim.load(Load { rate: 300.0, in_flight_max: 50, ..Load::default() });
    stand.acked(50).await;
    stand.shim.order(Order::Errno(EIO));
    for round in 1..=2 {
        stand.shim.order(Order::FailSyncs(1));
        until("the sync failed", || stand.shim.hits().0 == round).await;
        stand.acked(50).await;
    }
    assert!(stand.site.metric(APPEND_ERRORS).await >= 2.0);
    load.stop().await;
    stand.reconciled_after_kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f54_after_three_failures_in_a_row_the_worker_exits_with_1_and_the_next_one_goes_on() {
    let Some(mut stand) = Stand::new().await else { return };
    let load = stand.site.sim.load(Load { rate: 300.0, in_flight_max: 50, ..Load::default() });
    stand.acked(50).await;
    stand.shim.order(Order::Errno(EIO));
    stand.shim.order(Order::FailSyncs(FOREVER));
    assert_eq!(stand.site.worker.ended().await, Ok(Some(1)), "{}", stand.site.worker.log_tail());
    assert!(stand.shim.hits().0 >= 3);
    let log = stand.site.read("worker.log");
    assert!(log.contains("3 times in a row"), "{}", stand.site.worker.log_tail());
    stand.shim.order(Order::FailSyncs(0));
    stand.site.start().await;
    stand.acked(50).await;
    load.stop().await;
    stand.reconciled_after_kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f53_a_disk_without_room_for_a_while_stops_acks_and_no_process() {
    let Some(stand) = Stand::new().await else { return };
    let load = stand.site.sim.load(Load { rate: 300.0, in_flight_max: 50, ..Load::default() });
    stand.acked(50).await;
    stand.shim.order(Order::Errno(ENOSPC));
    stand.shim.order(Order::FailWrites(FOREVER));
    until("writes fail again and again", || stand.shim.hits().1 >= 3).await;
    let acked = stand.app.totals().acked;
    let (status, why) = stand.site.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(why.contains("the store cannot write"), "{why}");
    let failures = stand.shim.hits().1;
    until("and more", || stand.shim.hits().1 > failures).await;
    assert_eq!(stand.app.totals().acked, acked, "nothing is acked meanwhile");
    stand.shim.order(Order::FailWrites(0));
    stand.acked(50).await;
    load.stop().await;
    stand.reconciled_after_kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_and_interrupted_writes_are_finished() {
    let Some(stand) = Stand::new().await else { return };
    stand.shim.order(Order::HalveWrites(true));
    let load = stand.site.sim.load(Load { rate: 300.0, in_flight_max: 50, ..Load::default() });
    for _ in 0..3 {
        stand.shim.order(Order::InterruptWrites(5));
        stand.acked(50).await;
    }
    load.stop().await;
    assert!(stand.shim.hits().1 > 15, "{:?}", stand.shim.hits());
    assert!(stand.site.metric(APPEND_ERRORS).await == 0.0, "a write that is not whole is no failure");
    stand.reconciled_after_kill().await;
}
