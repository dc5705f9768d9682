//! Whatever happens to a socket or on the way to one: each cause has its own action, and what was not acked comes again.

mod support;

use std::time::Duration;

use support::tools::reckon;
use support::{SOON, Site, connected, echo};
use taut_sim::{
    AckOutcome, Act, AppHandle, EchoHandler, Load, OpenFailure, Outage, Push, Sample, Shape, Switches,
    UpgradeFailure,
};
use uuid::Uuid;

/// Longest an ack may take here: Slack waits 3 s.
const ACK_MAX: Duration = Duration::from_secs(3);

struct Stand {
    site: Site,
    app: AppHandle,
    handler: EchoHandler,
}

impl Stand {
    async fn new(slack: &str) -> Self {
        let switches = Switches {
            speed: 60.0,
            ack_deadline: Duration::from_secs(1),
            close_after_disconnect: Duration::from_millis(300),
            ..Switches::default()
        };
        let mut site = Site::with_switches("", switches).await;
        site.slack("opens_per_app = \"100 then 1/1s\"");
        site.slack(slack);
        let handler = echo("acme").await;
        let app = site.add_simple(1, "acme", &handler.url());
        site.start_connected(&[&app]).await;
        let stand = Self { site, app, handler };
        stand.state("connected", "hello").await;
        stand
    }

    async fn state(&self, state: &str, reason: &str) {
        let what = format!("{state}: {reason}");
        self.site
            .until_tenant("acme", &what, |tenant| tenant.state == state && tenant.reason == reason)
            .await;
    }

    /// Waits for a newer socket than those of now, after a change.
    async fn another_socket_after(&self, change: impl FnOnce(&AppHandle)) {
        let newest = self.app.connections().iter().map(|socket| socket.id).max();
        change(&self.app);
        let renewed = |app: &AppHandle| {
            app.connections().iter().any(|socket| Some(socket.id) > newest && socket.helloed)
        };
        assert!(self.app.wait_until(SOON, renewed).await, "{}", self.site.worker.log_tail());
    }

    async fn acked(&self, push: impl Into<Push>) {
        let outcome = self.app.push(push).wait_ack(ACK_MAX).await;
        assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
    }

