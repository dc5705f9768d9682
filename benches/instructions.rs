//! Instructions per stored-and-acked envelope, beside a bare read-and-ack loop.
//!
//! Counted by callgrind, so in user mode only; the slope between two numbers of envelopes, so that start and end cancel
//! out. Events of 1.9 KB, 64 unacked on each socket. See docs/benchmarks.md.

mod support;

use std::time::Duration;

use clap::Parser;
use support::args::Common;
use support::client::{Client, Kind, block_on, prepare};
use support::stage::{Route, Stage};
use support::table::{Table, grouped};
use support::{Failure, Outcome};
use tokio::time::sleep;

/// Instructions per stored-and-acked envelope
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Envelopes of the shorter run
    #[arg(long, default_value_t = 5_000)]
    from: u64,
    /// Envelopes of the longer run
    #[arg(long, default_value_t = 15_000)]
    to: u64,
    /// Keep callgrind's output of the longer runs in this directory
    #[arg(long)]
    keep: Option<std::path::PathBuf>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Bare,
    BareBatched,
    /// No route wants it: the dedup key is stored.
    Key,
    /// Its route is paused: the envelope is stored, delivery waits.
    Stored,
    /// Stored, acked, posted to a handler, committed.
    Delivered,
}

impl Case {
    const ALL: [Self; 5] = [Self::Bare, Self::BareBatched, Self::Key, Self::Stored, Self::Delivered];

    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop, one write per ack",
            Self::BareBatched => "bare loop, acks batched",
            Self::Key => "taut, no route: key stored, acked",
            Self::Stored => "taut, envelope stored, acked",
            Self::Delivered => "taut, stored, acked, delivered",
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::BareBatched => "batched",
            Self::Key => "key",
            Self::Stored => "stored",
            Self::Delivered => "delivered",
        }
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    prepare(&args.common)?;
    block_on(bench(&args))
}

async fn bench(args: &Args) -> Outcome {
    let mut table = Table::new(["user instructions (callgrind)", "per envelope", "x bare loop", "x batched"]);
    let mut yardsticks = Vec::new();
    for case in Case::ALL {
        let short = count(case, args.from, args, None).await?;
        let long = count(case, args.to, args, args.keep.as_deref()).await?;
        let slope = (long as f64 - short as f64) / (args.to - args.from) as f64;
        if matches!(case, Case::Bare | Case::BareBatched) {
            yardsticks.push(slope);
        }
        let ratio = |place: usize| {
            yardsticks.get(place).map_or_else(String::new, |bare| format!("{:.2}", slope / bare))
        };
        table.row(&[case.name().to_owned(), grouped(slope), ratio(0), ratio(1)]);
    }
    table.print();
    Ok(())
}

/// Instructions of a whole run with this many envelopes.
async fn count(case: Case, envelopes: u64, args: &Args, keep: Option<&std::path::Path>) -> Outcome<u64> {
    let (kind, route) = match case {
        Case::Bare => (Kind::Bare, Route::Unmatched),
        Case::BareBatched => (Kind::BareBatched, Route::Unmatched),
        Case::Key => (Kind::Taut, Route::Unmatched),
        Case::Stored | Case::Delivered => (Kind::Taut, Route::ToHandler),
    };
    let stage = Stage::new(&args.common, route).await?;
    let client = Client::start_counted(kind, &stage, &args.common).await?;
    if case == Case::Stored {
        stage.pause_routes().await?;
    }
    stage.push(envelopes).await?;
    if case == Case::Delivered {
        stage.until("deliveries", envelopes, Stage::delivered).await?;
        // The commits of the last answers.
        sleep(Duration::from_millis(200)).await;
    }
    let instructions = client.stop_counted().await?;
    if let Some(directory) = keep {
        std::fs::create_dir_all(directory)?;
        std::fs::copy(stage.path("callgrind.out"), directory.join(format!("callgrind.{}", case.file())))?;
    }
    Ok(instructions)
}
