//! The way to Slack: secrets, the network, `apps.connections.open`, the app, and who owns it.

use taut_core::WallMs;
use taut_core::config::TenantConfig;
use taut_net::dial::{DialError, Dialer, Endpoint, Step, Walk, Way, Whose};
use taut_net::slack::{OpenClass, OpenError, Opened};
use taut_vault::{AppToken, Resolved, SecretText};

use super::finding::Findings;
use super::{Examination, Fault};
use crate::causes::with_causes;
use crate::seeing::status::TenantStatus;
use crate::way_out::WayOut;

/// Off by more than this, every handler refuses our signatures.
const SKEW_SECONDS_MAX: u64 = 300;
/// Off by more than this, somebody should look.
const SKEW_SECONDS_NOTED: u64 = 60;

/// Reads a secret from where the configuration says it is.
pub(super) fn secret(
    examination: &Examination<'_>,
    key: &'static str,
    reference: &taut_core::config::SecretRef,
    findings: &mut Findings,
) -> Option<SecretText> {
    match taut_vault::resolve(reference, examination.secrets_base) {
        Ok(Resolved { secret, warning, .. }) => {
            match warning {
                Some(warning) => findings.notice(key, warning.to_string()),
                None => findings.ok(key, "found"),
            }
            Some(secret)
        }
        Err(error) => {
            let advice = "put it there, or run doctor as the worker's user with the worker's credentials";
            findings.failed(key, with_causes(&error), Fault::Host, advice);
            None
        }
    }
}

pub(super) fn app_token(
    examination: &Examination<'_>,
    tenant: &TenantConfig,
    findings: &mut Findings,
) -> Option<AppToken> {
    secret(examination, "app_token", &tenant.app_token, findings).map(AppToken::new)
}

/// Walks to the Web API, asks for a ticket, and walks to the host that it names.
pub(super) async fn look(
    examination: &Examination<'_>,
    tenant: &TenantConfig,
    token: Option<&AppToken>,
    way_out: &WayOut,
    findings: &mut Findings,
) {
    let api = way_out.api.endpoint().clone();
    if !walk(&way_out.dialer, &api, Way::Outside, Fault::Slack, findings).await {
        findings.skipped("open", "there is no way to Slack");
        return;
    }
    let Some(token) = token else {
        findings.skipped("open", "there is no app_token");
        return;
    };
    examination.gate.pass(&token.fingerprint()).await;
    let opened = match way_out.api.open_connection(token).await {
        Ok(opened) => opened,
        Err(error) => {
            let whose = fault_of_open(&error);
            findings.failed("open", format!("apps.connections.open: {}", error.code), whose, error.text);
            return;
        }
    };
    let Opened { url, socket_mode_off, server_date } = opened;
    if socket_mode_off {
        let advice = "switch Socket Mode on in the app's settings (api.slack.com/apps, Socket Mode)";
        findings.failed("open", "Slack says that Socket Mode is not turned on", Fault::Admin, advice);
    } else {
        findings.ok("open", "Slack takes the token and gives a ticket, which is thrown away unused");
    }
    app(tenant, token, findings);
    skew(examination.clock.wall(), server_date, findings);
    if *url.endpoint() == api {
        findings.ok("socket's host", "is the Web API's");
    } else {
        walk(&way_out.dialer, url.endpoint(), Way::Outside, Fault::Slack, findings).await;
    }
}

/// Whether the token looks like one of the configured app's. Its layout is observed, not documented: no reason to fail.
fn app(tenant: &TenantConfig, token: &AppToken, findings: &mut Findings) {
    match (token.app_id_hint(), &tenant.app_id) {
        (None, _) => findings.skipped("app", "the token does not say which app it is of"),
        (Some(found), Some(wanted)) if found != wanted.as_str() => findings.notice(
            "app",
            format!("the token seems to be of {found}, and app_id says {wanted}: correct one of them"),
        ),
        (Some(found), Some(_)) => findings.ok("app", format!("the token is of {found}, as app_id says")),
        (Some(found), None) => findings.ok("app", format!("the token is of {found}; app_id is not set")),
    }
}

fn skew(ours: WallMs, slacks: Option<WallMs>, findings: &mut Findings) {
    let Some(slacks) = slacks else {
        findings.skipped("clock", "the answer has no date");
        return;
    };
    let off = ours.seconds().abs_diff(slacks.seconds());
    let direction = if ours.seconds() > slacks.seconds() { "ahead of" } else { "behind" };
    let seen = format!("{off} s {direction} Slack's");
    if off > SKEW_SECONDS_MAX {
        let advice = "set this host's clock (timedatectl, chronyc tracking): handlers refuse what is signed five minutes off";
        findings.failed("clock", seen, Fault::Host, advice);
    } else if off > SKEW_SECONDS_NOTED {
        findings.notice("clock", format!("{seen}: look at this host's time service"));
    } else {
        findings.ok("clock", seen);
    }
}

