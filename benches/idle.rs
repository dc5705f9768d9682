//! What an idle tenant costs over TLS: resident memory as a slope between two numbers of tenants, after hello and after
//! ten envelopes of 2 KB each; processor time at rest. Beside the bare loop. See docs/benchmarks.md.

mod support;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use support::Failure;
use support::Outcome;
use support::args::Common;
use support::client::{Client, Kind, block_on, prepare};
use support::stage::{Route, Stage, steady};
use support::table::Table;
use taut_sim::Load;
use tokio::time::{Instant, sleep};

/// Memory and processor time of idle tenants over TLS
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Tenants of the smaller run
    #[arg(long, default_value_t = 200)]
    from: u32,
    /// Tenants of the larger run
    #[arg(long, default_value_t = 1_000)]
    to: u32,
    /// Seconds of rest before memory is read, and over which processor time is counted
    #[arg(long, default_value_t = 20)]
    rest: u64,
    /// Measures this case alone
    #[arg(long, value_enum)]
    only: Option<Case>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    Bare,
    Unrouted,
    Delivered,
}

impl Case {
    const ALL: [Self; 3] = [Self::Bare, Self::Unrouted, Self::Delivered];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop",
            Self::Unrouted => "taut, no route",
            Self::Delivered => "taut, delivered to a handler",
        }
    }

    fn client(self) -> (Kind, Route) {
        match self {
            Self::Bare => (Kind::Bare, Route::Unmatched),
            Self::Unrouted => (Kind::Taut, Route::Unmatched),
            Self::Delivered => (Kind::Taut, Route::ToHandler),
        }
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    prepare(&args.common)?;
    block_on(bench(&args))
}

async fn bench(args: &Args) -> Outcome {
    let slope_head = format!("KiB per tenant, {} to {}", args.from, args.to);
    let mut memory = Table::new([&*slope_head, "after hello", "after ten envelopes"]);
    let mut rest = Table::new(["at rest, ms of CPU per second", "smaller run", "larger run"]);
    for case in Case::ALL.into_iter().filter(|case| args.only.is_none_or(|only| only == *case)) {
        let (name, (kind, route)) = (case.name(), case.client());
        let small = measure(kind, route, args, args.from).await?;
        let large = measure(kind, route, args, args.to).await?;
        let slope = |what: fn(&Idle) -> u64| {
            format!("{:.1}", (what(&large) as f64 - what(&small) as f64) / f64::from(args.to - args.from))
        };
        memory.row(&[name.to_owned(), slope(|idle| idle.hello_kib), slope(|idle| idle.used_kib)]);
        let busy = |idle: &Idle| format!("{:.1}", idle.cpu_share * 1e3);
        rest.row(&[name.to_owned(), busy(&small), busy(&large)]);
    }
    memory.print();
    rest.print();
    Ok(())
}

struct Idle {
    /// Resident after every tenant's hello.
    hello_kib: u64,
    /// Resident after ten envelopes of 2 KB for each tenant, and a rest.
    used_kib: u64,
    /// Processor time per time at rest.
    cpu_share: f64,
}

async fn measure(kind: Kind, route: Route, args: &Args, tenants: u32) -> Outcome<Idle> {
    const ENVELOPES_EACH: u64 = 10;
    const PER_SECOND: f64 = 2_000.0;
    let common = args.common.with_tenants(tenants);
    let rest = Duration::from_secs(args.rest);
    let stage = Stage::over_tls(&common, route).await?;
    let client = Client::start(kind, &stage, &common).await?;
    sleep(rest / 4).await; // until what starting took is given back
    let hello_kib = client.resident_kib();
    let (began, cpu) = (Instant::now(), client.cpu());
    sleep(rest).await;
    let cpu_share = client.cpu_since(cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let count = u64::from(tenants) * ENVELOPES_EACH;
    let load = stage.sim.load(Load { count: Some(count), time: None, ..steady(PER_SECOND, Duration::MAX) });
    load.finished().await;
    stage.until("acks", count, Stage::acked).await?;
    if (kind, route) == (Kind::Taut, Route::ToHandler) {
        stage.until("deliveries", count, Stage::delivered).await?;
    }
    sleep(rest).await;
    let used_kib = client.resident_kib();
    client.stop().await?;
    Ok(Idle { hello_kib, used_kib, cpu_share })
}
