//! Which keys exist and what they look like, derived from samples of the configuration types, so that no list of keys
//! has to be kept by hand.

use std::collections::{BTreeMap, BTreeSet};

use taut_core::config::{
    AdminConfig, Config, KindMatch, NetworkConfig, RouteConfig, RouteMatch, SecretRef, StoreConfig, Target,
    TenantConfig, WorkerConfig,
};
use taut_core::{AppId, RouteName, TenantId};

use super::breach::{Breach, shown};
use super::layer::{Content, Node, join};

/// What may stand at a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// A table with these keys.
    Table(BTreeMap<String, Self>),
    /// A table with exactly one of these keys.
    OneOf(BTreeMap<String, Self>),
    /// A list of tables.
    Tables(Box<Self>),
    /// A value of this example's type.
    Value(toml::Value),
}

/// Longest key that is compared with others.
const KEY_BYTES_MAX: usize = 64;
/// Keys of later versions, with `[]` for a list's index.
const LATER_KEYS: [(&str, &str); 11] = [
    ("store.ack_after", "it goes with a Redis store"),
    ("store.redis", "its only store is the disk"),
    ("fleet", "it runs on one host"),
    ("gateway", "it has no gateway"),
    ("worker.labels", "it runs on one host"),
    ("worker.drain_max", "it drains within worker.drain_timeout"),
    ("delivery.exec_allow", "its only targets are http"),
    ("delivery.file_dirs", "its only targets are http"),
    ("tenants[].routes[].target.exec", "its only targets are http"),
    ("tenants[].routes[].target.file", "its only targets are http"),
    ("tenants[].routes[].target.redis_stream", "its only targets are http"),
];
/// More of them, whose values are known ahead of their version.
const LATER_VALUES: [(&str, &str, &str); 2] = [
    ("store.kind", "redis", "its only store is the disk"),
    ("log.format", "journald", "under systemd, use json"),
];

/// What to say about a key of a later version.
pub(super) fn later(key: &str) -> Option<String> {
    let pattern = pattern(key);
    let belongs = |later: &str| {
        pattern.strip_prefix(later).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    LATER_KEYS.iter().find(|(later, _)| belongs(later)).map(|(_, reason)| not_yet(reason))
}

fn not_yet(reason: &str) -> String {
    format!("this version of taut does not have it yet ({reason})")
}

impl Shape {
    /// The shape of the whole configuration.
    pub(super) fn of_config() -> Self {
        let samples = [
            sample(SecretRef::Env("ACME_APP_TOKEN".into())),
            sample(SecretRef::File("acme.token".into())),
            sample(SecretRef::Credential("acme-token".into())),
        ];
        let values = samples.map(|sample| {
            toml::Value::try_from(sample).expect("a configuration of texts, numbers and tables is TOML")
        });
        Self::of(&values.iter().collect::<Vec<_>>())
    }

    fn of(samples: &[&toml::Value]) -> Self {
        let tables: Vec<&toml::Table> = samples.iter().filter_map(|sample| sample.as_table()).collect();
        if !tables.is_empty() {
            let names: BTreeSet<&String> = tables.iter().flat_map(|table| table.keys()).collect();
            let one_of = names.len() > 1 && tables.iter().all(|table| table.len() == 1);
            let shapes = names.into_iter().map(|name| {
                let values: Vec<_> = tables.iter().filter_map(|table| table.get(name)).collect();
                (name.clone(), Self::of(&values))
            });
            return if one_of { Self::OneOf(shapes.collect()) } else { Self::Table(shapes.collect()) };
        }
        let items: Vec<&toml::Value> =
            samples.iter().filter_map(|sample| sample.as_array()).flatten().collect();
        if items.iter().any(|item| item.is_table()) {
            return Self::Tables(Box::new(Self::of(&items)));
        }
        Self::Value(samples.first().map_or(toml::Value::Array(Vec::new()), |sample| (*sample).clone()))
    }

    /// The shape one key further down.
    pub(super) fn child(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Table(children) | Self::OneOf(children) => children.get(key),
            Self::Tables(_) | Self::Value(_) => None,
        }
    }

    /// Every key's path, with `[]` for a list's index, tables not counted.
    pub(super) fn keys(&self) -> Vec<String> {
        fn walk(shape: &Shape, key: &str, into: &mut Vec<String>) {
            match shape {
                Shape::Table(children) => {
                    for (name, child) in children {
                        walk(child, &join(key, name), into);
                    }
                }
                Shape::Tables(item) => walk(item, &format!("{key}[]"), into),
                Shape::OneOf(_) | Shape::Value(_) => into.push(key.to_owned()),
            }
        }
        let mut keys = Vec::new();
        walk(self, "", &mut keys);
        keys
    }

    /// A scalar key below these.
    pub(super) fn example(&self, keys: &[&str]) -> String {
        let prefix = keys.join(".") + ".";
        let below = self.keys().into_iter().find(|key| key.starts_with(&prefix));
        below.unwrap_or_else(|| format!("{prefix}file"))
    }

    /// The existing key that was probably meant, with this key's own list indexes.
    pub(super) fn suggest(&self, key: &str) -> Option<String> {
        let (parent, name) = key.rsplit_once('.').unwrap_or(("", key));
        let siblings: Vec<String> =
            match parent.split('.').filter(|part| !part.is_empty()).try_fold(self, |shape, part| match shape
                .child(part.split('[').next().unwrap_or(part))
            {
                Some(Self::Tables(item)) => Some(&**item),
                other => other,
            }) {
                Some(Self::Table(children) | Self::OneOf(children)) => children.keys().cloned().collect(),
                Some(Self::Tables(_) | Self::Value(_)) | None => Vec::new(),
            };
        let near = siblings
            .into_iter()
            .map(|sibling| (distance(&sibling, name), sibling))
            .filter(|(distance, sibling)| *distance <= (sibling.len() / 3).clamp(1, 3))
            .min();
        if let Some((_, sibling)) = near {
            return Some(join(parent, &sibling));
        }
        let keys = self.keys();
        let elsewhere = keys.iter().find(|other| other.rsplit('.').next() == Some(name));
        let near = || {
            let close = |other: &&String| distance(other, key) <= 3;
            keys.iter().filter(close).min_by_key(|other| distance(other, key))
        };
        elsewhere.or_else(near).cloned()
    }
}

