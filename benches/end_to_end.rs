//! The whole way: receive, store, ack, POST over keep-alive, commit. Processor time per event with a quick handler,
//! and whether the acks keep pace when the handler is slower than the input. See docs/benchmarks.md.

mod support;

use std::time::Duration;

use clap::Parser;
use support::args::Common;
use support::client::{Client, Kind, block_on, prepare};
use support::process;
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
    /// Only the table of lone events
    #[arg(long)]
    lone: bool,
    /// Count the kernel's calls of lone events too, in a round of their own (needs strace)
    #[arg(long)]
    calls: bool,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    prepare(&args.common)?;
    block_on(async {
        if !args.lone {
            quick_handler(&args).await?;
        }
        lone_events(&args).await?;
        if args.lone { Ok(()) } else { slow_handler(&args).await }
    })
}

async fn quick_handler(args: &Args) -> Outcome {
    let mut table = Table::new(["quick handler", "delivered/s", "worker CPU", "CPU µs per event"]);
    let loads = [("500 events/s", 500.0), ("2,000 events/s", 2_000.0), ("as fast as it goes", f64::INFINITY)];
    for (name, rate) in loads {
        let mut rounds = Vec::new();
        for _ in 0..args.rounds {
            rounds.push(deliver(Kind::Taut, args, rate).await?);
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

/// Events that come one by one, beside a loop that makes no call more than each of them needs.
async fn lone_events(args: &Args) -> Outcome {
    let head = ["lone events", "delivered/s", "user µs", "kernel µs", "CPU µs", "x bare way", "sleeps"];
    let mut table = Table::new(head);
    for rate in [100.0, 500.0, 2_000.0] {
        let mut rounds: [Vec<Delivered>; 2] = Default::default();
        for _ in 0..args.rounds {
            for (kind, seen) in [Kind::BareWay, Kind::Taut].into_iter().zip(&mut rounds) {
                seen.push(deliver(kind, args, rate).await?);
            }
        }
        let middle =
            |seen: &[Delivered], what: fn(&Delivered) -> f64| median(seen.iter().map(what).collect());
        let bare = middle(&rounds[0], |seen| seen.cpu_per_event);
        for (name, seen) in ["bare way", "taut"].into_iter().zip(&rounds) {
            let cpu = middle(seen, |seen| seen.cpu_per_event);
            table.row(&[
                format!("{name}, {} events/s", grouped(rate)),
                grouped(middle(seen, |seen| seen.per_second)),
                format!("{:.0}", 1e6 * middle(seen, |seen| seen.user_per_event)),
                format!("{:.0}", 1e6 * middle(seen, |seen| seen.kernel_per_event)),
                format!("{:.0}", 1e6 * cpu),
                format!("{:.2}", cpu / bare),
                format!("{:.1}", middle(seen, |seen| seen.sleeps_per_event)),
            ]);
        }
    }
    table.print();
    if args.calls {
        for kind in [Kind::BareWay, Kind::Taut] {
            calls(kind, args).await?;
        }
    }
    Ok(())
}

/// Prints strace's table of the kernel's calls for 500 events/s. Under strace each call takes long; their number holds.
async fn calls(kind: Kind, args: &Args) -> Outcome {
    let (stage, client) = warm(kind, args).await?;
    let table = stage.path("calls");
    let mut strace = tokio::process::Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-S", "calls", "-p", &client.pid().to_string(), "-o"]);
    let mut strace = strace.arg(&table).kill_on_drop(true).spawn()?;
    sleep(Duration::from_secs(1)).await; // until it has attached to every thread
    let delivered = stage.delivered();
    let load = stage.sim.load(Load { time: Some(Duration::from_secs(args.seconds)), ..rated(500.0) });
    load.finished().await;
    stage.until("deliveries", delivered + load.pushed(), Stage::delivered).await?;
    client.stop().await?;
    strace.wait().await?;
    println!("{kind:?}, {} events:\n{}", load.pushed(), std::fs::read_to_string(table)?);
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Delivered {
    per_second: f64,
    busy: f64,
    cpu_per_event: f64,
    user_per_event: f64,
    kernel_per_event: f64,
    /// How often a thread of the client went to sleep.
    sleeps_per_event: f64,
}

/// A client whose connections to the handler are open.
async fn warm(kind: Kind, args: &Args) -> Outcome<(Stage, Client)> {
    let stage = Stage::new(&args.common, Route::ToHandler).await?;
    let client = Client::start(kind, &stage, &args.common).await?;
    stage.push(u64::from(args.common.tenants) * 10).await?;
    stage.until("deliveries", stage.acked(), Stage::delivered).await?;
    Ok((stage, client))
}

/// Counts from the first event to the last delivery, so that no work for these events is left out.
async fn deliver(kind: Kind, args: &Args, rate: f64) -> Outcome<Delivered> {
    let (stage, client) = warm(kind, args).await?;
    let (began, delivered) = (Instant::now(), stage.delivered());
    let (cpu, sleeps) = (process::cpu_parts(client.pid()), process::sleeps(client.pid()));
    let load = stage.sim.load(Load { time: Some(Duration::from_secs(args.seconds)), ..rated(rate) });
    load.finished().await;
    stage.until("deliveries", delivered + load.pushed(), Stage::delivered).await?;
    let (took, events) = (began.elapsed().as_secs_f64(), (stage.delivered() - delivered) as f64);
    let (cpu_after, sleeps_after) = (process::cpu_parts(client.pid()), process::sleeps(client.pid()));
    let [user, kernel] = [0, 1].map(|part| (cpu_after[part].saturating_sub(cpu[part])).as_secs_f64());
    client.stop().await?;
    let events_min = events.max(1.0);
    Ok(Delivered {
        per_second: events / took,
        busy: (user + kernel) / took,
        cpu_per_event: (user + kernel) / events_min,
        user_per_event: user / events_min,
        kernel_per_event: kernel / events_min,
        sleeps_per_event: sleeps_after.saturating_sub(sleeps) as f64 / events_min,
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
