//! Layers: a file, the environment or a command line as a tree whose every value knows where it came from.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::breach::{Breach, Origin, Source, shown};
use super::prune::later;
use super::schema::Shape;

/// Prefix of environment variables that set keys.
pub(super) const ENV_PREFIX: &str = "TAUT__";

/// A value or a table and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) content: Content,
}

/// What stands at a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Table(BTreeMap<String, Node>),
    /// A list of tables.
    Tables(Vec<Node>),
    /// A scalar, or a list of scalars.
    Value(toml::Value),
}

impl Node {
    pub(super) const fn empty_table(origin: Origin) -> Self {
        Self { origin, content: Content::Table(BTreeMap::new()) }
    }

    /// The same as TOML, without origins.
    pub(super) fn to_value(&self) -> toml::Value {
        match &self.content {
            Content::Table(table) => {
                toml::Value::Table(table.iter().map(|(key, node)| (key.clone(), node.to_value())).collect())
            }
            Content::Tables(list) => toml::Value::Array(list.iter().map(Self::to_value).collect()),
            Content::Value(value) => value.clone(),
        }
    }

    /// A tree in which every node has the same origin.
    pub(super) fn uniform(value: toml::Value, origin: &Origin) -> Self {
        let content = match value {
            toml::Value::Table(table) => Content::Table(
                table.into_iter().map(|(key, value)| (key, Self::uniform(value, origin))).collect(),
            ),
            toml::Value::Array(list) if is_tables(&list) => {
                Content::Tables(list.into_iter().map(|value| Self::uniform(value, origin)).collect())
            }
            value @ (toml::Value::String(_)
            | toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)) => Content::Value(value),
        };
        Self { origin: origin.clone(), content }
    }

    /// Every node's origin under its key's path.
    pub(super) fn origins(&self, key: &str, into: &mut BTreeMap<String, Origin>) {
        match &self.content {
            Content::Table(table) => {
                for (name, node) in table {
                    node.origins(&join(key, name), into);
                }
            }
            Content::Tables(list) => {
                for (index, node) in list.iter().enumerate() {
                    node.origins(&format!("{key}[{index}]"), into);
                }
            }
            Content::Value(_) => {}
        }
        into.insert(key.to_owned(), self.origin.clone());
    }
}

/// Whether every entry is a table; an empty list is not.
fn is_tables(list: &[toml::Value]) -> bool {
    !list.is_empty() && list.iter().all(toml::Value::is_table)
}

/// `parent.name`, or `name` at the root.
pub(super) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// Lays `over` on `base`: tables merge, lists of tables append, everything else is replaced.
///
/// A table that stands for one choice (a secret's `{ file = … }`) is replaced as a whole.
pub(super) fn merge(base: &mut Node, over: Node, shape: Option<&Shape>) {
    match (&mut base.content, over.content) {
        (Content::Table(below), Content::Table(above)) if !matches!(shape, Some(Shape::OneOf(_))) => {
            for (key, node) in above {
                match below.get_mut(&key) {
                    Some(existing) => merge(existing, node, shape.and_then(|shape| shape.child(&key))),
                    None => drop(below.insert(key, node)),
                }
            }
        }
        (Content::Tables(below), Content::Tables(above)) => below.extend(above),
        (_, content) => *base = Node { origin: over.origin, content },
    }
}

/// Reads one file's text. `Err` has every syntax error; a file that is not TOML has no keys.
pub(super) fn parse_file(text: &str, source: &Arc<Source>) -> Result<Node, Vec<Breach>> {
    let reader = Reader { source, line_ends: text.match_indices('\n').map(|(at, _)| at).collect() };
    let (table, errors) = DeTable::parse_recoverable(text);
    let syntax = |error: &toml::de::Error| Breach {
        key: String::new(),
        value: None,
        rule: format!("is not TOML: {}", error.message()),
        origin: Some(reader.origin(error.span().map_or(0, |span| span.start))),
    };
    let mut breaches: Vec<Breach> = errors.iter().map(syntax).collect();
    let root = reader.table(table.get_ref(), reader.origin(0), "", &mut breaches);
    if breaches.is_empty() { Ok(root) } else { Err(breaches) }
}

/// Turns parsed TOML with byte positions into nodes with lines.
struct Reader<'a> {
    source: &'a Arc<Source>,
    line_ends: Vec<usize>,
}

