//! `taut deadletter list|show|replay|drop`, by the running worker or with `--offline` on the store itself.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use taut_core::log::{DeadLetter, Log as _};
use taut_core::{Clock, RouteName, Seq, TenantId};

use super::operate::{print_json, worker};
use super::{Failure, Outcome, WorkerArgs};
use crate::admin::letters::{LetterView, Letters};
use crate::admin::{Changed, LetterPick};
use crate::config;
use crate::live::Live;
use crate::paths::environment;

/// `taut deadletter …`
#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// One line for each dead letter: tenant, number, route, kind, reason.
    List(ListArgs),
    /// One dead letter with its attempts and, outside prod, its envelope.
    Show(ShowArgs),
    /// Deliver again to the routes that failed, with a fresh signature, past dedup.
    Replay(PickArgs),
    /// Remove for good.
    Drop(PickArgs),
}

/// Where the dead letters are.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    #[command(flatten)]
    worker: WorkerArgs,
    /// Open the store itself; refused while a worker holds it.
    #[arg(long)]
    offline: bool,
}

/// `taut deadletter list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only this tenant's.
    #[arg(long)]
    tenant: Option<String>,
    /// Print documents instead of lines.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// `taut deadletter show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The tenant.
    tenant: String,
    /// The dead letter's number.
    number: u64,
    /// The route that failed, where several did.
    #[arg(long)]
    route: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Which dead letters.
#[derive(Debug, Args)]
pub struct PickArgs {
    /// The tenant.
    tenant: String,
    /// The dead letter's number; without it (and with --all) every one of the tenant.
    number: Option<u64>,
    /// Only of this route.
    #[arg(long)]
    route: Option<String>,
    /// Every dead letter of the tenant.
    #[arg(long, conflicts_with = "number")]
    all: bool,
    #[command(flatten)]
    store: StoreArgs,
}

impl PickArgs {
    fn pick(&self) -> Result<LetterPick, Failure> {
        if self.number.is_none() && !self.all {
            return Err(Failure::refused("taut: name a dead letter by its number, or say --all"));
        }
        Ok(LetterPick { tenant: self.tenant.clone(), seq: self.number, route: self.route.clone() })
    }
}

pub(super) async fn run(command: DeadLetterCommand) -> Outcome {
    match command {
        DeadLetterCommand::List(args) => list(args).await,
        DeadLetterCommand::Show(args) => show(args).await,
        DeadLetterCommand::Replay(args) => replay(args).await,
        DeadLetterCommand::Drop(args) => discard(args).await,
    }
}

async fn list(args: ListArgs) -> Outcome {
    let mut after: Option<(TenantId, Seq, RouteName)> = None;
    let offline = if args.store.offline { Some(offline(&args.store)?) } else { None };
    loop {
        let page: Vec<DeadLetter> = match &offline {
            Some((letters, _)) => {
                let tenant = args.tenant.as_deref().map(TenantId::new).transpose();
                letters.list(tenant.map_err(|e| e.to_string())?.as_ref(), after.clone(), 1000)?
            }
            None => worker(&args.store.worker)?.get(&list_path(&args, after.as_ref())).await?,
        };
        let Some(last) = page.last() else { return Ok(ExitCode::SUCCESS) };
        after = Some((last.tenant.clone(), last.seq, last.route.clone()));
        for letter in &page {
            print_letter(letter, args.json)?;
        }
    }
}

fn list_path(args: &ListArgs, after: Option<&(TenantId, Seq, RouteName)>) -> String {
    let mut path = "/v1/deadletters?max=1000".to_owned();
    if let Some(tenant) = &args.tenant {
        path.push_str("&tenant=");
        path.push_str(tenant);
    }
    if let Some((tenant, seq, route)) = after {
        write!(path, "&after={tenant}/{seq}/{route}").expect("a String takes every write");
    }
    path
}

fn print_letter(letter: &DeadLetter, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(letter);
    }
    let last = letter.attempts.last().map_or("no attempt", |attempt| attempt.what.as_str());
    say!(
        "{:<20} {:>8} {:<16} {:<18} {:<13} {:>3} attempts, last: {last}",
        letter.tenant,
        letter.seq,
        letter.route,
        letter.kind.name(),
        letter.reason.name(),
        letter.attempts.len()
    );
    Ok(())
}