/// What the running worker says of the tenant. A socket of our own would take envelopes away from it.
pub(super) fn owner(examination: &Examination<'_>, tenant: &TenantConfig, findings: &mut Findings) {
    let Some(status) = &examination.status else {
        findings.skipped(
            "socket",
            "no worker runs here, and doctor opens no socket: whoever has one would lose envelopes to it",
        );
        return;
    };
    let Some(seen) = status.tenants.iter().find(|seen| seen.id == tenant.id.as_str()) else {
        findings.notice("socket", "the running worker does not know this tenant: has it this configuration?");
        return;
    };
    let TenantStatus { state, reason, reason_text, sockets, num_connections, foreign_sockets, .. } = seen;
    match (state.as_str(), fault_of_state(state, reason)) {
        ("connected", _) => findings.ok("socket", format!("the worker holds {sockets}, {}", heard(seen))),
        (_, None) => findings.notice("socket", format!("the worker's tenant is {state}: {reason}")),
        (_, Some(whose)) => {
            let seen = format!("the worker's tenant is {state}: {reason}");
            findings.failed("socket", seen, whose, reason_text.clone());
        }
    }
    let Some(count) = num_connections else {
        findings.skipped("ghosts", "no hello has said how many sockets the app has");
        return;
    };
    if *foreign_sockets > 0 {
        let seen =
            format!("Slack counts {count} sockets of this app, {foreign_sockets} of them not this worker's");
        let advice = "stop whatever else uses the app (a laptop, an old deployment), or revoke its token";
        findings.failed("ghosts", seen, Fault::Admin, advice);
    } else {
        findings.ok("ghosts", format!("none: Slack counted {count} at the last hello"));
    }
}

/// Whose fault it is that the worker has no socket for a tenant; nobody's where it was just started or is paused.
fn fault_of_state(state: &str, reason: &str) -> Option<Fault> {
    let step = reason.split('_').next().unwrap_or_default();
    match (state, reason, step) {
        ("paused" | "quarantined", ..)
        | (_, "start" | "token_changed" | "warning" | "refresh_requested", _) => None,
        ("incomplete", "store" | "secret_missing", _) => Some(Fault::Host),
        ("incomplete", ..) | (_, "duplicate_app" | "foreign_app", _) => Some(Fault::Configuration),
        ("parked" | "waiting", ..) => Some(Fault::Admin),
        (_, "tls_untrusted" | "tls_not_yet_valid", _) | (_, _, "dns") => Some(Fault::Host),
        (_, _, "proxy") => Some(Fault::Proxy),
        (_, "quiet" | "transport", _) | (_, _, "tcp" | "tls" | "upgrade") => Some(Fault::Network),
        _ => Some(Fault::Slack),
    }
}

fn heard(tenant: &TenantStatus) -> String {
    tenant
        .last_frame_seconds
        .map_or_else(|| "nothing heard yet".into(), |ago| format!("last frame {ago:.0} s ago"))
}

/// Walks to a host, writes down each step, and says whether it was reached.
pub(super) async fn walk(
    dialer: &Dialer,
    target: &Endpoint,
    way: Way,
    target_is: Fault,
    findings: &mut Findings,
) -> bool {
    let walk = dialer.walk(target, way).await;
    for hop in &walk.hops {
        findings.ok(step_at(hop.step, &hop.host), format!("{} ({} ms)", hop.seen, hop.millis));
        if hop.step == Step::Tls {
            findings.detail(chain(&walk));
        }
    }
    if let Some(error) = &walk.failed {
        let whose = fault_of(error, target_is);
        findings.failed(step_at(error.step, &error.host), error.kind.to_string(), whose, advice(error));
        findings.detail(chain(&walk));
    }
    walk.failed.is_none()
}

fn chain(walk: &Walk) -> Vec<String> {
    let presented = walk.chain.iter().map(|one| {
        format!("{}, signed by {}, valid {} to {}", one.subject, one.issuer, one.not_before, one.not_after)
    });
    let trusted = walk.trusted_by.iter().map(|root| format!("trusted by {root}"));
    presented.chain(trusted).collect()
}

fn step_at(step: Step, host: &str) -> String {
    let word = match step {
        Step::ProxyDns => "proxy dns",
        Step::ProxyTcp => "proxy tcp",
        Step::ProxyTls => "proxy tls",
        Step::Connect => "proxy connect",
        Step::Dns => "dns",
        Step::Tcp => "tcp",
        Step::Tls => "tls",
    };
    format!("{word} {host}")
}

/// Whose fault a failed step is; `target_is` whose the host itself is.
fn fault_of(error: &DialError, target_is: Fault) -> Fault {
    match (error.whose(), error.code()) {
        (_, "tcp_not_allowed" | "proxy_auth") => Fault::Configuration,
        (Whose::Host, _) => Fault::Host,
        (Whose::Network, _) => Fault::Network,
        (Whose::Proxy, _) => Fault::Proxy,
        (Whose::Target, _) => target_is,
    }
}

