//! `taut doctor`: walks the way an envelope takes and says, step by step, what works, and whose fault it is where it
//! does not.
//!
//! ```text
//! host:    open files ─ time ─ store ─ worker
//! tenant:  secrets ─ way to Slack (DNS, TCP, proxy, TLS) ─ open ─ app ─ way to the socket's host ─ owner ─ handlers
//! ```
//! Invariants: it opens no socket, so it takes no envelope from whoever owns the app; one `apps.connections.open` for
//! each tenant, paced as a worker's, and its ticket is thrown away; nothing it prints is a secret; it changes nothing.
//! A step that fails ends its branch alone: the rest is walked.
//! Deliberately absent: mending anything, and the WebSocket upgrade itself, which would register a socket at Slack.

mod finding;
mod handlers;
mod host;
mod screen;
mod slack;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use taut_core::config::{Config, TenantConfig};
use taut_core::{Clock, TenantId};
use taut_net::clock::BootClock;
use taut_net::gate::StartGate;

pub use self::finding::{Fault, Finding, Mark, Report};
use self::finding::{Findings, HOST};
pub use self::screen::text;
use crate::admin::client::Worker;
use crate::config::Loaded;
use crate::paths;
use crate::seeing::status::StatusReport;
use crate::way_out::WayOut;

/// Tenants examined at once.
const TENANTS_AT_ONCE: usize = 8;

/// What all examinations share.
struct Examination<'a> {
    config: &'a Config,
    secrets_base: &'a Path,
    way_out: WayOut,
    gate: StartGate,
    clock: Arc<dyn Clock>,
    /// What the running worker says, if one runs.
    status: Option<StatusReport>,
}

/// Examines the host, and this tenant or all of them. `told` hears each part's findings as they come.
pub async fn examine(
    loaded: &Loaded,
    only: Option<&TenantId>,
    environment: &BTreeMap<String, String>,
    mut told: impl FnMut(&str, &[Finding]),
) -> Report {
    let mut report = Report::default();
    let mut keep = |part: &str, findings: Vec<Finding>| {
        told(part, &findings);
        report.findings.extend(findings);
    };
    let config = &loaded.config;
    let mut host = Findings::of(HOST);
    host::look(config, environment, &mut host);
    let status = worker(config, environment, &mut host).await;
    let way_out = match WayOut::of_host(config, &loaded.base_dir) {
        Ok(way_out) => Some(way_out),
        Err(error) => {
            let advice = "correct it: the worker does not start like this, and never goes round a proxy";
            host.failed("network", error, Fault::Configuration, advice);
            None
        }
    };
    keep(HOST, host.into());
    let Some(way_out) = way_out else { return report };
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let gate = StartGate::new(config.slack.opens_per_app, config.slack.opens_per_second, Arc::clone(&clock));
    let secrets_base = loaded.base_dir.as_path();
    let examination = Examination { config, secrets_base, way_out, gate, clock, status };
    let tenants = config.tenants.iter().filter(|tenant| only.is_none_or(|only| tenant.id == *only));
    let mut examined = stream::iter(tenants)
        .map(|tenant| async { (tenant.id.to_string(), examination.tenant(tenant).await) })
        .buffered(TENANTS_AT_ONCE);
    while let Some((tenant, findings)) = examined.next().await {
        keep(&tenant, findings);
    }
    report
}

impl Examination<'_> {
    async fn tenant(&self, tenant: &TenantConfig) -> Vec<Finding> {
        let mut findings = Findings::of(tenant.id.as_str());
        let app_token = slack::app_token(self, tenant, &mut findings);
        let signing_secret = handlers::signing_secret(self, tenant, &mut findings);
        let way_out = match &tenant.network {
            None => Ok(self.way_out.clone()),
            Some(network) => self.way_out.of_tenant(network, self.config, self.secrets_base),
        };
        match way_out {
            Ok(way_out) => {
                slack::look(self, tenant, app_token.as_ref(), &way_out, &mut findings).await;
                slack::owner(self, tenant, &mut findings);
                handlers::look(self, tenant, signing_secret.as_ref(), &way_out, &mut findings).await;
            }
            Err(error) => {
                let advice = "correct it: this tenant does not start like this";
                findings.failed("network", error, Fault::Configuration, advice);
            }
        }
        findings.into()
    }
}

/// Asks the running worker, if one runs.
async fn worker(
    config: &Config,
    environment: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> Option<StatusReport> {
    let path = match paths::admin_socket(config, environment) {
        Ok(path) => path,
        Err(error) => {
            findings.notice("worker", format!("its socket is not known: {error}"));
            return None;
        }
    };
    match Worker::at(&path).get::<StatusReport>("/v1/status").await {
        Ok(status) => {
            let version = &status.version;
            findings.ok("worker", format!("runs, taut {version}, {}", status.ready.sentence()));
            if !status.store.writable {
                let advice = "see TautStoreFailing in the runbook";
                findings.failed("store", "the running worker cannot write its store", Fault::Host, advice);
            }
            Some(status)
        }
        Err(error) => {
            findings.notice("worker", error);
            None
        }
    }
}