/// A key's path with `[]` for every `[index]`.
pub(super) fn pattern(key: &str) -> String {
    let mut inside = false;
    key.chars()
        .filter(|c| {
            inside = (inside || *c == '[') && *c != ']';
            !inside || *c == '['
        })
        .collect()
}

/// Takes what does not fit the shape out of the tree and says why.
pub(super) fn prune(
    node: &mut Node,
    shape: &Shape,
    root: &Shape,
    key: &str,
    breaches: &mut Vec<Breach>,
) -> bool {
    let mut refuse = |node: &Node, rule: String| {
        let value = match &node.content {
            Content::Value(value) => Some(shown(key, value)),
            Content::Table(_) | Content::Tables(_) => None,
        };
        breaches.push(Breach { key: key.into(), value, rule, origin: Some(node.origin.clone()) });
        false
    };
    match (&mut node.content, shape) {
        (Content::Table(table), Shape::Table(shapes) | Shape::OneOf(shapes)) => {
            let before = table.len();
            table.retain(|name, child| {
                let key = join(key, name);
                match shapes.get(name) {
                    Some(shape) => prune(child, shape, root, &key, breaches),
                    None => refuse_unknown(child, root, &key, breaches),
                }
            });
            let choices = matches!(shape, Shape::OneOf(_)) && table.len() != 1;
            if choices && before == table.len() {
                let names: Vec<_> = shapes.keys().map(String::as_str).collect();
                let rule = format!("must have exactly one of {}", names.join(", "));
                breaches.push(Breach {
                    key: key.into(),
                    value: None,
                    rule,
                    origin: Some(node.origin.clone()),
                });
            }
            !choices
        }
        (Content::Tables(list), Shape::Tables(shape)) => {
            for (index, child) in list.iter_mut().enumerate() {
                // A list keeps its length, so that paths stay true; what is missing is completed later.
                if !prune(child, shape, root, &format!("{key}[{index}]"), breaches) {
                    *child = Node::empty_table(child.origin.clone());
                }
            }
            true
        }
        (Content::Value(toml::Value::Array(list)), Shape::Tables(_)) if list.is_empty() => {
            node.content = Content::Tables(Vec::new());
            true
        }
        (Content::Value(value), Shape::Value(sample)) => match misfit(value, sample) {
            None => match later_value(key, value) {
                Some(rule) => refuse(node, rule),
                None => true,
            },
            Some(rule) => refuse(node, rule),
        },
        (_, Shape::OneOf(_)) => {
            refuse(node, "must be a reference: { env = … }, { file = … } or { credential = … }".into())
        }
        (_, Shape::Table(_)) => refuse(node, "must be a table".into()),
        (_, Shape::Tables(_)) => refuse(node, format!("must be a list of tables, [[{}]]", pattern(key))),
        (_, Shape::Value(sample)) => refuse(node, expected(sample)),
    }
}

fn refuse_unknown(node: &Node, root: &Shape, key: &str, breaches: &mut Vec<Breach>) -> bool {
    let value = match &node.content {
        Content::Value(value) => Some(shown(key, value)),
        Content::Table(_) | Content::Tables(_) => None,
    };
    let rule = later(key).unwrap_or_else(|| match root.suggest(key) {
        Some(other) => format!("no such key; did you mean {other}?"),
        None => "no such key".into(),
    });
    breaches.push(Breach { key: key.into(), value, rule, origin: Some(node.origin.clone()) });
    false
}

