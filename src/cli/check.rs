//! `taut check`: every breach at once, or the effective configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use taut_core::config::{Config, Target};
use taut_delivery::look_at_program;

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
    show!("{}", config::render(&loaded));
    for warning in loaded.warnings.iter().chain(&on_disk(&loaded.config)) {
        eprintln!("warning: {warning}");
    }
    eprintln!("ok: {} tenants", loaded.config.tenants.len());
    Ok(ExitCode::SUCCESS)
}

/// What the routes' programs would be refused for at this moment. A warning, not a breach: each use looks again.
fn on_disk(config: &Config) -> Vec<String> {
    let programs = config.tenants.iter().flat_map(|tenant| {
        tenant.routes.iter().filter_map(move |route| match &route.target {
            Target::Exec(argv) => Some((&tenant.id, &route.name, argv.first()?)),
            Target::Http(_) | Target::File(_) => None,
        })
    });
    let refusal = |(tenant, route, program): (_, _, &String)| {
        let why = look_at_program(&config.delivery.exec_allow, program.as_ref()).err()?;
        Some(format!("route `{route}` of tenant `{tenant}` cannot run its program at present: {why}"))
    };
    programs.filter_map(refusal).collect()
}
