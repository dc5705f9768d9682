//! Ranges and relations of every key. Every table is taken apart without `..`: a key that exists is a key that is
//! checked.

mod net;
mod targets;
mod tenants;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::Serialize;
use taut_core::config::{
    AdminConfig, Config, DeadLettersConfig, DeliveryConfig, LogConfig, MetricsConfig, QueueConfig, Size,
    SlackConfig, Span, StoreConfig, StoreKind, WorkerConfig,
};
use taut_core::log::Overflow;

use super::breach::{Breach, Origin, shown};
use crate::logging;

/// Slack sends an event again at once, after 1 min and after 5 min: <https://docs.slack.dev/apis/events-api/>.
const LAST_RETRY: Span = Span::secs(6 * 60);
/// Longest path of a Unix socket on Linux, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Checks every key; breaches are added, warnings returned.
pub(super) fn check(
    config: &Config,
    places: &BTreeMap<String, Origin>,
    breaches: &mut Vec<Breach>,
) -> Vec<String> {
    let Config {
        slack,
        network,
        store,
        worker,
        queue,
        dead_letters,
        delivery,
        log,
        metrics,
        admin,
        tenants: list,
    } = config;
    let mut checker = Checker { places, breaches, warnings: Vec::new() };
    check_slack(slack, &mut checker);
    net::check_network(network, &mut checker);
    check_store(store, queue, &mut checker);
    check_worker(worker, list.len(), &mut checker);
    check_queue(queue, slack.frame_bytes_max, &mut checker);
    check_dead_letters(dead_letters, &mut checker);
    check_delivery(delivery, &mut checker);
    check_log(log, &mut checker);
    check_listeners(metrics, admin, &mut checker);
    tenants::check_tenants(list, delivery, &mut checker);
    checker.warnings
}

/// Collects what is wrong.
struct Checker<'a> {
    places: &'a BTreeMap<String, Origin>,
    breaches: &'a mut Vec<Breach>,
    warnings: Vec<String>,
}

impl Checker<'_> {
    /// The origin of a key, else of what encloses it.
    fn origin(&self, key: &str) -> Origin {
        let enclosing = |key: &str| key.rfind(['.', '[']).map(|end| key.split_at(end).0.to_owned());
        let mut place = Some(key.to_owned());
        while let Some(key) = place {
            match self.places.get(&key) {
                Some(Origin::Default) | None => place = enclosing(&key),
                Some(origin) => return origin.clone(),
            }
        }
        Origin::Default
    }

    /// Whether a key's value has a breach. What its type refused has been replaced, so no rule can be held against it.
    fn is_refused(&self, key: &str) -> bool {
        let at_or_below = |breach: &Breach| {
            breach.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.breaches.iter().any(at_or_below)
    }

    /// A value must keep a rule that involves another key's.
    fn relate(
        &mut self,
        holds: bool,
        key: &str,
        value: impl Serialize,
        other: &str,
        rule: impl Into<String>,
    ) {
        if !self.is_refused(other) {
            self.require(holds, key, value, rule);
        }
    }

    /// A value must keep a rule.
    fn require(&mut self, holds: bool, key: &str, value: impl Serialize, rule: impl Into<String>) {
        if holds || self.is_refused(key) {
            return;
        }
        let value = toml::Value::try_from(value).ok().map(|value| shown(key, &value));
        let origin = Some(self.places.get(key).cloned().unwrap_or_default());
        self.breaches.push(Breach { key: key.into(), value, rule: rule.into(), origin });
    }

    /// A value must be within a range.
    fn within<T>(&mut self, key: &str, value: T, range: RangeInclusive<T>)
    where
        T: PartialOrd + Serialize + std::fmt::Display,
    {
        let rule = format!("must be {} to {}", range.start(), range.end());
        self.require(range.contains(&value), key, value, rule);
    }

    /// Something is missing or wrong that is not one value.
    fn refuse(&mut self, key: &str, rule: impl Into<String>) {
        let origin = Some(self.origin(key));
        self.breaches.push(Breach { key: key.into(), value: None, rule: rule.into(), origin });
    }

    fn warn(&mut self, key: &str, text: &str) {
        let origin = self.origin(key);
        self.warnings.push(format!("{key} ({origin}): {text}"));
    }
}

