//! From a tree to the typed configuration. serde judges every value; what it refuses is taken out and named, so that
//! one bad value does not hide the others.

use serde::de::DeserializeOwned;
use taut_core::config::{Config, RouteConfig, SecretRef, TenantConfig};
use toml::{Table, Value};

use super::breach::{Breach, Origin, shown};
use super::layer::{Content, Node, join};
use super::sample::{any_target, sample};
use super::schema::Shape;
use crate::logging;

/// Stands in for a secret's reference that has a breach of its own. No variable can have this name.
const MISSING: &str = "=";

/// The configuration of a tree that fits the shape. Every value that its type refuses, and every key that is missing,
/// becomes a breach and is replaced by its default or an example, so that the other rules can be checked as well.
pub(super) fn build(mut tree: Node, shape: &Shape, breaches: &mut Vec<Breach>) -> (Config, Node) {
    if let Ok(config) = tree.to_value().try_into::<Config>() {
        return (config, tree);
    }
    let example = sample(SecretRef::Env(MISSING.into()), any_target());
    let mut tenant = example.tenants.first().map(table_of).unwrap_or_default();
    let route = example.tenants.first().and_then(|tenant| tenant.routes.first()).map(table_of);
    let route = Sample { table: route.unwrap_or_default(), judge: judge::<RouteConfig> };
    tenant.remove("routes");
    let tenant = Sample { table: tenant, judge: judge::<TenantConfig> };
    let root = Sample { table: Table::new(), judge: judge::<Config> };

    root.mend(&mut tree, shape, "", breaches);
    for (index, node) in tables(&mut tree, "tenants").iter_mut().enumerate() {
        let key = format!("tenants[{index}]");
        let shape = item(shape, "tenants");
        for (index, node) in tables(node, "routes").iter_mut().enumerate() {
            route.mend(node, item(shape, "routes"), &format!("{key}.routes[{index}]"), breaches);
        }
        tenant.mend(node, shape, &key, breaches);
    }
    let config = tree.to_value().try_into::<Config>().unwrap_or_else(|error| {
        breaches.push(Breach {
            key: String::new(),
            value: None,
            rule: error.message().to_owned(),
            origin: Some(tree.origin.clone()),
        });
        Config::default()
    });
    (config, tree)
}

fn table_of<T: serde::Serialize>(value: &T) -> Table {
    Table::try_from(value).expect("a table of texts, numbers and tables is TOML")
}

/// Whether a table is a `T`; else the rule it breaks.
fn judge<T: DeserializeOwned>(table: Table) -> Result<(), String> {
    Value::Table(table).try_into::<T>().map(|_| ()).map_err(|error| plain_words(error.message()))
}

/// serde's message without what the breach says anyway.
fn plain_words(message: &str) -> String {
    let message = message.trim();
    if message.starts_with("invalid value: integer") {
        return "is beyond what this key can hold".into();
    }
    match message.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected ")) {
        Some((_, choices)) => format!("must be {choices}"),
        None => message.to_owned(),
    }
}

/// The rule without the value, where the value is not to be shown.
fn quoting_no_secret(rule: &str, value: &Value, shown: Option<&str>) -> String {
    match (value.as_str(), shown) {
        (Some(text), Some("***")) if !text.is_empty() => rule.replace(text, "***"),
        _ => logging::redact(rule).into_owned(),
    }
}

/// The list of tables at a key; empty where there is none.
fn tables<'a>(node: &'a mut Node, key: &str) -> &'a mut [Node] {
    let Content::Table(table) = &mut node.content else { return &mut [] };
    match table.get_mut(key).map(|node| &mut node.content) {
        Some(Content::Tables(list)) => list,
        Some(Content::Table(_) | Content::Value(_)) | None => &mut [],
    }
}

/// The shape of a list's tables.
fn item<'a>(shape: &'a Shape, key: &str) -> &'a Shape {
    match shape.child(key) {
        Some(Shape::Tables(item)) => item,
        Some(other) => other,
        None => shape,
    }
}

/// A table that is known to be good, in which one value at a time is tried.
struct Sample {
    table: Table,
    judge: fn(Table) -> Result<(), String>,
}

impl Sample {
    fn mend(&self, node: &mut Node, shape: &Shape, key: &str, breaches: &mut Vec<Breach>) {
        let mut units = Vec::new();
        find_units(node, shape, &mut Vec::new(), &mut units);
        for unit in units {
            let mut candidate = self.table.clone();
            put(&mut candidate, &unit.path, unit.value.clone());
            if let Err(rule) = (self.judge)(candidate) {
                let key = unit.path.iter().fold(key.to_owned(), |key, name| join(&key, name));
                let value = Some(shown(&key, &unit.value));
                let rule = quoting_no_secret(&rule, &unit.value, value.as_deref());
                take(node, &unit.path);
                report(breaches, Breach { key, value, rule, origin: Some(unit.origin) });
            }
        }
        self.complete(node, key, breaches);
    }

    /// Puts the sample's value where a required key is missing.
    fn complete(&self, node: &mut Node, key: &str, breaches: &mut Vec<Breach>) {
        let Content::Table(table) = &mut node.content else { return };
        for (name, value) in &self.table {
            let mut without = self.table.clone();
            without.remove(name);
            if table.contains_key(name) || (self.judge)(without).is_ok() {
                continue;
            }
            let origin = Some(node.origin.clone());
            report(breaches, Breach { key: join(key, name), value: None, rule: "is missing".into(), origin });
            table.insert(name.clone(), Node::uniform(value.clone(), &Origin::Default));
        }
    }
}

/// Adds a breach unless something at or below its key has one.
fn report(breaches: &mut Vec<Breach>, breach: Breach) {
    let at_or_below = |other: &Breach| {
        other.key.strip_prefix(&breach.key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if !breaches.iter().any(at_or_below) {
        breaches.push(breach);
    }
}

/// What serde judges as a whole: a value, a choice, or an empty table.
struct Unit {
    path: Vec<String>,
    value: Value,
    origin: Origin,
}

fn find_units(node: &Node, shape: &Shape, path: &mut Vec<String>, into: &mut Vec<Unit>) {
    let whole =
        |path: &[String]| Unit { path: path.to_vec(), value: node.to_value(), origin: node.origin.clone() };
    match (&node.content, shape) {
        (Content::Tables(_), _) => {}
        (Content::Table(table), Shape::Table(shapes)) if !table.is_empty() => {
            for (name, child) in table {
                let Some(shape) = shapes.get(name) else { continue };
                path.push(name.clone());
                find_units(child, shape, path, into);
                path.pop();
            }
        }
        (Content::Table(_) | Content::Value(_), _) if path.is_empty() => {}
        (Content::Table(_) | Content::Value(_), _) => into.push(whole(path)),
    }
}

fn put(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => drop(table.insert(name.clone(), value)),
        [name, rest @ ..] => {
            let child = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(child) = child {
                put(child, rest, value);
            }
        }
    }
}

/// Removes what stands at a path, and tables that this leaves empty.
fn take(node: &mut Node, path: &[String]) {
    let (Content::Table(table), [name, rest @ ..]) = (&mut node.content, path) else { return };
    let Some(child) = table.get_mut(name) else { return };
    take(child, rest);
    let emptied = matches!(&child.content, Content::Table(table) if table.is_empty());
    if rest.is_empty() || emptied {
        table.remove(name);
    }
}
