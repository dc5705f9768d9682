//! What a new configuration changes: plain values in, plain values out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use taut_core::TenantId;
use taut_core::config::{Config, DeliveryConfig, TenantConfig};

/// Keys that a running worker changes, without those of `[[tenants]]`, which all are.
const LIVE: [&str; 18] = [
    "worker.tenants_max",
    "worker.drain_timeout",
    "queue.envelopes_max",
    "queue.bytes_max",
    "queue.overflow",
    "queue.request_reserve_percent",
    "queue.dedup_entries_max",
    "dead_letters.age_max",
    "delivery.attempts_max",
    "delivery.age_max",
    "delivery.allow_hosts",
    "delivery.retry_first",
    "delivery.retry_max",
    "delivery.answer_bytes_max",
    "delivery.breaker_faults",
    "delivery.poison_hold",
    "delivery.exec_allow",
    "delivery.file_dirs",
];
/// Changed too, but by the log's subscriber, not by a tenant.
const LOG_LEVEL: &str = "log.level";

/// The difference between what is in force and what the files say.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What is to be in force: as the files say, with the old value of every key in `needs_restart`.
    pub in_force: Config,
    /// Keys outside `[[tenants]]` that change now.
    pub keys: Vec<String>,
    /// Keys that differ and need a restart.
    pub needs_restart: Vec<String>,
    /// Tenants that are new.
    pub added: Vec<Arc<TenantConfig>>,
    /// Tenants that are gone.
    pub removed: Vec<TenantId>,
    /// Tenants that stay, each with what changes for it; their secrets are read again even where that is nothing.
    pub kept: Vec<(Arc<TenantConfig>, TenantChange)>,
}

/// What changes for one tenant.
#[expect(clippy::struct_excessive_bools, reason = "one for each field that changes on its own")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantChange {
    /// Its pinned app: line and delivery start anew.
    pub app: bool,
    /// Its own way out: line and delivery start anew.
    pub network: bool,
    /// Where its secrets are.
    pub secrets: bool,
    /// Its routes, its environment, or the worker's `[delivery]`: its delivery goes on with others.
    pub delivery: bool,
    /// Its routes themselves.
    pub routes: bool,
    /// Who may see bodies, and what programs are told.
    pub environment: bool,
    /// Pause or resume it.
    pub paused: Option<bool>,
}

impl TenantChange {
    /// What changes between two configurations of one tenant.
    ///
    /// Both are taken apart without `..`: a key that exists is a key that is judged.
    pub fn between(old: &TenantConfig, new: &TenantConfig, delivery: bool) -> Self {
        let TenantConfig {
            id: _,
            environment,
            app_id,
            app_token,
            signing_secret,
            bot_token,
            network,
            paused,
            routes,
        } = old;
        let (routes, environment) = (*routes != new.routes, *environment != new.environment);
        Self {
            app: *app_id != new.app_id,
            network: *network != new.network,
            secrets: *app_token != new.app_token
                || *signing_secret != new.signing_secret
                || *bot_token != new.bot_token,
            delivery: delivery || routes || environment,
            routes,
            environment,
            paused: (*paused != new.paused).then_some(new.paused),
        }
    }

    /// This change and an earlier one that is still owed, as one.
    #[must_use]
    pub fn after(self, owed: Self) -> Self {
        let Self { app, network, secrets, delivery, routes, environment, paused } = owed;
        Self {
            app: self.app || app,
            network: self.network || network,
            secrets: self.secrets || secrets,
            delivery: self.delivery || delivery,
            routes: self.routes || routes,
            environment: self.environment || environment,
            paused: self.paused.or(paused),
        }
    }

    /// Whether line and delivery have to start anew.
    pub const fn starts_anew(self) -> bool {
        self.app || self.network
    }

