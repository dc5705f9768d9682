//! What is wrong with a configuration, and where each value came from.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::logging;

/// Longest value quoted in a breach, in characters.
const VALUE_CHARS_MAX: usize = 80;
/// Most breaches printed; the rest is counted.
const PRINTED_MAX: usize = 200;

/// A configuration file as it was named, and the directory its relative paths count from.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Its position among the files: breaches are listed in this order.
    pub position: usize,
    /// The file's name as the operator wrote it.
    pub name: String,
    /// Its directory, absolute.
    pub dir: Box<Path>,
}

/// Where a value came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of a file, counted from 1.
    File {
        /// Which file.
        source: Arc<Source>,
        /// Which line.
        line: usize,
    },
    /// An environment variable.
    Env(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nobody set it.
    #[default]
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { source, line } => write!(f, "{}:{line}", source.name),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The key's path, e.g. `tenants[0].routes[1].timeout`; empty for a file that cannot be read or is not TOML.
    pub key: String,
    /// The value as TOML; `None` where there is none. What is or may be a secret reads `***`.
    pub value: Option<String>,
    /// The rule in words.
    pub rule: String,
    /// Where the value came from; `None` where the key says it.
    pub origin: Option<Origin>,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        match &self.origin {
            Some(origin) if self.key.is_empty() => write!(f, "{origin}: ")?,
            Some(origin) => write!(f, " ({origin}): ")?,
            None if self.key.is_empty() => {}
            None => f.write_str(": ")?,
        }
        f.write_str(&self.rule)
    }
}

/// Everything that is wrong, never empty. Displays as one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Breaches(pub Vec<Breach>);

impl fmt::Display for Breaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, breach) in self.0.iter().take(PRINTED_MAX).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            breach.fmt(f)?;
        }
        match self.0.len().saturating_sub(PRINTED_MAX) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// What names of keys whose values are secrets have in common, well or badly spelt.
const SECRET_WORDS: [&str; 6] = ["token", "secr", "pass", "pwd", "credential", "signing"];

/// A value as it may be shown: what is or may be a secret reads `***`, credentials in URLs too, long text is cut.
///
/// A person who pastes a secret where a reference belongs, or misspells the key, must not find it in a terminal's
/// scrollback or in a CI log.
pub(super) fn shown(key: &str, value: &toml::Value) -> String {
    let key = key.to_ascii_lowercase();
    if SECRET_WORDS.iter().any(|word| key.contains(word)) || looks_random(value) {
        return "***".into();
    }
    let text = value.to_string();
    let text = logging::redact(&without_user_info(&text)).into_owned();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Whether a text could be a key or a token: long, letters and digits mixed, none of what paths and URLs are made of.
fn looks_random(value: &toml::Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    text.len() >= 24
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'+' | b'='))
        && text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Replaces `user:password@` after `://` by `***@`.
fn without_user_info(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split(['/', '?', '#', '"', ' ']).next().unwrap_or(rest);
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://***{}", rest.get(at..).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> toml::Value {
        toml::Value::String(value.into())
    }

    #[test]
    fn a_breach_is_one_line_with_key_value_origin_and_rule() {
        let source =
            Arc::new(Source { position: 0, name: "taut.toml".into(), dir: Path::new("/etc/taut").into() });
        let breach = Breach {
            key: "store.pth".into(),
            value: Some(r#""x""#.into()),
            rule: "no such key; did you mean store.path?".into(),
            origin: Some(Origin::File { source, line: 3 }),
        };
        assert_eq!(
            breach.to_string(),
            r#"store.pth = "x" (taut.toml:3): no such key; did you mean store.path?"#
        );
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        assert_eq!(shown("tenants[0].app_token", &text("hunter2")), "***");
        assert_eq!(shown("tenants[0].signing_secrt", &text("hunter2")), "***");
        assert_eq!(shown("tenants[0].sgn", &text("8f742231b10e8888abcd99yyyzzz85a5")), "***");
        assert_eq!(shown("network.proxy", &text("http://joe:pw@proxy:3128")), r#""http://***@proxy:3128""#);
        assert_eq!(shown("store.pth", &text("/var/lib/taut")), r#""/var/lib/taut""#);
        assert_eq!(
            shown("x", &text("a ").as_str().map(|t| text(&t.repeat(500))).expect("text")).chars().count(),
            81
        );
    }

    #[test]
    fn countless_breaches_are_counted() {
        let one = Breach { key: "k".into(), value: None, rule: "r".into(), origin: None };
        let printed = Breaches(vec![one; 205]).to_string();
        assert!(printed.ends_with("\nand 5 more"), "{printed}");
        assert_eq!(printed.lines().count(), 201);
    }
}
