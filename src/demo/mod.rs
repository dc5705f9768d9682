//! `taut demo`: the whole path on this machine, with faults, reconciled at the end.
//!
//! ```text
//! this process                                     a real worker process
//! simulated Slack ══ws══► (journal: sent, acked)   taut run --config …
//! echo handlers ◄──HTTP── (record: delivered)      disk store in a temporary directory
//! ```
//! The summary trusts neither side of taut: what was acked comes from the simulated Slack's journal, what was
//! delivered from the handlers' own record.

mod plan;
mod stage;
mod summary;
mod view;
pub mod worker;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::{Failure, Outcome};

/// Most envelopes of one demo, well below what the journal and the handlers' record keep.
const ENVELOPES_MAX: u64 = 500_000;

/// `taut demo`
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Tenants, each with its own simulated Slack app and handler.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub tenants: u32,
    /// Envelopes per second, all tenants together.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub rate: u32,
    /// How long the load lasts, in seconds; the faults are spread over it.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(10..=3600))]
    pub seconds: u64,
    /// Keep the worker's directory (configuration, store, log) and say where it is.
    #[arg(long)]
    pub keep: bool,
}

/// Runs the demo to its summary.
///
/// # Errors
/// If it cannot be set up. A loss is exit code 1, not an error.
pub async fn run(args: DemoArgs) -> Outcome {
    if u64::from(args.rate) * args.seconds > ENVELOPES_MAX {
        return Err(Failure::refused(format!(
            "taut: --rate times --seconds must be at most {ENVELOPES_MAX}: every envelope is kept for the reckoning"
        )));
    }
    let mut stage = stage::Stage::build(&args).await?;
    let seen = plan::play(&mut stage, Duration::from_secs(args.seconds)).await;
    let whole = match seen {
        Ok(seen) => {
            let summary = summary::Summary::of(&stage, &seen);
            print!("{}", summary.text());
            summary.is_whole()
        }
        Err(error) => {
            eprintln!("taut demo: {error}\nthe worker's log ends:\n{}", stage.worker_log_tail());
            false
        }
    };
    if let Some(directory) = stage.close(args.keep).await {
        println!("kept: {}", directory.display());
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
