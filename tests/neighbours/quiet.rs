//! Row 63 and P6: the same run of three quiet tenants, alone and beside six that misbehave each in their own way.

use std::time::Duration;

use taut_sim::{
    AckOutcome, AppHandle, EchoHandler, End, EnvelopeType, Load, LoadHandle, Outage, Push, Sample, Switches,
};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::{SOON, Site, echo};

const QUIET: [&str; 3] = ["acme", "globex", "initech"];
/// What each quiet tenant gets: events, and commands its user waits for.
const EVENTS: u64 = 120;
const COMMANDS: usize = 20;
/// Bytes of an event of the loud tenant.
const LOUD_BYTES: usize = 100_000;
/// Slack's own limit.
const ACK_MAX: Duration = Duration::from_secs(3);

/// What a quiet tenant sees.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    acked_at_once: usize,
    answered: usize,
    delivered: u64,
    dead_letters: u64,
    refused: u64,
    deaf: bool,
    sockets_opened: u64,
}

impl Seen {
    /// What a tenant sees that is alone on its host and well.
    const WELL: Self = Self {
        acked_at_once: 120,
        answered: COMMANDS,
        delivered: EVENTS + COMMANDS as u64,
        dead_letters: 0,
        refused: 0,
        deaf: false,
        sockets_opened: 1,
    };
}

struct Quiet {
    id: &'static str,
    app: AppHandle,
    handler: EchoHandler,
}

impl Quiet {
    async fn go_about(&self) {
        let load = self.app.load(Load { rate: 60.0, count: Some(EVENTS), ..Load::default() });
        for _ in 0..COMMANDS {
            let outcome = self.app.push(Sample::SlashCommand).wait_ack(ACK_MAX).await;
            assert!(
                matches!(outcome, AckOutcome::Acked { payload: Some(_), .. }),
                "{}: {outcome:?}",
                self.id
            );
            sleep(Duration::from_millis(50)).await;
        }
        load.finished().await;
    }

    async fn seen(&self, site: &Site) -> Seen {
        assert!(self.app.wait_settled(SOON).await, "{}: {:?}", self.id, self.app.totals());
        let wanted = EVENTS + COMMANDS as u64;
        self.handler.wait_until(SOON, |totals| totals.keys >= wanted).await;
        let sent = site.sim.journal().envelopes(Some(self.app.id()));
        let at_once = |kind: &EnvelopeType| {
            let of_kind = sent.iter().filter(|sent| sent.envelope_type == *kind && sent.retry_attempt == 0);
            of_kind.filter(|sent| matches!(sent.end, End::Acked(_))).count()
        };
        let tenant = site.tenant(self.id).await;
        let opened = format!("taut_socket_opens_total{{tenant=\"{}\",outcome=\"hello\"}}", self.id);
        let opened = site.metric(&opened).await;
        Seen {
            acked_at_once: at_once(&EnvelopeType::EventsApi),
            answered: at_once(&EnvelopeType::SlashCommands),
            delivered: self.handler.totals().keys,
            dead_letters: tenant.dead_letters,
            refused: tenant.refused,
            deaf: tenant.deaf_seconds > 0.0,
            sockets_opened: if opened > 1.0 { 2 } else { 1 },
        }
    }

    /// The 90th percentile of its acks, for people.
    fn ack_p90(&self, site: &Site) -> Duration {
        let sent = site.sim.journal().envelopes(Some(self.app.id()));
        let mut after: Vec<_> = sent
            .iter()
            .filter_map(|sent| if let End::Acked(ack) = &sent.end { Some(ack.after) } else { None })
            .collect();
        after.sort();
        after.get(after.len() * 9 / 10).copied().unwrap_or_default()
    }
}

/// Six tenants that each go wrong in their own way, for as long as this lives.
struct Trouble {
    apps: Vec<AppHandle>,
    handlers: Vec<EchoHandler>,
    loads: Vec<LoadHandle>,
    tasks: Vec<JoinHandle<()>>,
}

impl Trouble {
    const KINDS: [&str; 6] = ["loud", "dead", "flapping", "revoked", "hanging", "overflowing"];