const fn millis(millis: u64) -> Span {
    Span(std::time::Duration::from_millis(millis))
}

fn check_slack(slack: &SlackConfig, checker: &mut Checker<'_>) {
    let SlackConfig {
        api_url,
        response_hosts,
        opens_per_app,
        opens_per_second,
        frame_bytes_max,
        unacked_max,
        ping_after,
        quiet_max,
        hello_timeout,
        ack_on_replacement: true | false,
    } = slack;
    net::check_api_url(api_url, checker);
    net::check_response_hosts(response_hosts, checker);
    let each = Span(opens_per_app.each);
    checker.require(
        (1..=1_000).contains(&opens_per_app.burst) && (millis(1)..=Span::secs(3_600)).contains(&each),
        "slack.opens_per_app",
        opens_per_app,
        "must be 1 to 1000 at once, then one each 1ms to 1h",
    );
    checker.within("slack.opens_per_second", *opens_per_second, 1..=10_000);
    checker.within("slack.frame_bytes_max", *frame_bytes_max, Size(64 << 10)..=Size::mib(64));
    checker.within("slack.unacked_max", *unacked_max, 1..=4_096);
    checker.within("slack.ping_after", *ping_after, millis(100)..=Span::secs(300));
    checker.relate(
        quiet_max > ping_after,
        "slack.quiet_max",
        quiet_max,
        "slack.ping_after",
        format!(
            "must be longer than slack.ping_after ({ping_after}), or a socket is dead before it is asked"
        ),
    );
    checker.within("slack.quiet_max", *quiet_max, millis(100)..=Span::secs(600));
    checker.within("slack.hello_timeout", *hello_timeout, millis(100)..=Span::secs(120));
}

/// Segments that the live bytes may fill; the log may take twice as many, each an open file.
const SEGMENTS_MAX: u64 = 2_048;

fn check_store(store: &StoreConfig, queue: &QueueConfig, checker: &mut Checker<'_>) {
    let StoreConfig { kind: StoreKind::Disk, path, segment_bytes } = store;
    if let Some(path) = path {
        checker.require(!path.as_os_str().is_empty(), "store.path", path, "must name a directory");
    }
    checker.within("store.segment_bytes", *segment_bytes, Size(64 << 10)..=Size::mib(1024));
    let least = Size(queue.total_bytes_max.0 / SEGMENTS_MAX);
    checker.relate(
        *segment_bytes >= least,
        "store.segment_bytes",
        segment_bytes,
        "queue.total_bytes_max",
        format!("must be at least a {SEGMENTS_MAX}th of queue.total_bytes_max ({least}): each segment is an open file"),
    );
}

fn check_worker(worker: &WorkerConfig, tenants: usize, checker: &mut Checker<'_>) {
    let WorkerConfig { name, tenants_max, drain_timeout } = worker;
    if let Some(name) = name {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let holds = (1..=64).contains(&name.len()) && name.bytes().all(allowed);
        checker.require(holds, "worker.name", name, "must match [A-Za-z0-9._-]{1,64}");
    }
    checker.within("worker.tenants_max", *tenants_max, 1..=100_000);
    let rule = format!("must be at least the number of [[tenants]] ({tenants})");
    checker.require(*tenants_max as usize >= tenants, "worker.tenants_max", tenants_max, rule);
    checker.within("worker.drain_timeout", *drain_timeout, Span::secs(1)..=Span::secs(900));
}

fn check_queue(queue: &QueueConfig, frame_bytes_max: Size, checker: &mut Checker<'_>) {
    let QueueConfig {
        envelopes_max,
        bytes_max,
        total_bytes_max,
        overflow: Overflow::DeadLetterOldest | Overflow::Refuse,
        request_reserve_percent,
        dedup_window,
        dedup_entries_max,
    } = queue;
    checker.within("queue.envelopes_max", *envelopes_max, 1..=10_000_000);
    checker.within("queue.bytes_max", *bytes_max, Size(1 << 10)..=Size::mib(1 << 20));
    if *bytes_max < frame_bytes_max {
        let text =
            format!("less than slack.frame_bytes_max ({frame_bytes_max}): the largest envelopes never fit");
        checker.warn("queue.bytes_max", &text);
    }
    checker.relate(
        total_bytes_max >= bytes_max,
        "queue.total_bytes_max",
        total_bytes_max,
        "queue.bytes_max",
        format!("must be at least queue.bytes_max ({bytes_max})"),
    );
    checker.require(
        *request_reserve_percent <= 50,
        "queue.request_reserve_percent",
        request_reserve_percent,
        "must be 0 to 50: events need room too",
    );
    checker.require(
        *dedup_window >= LAST_RETRY,
        "queue.dedup_window",
        dedup_window,
        format!("must be at least {LAST_RETRY}: Slack's last retry comes that long after the event"),
    );
    checker.within("queue.dedup_window", *dedup_window, LAST_RETRY..=Span::secs(86_400));
    checker.within("queue.dedup_entries_max", *dedup_entries_max, 100..=10_000_000);
}

