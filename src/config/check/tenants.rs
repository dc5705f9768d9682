//! `[[tenants]]` and their routes.

use std::collections::{BTreeSet, HashMap};

use taut_core::config::{
    DeliveryConfig, Environment, LateAnswer, RouteConfig, RouteMatch, SecretRef, Span, Target, TenantConfig,
};
use taut_core::order::Order;

use super::{Checker, net, targets};

/// Most routes of one tenant: an envelope's record carries one bit each.
const ROUTES_MAX: usize = 64;
/// Most entries of one list in `match`.
const MATCH_MAX: usize = 256;

pub(super) fn check_tenants(tenants: &[TenantConfig], delivery: &DeliveryConfig, checker: &mut Checker<'_>) {
    let mut targets = targets::Targets::new(delivery);
    let mut ids = HashMap::new();
    let mut tokens = HashMap::new();
    for (index, tenant) in tenants.iter().enumerate() {
        let key = format!("tenants[{index}]");
        let TenantConfig {
            id,
            environment,
            app_id: _, // its type is its rule
            app_token,
            signing_secret,
            bot_token,
            network,
            paused: true | false,
            routes,
        } = tenant;
        if let Some(first) = ids.insert(id, index) {
            let rule = format!("must be unique: tenants[{first}] has it too");
            checker.require(false, &format!("{key}.id"), id, rule);
        }
        if let Some(first) = tokens.insert(app_token, index) {
            let (key, rule) = (
                format!("{key}.app_token"),
                format!("must be unique: tenants[{first}] has the same, and one app has one tenant"),
            );
            // What is missing in both is not the same token.
            if !checker.is_refused(&key) {
                checker.refuse(&key, rule);
            }
        }
        let secrets = [
            ("app_token", Some(app_token)),
            ("signing_secret", Some(signing_secret)),
            ("bot_token", bot_token.as_ref()),
        ];
        for (name, secret) in secrets {
            let Some(secret) = secret else { continue };
            let key = format!("{key}.{name}");
            check_secret(&key, secret, checker);
            if matches!((environment, secret), (Environment::Prod, SecretRef::Env(_))) {
                checker.warn(
                    &key,
                    "an environment variable is for development; in prod, use a file or a credential",
                );
            }
        }
        if let Some(network) = network {
            net::check_tenant_network(&format!("{key}.network"), network, checker);
            if let (Environment::Prod, Some(SecretRef::Env(_))) = (environment, &network.proxy_password) {
                checker.warn(
                    &format!("{key}.network.proxy_password"),
                    "an environment variable is for development; in prod, use a file or a credential",
                );
            }
        }
        check_routes(&key, routes, &mut targets, checker);
    }
}

/// A reference must be able to name something, and must not be the secret itself.
pub(super) fn check_secret(key: &str, secret: &SecretRef, checker: &mut Checker<'_>) {
    let rule = match secret {
        SecretRef::Env(name) if !is_variable(name) => {
            "must name an environment variable, such as { env = \"ACME_APP_TOKEN\" }, not hold the secret"
        }
        SecretRef::File(path) if path.as_os_str().is_empty() => "must name a file",
        SecretRef::Credential(name) if !is_file_name(name) => {
            "must name a systemd credential: a file name without slashes"
        }
        SecretRef::Env(_) | SecretRef::File(_) | SecretRef::Credential(_) => return,
    };
    checker.require(false, key, "***", rule);
}

/// Letters, digits and underscores, the first no digit; and not 32 hex digits, which is a signing secret.
fn is_variable(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let signing_secret = name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit());
    !signing_secret
        && name.bytes().all(allowed)
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !matches!(name, "." | "..") && !name.contains(['/', '\0'])
}

fn check_routes(
    tenant: &str,
    routes: &[RouteConfig],
    targets: &mut targets::Targets<'_>,
    checker: &mut Checker<'_>,
) {
    if routes.is_empty() {
        let known = format!("{tenant}.routes");
        if !checker.breaches.iter().any(|breach| breach.key.starts_with(&known)) {
            checker
                .warn(tenant, "has no routes: its events are acked and dropped, its requests are not acked");
        }
    }
    if routes.len() > ROUTES_MAX {
        checker.refuse(&format!("{tenant}.routes"), format!("must be at most {ROUTES_MAX}"));
    }
    let mut names = BTreeSet::new();
    for (index, route) in routes.iter().enumerate() {
        let key = format!("{tenant}.routes[{index}]");
        let RouteConfig {
            name,
            matching,
            target,
            order: Order::Channel | Order::Thread | Order::Tenant | Order::None,
            on_late_answer: LateAnswer::Fail | LateAnswer::AckThenDeliver,
            concurrency,
            timeout,
            proxy,
        } = route;
        let unique = names.insert(name);
        checker.require(unique, &format!("{key}.name"), name, "must be unique within its tenant");
        check_match(&key, matching, checker);
        targets.check(&key, target, matching, checker);
        let rule = "must be left out: only handlers that are reached over HTTP can be behind a proxy";
        checker.require(!proxy || matches!(target, Target::Http(_)), &format!("{key}.proxy"), proxy, rule);
        checker.within(&format!("{key}.concurrency"), *concurrency, 1..=256);
        checker.within(&format!("{key}.timeout"), *timeout, Span::secs(1)..=Span::secs(300));
    }
}

fn check_match(route: &str, matching: &RouteMatch, checker: &mut Checker<'_>) {
    let RouteMatch { kinds, event_types, interactive_types, commands, callback_ids, teams, channels } =
        matching;
    let rule = format!("must have at most {MATCH_MAX} entries, none of them empty");
    checker.require(kinds.len() <= MATCH_MAX, &format!("{route}.match.kinds"), kinds, rule.as_str());
    let lists = [
        ("event_types", event_types),
        ("interactive_types", interactive_types),
        ("commands", commands),
        ("callback_ids", callback_ids),
        ("teams", teams),
        ("channels", channels),
    ];
    for (name, list) in lists {
        let holds = list.len() <= MATCH_MAX && list.iter().all(|entry| !entry.is_empty());
        checker.require(holds, &format!("{route}.match.{name}"), list, rule.as_str());
    }
    let slashed = commands.iter().all(|command| command.starts_with('/'));
    checker.require(slashed, &format!("{route}.match.commands"), commands, "must each begin with a slash");
}
