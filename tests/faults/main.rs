//! The fault matrix (docs/faults.md): what the world does to one worker, by the number of its row.
//!
//! The real binary, the simulated Slack and the handler in this process, and between them a proxy that misbehaves on
//! order. Limits that are half a minute long in the field are set short by configuration.

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod handler;
mod netns;
mod process;
mod slack;
mod store;
mod tenants;
mod wire;
mod worker;

use std::time::Duration;

use support::fault_proxy::FaultProxy;
use support::tools::reckon;
use support::{SOON, Site, echo};
use taut_sim::{AckOutcome, AppHandle, EchoHandler, Push, Sample, Switches};

/// Longest an ack may take: Slack waits 3 s.
const ACK_MAX: Duration = Duration::from_secs(3);

/// One tenant whose sockets go through the proxy.
struct Stand {
    site: Site,
    slack: FaultProxy,
    app: AppHandle,
    handler: EchoHandler,
}

/// Retries at once, after half a second and after 2.5 s; a socket that does not answer is soon given up at Slack too,
/// which else goes on sending a share of the events there.
fn brisk() -> Switches {
    Switches {
        speed: 120.0,
        ack_deadline: Duration::from_secs(1),
        first_ping: Duration::from_millis(200),
        ping_every: Duration::from_millis(300),
        pong_timeout: Duration::from_secs(1),
        ..Switches::default()
    }
}

/// The same with Slack's own patience for a socket that does not answer.
fn patient() -> Switches {
    let slack = Switches::default();
    let (first_ping, ping_every) = (slack.first_ping, slack.ping_every);
    Switches { first_ping, ping_every, pong_timeout: slack.pong_timeout, ..brisk() }
}

impl Stand {
    /// A connected tenant; `slack` are lines for `[slack]`.
    async fn new(slack: &[&str]) -> Self {
        Self::with(slack, brisk()).await
    }

    async fn with(slack: &[&str], switches: Switches) -> Self {
        let (mut site, proxy) = Site::behind("[network.deadlines]\nupgrade = \"1s\"\n", switches).await;
        site.slack("opens_per_app = \"100 then 1/1s\"");
        for line in slack {
            site.slack(line);
        }
        let handler = echo("acme").await;
        let app = site.add_simple(1, "acme", &handler.url());
        site.start_connected(&[&app]).await;
        site.until_tenant("acme", "connected", |tenant| tenant.state == "connected").await;
        Self { site, slack: proxy, app, handler }
    }

    fn socket(&self) -> u64 {
        self.app
            .connections()
            .iter()
            .filter(|socket| socket.helloed)
            .map(|socket| socket.id)
            .max()
            .unwrap_or(0)
    }

    /// Waits for a socket newer than `old` that said hello.
    async fn newer_than(&self, old: u64) {
        let newer =
            |app: &AppHandle| app.connections().iter().any(|socket| socket.id > old && socket.helloed);
        assert!(self.app.wait_until(SOON, newer).await, "{}", self.site.worker.log_tail());
    }

    async fn acked(&self, push: impl Into<Push>) {
        let outcome = self.app.push(push).wait_ack(ACK_MAX).await;
        assert!(matches!(outcome, AckOutcome::Acked { .. }), "{outcome:?}\n{}", self.site.worker.log_tail());
    }

    async fn closes(&self, reason: &str) -> f64 {
        self.site.metric(&format!("taut_socket_closes_total{{tenant=\"acme\",reason=\"{reason}\"}}")).await
    }

    /// Every event that came into being has been acked, and every acked one was answered by the handler.
    async fn nothing_is_lost(&self) {
        assert!(self.app.wait_settled(SOON).await, "{:?}", self.app.totals());
        let acked = self.app.totals().acked;
        let delivered = self.handler.wait_until(SOON, |totals| totals.keys >= acked).await;
        assert!(delivered, "{acked} acked: {:?}", self.handler.totals());
        let reckoning = reckon(&self.site.sim, &self.app, &self.handler);
        assert_eq!((reckoning.lost, reckoning.unacked), (vec![], vec![]));
    }
}

/// An event whose id and text the test chooses.
fn event(app: &AppHandle, id: &str, channel: &str) -> Push {
    Push::raw(format!(
        r#"{{"type":"event_callback","api_app_id":"{}","event_id":"{id}","event":{{"type":"message","channel":"{channel}"}}}}"#,
        app.id()
    ))
}

/// Many small pushes.
fn messages(app: &AppHandle, count: usize) {
    for _ in 0..count {
        app.push(Sample::Message);
    }
}
