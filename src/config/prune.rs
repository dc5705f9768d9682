//! What a tree has that the schema has not: unknown keys, keys of later versions, values of the wrong type.

use super::breach::{Breach, shown};
use super::layer::{Content, Node, join};
use super::schema::{Shape, pattern};

/// Keys of later versions, with `[]` for a list's index.
const LATER_KEYS: [(&str, &str); 7] = [
    ("store.ack_after", "it goes with a Redis store"),
    ("store.redis", "its only store is the disk"),
    ("fleet", "it runs on one host"),
    ("gateway", "it has no gateway"),
    ("worker.labels", "it runs on one host"),
    ("worker.drain_max", "it drains within worker.drain_timeout"),
    ("tenants[].routes[].target.redis_stream", "its targets are http, exec and file"),
];
/// More of them, whose values are known ahead of their version.
const LATER_VALUES: [(&str, &str, &str); 1] = [("store.kind", "redis", "its only store is the disk")];

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
