//! Ten thousand idle tenants on one host, in two worker processes, over TLS: memory, processor time, descriptors. The
//! simulated Slack needs two gigabytes and 11,000 descriptors of its own. Ten minutes at most. See docs/benchmarks.md.

mod support;

use std::time::Duration;

use clap::Parser;
use support::args::Common;
use support::client::{Client, block_on, log_tail, prepare};
use support::stage::{Route, Settings, Stage};
use support::table::Table;
use support::{Failure, Outcome, process};
use tokio::time::{Instant, sleep};

/// Ten thousand idle tenants in two processes
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Tenants in all
    #[arg(long, default_value_t = 10_000)]
    count: u32,
    /// Seconds of rest before memory is read, and over which processor time is counted
    #[arg(long, default_value_t = 60)]
    rest: u64,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    prepare(&args.common)?;
    block_on(bench(&args))
}

async fn bench(args: &Args) -> Outcome {
    let common = args.common.with_tenants(args.count);
    let stage = Stage::over_tls(&common, Route::Unmatched).await?;
    let half = args.count / 2;
    let halves = [("one", 1..=half), ("two", half + 1..=args.count)];
    let began = Instant::now();
    let mut workers = Vec::new();
    for (name, tenants) in halves {
        stage.configure(name, tenants, Route::Unmatched, &Settings::default())?;
        workers.push((name, Client::worker(name, &stage, &common)?));
    }
    stage
        .connected()
        .await
        .map_err(|error| -> Failure { format!("{error}; {}", log_tail(&stage)).into() })?;
    let up = began.elapsed();
    sleep(Duration::from_secs(args.rest / 2)).await;
    let (rested, cpus) = (Instant::now(), workers.iter().map(|(_, worker)| worker.cpu()).collect::<Vec<_>>());
    sleep(Duration::from_secs(args.rest)).await;
    let rested = rested.elapsed().as_secs_f64();
    let head = format!("{} idle tenants, up in {:.0} s", args.count, up.as_secs_f64());
    let mut table = Table::new([
        &*head,
        "resident MiB",
        "KiB per tenant",
        "CPU, ms per second",
        "descriptors",
        "threads",
    ]);
    for ((name, worker), cpu) in workers.iter().zip(cpus) {
        let resident = worker.resident_kib() as f64;
        table.row(&[
            format!("worker {name}"),
            format!("{:.0}", resident / 1024.0),
            format!("{:.1}", resident / f64::from(half)),
            format!("{:.1}", worker.cpu_since(cpu).as_secs_f64() * 1e3 / rested),
            process::descriptors(worker.pid()).to_string(),
            process::threads(worker.pid()).to_string(),
        ]);
    }
    table.print();
    for (_, worker) in workers {
        worker.stop().await?;
    }
    Ok(())
}
