//! Commands that ask a running worker: status, tenants, routes, drain.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Failure, Outcome, WorkerArgs};
use crate::admin::Changed;
use crate::admin::client::Worker;
use crate::config;
use crate::paths::{self, environment};
use crate::reload::ReloadReport;
use crate::seeing::status::{StatusReport, TenantStatus};

/// `taut status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print the document instead of the table.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub(super) worker: WorkerArgs,
}

/// `taut reload`
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub(super) worker: WorkerArgs,
}

/// `taut drain`
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Wait until the worker has stopped.
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub(super) worker: WorkerArgs,
}

/// `taut route …`
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Start no attempt on this route until it is resumed; its envelopes wait in the backlog.
    Pause(RouteArgs),
    /// Undo a pause or a hold.
    Resume(RouteArgs),
    /// Close the route's breaker and try at once.
    ResetBreaker(RouteArgs),
}

/// Which route.
#[derive(Debug, Args)]
pub struct RouteArgs {
    /// The tenant.
    pub tenant: String,
    /// The route.
    pub route: String,
    #[command(flatten)]
    pub(super) worker: WorkerArgs,
}

/// `taut tenant …`
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// A line for each tenant.
    List(StatusArgs),
    /// Everything known of one tenant.
    Show(TenantArgs),
    /// Close the tenant's sockets and deliver nothing until it is resumed.
    Pause(TenantArgs),
    /// Undo a pause, and try again at once what it is parked or waits for.
    Resume(TenantArgs),
}

/// Which tenant.
#[derive(Debug, Args)]
pub struct TenantArgs {
    /// The tenant.
    pub tenant: String,
    #[command(flatten)]
    pub(super) worker: WorkerArgs,
}

/// The worker that these arguments mean.
pub(super) fn worker(args: &WorkerArgs) -> Result<Worker, Failure> {
    Ok(Worker::at(&socket_path(args)?))
}

fn socket_path(args: &WorkerArgs) -> Result<PathBuf, Failure> {
    if let Some(path) = &args.socket {
        return Ok(path.clone());
    }
    let environment = environment();
    let loaded = config::load(&args.config, &environment).map_err(Failure::refused)?;
    if !args.config.is_empty() {
        return Ok(paths::admin_socket(&loaded.config, &environment)?);
    }
    let usual = Path::new("/run/taut/admin.sock");
    if usual.exists() { Ok(usual.to_owned()) } else { Ok(paths::admin_socket(&loaded.config, &environment)?) }
}

pub(super) async fn status(args: StatusArgs) -> Outcome {
    let report: StatusReport = worker(&args.worker)?.get("/v1/status").await?;
    if args.json {
        print_json(&report)?;
    } else {
        show!("{}", report.table());
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn tenant(command: TenantCommand) -> Outcome {
    match command {
        TenantCommand::List(args) => {
            let report: StatusReport = worker(&args.worker)?.get("/v1/status").await?;
            if args.json {
                print_json(&report.tenants)?;
            } else {
                for tenant in &report.tenants {
                    say!("{:<24} {:<12} {}", tenant.id, tenant.state, tenant.reason);
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        TenantCommand::Show(args) => {
            let report: StatusReport = worker(&args.worker)?.get("/v1/status").await?;
            let found: Option<&TenantStatus> = report.tenants.iter().find(|tenant| tenant.id == args.tenant);
            let tenant = found.ok_or_else(|| format!("there is no tenant {}", args.tenant))?;
            print_json(tenant)?;
            Ok(ExitCode::SUCCESS)
        }
        TenantCommand::Pause(args) => change_tenant(&args, "pause").await,
        TenantCommand::Resume(args) => change_tenant(&args, "resume").await,
    }
}

async fn change_tenant(args: &TenantArgs, order: &str) -> Outcome {
    let path = format!("/v1/tenants/{}/{order}", args.tenant);
    let _changed: Changed = worker(&args.worker)?.post(&path, &()).await?;
    say!("{}: {order} taken", args.tenant);
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn route(command: RouteCommand) -> Outcome {
    let (args, order) = match command {
        RouteCommand::Pause(args) => (args, "pause"),
        RouteCommand::Resume(args) => (args, "resume"),
        RouteCommand::ResetBreaker(args) => (args, "reset-breaker"),
    };
    let path = format!("/v1/tenants/{}/routes/{}/{order}", args.tenant, args.route);
    let _changed: Changed = worker(&args.worker)?.post(&path, &()).await?;
    say!("{}/{}: {order} taken", args.tenant, args.route);
    Ok(ExitCode::SUCCESS)
}

/// Exit code 0: the configuration is in force. 1: it was refused, or something of it could not be done.
pub(super) async fn reload(args: ReloadArgs) -> Outcome {
    let report: ReloadReport = worker(&args.worker)?.post("/v1/reload", &()).await?;
    if args.json {
        print_json(&report)?;
    } else {
        for line in &report.applied {
            say!("{line}");
        }
        for key in &report.needs_restart {
            say!("{key}: needs a restart; its old value stays in force");
        }
        if report == ReloadReport::default() {
            say!("nothing changed but secrets, which were read again");
        }
    }
    for line in &report.trouble {
        eprintln!("taut: {line}");
    }
    Ok(if report.trouble.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) async fn drain(args: DrainArgs) -> Outcome {
    /// How often the socket is asked whether the worker still answers.
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    let worker = worker(&args.worker)?;
    let _changed: Changed = worker.post("/v1/drain", &()).await?;
    say!("the worker drains");
    if args.wait {
        while worker.get::<StatusReport>("/v1/status").await.is_ok() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        say!("the worker has stopped");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    say!("{text}");
    Ok(())
}
