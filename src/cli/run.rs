//! `taut run`: a worker, from configuration files or in its short form.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{Failure, Outcome};
use crate::config::{self, Loaded};
use crate::daemon::{self, RunEnd};
use crate::paths::environment;
use crate::reload::Again;

/// `taut run`
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Configuration files, later ones over earlier ones; without any, defaults and the environment.
    #[arg(long, value_name = "FILE", conflicts_with = "forward")]
    pub config: Vec<PathBuf>,
    /// Short form: one tenant from `SLACK_APP_TOKEN` and `SLACK_SIGNING_SECRET`, delivered to this Request URL.
    #[arg(long, value_name = "URL")]
    pub forward: Option<String>,
}

pub(super) fn run(args: &RunArgs, shut: io::Result<()>) -> Outcome {
    let again: Again = {
        let RunArgs { config, forward } = args.clone();
        Arc::new(move || match &forward {
            Some(url) => config::short_form(&environment(), url),
            None => config::load(&config, &environment()),
        })
    };
    let loaded = again().map_err(Failure::refused)?;
    let terminal = io::IsTerminal::is_terminal(&io::stderr());
    crate::logging::init(&loaded.config.log, terminal)
        .map_err(|error| Failure::refused(error.to_string()))?;
    if let Err(error) = shut {
        tracing::warn!(%error, "core dumps could not be switched off: a crash may write secrets to a file");
    }
    warn_of_descriptors_left_open();
    warn_all(&loaded);
    warn_of_few_descriptors(loaded.config.tenants.len() as u64);
    if loaded.config.tenants.is_empty() {
        tracing::warn!(
            "there are no tenants: this worker does nothing; name a file with [[tenants]] (--config), or use --forward"
        );
    }
    match daemon::run_to_end(loaded, again)? {
        RunEnd::Drained => Ok(ExitCode::SUCCESS),
        RunEnd::Failed => Ok(ExitCode::FAILURE),
    }
}

/// What a service manager, or a shell, left open to this process is open to every program it starts.
fn warn_of_descriptors_left_open() {
    for (number, what) in super::private::left_open() {
        tracing::warn!(
            number,
            what,
            "this descriptor was left open to taut, and is so to the programs of exec targets"
        );
    }
}

/// Each tenant takes a socket, a second one while the first is replaced, and some connection to a handler.
fn warn_of_few_descriptors(tenants: u64) {
    use rustix::process::{Resource, getrlimit};
    const EACH: u64 = 3;
    const OTHERS: u64 = 512;
    let wanted = tenants * EACH + OTHERS;
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < wanted) {
        tracing::warn!(
            limit,
            wanted,
            "this process may open few files and connections for its tenants: raise its limit (LimitNOFILE, ulimit -n)"
        );
    }
}

fn warn_all(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}
