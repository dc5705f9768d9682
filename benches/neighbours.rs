//! What neighbours cost: the acks and deliveries of quiet tenants, alone and beside tenants that misbehave.
//! See docs/benchmarks.md.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use clap::Parser;
use support::args::Common;
use support::client::{Client, Kind, block_on, prepare};
use support::stage::Stage;
use support::table::{Table, median};
use support::{Failure, Outcome};
use taut_sim::{AppHandle, EchoHandler, End, Load, LoadHandle, Outage, Push};
use tokio::time::sleep;

/// Tenants that misbehave: loud, dead handler, flapping socket, revoked token, hanging handler, overflowing.
const TROUBLE: u32 = 6;
/// Unacked events beyond which the loud tenant holds its breath: the simulated Slack keeps them in memory.
const UNACKED_MAX: usize = 1_000;
/// Bytes of an event of the loud tenant, and its events per second.
const LOUD_BYTES: usize = 100_000;
const LOUD_RATE: f64 = 500.0;

/// Latency of quiet tenants' acks and deliveries beside misbehaving ones
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Events per second of all quiet tenants together
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
}

/// Who misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    AllButLoud,
    LoudAlone,
    All,
}

impl Who {
    const ALL: [(&'static str, Self); 4] = [
        ("alone", Self::Nobody),
        ("beside five that misbehave", Self::AllButLoud),
        ("beside 500/s of 100 KB", Self::LoudAlone),
        ("beside all six", Self::All),
    ];
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    prepare(&args.common)?;
    block_on(async {
        let mut table = Table::new([
            "quiet tenants",
            "acked",
            "ack p50",
            "ack p90",
            "ack p99",
            "x alone",
            "delivery p50",
            "delivery p90",
            "delivery p99",
            "x alone",
            "large events/s",
        ]);
        let mut alone = None;
        for (name, who) in Who::ALL {
            let mut rounds = Vec::new();
            for _ in 0..args.rounds {
                rounds.push(measure(&args, who).await?);
            }
            let middle = |what: &dyn Fn(&Seen) -> f64| median(rounds.iter().map(what).collect());
            let at = |which: fn(&Seen) -> Vec<f64>, part: f64| middle(&|seen| quantile(&which(seen), part));
            let acks = |seen: &Seen| seen.acks.clone();
            let deliveries = |seen: &Seen| seen.deliveries.clone();
            let p90s = (at(acks, 0.9), at(deliveries, 0.9));
            let (ack, delivery) = *alone.get_or_insert(p90s);
            let ms = |seconds: f64| format!("{:.2} ms", 1e3 * seconds);
            table.row(&[
                name.to_owned(),
                format!(
                    "{:.0} of {:.0}",
                    middle(&|seen| seen.acks.len() as f64),
                    middle(&|seen| seen.pushed as f64)
                ),
                ms(at(acks, 0.5)),
                ms(p90s.0),
                ms(at(acks, 0.99)),
                format!("{:.1}", p90s.0 / ack),
                ms(at(deliveries, 0.5)),
                ms(p90s.1),
                ms(at(deliveries, 0.99)),
                format!("{:.1}", p90s.1 / delivery),
                format!("{:.0}", middle(&|seen| seen.loud as f64 / args.seconds as f64)),
            ]);
        }
        table.print();
        Ok(())
    })
}

/// What the quiet tenants saw, in seconds, ascending.
struct Seen {
    pushed: u64,
    acks: Vec<f64>,
    deliveries: Vec<f64>,
    loud: u64,
}

async fn measure(args: &Args, who: Who) -> Outcome<Seen> {
    let handlers =
        [Stage::handler().await?, Stage::handler().await?, Stage::handler().await?, Stage::handler().await?];
    let [quiet_handler, well, dead, hanging] = &handlers;
    dead.outage(Outage::Refuse);
    hanging.outage(Outage::Hang);
    let tenants = args.common.tenants as usize;
    let total = args.common.with_tenants(args.common.tenants + TROUBLE);
    // Numbers count from 1; behind the quiet tenants come the others, in the order of `begin`.
    let url_of = |number: u32| match (number as usize).checked_sub(tenants + 1) {
        None => quiet_handler.url(),
        Some(1 | 5) => dead.url(),
        Some(4) => hanging.url(),
        Some(_) => well.url(),
    };
    let stage = Stage::with_handlers(&total, url_of).await?;
    let client = Client::start(Kind::Taut, &stage, &total).await?;
    let (quiet, trouble) = stage.apps.split_at(tenants);
    // Connections to handlers are open, pages are mapped.
    for app in quiet {
        app.load(Load { rate: 100.0, count: Some(5), ..Load::default() }).finished().await;
    }
    let running = begin(trouble, who);
    sleep(Duration::from_secs(2)).await;
    let loud = trouble[0].totals().acked;
    let begins = stage.sim.journal().elapsed();
    let loads: Vec<_> = quiet
        .iter()
        .map(|app| {
            let rate = args.rate / tenants as f64;
            app.load(Load { rate, time: Some(Duration::from_secs(args.seconds)), ..Load::default() })
        })
        .collect();
    for load in &loads {
        load.finished().await;
    }
    let loud = trouble[0].totals().acked - loud;
    sleep(Duration::from_secs(1)).await;
    let seen = seen(&stage, quiet, quiet_handler, begins, loud);
    drop(running);
    drop(client); // a drain would wait for the handler that hangs
    Ok(seen)
}

/// Loads and tasks of those that misbehave; they end with this.
struct Running {
    loads: Vec<LoadHandle>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.loads.clear();
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn begin(trouble: &[AppHandle], who: Who) -> Running {
    let [loud, dead, flapping, revoked, hanging, overflowing] = trouble else { unreachable!("six of them") };
    let mut running = Running { loads: Vec::new(), tasks: Vec::new() };
    if matches!(who, Who::LoudAlone | Who::All) {
        running.tasks.push(tokio::spawn(shout(loud.clone())));
    }
    if matches!(who, Who::AllButLoud | Who::All) {
        let often = Load { rate: 100.0, ..Load::default() };
        running.loads.extend([dead, flapping, hanging].map(|app| app.load(often.clone())));
        running.loads.push(overflowing.load(Load { rate: 1_000.0, ..Load::default() }));
        revoked.revoke_token("token_revoked");
        revoked.drop_tcp();
        let flapping = flapping.clone();
        running.tasks.push(tokio::spawn(async move {
            loop {
                flapping.drop_tcp();
                sleep(Duration::from_millis(250)).await;
            }
        }));
    }
    running
}

async fn shout(app: AppHandle) {
    let padding = "x".repeat(LOUD_BYTES);
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / LOUD_RATE));
    for number in 0_u64.. {
        pace.tick().await;
        if app.unacked() >= UNACKED_MAX {
            continue;
        }
        app.push(Push::raw(format!(
            r#"{{"type":"event_callback","api_app_id":"{}","event_id":"Ev0LOUD{number}","event":{{"type":"message","channel":"C{}","text":"{padding}"}}}}"#,
            app.id(),
            number % 8
        )));
    }
}

