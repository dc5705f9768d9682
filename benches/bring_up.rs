//! How fast many tenants come up over TLS (open call, dial, hello) with the start gate opened wide, beside the bare loop;
//! and how a thousand that are all dropped at once come back through the gate. Two minutes at most. See
//! docs/benchmarks.md.

mod support;

use std::time::Duration;

use clap::Parser;
use support::Outcome;
use support::args::Common;
use support::client::{Client, Kind, block_on, prepare};
use support::stage::{Route, Settings, Stage};
use support::table::{Table, median};
use support::{Failure, stage};
use taut_sim::{Act, NoteKind};
use tokio::time::{Instant, sleep};

/// Tenants coming up, and coming back
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Tenants that come up
    #[arg(long, default_value_t = 1_000)]
    count: u32,
    /// Times each is measured
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The gate's pace when all are dropped, in opens per second
    #[arg(long, default_value_t = 100)]
    gate: u32,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    prepare(&args.common)?;
    block_on(async {
        bring_up(&args).await?;
        drop_all(&args).await
    })
}

async fn bring_up(args: &Args) -> Outcome {
    let head = format!("{} tenants up over TLS, gate wide open", args.count);
    let mut table =
        Table::new([&*head, "seconds", "x bare loop", "client CPU, ms per tenant", "x bare loop"]);
    let mut bare: Option<(f64, f64)> = None;
    for (name, kind) in [("bare loop, one after the other", Kind::Bare), ("taut", Kind::Taut)] {
        let (mut seconds, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            let (took, used) = up(kind, args).await?;
            seconds.push(took.as_secs_f64());
            cpu.push(used.as_secs_f64() * 1e3 / f64::from(args.count));
        }
        let (seconds, cpu) = (median(seconds), median(cpu));
        let (of_seconds, of_cpu) = *bare.get_or_insert((seconds, cpu));
        table.row(&[
            name.to_owned(),
            format!("{seconds:.2}"),
            format!("{:.2}", seconds / of_seconds),
            format!("{cpu:.2}"),
            format!("{:.2}", cpu / of_cpu),
        ]);
    }
    table.print();
    Ok(())
}

/// From the process's start to the last hello; and the client's processor time until then.
async fn up(kind: Kind, args: &Args) -> Outcome<(Duration, Duration)> {
    let common = args.common.with_tenants(args.count);
    let stage = Stage::over_tls(&common, Route::Unmatched).await?;
    let wide = Settings { opens_per_second: 10_000, ..Settings::default() };
    stage.configure("taut", 1..=args.count, Route::Unmatched, &wide)?;
    let began = Instant::now();
    let client = Client::start(kind, &stage, &common).await?;
    let (took, cpu) = (began.elapsed(), client.cpu());
    client.stop().await?;
    Ok((took, cpu))
}

/// Every TCP connection ends at once, and everybody wants a new one.
async fn drop_all(args: &Args) -> Outcome {
    let common = args.common.with_tenants(args.count);
    let stage = Stage::over_tls(&common, Route::Unmatched).await?;
    let paced = Settings { opens_per_second: args.gate, ..Settings::default() };
    stage.configure("taut", 1..=args.count, Route::Unmatched, &paced)?;
    let client = Client::start(Kind::Taut, &stage, &common).await?;
    sleep(Duration::from_secs(1)).await;
    let (opened, began) = (opens(&stage).len(), Instant::now());
    stage.sim.act(&Act::Drop);
    sleep(stage::LOOK_EVERY).await;
    stage.connected().await?;
    let took = began.elapsed().as_secs_f64();
    let again = opens(&stage).split_off(opened);
    let limited = again.iter().filter(|(_, outcome)| outcome == "ratelimited").count();
    let mut table = Table::new([
        "all dropped at once",
        "seconds to the last hello",
        "at the gate's pace",
        "opens",
        "most opens in a second",
        "answered 429",
    ]);
    table.row(&[
        format!("{} tenants, gate {}/s", args.count, args.gate),
        format!("{took:.1}"),
        format!("{:.1}", f64::from(args.count) / f64::from(args.gate)),
        again.len().to_string(),
        busiest(&again).to_string(),
        limited.to_string(),
    ]);
    table.print();
    client.stop().await
}

/// Every call of `apps.connections.open`, with its time and outcome.
fn opens(stage: &Stage) -> Vec<(Duration, String)> {
    let notes = stage.sim.journal().notes(None);
    let open = |note: taut_sim::Note| {
        let NoteKind::Open { outcome } = note.kind else { return None };
        Some((note.at, outcome))
    };
    notes.into_iter().filter_map(open).collect()
}

/// The most opens in any span of a second.
fn busiest(opens: &[(Duration, String)]) -> usize {
    let within = |first: usize| {
        let until = opens[first].0 + Duration::from_secs(1);
        opens[first..].iter().take_while(|(at, _)| *at < until).count()
    };
    (0..opens.len()).map(within).max().unwrap_or(0)
}