impl Reader<'_> {
    fn origin(&self, at: usize) -> Origin {
        let line = 1 + self.line_ends.partition_point(|end| *end < at);
        Origin::File { source: Arc::clone(self.source), line }
    }

    fn table(&self, table: &DeTable<'_>, origin: Origin, key: &str, breaches: &mut Vec<Breach>) -> Node {
        let children = table.iter().map(|(name, value)| {
            let node = self.node(value, self.origin(name.span().start), &join(key, name.get_ref()), breaches);
            (name.get_ref().to_string(), node)
        });
        Node { origin, content: Content::Table(children.collect()) }
    }

    fn node(
        &self,
        value: &Spanned<DeValue<'_>>,
        origin: Origin,
        key: &str,
        breaches: &mut Vec<Breach>,
    ) -> Node {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, origin, key, breaches),
            DeValue::Array(list) if list.iter().any(|item| item.get_ref().is_table()) => {
                let nodes = list.iter().enumerate().map(|(index, item)| {
                    let origin = self.origin(item.span().start);
                    self.node(item, origin, &format!("{key}[{index}]"), breaches)
                });
                Node { content: Content::Tables(nodes.collect()), origin }
            }
            scalar @ (DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)) => {
                let value = plain(scalar).unwrap_or_else(|| {
                    let rule = "must be a number of at most 64 bits".to_owned();
                    breaches.push(Breach {
                        key: key.into(),
                        value: None,
                        rule,
                        origin: Some(origin.clone()),
                    });
                    toml::Value::Integer(0)
                });
                Node { origin, content: Content::Value(value) }
            }
        }
    }
}

/// A scalar or a list of scalars as a plain value; `None` for a number beyond 64 bits.
fn plain(value: &DeValue<'_>) -> Option<toml::Value> {
    Some(match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(number) => {
            toml::Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()?)
        }
        DeValue::Float(number) => toml::Value::Float(number.as_str().parse().ok()?),
        DeValue::Boolean(flag) => toml::Value::Boolean(*flag),
        DeValue::Datetime(time) => toml::Value::Datetime(*time),
        DeValue::Array(list) => {
            toml::Value::Array(list.iter().map(|item| plain(item.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => toml::Value::Table(
            table
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), plain(value.get_ref())?)))
                .collect::<Option<_>>()?,
        ),
    })
}

/// Reads `TAUT__SECTION__KEY` variables into one layer.
pub(super) fn parse_env(env: &BTreeMap<String, String>, shape: &Shape, breaches: &mut Vec<Breach>) -> Node {
    let mut layer = Node::empty_table(Origin::Default);
    for (name, text) in env.iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)) {
        let path = name.trim_start_matches(ENV_PREFIX).to_ascii_lowercase();
        let keys: Vec<&str> = path.split("__").collect();
        match env_value(&keys, text, shape) {
            Ok(value) => {
                let table = keys.iter().rev().fold(value, |value, key| {
                    toml::Value::Table(std::iter::once(((*key).to_owned(), value)).collect())
                });
                merge(&mut layer, Node::uniform(table, &Origin::Env(name.clone())), Some(shape));
            }
            Err(rule) => breaches.push(Breach {
                key: name.clone(),
                value: Some(shown(&keys.join("."), &toml::Value::String(text.clone()))),
                rule,
                origin: None,
            }),
        }
    }
    layer
}

/// The value of one variable, or the rule it breaks.
fn env_value(keys: &[&str], text: &str, shape: &Shape) -> Result<toml::Value, String> {
    let found = keys.iter().try_fold(shape, |shape, key| shape.child(key));
    match found {
        Some(Shape::Value(toml::Value::String(_))) => Ok(toml::Value::String(text.into())),
        Some(Shape::Value(toml::Value::Integer(_))) => {
            text.parse().map(toml::Value::Integer).map_err(|_| "must be a whole number".into())
        }
        Some(Shape::Value(toml::Value::Boolean(_))) => {
            text.parse().map(toml::Value::Boolean).map_err(|_| "must be true or false".into())
        }
        Some(Shape::Value(_) | Shape::Tables(_)) => Err("is a list; set it in a file".into()),
        Some(Shape::Table(_) | Shape::OneOf(_)) => {
            Err(format!("is a table; set one of its keys, e.g. {}", env_name(&shape.example(keys))))
        }
        None => Err(match later(&keys.join(".")) {
            Some(sentence) => sentence,
            None => match shape.suggest(&keys.join(".")) {
                Some(key) => format!("no such key; did you mean {}?", env_name(&key)),
                None => "no such key".into(),
            },
        }),
    }
}

/// The variable that sets a key.
fn env_name(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}
