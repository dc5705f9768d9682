//! Acks per second and ack latency, beside a bare read-and-ack loop and the disk's own sync time.
//!
//! Client on one core, simulated Slack on another; events of 1.9 KB. Rounds alternate between the clients, the table has
//! the median of the rounds. See docs/benchmarks.md.

mod support;

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use clap::Parser;
use support::args::Common;
use support::client::{Client, Kind, block_on, prepare};
use support::stage::{Route, Stage, burst, steady};
use support::table::{Table, at_share, grouped, median};
use support::{Failure, Outcome};
use taut_sim::{End, Load};
use tokio::time::{Instant, sleep};

/// Acks per second and ack latency
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Unacked envelopes on each socket, at most, in the first table
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
}

/// Who acks, and what is stored before.
#[derive(Debug, Clone, Copy)]
enum Case {
    Bare,
    BareBatched,
    /// No route wants it: the dedup key is stored.
    Key,
    /// Its route is paused: the envelope is stored.
    Stored,
}

impl Case {
    const ALL: [Self; 4] = [Self::Bare, Self::BareBatched, Self::Key, Self::Stored];

    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop, one write per ack",
            Self::BareBatched => "bare loop, acks batched",
            Self::Key => "taut, no route: key stored, acked",
            Self::Stored => "taut, envelope stored, acked",
        }
    }

    async fn start(self, common: &Common) -> Outcome<(Stage, Client)> {
        let (kind, route) = match self {
            Self::Bare => (Kind::Bare, Route::Unmatched),
            Self::BareBatched => (Kind::BareBatched, Route::Unmatched),
            Self::Key => (Kind::Taut, Route::Unmatched),
            Self::Stored => (Kind::Taut, Route::ToHandler),
        };
        let stage = Stage::new(common, route).await?;
        let client = Client::start(kind, &stage, common).await?;
        if matches!(self, Self::Stored) {
            stage.pause_routes().await?;
        }
        Ok((stage, client))
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    prepare(&args.common)?;
    block_on(async {
        disk(&args).await?;
        burst_table(&args).await?;
        for rate in [1_000.0, 5_000.0] {
            latency_table(&args, rate).await?;
        }
        Ok(())
    })
}

/// The disk's own time for a write of 4 KiB and its sync: what no durable ack can be faster than.
async fn disk(args: &Args) -> Outcome {
    const WRITES: usize = 300;
    let stage = Stage::new(&args.common.with_tenants(1), Route::Unmatched).await?;
    let mut file = File::create(stage.path("sync"))?;
    let mut times = Vec::new();
    for _ in 0..WRITES {
        let began = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!(
        "write of 4 KiB and fdatasync: p50 {}, p90 {}",
        millis(at_share(&times, 0.5)),
        millis(at_share(&times, 0.9))
    );
    Ok(())
}

async fn burst_table(args: &Args) -> Outcome {
    let head = format!("as fast as it goes, {} unacked per socket", args.in_flight);
    let mut table = Table::new([&*head, "acks/s", "client CPU", "CPU µs per ack", "x bare loop"]);
    let mut rounds: [Vec<Burst>; 4] = Default::default();
    for _ in 0..args.rounds {
        for (case, seen) in Case::ALL.into_iter().zip(&mut rounds) {
            seen.push(measure_burst(case, args).await?);
        }
    }
    let middle = |seen: &[Burst], what: fn(&Burst) -> f64| median(seen.iter().map(what).collect());
    let bare = middle(&rounds[0], |seen| seen.cpu_per_ack);
    for (case, seen) in Case::ALL.into_iter().zip(&rounds) {
        let cpu_per_ack = middle(seen, |seen| seen.cpu_per_ack);
        table.row(&[
            case.name().to_owned(),
            grouped(middle(seen, |seen| seen.acks_per_second)),
            format!("{:.0} %", 100.0 * middle(seen, |seen| seen.busy)),
            format!("{:.1}", cpu_per_ack * 1e6),
            format!("{:.2}", cpu_per_ack / bare),
        ]);
    }
    table.print();
    Ok(())
}

struct Burst {
    acks_per_second: f64,
    /// Share of the client's core that it used.
    busy: f64,
    /// Seconds of processor time per ack, user and kernel.
    cpu_per_ack: f64,
}

async fn measure_burst(case: Case, args: &Args) -> Outcome<Burst> {
    let (stage, client) = case.start(&args.common).await?;
    let load = stage.sim.load(Load { in_flight_max: args.in_flight, ..burst() });
    sleep(Duration::from_millis(500)).await; // until buffers and caches are warm
    let (began, acked, cpu) = (Instant::now(), stage.acked(), client.cpu());
    sleep(Duration::from_secs(args.seconds)).await;
    let (took, acked, cpu) = (began.elapsed(), stage.acked() - acked, client.cpu_since(cpu));
    load.stop().await;
    client.stop().await?;
    Ok(Burst {
        acks_per_second: acked as f64 / took.as_secs_f64(),
        busy: cpu.as_secs_f64() / took.as_secs_f64(),
        cpu_per_ack: cpu.as_secs_f64() / acked.max(1) as f64,
    })
}

async fn latency_table(args: &Args, rate: f64) -> Outcome {
    let head = format!("{} envelopes/s over {} tenants", grouped(rate), args.common.tenants);
    let mut table = Table::new([&*head, "acked", "p50", "p90", "p99", "p50 over bare", "p90 over bare"]);
    let mut bare = None;
    for case in Case::ALL {
        let mut rounds = Vec::new();
        for _ in 0..args.rounds {
            rounds.push(measure_latency(case, args, rate).await?);
        }
        let count: usize = rounds.iter().map(Vec::len).sum();
        let at = |share| median(rounds.iter().map(|sorted| at_share(sorted, share).as_secs_f64()).collect());
        let (p50, p90, p99) = (at(0.5), at(0.9), at(0.99));
        let (bare_p50, bare_p90) = *bare.get_or_insert((p50, p90));
        let ms = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
        table.row(&[
            case.name().to_owned(),
            grouped(count as f64),
            ms(p50),
            ms(p90),
            ms(p99),
            ms(p50 - bare_p50),
            ms(p90 - bare_p90),
        ]);
    }
    table.print();
    Ok(())
}

/// From sending to the ack's arrival at the simulated Slack, sorted; without the first second.
async fn measure_latency(case: Case, args: &Args, rate: f64) -> Outcome<Vec<Duration>> {
    const WARM_UP: Duration = Duration::from_secs(1);
    let (stage, client) = case.start(&args.common).await?;
    let load: Load = steady(rate, WARM_UP + Duration::from_secs(args.seconds));
    let load = stage.sim.load(load);
    load.finished().await;
    stage.until("acks", load.pushed(), Stage::acked).await?;
    let envelopes = stage.sim.journal().envelopes(None);
    client.stop().await?;
    let begin = envelopes.first().map_or(WARM_UP, |first| first.at + WARM_UP);
    let mut times: Vec<_> = envelopes
        .iter()
        .filter(|sent| sent.at >= begin)
        .filter_map(|sent| match &sent.end {
            End::Acked(ack) => Some(ack.after),
            End::Waiting | End::Missed(_) => None,
        })
        .collect();
    times.sort_unstable();
    Ok(times)
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
