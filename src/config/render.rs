//! The effective configuration as TOML, each key with its origin behind it.

use serde_json::Value;
use taut_core::config::{Config, SecretRef};

use super::layer::join;
use super::sample::{any_target, sample};
use super::schema::{Shape, pattern};
use super::{Loaded, Origin};

/// Column at which origins begin, where the value leaves room.
const ORIGIN_COLUMN: usize = 44;

/// The effective configuration as TOML that can be loaded again, with each key's origin as a comment.
///
/// Secrets are references here as everywhere, and are printed as such. Keys without a value are comments.
pub fn render(loaded: &Loaded) -> String {
    // JSON values keep the order of the types' fields, which is the order people know.
    let json =
        |config: &Config| serde_json::to_value(config).expect("paths are UTF-8, as they came from TOML");
    let known = json(&sample(SecretRef::Env(String::new()), any_target()));
    let value = json(&loaded.config);
    let mut page = Page { loaded, text: String::new() };
    page.section("", "", &value, &known, &Shape::of_config());
    page.text
}

struct Page<'a> {
    loaded: &'a Loaded,
    text: String,
}

impl Page<'_> {
    /// One table: its values, then its tables, then its lists of tables.
    fn section(&mut self, key: &str, header: &str, value: &Value, known: &Value, shape: &Shape) {
        let none = serde_json::Map::new();
        let known = known.as_object().unwrap_or(&none);
        let mut below = Vec::new();
        if !header.is_empty() {
            let gap = if self.text.is_empty() { "" } else { "\n" };
            self.add(&format!("{gap}{header}"));
        }
        for (name, known) in known {
            let Some(shape) = shape.child(name) else { continue };
            let value = value.get(name).filter(|value| !value.is_null());
            let as_section = match shape {
                Shape::Table(_) => !key.contains('['),
                Shape::Tables(_) => true,
                Shape::OneOf(_) | Shape::Value(_) => false,
            };
            match value {
                Some(value) if as_section => below.push((name, value, known, shape)),
                Some(value) => self.line(key, name, value),
                None if key.contains('[') || as_section => {}
                None => self.add(&format!("# {name} is not set")),
            }
        }
        for (name, value, known, shape) in below {
            let key = join(key, name);
            let header_name = pattern(&key).replace("[]", "");
            match (shape, value.as_array()) {
                (Shape::Tables(shape), Some(list)) => {
                    for (index, item) in list.iter().enumerate() {
                        let key = format!("{key}[{index}]");
                        self.section(
                            &key,
                            &format!("[[{header_name}]]"),
                            item,
                            known.get(0).unwrap_or(known),
                            shape,
                        );
                    }
                }
                (shape, _) => self.section(&key, &format!("[{header_name}]"), value, known, shape),
            }
        }
    }

    fn line(&mut self, parent: &str, name: &str, value: &Value) {
        let key = join(parent, name);
        let origin = self.origin(&key, value);
        let text = format!("{name} = {}", inline(value));
        self.add(&format!("{text:ORIGIN_COLUMN$} # {origin}"));
    }

    fn add(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A key's origin; for an inline table that of its first key that has been set.
    fn origin(&self, key: &str, value: &Value) -> Origin {
        if let Some(origin) = self.loaded.origins.get(key) {
            return origin.clone();
        }
        let origins =
            value.as_object().into_iter().flatten().map(|(name, value)| self.origin(&join(key, name), value));
        origins.into_iter().find(|origin| *origin != Origin::Default).unwrap_or_default()
    }
}

/// A value on one line of TOML.
fn inline(value: &Value) -> String {
    match value {
        Value::Object(table) if table.is_empty() => "{}".into(),
        Value::Object(table) => {
            let entries: Vec<_> =
                table.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::String(text) => toml_text(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A basic string of TOML, always on one line.
fn toml_text(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}
