//! The whole way: receive, store, ack, POST over keep-alive, commit. Processor time per event with a quick handler,
//! and whether the acks keep pace when the handler is slower than the input. See docs/benchmarks.md.

mod support;

use std::time::Duration;

use clap::Parser;
use support::args::Common;
use support::client::{Client, Kind, block_on, prepare};
use support::stage::{Route, Stage, burst, steady};
use support::table::{Table, grouped, median};
use support::{Failure, Outcome};
use taut_sim::{Load, Outage};
use tokio::time::{Instant, sleep};

/// Processor time per event from socket to handler
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
    /// Events per second while the handler is slow
    #[arg(long, default_value_t = 4_000.0)]
    slow_input: f64,
    /// How long the slow handler takes for each event, in milliseconds
    #[arg(long, default_value_t = 500)]
    slow_ms: u64,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    prepare(&args.common)?;
    block_on(async {
        quick_handler(&args).await?;
        slow_handler(&args).await
    })
}

async fn quick_handler(args: &Args) -> Outcome {
    let mut table = Table::new(["quick handler", "delivered/s", "worker CPU", "CPU µs per event"]);
    let loads = [("500 events/s", 500.0), ("2,000 events/s", 2_000.0), ("as fast as it goes", f64::INFINITY)];
    for (name, rate) in loads {
        let mut rounds = Vec::new();
        for _ in 0..args.rounds {
            rounds.push(deliver(args, rate).await?);
        }
        let middle = |what: fn(&Delivered) -> f64| median(rounds.iter().map(what).collect());
        table.row(&[
            name.to_owned(),
            grouped(middle(|seen| seen.per_second)),
            format!("{:.0} %", 100.0 * middle(|seen| seen.busy)),
            format!("{:.0}", 1e6 * middle(|seen| seen.cpu_per_event)),
        ]);
    }
    table.print();
    Ok(())
}

struct Delivered {
    per_second: f64,
    busy: f64,
    cpu_per_event: f64,
}

/// Counts from the first event to the last delivery, so that no work for these events is left out.
async fn deliver(args: &Args, rate: f64) -> Outcome<Delivered> {
    let stage = Stage::new(&args.common, Route::ToHandler).await?;
    let client = Client::start(Kind::Taut, &stage, &args.common).await?;
    stage.push(u64::from(args.common.tenants) * 10).await?; // until connections to the handler are open
    stage.until("deliveries", stage.acked(), Stage::delivered).await?;
    let (began, delivered, cpu) = (Instant::now(), stage.delivered(), client.cpu());
    let load = stage.sim.load(Load { time: Some(Duration::from_secs(args.seconds)), ..rated(rate) });
    load.finished().await;
    stage.until("deliveries", delivered + load.pushed(), Stage::delivered).await?;
    let (took, delivered, cpu) = (began.elapsed(), stage.delivered() - delivered, client.cpu_since(cpu));
    client.stop().await?;
    Ok(Delivered {
        per_second: delivered as f64 / took.as_secs_f64(),
        busy: cpu.as_secs_f64() / took.as_secs_f64(),
        cpu_per_event: cpu.as_secs_f64() / delivered.max(1) as f64,
    })
}

fn rated(rate: f64) -> Load {
    if rate.is_infinite() { burst() } else { steady(rate, Duration::MAX) }
}

/// Acks and deliveries of each second, with a handler that cannot keep up.
async fn slow_handler(args: &Args) -> Outcome {
    const SECONDS: usize = 10;
    let stage = Stage::new(&args.common, Route::ToHandler).await?;
    let client = Client::start(Kind::Taut, &stage, &args.common).await?;
    stage.handler.outage(Outage::Slow(Duration::from_millis(args.slow_ms)));
    let load = stage.sim.load(Load { time: None, ..steady(args.slow_input, Duration::MAX) });
    sleep(Duration::from_secs(1)).await;
    let (mut acks, mut deliveries) = (Vec::new(), Vec::new());
    for _ in 0..SECONDS {
        let (began, acked, delivered) = (Instant::now(), stage.acked(), stage.delivered());
        sleep(Duration::from_secs(1)).await;
        let took = began.elapsed().as_secs_f64();
        acks.push((stage.acked() - acked) as f64 / took);
        deliveries.push((stage.delivered() - delivered) as f64 / took);
    }
    let pushed = load.stop().await;
    stage.until("acks", pushed, Stage::acked).await?;
    client.stop().await?;
    let least = acks.iter().copied().fold(f64::INFINITY, f64::min);
    let mut table = Table::new([
        "slow handler",
        "events/s in",
        "acks/s, median",
        "acks/s, worst second",
        "delivered/s, median",
    ]);
    table.row(&[
        format!("answers after {} ms", args.slow_ms),
        grouped(args.slow_input),
        grouped(median(acks)),
        grouped(least),
        grouped(median(deliveries)),
    ]);
    table.print();
    Ok(())
}
