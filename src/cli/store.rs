//! `taut store check|backup|restore`, on a snapshot that the running worker takes or on the files of a stopped one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use taut_core::Clock as _;
use taut_store::backup::{self, CheckReport, Manifest, Snapshot, Source};

use super::operate::{print_json, worker};
use super::{Failure, Outcome, WorkerArgs};
use crate::admin::Changed;
use crate::causes::with_causes;
use crate::paths::environment;
use crate::{config, paths};

/// `taut store …`
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Read every record and every page, and say what is damaged; changes nothing. Exit 1 if anything is.
    Check(StoreCheckArgs),
    /// Copy the store as it is at this moment to an empty directory, and check the copy.
    Backup(BackupArgs),
    /// Make a store in an empty directory from a backup.
    Restore(RestoreArgs),
}

/// Whose files are read.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    #[command(flatten)]
    worker: WorkerArgs,
    /// Read the configured store's own files; refused while a worker holds them.
    #[arg(long)]
    offline: bool,
    /// Read the files in this directory, such as a backup's; refused while a worker holds them.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["offline", "socket"])]
    state_dir: Option<PathBuf>,
}

/// `taut store check`
#[derive(Debug, Args)]
pub struct StoreCheckArgs {
    /// Print the document instead of lines.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: SourceArgs,
}

/// `taut store backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Where the backup goes: a directory that is empty or not there yet.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    source: SourceArgs,
}

/// `taut store restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Where the store goes: a directory that is empty or not there yet [default: the configured store's].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The worker's configuration, to find its store.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
}

pub(super) async fn run(command: StoreCommand) -> Outcome {
    match command {
        StoreCommand::Check(args) => check(args).await,
        StoreCommand::Backup(args) => back_up(args).await,
        StoreCommand::Restore(args) => restore(&args),
    }
}

async fn check(args: StoreCheckArgs) -> Outcome {
    let report = with_source(&args.source, |source, _| source.check()).await?;
    if args.json {
        print_json(&report)?;
    } else {
        print_report(&report);
    }
    Ok(exit_code(&report))
}

async fn back_up(args: BackupArgs) -> Outcome {
    let to = &args.to;
    let back_up =
        |source: &Source, began_at| backup::back_up(source, to, began_at, env!("CARGO_PKG_VERSION"));
    let manifest = with_source(&args.source, back_up).await?;
    print_report(&manifest.check);
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    say!(
        "backed up to {}: {} files, {bytes} bytes, read again and as they were written",
        to.display(),
        manifest.files.len()
    );
    if !manifest.check.is_whole() {
        eprintln!("taut: the backup holds the damage that the store has; what is not damaged is in it");
    }
    Ok(exit_code(&manifest.check))
}

fn restore(args: &RestoreArgs) -> Outcome {
    let to = match &args.state_dir {
        Some(path) => path.clone(),
        None => configured_store(&args.config)?,
    };
    let now = taut_net::clock::BootClock.wall();
    let restored = backup::restore(&args.from, &to, now).map_err(|error| with_causes(&error))?;
    print_report(&restored.manifest.check);
    print_restored(&to, &restored.manifest);
    Ok(ExitCode::SUCCESS)
}

/// Lets `work` read a store's files at one moment; says when that was.
async fn with_source<T>(
    args: &SourceArgs,
    work: impl FnOnce(&Source, taut_core::WallMs) -> Result<T, backup::BackupError>,
) -> Result<T, Failure> {
    let stopped = match &args.state_dir {
        Some(path) => Some(path.clone()),
        None if args.offline => Some(configured_store(&args.worker.config)?),
        None => None,
    };
    if let Some(path) = stopped {
        let now = taut_net::clock::BootClock.wall();
        let source = Source::stopped(&path).map_err(|error| with_causes(&error))?;
        return Ok(work(&source, now).map_err(|error| with_causes(&error))?);
    }
    let worker = worker(&args.worker)?;
    let snapshot: Snapshot = worker
        .post("/v1/store/snapshot", &())
        .await
        .map_err(|error| format!("{error}\nWith the worker stopped, --offline reads the store itself."))?;
    let result = work(&Source::snapshot(&snapshot), snapshot.taken_at).map_err(|error| with_causes(&error));
    let released: Result<Changed, String> = worker.post("/v1/store/release", &snapshot.number).await;
    if let Err(error) = released {
        eprintln!("taut: {} was not removed ({error}); the worker does it later", snapshot.path.display());
    }
    Ok(result?)
}

fn configured_store(files: &[PathBuf]) -> Result<PathBuf, Failure> {
    let environment = environment();
    let loaded = config::load(files, &environment).map_err(Failure::refused)?;
    Ok(paths::store(&loaded.config, &environment)?)
}

fn exit_code(report: &CheckReport) -> ExitCode {
    if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_report(report: &CheckReport) {
    say!("store {}, epoch {}, {} bytes read", report.store, report.epoch, report.bytes);
    say!(
        "log: {} segments, {} envelopes waiting, {} of them requests, {} unfinished bytes at the end",
        report.segments,
        report.entries + report.open_requests,
        report.open_requests,
        report.torn_bytes
    );
    say!("database: {} dead letters", report.dead_letters);
    for range in &report.damaged {
        let tenant = range.tenant.as_ref().map_or("unknown", |tenant| tenant.as_str());
        let number = range.seq.map_or_else(|| "unknown".to_owned(), |seq| seq.to_string());
        say!(
            "damaged: segment {}, bytes {} to {}, tenant {tenant}, number {number}",
            range.segment,
            range.from,
            range.to
        );
    }
    for fault in &report.database {
        say!("damaged: {fault}");
    }
    if report.is_whole() {
        say!("ok: nothing is damaged");
    }
}

/// What a restore means for whoever did it.
fn print_restored(to: &Path, manifest: &Manifest) {
    say!(
        "restored to {}: the store as it was at {}",
        to.display(),
        humantime::format_rfc3339_seconds(
            std::time::UNIX_EPOCH + std::time::Duration::from_millis(manifest.made_at.0)
        )
    );
    say!(
        "- What was delivered since then is delivered again, under the same Idempotency-Key.\n\
         - What was acked since then is not in it.\n\
         - Envelopes older than delivery.age_max become dead letters; `taut deadletter replay` delivers them.\n\
         - The epoch is above all earlier ones. Never run the old store and this one at the same time."
    );
}
