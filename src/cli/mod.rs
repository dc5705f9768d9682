//! The command line: `docs/cli.md` is generated from these definitions.
//!
//! Exit codes: 0 done, 1 failed, 2 usage or configuration refused.

#[macro_use]
mod say;

mod check;
mod deadletter;
mod doctor;
mod handler;
mod operate;
mod private;
mod reference;
mod run;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use self::reference::reference;

/// Exit code for usage and configuration that was refused.
pub const REFUSED: u8 = 2;

/// taut keeps Slack Socket Mode lines tight: it stores and acks every envelope and hands it to unmodified Request
/// URL code.
#[derive(Debug, Parser)]
#[command(name = "taut", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a worker: hold the tenants' sockets, store, ack and deliver.
    Run(run::RunArgs),
    /// Show the whole path on this machine: simulated Slack, a worker on the disk store, an echo handler.
    Demo(crate::demo::DemoArgs),
    /// Run the simulated Slack alone, or push an envelope through a running one.
    Sim(taut_sim::SimArgs),
    /// Validate configuration and print what is in effect, with the origin of every key.
    Check(check::CheckArgs),
    /// Walk the way from Slack to the handlers and say, step by step, what works and whose fault it is where not.
    ///
    /// Opens no socket and changes nothing; each tenant costs one `apps.connections.open`, paced as a worker's. Works with
    /// a worker running and without. Run it as the worker's user. Exit 0: all is well; 1: something failed.
    Doctor(doctor::DoctorArgs),
    /// Try a handler without Slack.
    #[command(subcommand)]
    Handler(handler::HandlerCommand),
    /// Show the running worker, its store and its tenants.
    Status(operate::StatusArgs),
    /// List, show, replay or drop dead letters.
    #[command(subcommand, name = "deadletter")]
    DeadLetter(deadletter::DeadLetterCommand),
    /// Pause or resume a route, or close its breaker.
    #[command(subcommand)]
    Route(operate::RouteCommand),
    /// List, show, pause or resume tenants.
    #[command(subcommand)]
    Tenant(operate::TenantCommand),
    /// Check, back up or restore the store.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Have the running worker read its configuration files again; a refused one changes nothing.
    Reload(operate::ReloadArgs),
    /// Ask the running worker to drain: take nothing new, finish what is held, stop.
    Drain(operate::DrainArgs),
}

/// How to find the running worker.
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    /// The worker's socket file [default: as its configuration says, else `$RUNTIME_DIRECTORY`, /run/taut, or the store's directory].
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The worker's configuration, to find its socket and store.
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
}

/// Runs the command line to its end.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    crate::logging::redact_panics();
    private::create_for_owner_alone();
    let shut = private::shut_memory();
    let outcome = match cli.command {
        Command::Run(args) => run::run(&args, shut),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => on_runtime(crate::demo::run(args)),
        Command::Sim(args) => {
            on_runtime(async { args.run().await.map_err(|error| Failure::from(error.to_string())) })
        }
        Command::Doctor(args) => on_runtime(doctor::run(args)),
        Command::Handler(command) => on_runtime(handler::run(command)),
        Command::Status(args) => on_runtime(operate::status(args)),
        Command::DeadLetter(command) => on_runtime(deadletter::run(command)),
        Command::Route(command) => on_runtime(operate::route(command)),
        Command::Tenant(command) => on_runtime(operate::tenant(command)),
        Command::Store(command) => on_runtime(store::run(command)),
        Command::Reload(args) => on_runtime(operate::reload(args)),
        Command::Drain(args) => on_runtime(operate::drain(args)),
    };
    match outcome {
        Ok(code) => code,
        Err(Failure { code, text }) => {
            eprintln!("{text}");
            ExitCode::from(code)
        }
    }
}

/// A command that ended badly: the text for the terminal, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// 1 failed, 2 refused.
    pub code: u8,
    /// What happened, whose fault it is, and what to do.
    pub text: String,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self { code: 1, text: format!("taut: {text}") }
    }
}

impl Failure {
    /// Usage or configuration was refused.
    pub fn refused(text: impl std::fmt::Display) -> Self {
        Self { code: REFUSED, text: text.to_string() }
    }
}

/// How a command ends.
pub type Outcome = Result<ExitCode, Failure>;

fn on_runtime(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(command)
}

/// The command line's definition, for generated documentation.
pub fn definition() -> clap::Command {
    Cli::command()
}
