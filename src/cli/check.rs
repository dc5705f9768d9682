//! `taut check`: every breach at once, or the effective configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Failure, Outcome};
use crate::config;
use crate::paths::environment;

/// `taut check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Configuration files, later ones over earlier ones.
    #[arg(long, value_name = "FILE", required = true)]
    pub config: Vec<PathBuf>,
}

pub(super) fn run(args: &CheckArgs) -> Outcome {
    let loaded = config::load(&args.config, &environment()).map_err(Failure::refused)?;
    print!("{}", config::render(&loaded));
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    eprintln!("ok: {} tenants", loaded.config.tenants.len());
    Ok(ExitCode::SUCCESS)
}