fn later_value(key: &str, value: &toml::Value) -> Option<String> {
    LATER_VALUES
        .iter()
        .find(|(later, text, _)| *later == key && value.as_str() == Some(text))
        .map(|(_, _, reason)| not_yet(reason))
}

/// The rule a value breaks that is not of the sample's type.
fn misfit(value: &toml::Value, sample: &toml::Value) -> Option<String> {
    let same = match (value, sample) {
        (toml::Value::Array(items), toml::Value::Array(samples)) => {
            samples.first().is_none_or(|sample| items.iter().all(|item| item.same_type(sample)))
        }
        (value, sample) => value.same_type(sample),
    };
    (!same).then(|| expected(sample))
}

fn expected(sample: &toml::Value) -> String {
    match sample {
        toml::Value::String(_) => format!("must be a text, such as {sample}"),
        toml::Value::Integer(_) => format!("must be a whole number, such as {sample}"),
        toml::Value::Boolean(_) => "must be true or false".into(),
        toml::Value::Array(_) => format!("must be a list of texts, such as {sample}"),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => {
            format!("must be such as {sample}")
        }
    }
}

/// Edits (insert, delete, replace, swap of neighbours) that lead from one text to the other.
fn distance(left: &str, right: &str) -> usize {
    if left.len().max(right.len()) > KEY_BYTES_MAX {
        return usize::MAX;
    }
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<usize>>()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

/// A configuration in which every key has a value, as an example of its type.
pub(super) fn sample(secret: SecretRef) -> Config {
    let Config {
        slack,
        network: NetworkConfig { deadlines, .. },
        worker,
        queue,
        dead_letters,
        delivery,
        log,
        metrics,
        store,
        admin: _,
        tenants: _,
    } = Config::default();
    Config {
        slack,
        network: NetworkConfig {
            proxy: Some("http://proxy.corp:3128".into()),
            proxy_user: Some("taut".into()),
            proxy_password: Some(secret.clone()),
            ca_files: vec!["/etc/ssl/corp-root.pem".into()],
            deadlines,
        },
        store: StoreConfig { kind: store.kind, path: Some("/var/lib/taut".into()) },
        worker: WorkerConfig { name: Some("host-1".into()), ..worker },
        queue,
        dead_letters,
        delivery,
        log,
        metrics,
        admin: AdminConfig { listen: Some("unix:/run/taut/admin.sock".into()) },
        tenants: vec![sample_tenant(secret)],
    }
}

fn sample_tenant(secret: SecretRef) -> TenantConfig {
    TenantConfig {
        id: TenantId::new("acme").expect("lower-case letters"),
        environment: taut_core::config::Environment::default(),
        app_id: Some(AppId::new("A0123456789").expect("an app id's shape")),
        app_token: secret.clone(),
        signing_secret: secret.clone(),
        bot_token: Some(secret),
        paused: true,
        routes: vec![sample_route()],
    }
}

fn sample_route() -> RouteConfig {
    let list = |text: &str| vec![text.to_owned()];
    RouteConfig {
        name: RouteName::new("bot").expect("letters"),
        matching: RouteMatch {
            kinds: vec![KindMatch::EventsApi],
            event_types: list("message"),
            interactive_types: list("block_actions"),
            commands: list("/deploy"),
            callback_ids: list("approve"),
            teams: list("T0123456789"),
            channels: list("C0123456789"),
        },
        target: Target::Http("http://127.0.0.1:3000/slack/events".into()),
        order: taut_core::order::Order::default(),
        on_late_answer: taut_core::config::LateAnswer::default(),
        concurrency: 8,
        timeout: taut_core::config::Span::secs(10),
        proxy: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_key_is_found() {
        let keys = Shape::of_config().keys();
        for key in [
            "slack.api_url",
            "network.proxy_password",
            "network.deadlines.tcp",
            "store.path",
            "tenants[].bot_token",
            "tenants[].paused",
            "tenants[].routes[].match.channels",
            "tenants[].routes[].target.http",
        ] {
            assert!(keys.iter().any(|known| known == key), "{key} in {keys:?}");
        }
    }

    #[test]
    fn a_misspelt_key_gets_a_suggestion() {
        let shape = Shape::of_config();
        let suggest = |key: &str| shape.suggest(key).unwrap_or_default();
        assert_eq!(suggest("store.pth"), "store.path");
        assert_eq!(suggest("sotre"), "store");
        assert_eq!(suggest("queue.attempts_max"), "delivery.attempts_max");
        assert_eq!(suggest("tenants[3].routes[1].ordr"), "tenants[3].routes[1].order");
        assert_eq!(suggest("store.zebra"), "");
    }

    #[test]
    fn edits_are_counted_with_swaps() {
        assert_eq!(distance("path", "pth"), 1);
        assert_eq!(distance("store", "sotre"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(pattern("tenants[10].routes[2].x"), "tenants[].routes[].x");
    }
}
