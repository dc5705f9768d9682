//! `taut doctor`: what works on the way from Slack to the handlers, and whose fault it is where it does not.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use taut_core::TenantId;

use super::operate::print_json;
use super::{Failure, Outcome};
use crate::paths::environment;
use crate::{config, doctor};

/// `taut doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Examine this tenant only.
    #[arg(long, value_name = "ID")]
    pub tenant: Option<String>,
    /// Configuration files, later ones over earlier ones: those of the worker.
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Print one document instead of lines.
    #[arg(long)]
    pub json: bool,
}

pub(super) async fn run(args: DoctorArgs) -> Outcome {
    let environment = environment();
    let loaded = config::load(&args.config, &environment).map_err(Failure::refused)?;
    let only = args.tenant.as_deref().map(|id| known(id, &loaded.config.tenants)).transpose()?;
    let report = doctor::examine(&loaded, only.as_ref(), &environment, |part, findings| {
        if !args.json {
            say!("{}", doctor::text(part, findings));
        }
    })
    .await;
    let failures = report.failures();
    if args.json {
        print_json(&report)?;
    } else if loaded.config.tenants.is_empty() {
        say!("there are no tenants: name the worker's configuration with --config FILE");
    } else if failures == 0 {
        say!("all is well");
    } else {
        say!("{failures} of {} steps failed", report.findings.len());
    }
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn known(id: &str, tenants: &[taut_core::config::TenantConfig]) -> Result<TenantId, Failure> {
    let found = tenants.iter().find(|tenant| tenant.id.as_str() == id);
    found.map(|tenant| tenant.id.clone()).ok_or_else(|| {
        Failure::refused(format!(
            "there is no tenant `{id}` in this configuration (--config FILE names another)"
        ))
    })
}
