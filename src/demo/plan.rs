//! What happens in the demo, and when: load throughout; one round trip of each request kind, a refresh of every
//! connection, one handler outage, one kill of the worker in mid-flight; then the backlog runs dry.

use std::time::Duration;

use taut_sim::{AckOutcome, Load, Sample};
use tokio::time::{Instant, sleep_until, timeout};

use super::stage::Stage;
use super::view::View;

/// How often the table is renewed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the tenants may take to connect.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// How long the last acks and deliveries may take after the load ended.
const SETTLE_MAX: Duration = Duration::from_mins(1);
/// Slack waits 3 s for an answer; what is not acked by then is not acked.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The events the load goes through in turn.
const EVENTS: [Sample; 4] =
    [Sample::Message, Sample::AppMention, Sample::ReactionAdded, Sample::AppHomeOpened];
/// One of each request kind, and whether its ack carries the handler's answer.
const REQUESTS: [(Sample, bool); 9] = [
    (Sample::SlashCommand, true),
    (Sample::BlockActions, false),
    (Sample::BlockSuggestion, true),
    (Sample::ViewSubmission, true),
    (Sample::Shortcut, false),
    (Sample::MessageAction, false),
    (Sample::InteractiveMessage, false),
    (Sample::DialogSubmission, false),
    (Sample::DialogSuggestion, true),
];

/// One request's round trip.
#[derive(Debug, Clone)]
pub(super) struct RoundTrip {
    pub(super) kind: &'static str,
    /// From the simulated Slack's sending to its reading of the ack; `None` if it was not acked.
    pub(super) after: Option<Duration>,
    /// The ack's payload.
    pub(super) payload: Option<String>,
    pub(super) wants_payload: bool,
}

/// What the demo saw beside the journal and the handlers' record.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) round_trips: Vec<RoundTrip>,
    /// Deaf seconds over all tenants before and after the refresh.
    pub(super) deaf_by_refresh: f64,
    pub(super) refreshed: usize,
    /// From the kill to the first and to the last tenant's hello.
    pub(super) restart: Option<(Duration, Duration)>,
    pub(super) backlog_at_outage: u64,
    pub(super) drained: bool,
    pub(super) drain_took: Duration,
    pub(super) settled: bool,
    pub(super) pushed: u64,
}

/// The moments of the plan, as shares of the load's time.
struct Plan {
    started: Instant,
    length: Duration,
}

impl Plan {
    fn at(&self, percent: u32) -> Instant {
        self.started + self.length * percent / 100
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Plays the demo.
pub(super) async fn play(stage: &mut Stage, length: Duration) -> Result<Seen, String> {
    let mut view = View::new();
    let mut seen = Seen::default();
    stage.worker.start().await?;
    let plan = Plan { started: Instant::now(), length };
    stage.all_connected(CONNECT_MAX).await?;
    view.event(plan.now(), &format!("{} tenants connected", stage.tenants.len()));
    let load = stage.sim.load(Load {
        rate: f64::from(stage.rate),
        kinds: EVENTS.to_vec(),
        in_flight_max: 2_000,
        ..Load::default()
    });

    watch(stage, &mut view, &plan, 15).await;
    requests(stage, &mut view, &plan, &mut seen).await;
    watch(stage, &mut view, &plan, 30).await;
    refresh(stage, &mut view, &plan, &mut seen).await?;
    watch(stage, &mut view, &plan, 50).await;
    outage(stage, &mut view, &plan, &mut seen).await;
    watch(stage, &mut view, &plan, 75).await;
    restart(stage, &mut view, &plan, &mut seen).await?;
    watch(stage, &mut view, &plan, 100).await;

    seen.pushed = load.stop().await;
    view.event(plan.now(), "the load has ended; waiting for the last acks and deliveries");
    seen.settled = stage.settled(SETTLE_MAX).await;
    let rows = stage.rows().await;
    view.finish(plan.now(), &rows);
    (seen.drained, seen.drain_took) = stage.worker.terminate().await?;
    Ok(seen)
}

/// Shows the tenants each second until this share of the time has passed.
async fn watch(stage: &Stage, view: &mut View, plan: &Plan, percent: u32) {
    while Instant::now() < plan.at(percent) {
        view.look(plan.now(), &stage.rows().await);
        sleep_until(plan.at(percent).min(Instant::now() + LOOK_EVERY)).await;
    }
}

async fn requests(stage: &Stage, view: &mut View, plan: &Plan, seen: &mut Seen) {
    for (place, (sample, wants_payload)) in REQUESTS.into_iter().enumerate() {
        let app = &stage.tenants[place % stage.tenants.len()].app;
        let outcome = app.push(sample).wait_ack(ANSWER_MAX).await;
        let (after, payload) = match outcome {
            AckOutcome::Acked { payload, after, .. } => {
                (Some(after), payload.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
            }
            AckOutcome::Unacked { .. } => (None, None),
        };
        seen.round_trips.push(RoundTrip { kind: sample.name(), after, payload, wants_payload });
    }
    let acked = seen.round_trips.iter().filter(|trip| trip.after.is_some()).count();
    view.event(
        plan.now(),
        &format!("one request of each kind: {acked} of {} answered and acked", REQUESTS.len()),
    );
}

async fn refresh(stage: &Stage, view: &mut View, plan: &Plan, seen: &mut Seen) -> Result<(), String> {
    let deaf_before = stage.deaf_seconds().await;
    stage.refresh_all(CONNECT_MAX).await?;
    seen.refreshed = stage.tenants.len();
    seen.deaf_by_refresh = stage.deaf_seconds().await - deaf_before;
    let text =
        format!("Slack refreshed all {} connections: {:.3} s deaf", seen.refreshed, seen.deaf_by_refresh);
    view.event(plan.now(), &text);
    Ok(())
}

async fn outage(stage: &Stage, view: &mut View, plan: &Plan, seen: &mut Seen) {
    stage.handlers_down();
    view.event(plan.now(), "every handler answers 503: events wait in the backlog, acks go on");
    watch(stage, view, plan, 62).await;
    seen.backlog_at_outage = stage.rows().await.iter().map(|row| row.backlog).sum();
    stage.handlers_up();
    view.event(plan.now(), &format!("handlers are back; {} envelopes had waited", seen.backlog_at_outage));
}

async fn restart(stage: &mut Stage, view: &mut View, plan: &Plan, seen: &mut Seen) -> Result<(), String> {
    stage.worker.kill().await?;
    let killed = Instant::now();
    view.event(plan.now(), "the worker was killed in mid-flight (SIGKILL)");
    stage.worker.start().await?;
    let first = timeout(CONNECT_MAX, stage.first_connected()).await;
    let first = first.map(|()| killed.elapsed()).map_err(|_| "no tenant came back".to_owned())?;
    stage.all_connected(CONNECT_MAX).await?;
    seen.restart = Some((first, killed.elapsed()));
    let text = format!("restarted: first tenant back after {first:.2?}, all after {:.2?}", killed.elapsed());
    view.event(plan.now(), &text);
    Ok(())
}
