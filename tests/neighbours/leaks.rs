//! Reconnects, again and again: nothing stays behind of the sockets that were.

use std::time::Duration;

use taut::admin::Changed;
use taut::admin::client::Worker;
use taut_sim::{AckOutcome, Act, AppHandle, EchoHandler, Sample, SimConfig, Switches};

use crate::support::{SOON, Site, echo};
use crate::times;

/// Tenants that reconnect beside each other.
const TENANTS: u64 = 25;
/// Descriptors and tasks that may come and go: connections to the handler, this test's own looks.
const MORE_MAX: f64 = 40.0;
/// What the allocator may hold more than after the first fifth.
const MEMORY_MORE_MAX: u64 = 12 << 20;

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: f64,
    tasks: f64,
    threads: u64,
    memory: u64,
}

impl Held {
    async fn by(site: &Site) -> Self {
        Self {
            descriptors: site.metric("taut_descriptors_open").await,
            tasks: site.metric("taut_tasks").await,
            threads: site.threads(),
            memory: site.memory("VmRSS"),
        }
    }
}

struct Tenant {
    id: String,
    app: AppHandle,
}

impl Tenant {
    /// Loses its socket, in one of all ways, and gets another.
    async fn reconnect(&self, round: u64, worker: &Worker) {
        let outcome = self.app.push(Sample::Message).wait_ack(SOON).await;
        assert!(matches!(outcome, AckOutcome::Acked { .. }), "{}: {outcome:?}", self.id);
        let old = self.app.connections()[0].id;
        match round % 5 {
            0 => self.app.drop_tcp(),
            1 => self.app.reset_tcp(),
            2 => self.app.refresh(),
            3 => self.app.act(&Act::Close { code: 1001 }),
            _ => self.app.act(&Act::Disconnect { reason: "warning".to_owned(), close: true }),
        }
        // After some eager attempts the line backs off, as it should: an operator's word makes it try at once.
        let renewed = async {
            while !self.app.connections().iter().any(|socket| socket.id != old && socket.helloed) {
                let path = format!("/v1/tenants/{}/resume", self.id);
                let resumed: Result<Changed, String> = worker.post(&path, &()).await;
                assert!(resumed.is_ok(), "{resumed:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(SOON, renewed).await.is_ok(), "{} never came back", self.id);
        let alone = |app: &AppHandle| app.connections().len() == 1;
        assert!(self.app.wait_until(SOON, alone).await, "{} keeps its old socket", self.id);
    }
}

async fn site(handler: &EchoHandler) -> (Site, Vec<Tenant>) {
    let soon = Duration::from_millis(20);
    let switches = Switches {
        opens_burst: 1_000_000,
        close_after_warning: soon,
        close_after_disconnect: soon,
        ..Switches::default()
    };
    let mut site = Site::with_sim("", SimConfig { switches, ..SimConfig::default() }).await;
    site.slack("opens_per_app = \"1000 then 1/1ms\"\nopens_per_second = 10000");
    let mut tenants = Vec::new();
    for number in 1..=TENANTS {
        let id = format!("tenant-{number}");
        let url = handler.add_path(&format!("/{id}"), crate::support::signing_secret(&id));
        let app = site.add_simple(u32::try_from(number).expect("few"), &id, &url);
        tenants.push(Tenant { id, app });
    }
    let apps: Vec<_> = tenants.iter().map(|tenant| &tenant.app).collect();
    site.start_connected(&apps).await;
    (site, tenants)
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnects_leave_nothing_behind() {
    let rounds = times(500).div_ceil(TENANTS);
    let handler = echo("nobody").await;
    let (site, tenants) = site(&handler).await;
    let worker = Worker::at(&site.dir.path().join("admin.sock"));
    let mut early = None;
    for round in 0..rounds {
        futures::future::join_all(tenants.iter().map(|tenant| tenant.reconnect(round, &worker))).await;
        if round == rounds / 5 {
            early = Some(Held::by(&site).await);
        }
    }
    for tenant in &tenants {
        let delivered = |seen: &taut::seeing::status::TenantStatus| seen.backlog_envelopes == 0;
        site.until_tenant(&tenant.id, "an empty backlog", delivered).await;
        let open = format!("taut_sockets_open{{tenant=\"{}\"}}", tenant.id);
        site.until_metric(&open, |open| (open - 1.0).abs() < f64::EPSILON).await;
        let opened = format!("taut_socket_opens_total{{tenant=\"{}\",outcome=\"hello\"}}", tenant.id);
        assert!(site.metric(&opened).await > rounds as f64);
    }
    let early = early.expect("some rounds were played");
    let allowed = early.descriptors.max(early.tasks) + MORE_MAX;
    site.until_metric("taut_descriptors_open", |open| open <= allowed).await;
    site.until_metric("taut_tasks", |tasks| tasks <= allowed).await;
    let late = Held::by(&site).await;
    println!(
        "{} reconnects of {TENANTS} tenants: {early:?} after a fifth, {late:?} at the end",
        rounds * TENANTS
    );
    assert!(late.descriptors <= early.descriptors + MORE_MAX, "{early:?} became {late:?}");
    assert!(late.tasks <= early.tasks + MORE_MAX, "{early:?} became {late:?}");
    assert!(late.threads <= early.threads + 4, "{early:?} became {late:?}");
    assert!(late.memory <= early.memory + MEMORY_MORE_MAX, "{early:?} became {late:?}");
    let keys = handler.totals().keys;
    assert_eq!(keys, rounds * TENANTS, "each event was delivered");
}
