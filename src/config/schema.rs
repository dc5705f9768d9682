//! Which keys exist and what they look like, derived from samples of the configuration types, so that no list of keys
//! has to be kept by hand.

use std::collections::{BTreeMap, BTreeSet};

use taut_core::config::{SecretRef, Target};

use super::layer::join;
use super::sample::{any_target, sample};

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
impl Shape {
    /// The shape of the whole configuration.
    pub(super) fn of_config() -> Self {
        let samples = [
            sample(SecretRef::Env("ACME_APP_TOKEN".into()), any_target()),
            sample(SecretRef::File("acme.token".into()), Target::Exec(vec!["/usr/bin/handler".into()])),
            sample(
                SecretRef::Credential("acme-token".into()),
                Target::File("/var/log/taut/acme.ndjson".into()),
            ),
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
            "tenants[].routes[].target",
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