fn check_dead_letters(dead_letters: &DeadLettersConfig, checker: &mut Checker<'_>) {
    let DeadLettersConfig { bytes_max, age_max } = dead_letters;
    checker.within("dead_letters.bytes_max", *bytes_max, Size(1 << 10)..=Size::mib(1 << 20));
    checker.within("dead_letters.age_max", *age_max, Span::secs(1)..=Span::secs(365 * 86_400));
}

fn check_delivery(delivery: &DeliveryConfig, checker: &mut Checker<'_>) {
    let DeliveryConfig {
        attempts_max,
        age_max,
        allow_hosts,
        exec_allow,
        exec_max,
        file_dirs,
        retry_first,
        retry_max,
        answer_bytes_max,
        breaker_faults,
        poison_hold,
    } = delivery;
    checker.within("delivery.attempts_max", *attempts_max, 1..=1_000);
    checker.within("delivery.age_max", *age_max, Span::secs(1)..=Span::secs(30 * 86_400));
    net::check_allow_hosts(allow_hosts, checker);
    targets::check_lists(exec_allow, file_dirs, checker);
    checker.within("delivery.exec_max", *exec_max, 1..=4_096);
    checker.within("delivery.retry_first", *retry_first, millis(1)..=Span::secs(600));
    let rule = format!("must be at least delivery.retry_first ({retry_first})");
    checker.relate(retry_max >= retry_first, "delivery.retry_max", retry_max, "delivery.retry_first", rule);
    checker.within("delivery.retry_max", *retry_max, millis(1)..=Span::secs(3_600));
    checker.within("delivery.answer_bytes_max", *answer_bytes_max, Size(1 << 10)..=Size::mib(64));
    checker.within("delivery.breaker_faults", *breaker_faults, 1..=1_000);
    checker.within("delivery.poison_hold", *poison_hold, 1..=10_000);
}

fn check_log(log: &LogConfig, checker: &mut Checker<'_>) {
    use taut_core::config::LogFormat::{Auto, Journald, Json, Text};
    let LogConfig { format: Auto | Text | Json | Journald, level, journal_socket } = log;
    checker.require(
        journal_socket.starts_with('/') && journal_socket.len() <= SOCKET_PATH_BYTES_MAX,
        "log.journal_socket",
        journal_socket,
        "must be an absolute path of at most 107 bytes: the journal is a Unix socket",
    );
    if let Err(rule) = logging::filter(level) {
        checker.require(false, "log.level", level, rule.to_string());
    }
}

fn check_listeners(metrics: &MetricsConfig, admin: &AdminConfig, checker: &mut Checker<'_>) {
    let MetricsConfig { listen } = metrics;
    let address = listen.parse::<std::net::SocketAddr>();
    let rule = "must be ADDRESS:PORT, such as 127.0.0.1:9464";
    checker.require(address.is_ok(), "metrics.listen", listen, rule);
    if address.is_ok_and(|address| !address.ip().is_loopback()) {
        checker.warn("metrics.listen", "reachable from other hosts: tenant ids and rates are in /metrics");
    }
    let AdminConfig { listen } = admin;
    if let Some(listen) = listen {
        let path = listen.strip_prefix("unix:").unwrap_or_default();
        checker.require(
            path.starts_with('/') && path.len() <= SOCKET_PATH_BYTES_MAX,
            "admin.listen",
            listen,
            "must be unix:/PATH (at most 107 bytes of path): commands go over a Unix socket only",
        );
    }
}
