//! P3: a planned change never leaves a tenant without a live socket; what a restart costs is measured.

mod support;

use std::time::Duration;

use support::{SOON, Site, echo};
use taut_sim::{AppHandle, EchoHandler, Load, LoadHandle, NoteKind, Sample, Switches};

/// Slack's times shortened, so that several sockets come and go within a test.
fn brisk() -> Switches {
    Switches {
        speed: 60.0,
        close_after_warning: Duration::from_secs(1),
        close_after_disconnect: Duration::from_millis(500),
        ..Switches::default()
    }
}

struct Stand {
    site: Site,
    app: AppHandle,
    handler: EchoHandler,
}

async fn stand(switches: Switches) -> Stand {
    let mut site = Site::with_switches("", switches).await;
    site.slack("opens_per_app = \"100 then 1/1s\"");
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    site.start_connected(&[&app]).await;
    site.until_tenant("acme", "connected", |tenant| tenant.state == "connected").await;
    Stand { site, app, handler }
}

impl Stand {
    /// Events and one request of each way to answer, all the time.
    fn steady_load(&self) -> LoadHandle {
        let kinds = vec![
            Sample::Message,
            Sample::SlashCommand,
            Sample::ReactionAdded,
            Sample::BlockActions,
            Sample::BlockSuggestion,
            Sample::ViewSubmission,
        ];
        self.site.sim.load(Load { rate: 200.0, kinds, ..Load::default() })
    }

    /// Waits until the sockets of now are gone and a newer one lives.
    async fn replaced(&self, change: impl FnOnce(&AppHandle)) {
        let newest = |app: &AppHandle| app.connections().iter().map(|socket| socket.id).max();
        let old = newest(&self.app);
        change(&self.app);
        let replaced = |app: &AppHandle| {
            let sockets = app.connections();
            sockets.iter().all(|socket| Some(socket.id) > old) && sockets.iter().any(|socket| socket.helloed)
        };
        assert!(self.app.wait_until(SOON, replaced).await, "{:?}", self.app.connections());
    }

    /// Most sockets that counted at once, by what the simulated Slack said at each hello.
    fn most_sockets(&self) -> u32 {
        let notes = self.site.sim.journal().notes(Some(self.app.id()));
        let counted = notes.into_iter().filter_map(|note| {
            if let NoteKind::Hello { num_connections, .. } = note.kind { Some(num_connections) } else { None }
        });
        counted.max().unwrap_or(0)
    }

    /// Ends the load; every event and request was acked at its first attempt, and no second was deaf.
    async fn nothing_was_missed(self, load: LoadHandle) {
        let pushed = load.stop().await;
        assert!(self.app.wait_settled(SOON).await);
        let totals = self.app.totals();
        if (totals.acked, totals.retries) != (pushed, 0) {
            let (_, page) = self.site.get("/metrics").await;
            let told: Vec<_> = page.lines().filter(|line| line.contains("acme")).collect();
            panic!("of {pushed}: {totals:?}\n{}\n{}", told.join("\n"), self.site.worker.log_tail());
        }
        assert!(self.handler.wait_until(SOON, |handler| handler.keys == pushed).await);
        self.was_never_deaf().await;
    }

    /// There was a live socket at every moment, and never more than two.
    async fn was_never_deaf(&self) {
        let deaf = self.site.tenant("acme").await.deaf_seconds;
        assert!(deaf.abs() < f64::EPSILON, "{deaf} s deaf");
        assert!(self.most_sockets() <= 2, "{} sockets at once", self.most_sockets());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_under_load_costs_no_envelope() {
    let stand = stand(brisk()).await;
    let load = stand.steady_load();
    for _ in 0..3 {
        stand.replaced(AppHandle::refresh).await;
    }
    stand.nothing_was_missed(load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_under_load_costs_no_envelope() {
    let stand = stand(brisk()).await;
    let load = stand.steady_load();
    for _ in 0..2 {
        stand.replaced(AppHandle::warn_then_close).await;
    }
    stand.nothing_was_missed(load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_at_the_end_of_its_life_is_replaced_before_it_ends() {
    let stand = stand(Switches { connection_life: Duration::from_secs(2), ..brisk() }).await;
    let load = stand.steady_load();
    stand.replaced(|_| {}).await;
    stand.nothing_was_missed(load).await;
}

/// While Slack hands nothing to a socket it has announced the end of, an event may find none; its retry finds the next.
#[tokio::test(flavor = "multi_thread")]
async fn an_announced_end_of_tcp_without_a_close_frame_costs_no_deaf_second() {
    let stand = stand(Switches { close_with_frame: false, deliver_after_disconnect: false, ..brisk() }).await;
    let load = stand.site.sim.load(Load { rate: 200.0, ..Load::default() });
    stand.replaced(AppHandle::refresh).await;
    let pushed = load.stop().await;
    assert!(stand.app.wait_settled(SOON).await);
    assert_eq!(stand.app.totals().acked, pushed);
    stand.was_never_deaf().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_socket_counts_its_gap_as_deaf() {
    let stand = stand(brisk()).await;
    stand.replaced(AppHandle::drop_tcp).await;
    let tenant = stand.site.until_tenant("acme", "connected again", |tenant| tenant.sockets == 1).await;
    assert!(tenant.deaf_seconds > 0.0 && tenant.deaf_seconds < SOON.as_secs_f64(), "{tenant:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_counts_its_gap_as_deaf() {
    let mut stand = stand(brisk()).await;
    let (whole, _) = stand.site.worker.terminate().await.expect("it stops");
    assert!(whole, "{}", stand.site.worker.log_tail());
    stand.site.start().await;
    let tenant = stand.site.until_tenant("acme", "connected again", |tenant| tenant.sockets == 1).await;
    assert!(tenant.deaf_seconds > 0.0 && tenant.deaf_seconds < SOON.as_secs_f64(), "{tenant:?}");
    let metric = stand.site.metric("taut_tenant_deaf_seconds_total{tenant=\"acme\"}").await;
    assert!(metric > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_a_paused_or_parked_tenant_is_not_deaf() {
    let mut stand = stand(brisk()).await;
    let parked = stand.site.add_simple(2, "globex", &stand.handler.url());
    let (whole, _) = stand.site.worker.terminate().await.expect("it stops");
    assert!(whole, "{}", stand.site.worker.log_tail());
    stand.site.start_connected(&[&stand.app, &parked]).await;
    stand.site.taut(&["tenant", "pause", "acme"]).await.ok();
    parked.revoke_token("token_revoked");
    parked.drop_tcp();
    stand.site.until_tenant("globex", "parked", |tenant| tenant.state == "parked").await;
    let silent = |tenant: &taut::seeing::status::TenantStatus| tenant.last_frame_seconds > Some(1.0);
    for id in ["acme", "globex"] {
        stand.site.until_tenant(id, "silent for a second", silent).await;
    }

    let (whole, _) = stand.site.worker.terminate().await.expect("it stops");
    assert!(whole, "{}", stand.site.worker.log_tail());
    parked.restore_token();
    stand.site.start_connected(&[&parked]).await;
    stand.site.taut(&["tenant", "resume", "acme"]).await.ok();
    for id in ["acme", "globex"] {
        let tenant = stand.site.until_tenant(id, "connected", |tenant| tenant.sockets == 1).await;
        assert!(tenant.deaf_seconds.abs() < f64::EPSILON, "nobody wanted to hear: {tenant:?}");
    }
}