fn advice(error: &DialError) -> &'static str {
    match error.code() {
        "dns_failed" | "dns_timeout" => {
            "ask the same resolver: getent ahosts NAME; correct /etc/resolv.conf, or the name"
        }
        "tcp_not_allowed" => "correct the name's DNS, or list that network in delivery.allow_hosts",
        "tcp_refused" | "tcp_timeout" | "tcp_failed" => {
            "see that something listens there and that the firewall lets it through; where only a proxy may go out, set network.proxy"
        }
        "proxy_unreachable" => "start the proxy, or correct network.proxy; taut never goes round it",
        "proxy_auth" => "correct proxy_user and proxy_password beside that proxy",
        "proxy_refused" => "ask the proxy's operator to allow CONNECT to slack.com:443 and *.slack.com:443",
        "proxy_odd_answer" => "let network.proxy name an HTTP proxy; look for a login page in between",
        "tls_untrusted" | "proxy_certificate" => {
            "if a proxy inspects TLS here, put the root that signed this chain into network.ca_files; if none should, tell your security team"
        }
        "tls_expired" | "tls_not_yet_valid" => "compare the validity with this host's clock (timedatectl)",
        "tls_wrong_name" => "see which host answers for that name: DNS, then the proxy",
        code if code.starts_with("proxy_") => "look into the proxy's own log",
        _ => "look for a middlebox between that breaks TLS",
    }
}

/// Whose fault it is that there is no ticket. The way there has been walked: what is left is Slack's, or rewritten.
fn fault_of_open(error: &OpenError) -> Fault {
    let code = error.code.as_str();
    match error.class {
        OpenClass::Park => match code {
            "bad_api_url" | "unknown_method" | "bad_token_text" => Fault::Configuration,
            _ => Fault::Admin,
        },
        OpenClass::Wait => Fault::Admin,
        OpenClass::Retry => match code {
            "timeout" | "connection_lost" | "not_json" | "empty_answer" | "odd_answer" | "no_url"
            | "bad_url" => Fault::Network,
            "http_407" => Fault::Proxy,
            "http_404" => Fault::Configuration,
            _ => Fault::Slack,
        },
    }
}

#[cfg(test)]
mod tests {
    use taut_net::dial::DialFault;

    use super::super::finding::{Finding, Mark};
    use super::*;

    #[test]
    fn skew_fails_where_handlers_would_refuse() {
        let marks = [(0, Mark::Ok), (61, Mark::Notice), (301, Mark::Failed)].map(|(off, mark)| {
            let mut findings = Findings::of("acme");
            skew(WallMs(1_000_000_000), Some(WallMs(1_000_000_000 - off * 1000)), &mut findings);
            let found: Vec<Finding> = findings.into();
            (found[0].mark, mark)
        });
        assert!(marks.iter().all(|(found, wanted)| found == wanted), "{marks:?}");
    }

    #[test]
    fn a_tenant_without_a_socket_has_somebody_to_act_unless_it_was_just_started() {
        let cases = [
            ("starting", "start", None),
            ("paused", "operator", None),
            ("starting", "dns_timeout", Some(Fault::Host)),
            ("starting", "proxy_auth", Some(Fault::Proxy)),
            ("starting", "upgrade_refused", Some(Fault::Network)),
            ("starting", "internal_error", Some(Fault::Slack)),
            ("parked", "token_revoked", Some(Fault::Admin)),
            ("parked", "duplicate_app", Some(Fault::Configuration)),
            ("waiting", "link_disabled", Some(Fault::Admin)),
            ("incomplete", "secret_missing", Some(Fault::Host)),
        ];
        for (state, reason, whose) in cases {
            assert_eq!(fault_of_state(state, reason), whose, "{state}: {reason}");
        }
    }

    #[test]
    fn every_step_has_its_advice_and_its_owner() {
        let timeout = || DialFault::Timeout { limit: std::time::Duration::from_secs(3) };
        let of = |step, kind| DialError { step, host: "h".into(), kind };
        let cases = [
            (of(Step::Dns, timeout()), Fault::Host, "getent"),
            (of(Step::Tcp, DialFault::Refused), Fault::Slack, "network.proxy"),
            (of(Step::Tcp, timeout()), Fault::Network, "firewall"),
            (of(Step::ProxyDns, timeout()), Fault::Host, "never goes round"),
            (of(Step::ProxyTcp, DialFault::Refused), Fault::Proxy, "never goes round"),
            (of(Step::Connect, DialFault::ProxyAuth { sent: true }), Fault::Configuration, "proxy_user"),
            (of(Step::Connect, DialFault::ProxyStatus { status: 403 }), Fault::Proxy, "*.slack.com"),
            (of(Step::Connect, timeout()), Fault::Proxy, "proxy's own log"),
            (of(Step::Tls, timeout()), Fault::Network, "middlebox"),
        ];
        for (error, whose, words) in cases {
            assert_eq!(fault_of(&error, Fault::Slack), whose, "{error}");
            assert!(advice(&error).contains(words), "{error}");
        }
    }
}