async fn show(args: ShowArgs) -> Outcome {
    let number = args.number;
    let route = match &args.route {
        Some(route) => route.clone(),
        None => only_route(&args, number).await?,
    };
    let view: Option<LetterView> = if args.store.offline {
        let (letters, _) = offline(&args.store)?;
        let tenant = TenantId::new(&args.tenant).map_err(|error| error.to_string())?;
        let route = RouteName::new(&route).map_err(|error| error.to_string())?;
        letters.show(&tenant, Seq(number), &route)?
    } else {
        let path = format!("/v1/deadletters/{}/{number}/{route}", args.tenant);
        Some(worker(&args.store.worker)?.get(&path).await?)
    };
    let view = view.ok_or_else(|| "there is no such dead letter".to_owned())?;
    print_json(&view)?;
    Ok(ExitCode::SUCCESS)
}

/// The route of the first dead letter with this number; several routes may have failed at one envelope.
async fn only_route(args: &ShowArgs, number: u64) -> Result<String, Failure> {
    let tenant = TenantId::new(&args.tenant).map_err(|error| error.to_string())?;
    // The last place before this number: the listing goes on right after it.
    let last_name = RouteName::new(&"z".repeat(64)).map_err(|error| error.to_string())?;
    let before = Seq(number.saturating_sub(1));
    let page: Vec<DeadLetter> = if args.store.offline {
        offline(&args.store)?.0.list(Some(&tenant), Some((tenant.clone(), before, last_name)), 1)?
    } else {
        let path = format!("/v1/deadletters?tenant={tenant}&max=1&after={tenant}/{before}/{last_name}");
        worker(&args.store.worker)?.get(&path).await?
    };
    let found = page.into_iter().find(|letter| letter.seq == Seq(number));
    found
        .map(|letter| letter.route.to_string())
        .ok_or_else(|| "there is no such dead letter".to_owned().into())
}

async fn replay(args: PickArgs) -> Outcome {
    let pick = args.pick()?;
    let count = if args.store.offline {
        let (letters, config) = offline(&args.store)?;
        let tenant = config.tenants.iter().find(|tenant| tenant.id.as_str() == pick.tenant);
        let tenant = tenant.ok_or_else(|| format!("the configuration has no tenant {}", pick.tenant))?;
        let routes: Vec<_> = tenant.routes.iter().map(|route| route.name.clone()).collect();
        letters.replay(&pick, &routes).await?
    } else {
        let changed: Changed = worker(&args.store.worker)?.post("/v1/deadletters/replay", &pick).await?;
        changed.count
    };
    found(&pick, count)?;
    say!("{count} replayed");
    Ok(ExitCode::SUCCESS)
}

async fn discard(args: PickArgs) -> Outcome {
    let pick = args.pick()?;
    let count = if args.store.offline {
        offline(&args.store)?.0.discard(&pick)?
    } else {
        let changed: Changed = worker(&args.store.worker)?.post("/v1/deadletters/drop", &pick).await?;
        changed.count
    };
    found(&pick, count)?;
    say!("{count} dropped");
    Ok(ExitCode::SUCCESS)
}

/// A number that names nothing is a mistake; all of none is not.
fn found(pick: &LetterPick, count: u64) -> Result<(), Failure> {
    match pick.seq {
        Some(seq) if count == 0 => Err(format!("{} has no dead letter {seq}", pick.tenant).into()),
        Some(_) | None => Ok(()),
    }
}

/// The store itself, with its lock, for as long as the letters live.
fn offline(args: &StoreArgs) -> Result<(Letters, taut_core::config::Config), Failure> {
    let environment = environment();
    let loaded = config::load(&args.worker.config, &environment).map_err(Failure::refused)?;
    let clock: Arc<dyn Clock> = Arc::new(taut_net::clock::BootClock);
    let store = Arc::new(crate::daemon::open_store(&loaded.config, &environment, Arc::clone(&clock))?.0);
    let live = Live::new(loaded.config.clone());
    for tenant in &loaded.config.tenants {
        store.set_limits(&tenant.id, live.limits());
    }
    let letters = Letters { log: store.clone(), dead: store.clone(), registry: store, live, clock };
    Ok((letters, loaded.config))
}
