//! A handler slower than the input, for long enough to meet the limits: acks go on, memory stays. A minute and a half
//! at most. See docs/benchmarks.md.

mod support;

use std::time::Duration;

use clap::Parser;
use support::args::Common;
use support::client::{Client, Kind, block_on, prepare};
use support::stage::{Route, Settings, Stage, steady};
use support::table::{Table, grouped};
use support::{Failure, Outcome};
use taut_sim::{Load, Outage};
use tokio::time::{Instant, sleep};

/// Limits that are met within seconds: 100 envelopes for each tenant, the rest as dead letters.
const SMALL: &str = "[queue]\nenvelopes_max = 100\n[dead_letters]\nbytes_max = \"1GiB\"\n";

/// A handler slower than the input
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Events per second
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,
    /// Milliseconds that the handler takes for each
    #[arg(long, default_value_t = 500)]
    slow_ms: u64,
    /// Seconds between two rows
    #[arg(long, default_value_t = 10)]
    step: u64,
    /// Rows
    #[arg(long, default_value_t = 6)]
    steps: u32,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    prepare(&args.common)?;
    block_on(bench(&args))
}

async fn bench(args: &Args) -> Outcome {
    let stage = Stage::new(&args.common, Route::ToHandler).await?;
    let settings = Settings { more: SMALL, ..Settings::default() };
    stage.configure("taut", 1..=args.common.tenants, Route::ToHandler, &settings)?;
    let client = Client::start(Kind::Taut, &stage, &args.common).await?;
    stage.handler.outage(Outage::Slow(Duration::from_millis(args.slow_ms)));
    let head = format!("{} events/s, handler {} ms, by the second", grouped(args.rate), args.slow_ms);
    let mut table = Table::new([&*head, "acks/s", "delivered/s", "acked, not delivered", "resident MiB"]);
    let load = stage.sim.load(Load { time: None, ..steady(args.rate, Duration::MAX) });
    let started = Instant::now();
    for _ in 0..args.steps {
        let (began, acked, delivered) = (Instant::now(), stage.acked(), stage.delivered());
        sleep(Duration::from_secs(args.step)).await;
        let took = began.elapsed().as_secs_f64();
        table.row(&[
            format!("{:.0}", started.elapsed().as_secs_f64()),
            grouped((stage.acked() - acked) as f64 / took),
            grouped((stage.delivered() - delivered) as f64 / took),
            grouped((stage.acked() - stage.delivered()) as f64),
            format!("{:.1}", client.resident_kib() as f64 / 1024.0),
        ]);
    }
    let pushed = load.stop().await;
    stage.until("acks", pushed, Stage::acked).await?;
    table.print();
    stage.handler.outage(Outage::None);
    client.stop().await
}