    async fn closes(&self, reason: &str) -> f64 {
        let metric = format!("taut_socket_closes_total{{tenant=\"acme\",reason=\"{reason}\"}}");
        self.site.metric(&metric).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_sockets_are_replaced_and_nothing_acked_is_lost() {
    let stand = Stand::new("").await;
    let load = stand.site.sim.load(Load { rate: 300.0, in_flight_max: 100, ..Load::default() });
    let losses: [fn(&AppHandle); 3] =
        [AppHandle::drop_tcp, AppHandle::reset_tcp, |app| app.act(&Act::Close { code: 1011 })];
    for loss in losses {
        let before = stand.app.totals().acked;
        assert!(stand.app.wait_until(SOON, |app| app.totals().acked > before + 50).await);
        stand.another_socket_after(loss).await;
    }
    load.stop().await;
    assert!(stand.app.wait_settled(SOON).await, "{:?}", stand.app.totals());
    let acked = stand.app.totals().acked;
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys >= acked).await);
    let reckoning = reckon(&stand.site.sim, &stand.app, &stand.handler);
    assert_eq!((reckoning.lost, reckoning.unacked), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_socket_is_dead_after_its_limit_and_replaced() {
    let stand = Stand::new("ping_after = \"200ms\"\nquiet_max = \"500ms\"").await;
    stand.another_socket_after(AppHandle::silence).await;
    stand.state("connected", "hello").await;
    assert!(stand.closes("quiet").await >= 1.0);
    assert!(stand.site.tenant("acme").await.deaf_seconds >= 0.5, "the silence counts as deaf");
    stand.acked(Sample::Message).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_a_socket_becomes_its_own_state() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let refusals = [
        ("invalid_auth", "parked"),
        ("token_revoked", "parked"),
        ("token_expired", "parked"),
        ("account_inactive", "parked"),
        ("not_allowed_token_type", "parked"),
        ("missing_scope", "parked"),
        ("team_disabled", "parked"),
        ("accesslimited", "parked"),
        ("team_added_to_org", "waiting"),
        ("internal_error", "starting"),
        ("a_code_of_tomorrow", "starting"),
    ];
    for (number, (code, _)) in (1..).zip(refusals) {
        let app = site.add_simple(number, &code.replace('_', "-"), &handler.url());
        let code = code.to_owned();
        app.fail_next_opens(1_000, OpenFailure::Error { code });
    }
    site.start().await;
    for (code, state) in refusals {
        let wanted =
            |tenant: &taut::seeing::status::TenantStatus| tenant.state == state && tenant.reason == code;
        let tenant = site.until_tenant(&code.replace('_', "-"), code, wanted).await;
        assert!(tenant.reason_text.len() > 20, "a sentence for the person who can act: {tenant:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_until_it_has_passed() {
    let mut site = Site::new("[network.deadlines]\nupgrade = \"300ms\"\ncall = \"500ms\"\n").await;
    site.slack("hello_timeout = \"300ms\"");
    let handler = echo("acme").await;
    let opens = [
        OpenFailure::RateLimited { retry_after_seconds: Some(1) },
        OpenFailure::Status { status: 503 },
        OpenFailure::Body { body: "<html>".into(), content_type: "text/html".into() },
        OpenFailure::NoUrl,
        OpenFailure::DeadUrl,
        OpenFailure::NoContentType,
        OpenFailure::Hang,
        OpenFailure::Abort,
    ];
    let upgrades = [
        UpgradeFailure::Status { status: 409 },
        UpgradeFailure::Status { status: 408 },
        UpgradeFailure::Html,
        UpgradeFailure::WrongAccept,
        UpgradeFailure::Hang,
        UpgradeFailure::Abort,
        UpgradeFailure::Text { text: "UNAUTHENTICATED: cache_error".into() },
        UpgradeFailure::NoHello,
        UpgradeFailure::DropAfterHello,
        UpgradeFailure::Disconnect { reason: "refresh_requested".into() },
    ];
    let mut apps = Vec::new();
    for (number, failure) in (1..).zip(opens) {
        let app = site.add_simple(number, &format!("open-{number}"), &handler.url());
        app.fail_next_opens(1, failure);
        apps.push((format!("open-{number}"), app));
    }
    for (number, failure) in (1..).zip(upgrades) {
        let app = site.add_simple(100 + number, &format!("upgrade-{number}"), &handler.url());
        app.fail_next_upgrades(1, failure);
        apps.push((format!("upgrade-{number}"), app));
    }
    site.start().await;
    for (tenant, app) in &apps {
        site.until_tenant(tenant, "connected in the end", |tenant| {
            tenant.state == "connected" && tenant.sockets == 1
        })
        .await;
        let outcome = app.push(Sample::ViewClosed).wait_ack(ACK_MAX).await;
        assert!(matches!(outcome, AckOutcome::Acked { .. }), "{tenant}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn link_disabled_waits_for_the_apps_admin_and_comes_back() {
    let stand = Stand::new("").await;
    stand.app.link_disabled();
    stand.state("waiting", "link_disabled").await;
    assert!(stand.app.wait_connected(0, SOON).await, "no socket is held");
    stand.app.socket_mode(true);
    stand.site.taut(&["tenant", "resume", "acme"]).await.ok();
    stand.state("connected", "hello").await;
    stand.acked(Sample::Message).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_websockets_opens_nothing_for_a_while() {
    let stand = Stand::new("").await;
    stand.app.disconnect("too_many_websockets");
    stand.site.until_tenant("acme", "the last socket is gone", |tenant| tenant.sockets == 0).await;
    stand.state("waiting", "too_many_websockets").await;
    assert!(stand.app.wait_connected(0, SOON).await);
    assert!(stand.site.read("worker.log").contains("refuses further sockets"), "an alarm is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_mode_off_is_shown_until_an_envelope_comes() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    app.socket_mode(false);
    site.start_connected(&[&app]).await;
    let off = site.until_tenant("acme", "waiting", |tenant| tenant.reason == "socket_mode_off").await;
    assert_eq!(off.state, "waiting");
    app.socket_mode(true);
    let outcome = app.push(Sample::Message).wait_ack(SOON).await;
    assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
    site.until_tenant("acme", "connected", |tenant| tenant.state == "connected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envelopes_before_hello_are_stored_and_delivered() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    let early = format!(
        r#"{{"envelope_id":"{}","type":"events_api","accepts_response_payload":false,"payload":{{"type":"event_callback","api_app_id":"{}","event_id":"Ev0EARLY","event":{{"type":"message","channel":"C1"}}}}}}"#,
        Uuid::new_v4(),
        app.id()
    );
    app.act(&Act::BeforeHello { texts: vec![early] });
    site.start_connected(&[&app]).await;
    assert!(handler.wait_until(SOON, |totals| totals.keys == 1).await, "{}", site.worker.log_tail());
    assert_eq!(handler.answered("Ev0EARLY"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_acked_and_not_delivered_again() {
    let stand = Stand::new("").await;
    let event = format!(
        r#"{{"type":"event_callback","api_app_id":"{}","event_id":"Ev0TWICE","event":{{"type":"message","channel":"C1"}}}}"#,
        stand.app.id()
    );
    stand.acked(Push::raw(event.clone())).await;
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 1).await);
    stand.acked(Push::raw(event.clone())).await;
    let mut site = stand.site;
    site.worker.kill().await.expect("it runs");
    site.start().await;
    site.until_tenant("acme", "connected", |tenant| tenant.sockets == 1).await;
    assert!(connected(&stand.app).await);
    let outcome = stand.app.push(Push::raw(event)).wait_ack(SOON).await;
    assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}");
    site.until_tenant("acme", "known over the restart", |tenant| tenant.duplicates == 1).await;
    assert_eq!(stand.handler.answered("Ev0TWICE"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_pieces_is_one_envelope() {
    let stand = Stand::new("").await;
    stand.acked(Push::from(Sample::Message).shaped(Shape::Fragments(7))).await;
    stand.app.act(&Act::Drip { bytes: 64, every: Duration::from_millis(1) });
    stand.acked(Sample::Message).await;
    stand.app.resume();
    assert!(stand.handler.wait_until(SOON, |totals| totals.keys == 2).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ack_owed_when_a_socket_is_lost_goes_out_on_the_next() {
    let mut site = Site::new("").await;
    let handler = echo("acme").await;
    let route = format!(
        "[[tenants.routes]]\nname = \"bot\"\nconcurrency = 64\ntarget = {{ http = \"{}\" }}\n",
        handler.url()
    );
    let app = site.add_tenant(1, "acme", &route);
    site.start_connected(&[&app]).await;
    handler.outage(Outage::Slow(Duration::from_millis(300)));
    let commands: Vec<_> = (0..50).map(|_| app.push(Sample::SlashCommand)).collect();
    assert!(handler.wait_until(SOON, |totals| totals.in_flight == 50).await);
    app.hold_hello();
    app.drop_tcp();
    assert!(handler.wait_until(SOON, |totals| totals.answered == 50).await, "{:?}", handler.totals());
    app.release_hello();
    let outcomes =
        futures::future::join_all(commands.into_iter().map(|pushed| pushed.wait_ack(ACK_MAX))).await;
    let acked = |outcome: &&AckOutcome| matches!(outcome, AckOutcome::Acked { payload: Some(_), .. });
    assert_eq!(outcomes.iter().filter(acked).count(), 50);
    assert!(site.metric("taut_requests_cut_total{tenant=\"acme\"}").await.abs() < f64::EPSILON);
}