    /// The changed keys of the tenant itself, in words; empty where only the worker's limits changed, or nothing.
    pub fn words(self) -> String {
        let Self { app, network, secrets, delivery: _, routes, environment, paused } = self;
        let parts = [
            app.then_some("app_id (its line starts anew)"),
            network.then_some("network (its line starts anew)"),
            secrets.then_some("where its secrets are"),
            routes.then_some("routes"),
            environment.then_some("environment"),
            paused.map(|paused| if paused { "paused" } else { "resumed" }),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Compares what is in force, `old` without its tenants and beside it those that run, with what the files say now.
pub fn diff(old: &Config, tenants: &[Arc<TenantConfig>], mut new: Config) -> Change {
    let wanted = std::mem::take(&mut new.tenants);
    let (keys, needs_restart) = changed_keys(old, &new).into_iter().partition(|key| is_live(key));
    let in_force = in_force(old, &new);
    let delivery = old.delivery != in_force.delivery;
    let before: BTreeMap<&TenantId, &Arc<TenantConfig>> =
        tenants.iter().map(|tenant| (&tenant.id, tenant)).collect();
    let after: BTreeSet<TenantId> = wanted.iter().map(|tenant| tenant.id.clone()).collect();
    let (mut added, mut kept) = (Vec::new(), Vec::new());
    for tenant in wanted {
        match before.get(&tenant.id) {
            None => added.push(Arc::new(tenant)),
            // One copy for as long as nothing changes.
            Some(old) if ***old == tenant => {
                kept.push((Arc::clone(old), TenantChange { delivery, ..TenantChange::default() }));
            }
            Some(old) => {
                let change = TenantChange::between(old, &tenant, delivery);
                kept.push((Arc::new(tenant), change));
            }
        }
    }
    let removed = tenants.iter().map(|tenant| &tenant.id).filter(|id| !after.contains(id)).cloned();
    Change { in_force, keys, needs_restart, added, removed: removed.collect(), kept }
}

fn is_live(key: &str) -> bool {
    key == LOG_LEVEL || LIVE.contains(&key)
}

/// The old configuration with the new value of every live key.
fn in_force(old: &Config, new: &Config) -> Config {
    let mut config = old.clone();
    config.worker.tenants_max = new.worker.tenants_max;
    config.worker.drain_timeout = new.worker.drain_timeout;
    let (total_bytes_max, dedup_window) = (old.queue.total_bytes_max, old.queue.dedup_window);
    config.queue = taut_core::config::QueueConfig { total_bytes_max, dedup_window, ..new.queue.clone() };
    config.dead_letters.age_max = new.dead_letters.age_max;
    let exec_max = old.delivery.exec_max;
    config.delivery = DeliveryConfig { exec_max, ..new.delivery.clone() };
    config.log.level.clone_from(&new.log.level);
    config
}

/// Every key outside `[[tenants]]` whose value differs, e.g. `network.deadlines.tcp`.
fn changed_keys(old: &Config, new: &Config) -> Vec<String> {
    fn table(config: &Config) -> toml::Table {
        toml::Table::try_from(config).expect("what was read from TOML can be written as TOML")
    }
    let mut keys = Vec::new();
    compare("", &table(old), &table(new), &mut keys);
    keys
}

fn compare(prefix: &str, old: &toml::Table, new: &toml::Table, keys: &mut Vec<String>) {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match (old.get(name), new.get(name)) {
            (Some(toml::Value::Table(old)), Some(toml::Value::Table(new))) => compare(&key, old, new, keys),
            (old, new) if old != new => keys.push(key),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// Keys that need a restart: a listener, a file, a way out, or what the store was opened with.
    const RESTART: [&str; 30] = [
        "slack.response_hosts",
        "delivery.exec_max",
        "store.segment_bytes",
        "slack.api_url",
        "slack.opens_per_app",
        "slack.opens_per_second",
        "slack.frame_bytes_max",
        "slack.unacked_max",
        "slack.ping_after",
        "slack.quiet_max",
        "slack.hello_timeout",
        "slack.ack_on_replacement",
        "network.proxy",
        "network.proxy_user",
        "network.proxy_password",
        "network.ca_files",
        "network.deadlines.dns",
        "network.deadlines.tcp",
        "network.deadlines.connect",
        "network.deadlines.tls",
        "network.deadlines.upgrade",
        "network.deadlines.call",
        "store.kind",
        "store.path",
        "worker.name",
        "queue.total_bytes_max",
        "queue.dedup_window",
        "dead_letters.bytes_max",
        "log.format",
        "log.journal_socket",
    ];
    const RESTART_LISTENERS: [&str; 2] = ["metrics.listen", "admin.listen"];

    fn parse(text: &str) -> Config {
        toml::from_str(text).expect("a configuration")
    }

    /// What changes between two files.
    fn between(old: &Config, new: &Config) -> Change {
        let bare = Config { tenants: Vec::new(), ..old.clone() };
        let tenants: Vec<_> = old.tenants.iter().cloned().map(Arc::new).collect();
        diff(&bare, &tenants, new.clone())
    }

    fn tenant(id: &str, more: &str) -> String {
        format!(
            "[[tenants]]\nid = \"{id}\"\napp_token = {{ env = \"A\" }}\nsigning_secret = {{ env = \"B\" }}\n{more}\n\
             [[tenants.routes]]\nname = \"bot\"\ntarget = {{ http = \"http://127.0.0.1:3000/\" }}\n"
        )
    }

    #[test]
    fn every_key_is_either_live_or_needs_a_restart() {
        let known: BTreeSet<String> =
            config::keys().into_iter().filter(|key| !key.starts_with("tenants")).collect();
        let judged: Vec<&str> = [LIVE.as_slice(), &[LOG_LEVEL], &RESTART, &RESTART_LISTENERS].concat();
        let unique: BTreeSet<String> = judged.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(unique.len(), judged.len(), "a key is judged twice");
        assert_eq!(known, unique);
    }

    #[test]
    fn live_keys_come_into_force_and_others_keep_their_value() {
        let old = parse("");
        let live = parse(
            "[worker]\ntenants_max = 5\ndrain_timeout = \"7s\"\n[queue]\nenvelopes_max = 7\nbytes_max = \"32MiB\"\n\
             overflow = \"refuse\"\nrequest_reserve_percent = 3\ndedup_entries_max = 777\n[dead_letters]\nage_max = \"3d\"\n\
             [delivery]\nattempts_max = 3\nage_max = \"1h\"\nallow_hosts = [\"loopback\"]\nretry_first = \"2s\"\n\
             retry_max = \"1m\"\nanswer_bytes_max = \"2MiB\"\nbreaker_faults = 3\npoison_hold = 7\n\
             exec_allow = [\"/bin/\"]\nfile_dirs = [\"/var/log/taut\"]\n[log]\nlevel = \"debug\"\n",
        );
        let change = between(&old, &live);
        assert_eq!((change.in_force, change.needs_restart.len()), (live, 0));
        assert_eq!(change.keys.len(), LIVE.len() + 1, "{:?}", change.keys);

        let fixed = parse(
            "[slack]\nunacked_max = 7\n[network.deadlines]\ntcp = \"1s\"\n[store]\npath = \"/elsewhere\"\n[worker]\n\
             name = \"other\"\n[queue]\ntotal_bytes_max = \"1GiB\"\ndedup_window = \"20m\"\n[dead_letters]\n\
             bytes_max = \"2GiB\"\n[log]\nformat = \"json\"\n[metrics]\nlisten = \"127.0.0.1:1\"\n",
        );
        let change = between(&old, &fixed);
        assert_eq!((change.in_force, change.keys.len()), (old, 0));
        assert_eq!(
            change.needs_restart,
            [
                "dead_letters.bytes_max",
                "log.format",
                "metrics.listen",
                "network.deadlines.tcp",
                "queue.dedup_window",
                "queue.total_bytes_max",
                "slack.unacked_max",
                "store.path",
                "worker.name"
            ]
        );
    }

    #[test]
    fn tenants_are_added_removed_and_kept() {
        let old = parse(&(tenant("acme", "") + &tenant("globex", "")));
        let new = parse(&(tenant("initech", "") + &tenant("acme", "")));
        let change = between(&old, &new);
        assert_eq!(change.added.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(), ["initech"]);
        assert_eq!(change.removed.iter().map(TenantId::as_str).collect::<Vec<_>>(), ["globex"]);
        assert_eq!(change.kept, [(Arc::new(new.tenants[1].clone()), TenantChange::default())]);
        assert_eq!(change.in_force, Config::default());
    }

    #[test]
    fn a_tenants_change_is_told_field_by_field() {
        let old = parse(&tenant("acme", ""));
        let change = |new: &str| between(&old, &parse(new)).kept[0].1;
        let none = TenantChange::default();
        assert_eq!(change(&tenant("acme", "")), none);
        assert_eq!(change(&tenant("acme", "app_id = \"A0123456789\"")), TenantChange { app: true, ..none });
        let proxy = "network = { proxy = \"http://proxy:1\" }";
        assert_eq!(change(&tenant("acme", proxy)), TenantChange { network: true, ..none });
        let prod = "environment = \"prod\"";
        assert_eq!(change(&tenant("acme", prod)), TenantChange { environment: true, delivery: true, ..none });
        let paused = TenantChange { paused: Some(true), ..none };
        assert_eq!(change(&tenant("acme", "paused = true")), paused);
        let elsewhere = tenant("acme", "").replace("env = \"A\"", "env = \"C\"");
        assert_eq!(change(&elsewhere), TenantChange { secrets: true, ..none });
        let route = tenant("acme", "").replace("3000", "3001");
        assert_eq!(change(&route), TenantChange { routes: true, delivery: true, ..none });
        let limits = tenant("acme", "") + "[delivery]\nattempts_max = 3\n";
        assert_eq!(change(&limits), TenantChange { delivery: true, ..none });
        assert_eq!(change(&limits).words(), "");
        assert_eq!(change(&route).words(), "routes");
    }
}
