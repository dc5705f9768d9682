//! The way to the handlers: reachable, trusted, and of one mind about the signing secret.

use std::path::Path;

use taut_core::config::{RouteConfig, Target, TenantConfig};
use taut_delivery::allow::AllowHosts;
use taut_delivery::handler_test::probe;
use taut_delivery::look_at_program;
use taut_net::dial::{Endpoint, Way};
use taut_vault::SigningSecret;

use super::finding::Findings;
use super::slack::{secret, walk};
use super::{Examination, Fault};
use crate::causes::with_causes;
use crate::way_out::WayOut;

pub(super) fn signing_secret(
    examination: &Examination<'_>,
    tenant: &TenantConfig,
    findings: &mut Findings,
) -> Option<SigningSecret> {
    secret(examination, "signing_secret", &tenant.signing_secret, findings).map(SigningSecret::new)
}

/// Looks at each route's target.
pub(super) async fn look(
    examination: &Examination<'_>,
    tenant: &TenantConfig,
    secret: Option<&SigningSecret>,
    way_out: &WayOut,
    findings: &mut Findings,
) {
    if tenant.routes.is_empty() {
        findings.notice("routes", "there are none: events are acked and dropped, requests are not acked");
    }
    for route in &tenant.routes {
        match &route.target {
            Target::Http(url) => handler(examination, route, url, secret, way_out, findings).await,
            Target::Exec(argv) => program(examination, route, argv, findings),
            Target::File(path) => file(route, path, findings),
        }
    }
}

/// Whether a route's program could be started at present; it is not started.
fn program(examination: &Examination<'_>, route: &RouteConfig, argv: &[String], findings: &mut Findings) {
    let step = format!("route {}", route.name);
    let Some(program) = argv.first() else {
        findings.failed(step, "it names no program", Fault::Configuration, "name one");
        return;
    };
    match look_at_program(&examination.config.delivery.exec_allow, program.as_ref()) {
        Ok(()) => findings.ok(step, format!("{program} could be started")),
        Err(error) => {
            findings.failed(step, error, Fault::Handler, "mend the program or its place");
        }
    }
}

/// Whether a route's file could be appended to by this user.
fn file(route: &RouteConfig, path: &Path, findings: &mut Findings) {
    let step = format!("route {}", route.name);
    let place = if path.exists() { path } else { path.parent().unwrap_or(path) };
    match rustix::fs::access(place, rustix::fs::Access::WRITE_OK) {
        Ok(()) => findings.ok(step, format!("{} can be written", place.display())),
        Err(error) => {
            let seen = format!("{} cannot be written by this user: {error}", place.display());
            findings.failed(step, seen, Fault::Host, "give the worker's user that directory");
        }
    }
}

/// Walks to a Request URL and has it prove, by `url_verification`, that it is one and that the secrets agree.
async fn handler(
    examination: &Examination<'_>,
    route: &RouteConfig,
    url: &str,
    secret: Option<&SigningSecret>,
    way_out: &WayOut,
    findings: &mut Findings,
) {
    let step = format!("route {}", route.name);
    let allowed = AllowHosts::parse(&examination.config.delivery.allow_hosts)
        .map_err(|error| error.to_string())
        .and_then(|hosts| hosts.check(url).map_err(|error| error.to_string()));
    let endpoint = Endpoint::of_http(url).ok_or_else(|| "its URL cannot be used".to_owned());
    let endpoint = match allowed.and(endpoint) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            findings.failed(step, error, Fault::Configuration, "correct the route's target, or the list");
            return;
        }
    };
    let (client, way) = if route.proxy {
        (&way_out.handlers_by_proxy, Way::Outside)
    } else {
        (&way_out.handlers, Way::Direct)
    };
    if !walk(&way_out.to_handlers, &endpoint, way, Fault::Handler, findings).await {
        findings.skipped(step, "the handler is not reachable");
        return;
    }
    let Some(secret) = secret else {
        findings.skipped(step, "there is no signing_secret to sign with");
        return;
    };
    let advice = "taut handler test shows what it answers to each kind";
    match probe(url, secret, client, &*examination.clock, &[]).await {
        Ok(rows) => match rows.first() {
            Some(row) if row.ok => findings.ok(step, format!("{} ({} ms)", row.outcome, row.millis)),
            Some(row) => findings.failed(step, row.outcome.clone(), Fault::Handler, advice),
            None => findings.skipped(step, "nothing was asked"),
        },
        Err(error) => findings.failed(step, with_causes(&error), Fault::Configuration, advice),
    }
}