fn seen(stage: &Stage, quiet: &[AppHandle], handler: &EchoHandler, begins: Duration, loud: u64) -> Seen {
    // Two clocks that both count from their start: what lies between them is the same for all.
    let between = stage.sim.journal().elapsed().as_secs_f64() - handler.elapsed().as_secs_f64();
    let mut taken: HashMap<_, f64> = HashMap::new();
    for request in handler.take_requests() {
        taken.entry(request.key).or_insert(request.at.as_secs_f64() + between);
    }
    let (mut acks, mut deliveries, mut pushed) = (Vec::new(), Vec::new(), 0);
    for app in quiet {
        for sent in stage.sim.journal().envelopes(Some(app.id())) {
            if sent.at < begins {
                continue;
            }
            pushed += u64::from(sent.retry_attempt == 0);
            if let End::Acked(ack) = &sent.end {
                acks.push(ack.after.as_secs_f64());
            }
            if let Some(at) = taken.get(&sent.dedup_id) {
                deliveries.push(at - sent.at.as_secs_f64());
            }
        }
    }
    acks.sort_by(f64::total_cmp);
    deliveries.sort_by(f64::total_cmp);
    Seen { pushed, acks, deliveries, loud }
}

fn quantile(ascending: &[f64], part: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a short list")]
    let at = (ascending.len() as f64 * part) as usize;
    ascending.get(at.min(ascending.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