    async fn add_to(site: &mut Site) -> Self {
        let (mut apps, mut handlers) = (Vec::new(), Vec::new());
        for (number, id) in (10..).zip(Self::KINDS) {
            let handler = echo(id).await;
            apps.push(site.add_simple(number, id, &handler.url()));
            handlers.push(handler);
        }
        Self { apps, handlers, loads: Vec::new(), tasks: Vec::new() }
    }

    fn begin(&mut self) {
        let [loud, dead, flapping, revoked, hanging, overflowing] = &self.apps[..] else {
            unreachable!("six were added")
        };
        self.handlers[1].outage(Outage::Refuse);
        self.handlers[4].outage(Outage::Hang);
        self.handlers[5].outage(Outage::Status(503));
        revoked.revoke_token("token_revoked");
        revoked.drop_tcp();
        let often = Load { rate: 100.0, ..Load::default() };
        self.loads.extend([dead, flapping, hanging].map(|app| app.load(often.clone())));
        self.loads.push(overflowing.load(Load { rate: 400.0, ..Load::default() }));
        self.tasks.push(tokio::spawn(shout(loud.clone())));
        self.tasks.push(tokio::spawn(flap(flapping.clone())));
    }

    /// That each of them went wrong, or the comparison says nothing.
    async fn assert_trouble(&self, site: &Site) {
        assert!(self.apps[0].totals().acked > 100, "{:?}", self.apps[0].totals());
        assert_eq!(site.tenant("revoked").await.reason, "token_revoked");
        assert!(site.tenant("dead").await.backlog_envelopes > 50);
        assert!(site.tenant("hanging").await.backlog_envelopes > 50);
        assert!(site.tenant("overflowing").await.dead_letters > 50);
        assert!(site.tenant("flapping").await.deaf_seconds > 0.0);
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Five hundred large events a second, or as many as are taken.
async fn shout(app: AppHandle) {
    let padding = "x".repeat(LOUD_BYTES);
    for number in 0_u64.. {
        sleep(Duration::from_millis(2)).await;
        if app.unacked() >= 64 {
            continue;
        }
        app.push(Push::raw(format!(
            r#"{{"type":"event_callback","api_app_id":"{}","event_id":"Ev0LOUD{number}","event":{{"type":"message","channel":"C{}","text":"{padding}"}}}}"#,
            app.id(), number % 8
        )));
    }
}

async fn flap(app: AppHandle) {
    loop {
        app.drop_tcp();
        sleep(Duration::from_millis(100)).await;
    }
}

async fn run(troubled: bool) -> Vec<(&'static str, Seen)> {
    let switches = Switches { opens_burst: 100_000, ..Switches::default() };
    let head = "[queue]\nenvelopes_max = 500\n";
    let mut site = Site::with_switches(head, switches).await;
    site.slack("opens_per_app = \"1000 then 1/1ms\"");
    let mut quiet = Vec::new();
    for (number, id) in (1..).zip(QUIET) {
        let handler = echo(id).await;
        quiet.push(Quiet { id, app: site.add_simple(number, id, &handler.url()), handler });
    }
    let mut trouble = if troubled { Some(Trouble::add_to(&mut site).await) } else { None };
    let apps = quiet.iter().map(|quiet| &quiet.app);
    let all: Vec<_> = apps.chain(trouble.iter().flat_map(|trouble| &trouble.apps)).cloned().collect();
    site.start_connected(&all.iter().collect::<Vec<_>>()).await;
    if let Some(trouble) = &mut trouble {
        trouble.begin();
        let overflow = |tenant: &taut::seeing::status::TenantStatus| tenant.dead_letters > 0;
        site.until_tenant("overflowing", "an overflow", overflow).await;
    }
    futures::future::join_all(quiet.iter().map(Quiet::go_about)).await;
    let mut seen = Vec::new();
    for quiet in &quiet {
        println!("troubled: {troubled}, {}: ack p90 {:?}", quiet.id, quiet.ack_p90(&site));
        seen.push((quiet.id, quiet.seen(&site).await));
    }
    if let Some(trouble) = &trouble {
        trouble.assert_trouble(&site).await;
        println!("loud: {:?}", trouble.apps[0].totals());
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn f63_quiet_tenants_see_the_same_whatever_their_neighbours_do() {
    let alone = run(false).await;
    assert_eq!(alone, QUIET.map(|id| (id, Seen::WELL)));
    let beside = run(true).await;
    assert_eq!(beside, alone);
}
