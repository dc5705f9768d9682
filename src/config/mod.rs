//! Configuration: files and environment in layers, every breach at once, provenance.
//!
//! ```text
//! defaults ◄─ files, in order ◄─ TAUT__SECTION__KEY      layer.rs: trees whose values know their line
//!                 │
//!                 ▼ prune.rs    unknown keys, keys of later versions, wrong types, by the schema.rs of the types
//!                 ▼ typed.rs    serde judges each value
//!                 ▼ check/      ranges and relations
//!             Loaded, or Breaches: all of them, each with key, value, origin and rule
//! ```
//! Invariants: a breach never hides another one; no text of a breach or of [`render`] holds a secret; secrets stay
//! references, so nothing here reads one. Deliberately absent: reloading, and resolving references (the vault's).

mod breach;
mod check;
mod layer;
mod prune;
mod render;
mod sample;
mod schema;
mod typed;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use taut_core::config::{Config, SecretRef};

pub use self::breach::{Breach, Breaches, Origin, Source};
use self::layer::{Node, join, merge, parse_env, parse_file};
pub use self::render::render;
use self::schema::Shape;

/// Largest configuration file, in bytes: ten thousand tenants take about 5 MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A checked configuration and where its values came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What is in force. Paths in it are absolute.
    pub config: Config,
    /// The origin of every key that is in force, e.g. `tenants[0].routes[0].timeout`.
    pub origins: BTreeMap<String, Origin>,
    /// Directory of the last file, else the working directory.
    pub base_dir: PathBuf,
    /// What works, but a person should know.
    pub warnings: Vec<String>,
}

/// Loads the files in order, then the variables of `env` that begin with `TAUT__`, over the defaults.
///
/// Blocks on the files. A relative path in a file counts from that file's directory; `[[tenants]]` of several files
/// add up, other lists replace each other.
///
/// # Errors
/// [`Breaches`]: everything that is wrong, at once. Files that cannot be read or are not TOML come first and alone.
pub fn load(files: &[PathBuf], env: &BTreeMap<String, String>) -> Result<Loaded, Breaches> {
    let working_dir = working_dir()?;
    let mut base_dir = working_dir.clone();
    let mut layers = Vec::new();
    let mut breaches = Vec::new();
    for (position, file) in files.iter().enumerate() {
        base_dir = working_dir.join(file).parent().unwrap_or(&working_dir).to_path_buf();
        let source =
            Arc::new(Source { position, name: file.display().to_string(), dir: base_dir.as_path().into() });
        let parsed = read(file, &base_dir).map_err(|rule| vec![unreadable(&source, rule)]);
        match parsed.and_then(|text| parse_file(&text, &source)) {
            Ok(layer) => layers.push(layer),
            Err(found) => breaches.extend(found),
        }
    }
    if breaches.is_empty() { assemble(layers, env, &working_dir, base_dir) } else { Err(Breaches(breaches)) }
}

/// Loads one file's text as if it lay in `dir`, over the defaults.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn load_text(text: &str, dir: &Path) -> Result<Loaded, Breaches> {
    let source = Arc::new(Source { position: 0, name: "taut.toml".into(), dir: dir.into() });
    let layer = parse_file(text, &source).map_err(Breaches)?;
    assemble(vec![layer], &BTreeMap::new(), dir, dir.to_path_buf())
}

/// The configuration of `taut run --forward URL`: one tenant, `default`, with one route, `default`, to the URL.
///
/// `SLACK_APP_TOKEN` and `SLACK_SIGNING_SECRET` must be in `env`; they stay there, the configuration refers to them.
/// Metrics listen on a free port. `TAUT__SECTION__KEY` variables count as well.
///
/// # Errors
/// [`Breaches`]: everything that is wrong, at once.
pub fn short_form(env: &BTreeMap<String, String>, forward_url: &str) -> Result<Loaded, Breaches> {
    const VARIABLES: [(&str, &str, &str); 2] = [
        ("app_token", "SLACK_APP_TOKEN", "must be set to the app-level token, xapp-…"),
        ("signing_secret", "SLACK_SIGNING_SECRET", "must be set to the app's signing secret"),
    ];
    let set = |name: &str| env.get(name).is_some_and(|value| !value.trim().is_empty());
    let absent = VARIABLES.iter().filter(|(_, name, _)| !set(name));
    let mut breaches: Vec<Breach> = absent
        .map(|(_, name, rule)| Breach {
            key: (*name).into(),
            value: None,
            rule: (*rule).into(),
            origin: None,
        })
        .collect();
    if env.get("SLACK_APP_TOKEN").is_some_and(|token| token.trim_start().starts_with("xoxb-")) {
        breaches.push(Breach {
            key: "SLACK_APP_TOKEN".into(),
            value: Some("***".into()),
            rule: "is a bot token (xoxb-…); sockets need the app-level token (xapp-…) with connections:write"
                .into(),
            origin: None,
        });
    }
    let dir = working_dir()?;
    let layers = short_form_layers(&VARIABLES.map(|(key, name, _)| (key, name)), forward_url);
    match assemble(layers, env, &dir, dir.clone()) {
        Ok(loaded) if breaches.is_empty() => Ok(loaded),
        Ok(_) => Err(Breaches(breaches)),
        Err(Breaches(more)) => {
            breaches.extend(more);
            Err(Breaches(breaches))
        }
    }
}

/// The short form as layers, so that it goes through the same rules as a file.
fn short_form_layers(references: &[(&str, &str)], forward_url: &str) -> Vec<Node> {
    let flag = Origin::Flag("--forward");
    let layer = |key: &[&str], value: toml::Value, origin: &Origin| {
        let table = key.iter().rev().fold(value, |value, key| {
            toml::Value::Table(std::iter::once(((*key).to_owned(), value)).collect())
        });
        Node::uniform(table, origin)
    };
    let text = |text: &str| toml::Value::String(text.into());
    let route = [("name", text("default")), ("target", table([("http", text(forward_url))]))];
    let tenant = [("id", text("default")), ("routes", toml::Value::Array(vec![table(route)]))];
    let mut tenant = Node::uniform(table(tenant), &flag);
    for (key, name) in references {
        let reference = layer(&[key, "env"], text(name), &Origin::Env((*name).into()));
        merge(&mut tenant, reference, None);
    }
    let tenants = Node { origin: flag.clone(), content: layer::Content::Tables(vec![tenant]) };
    let root = std::iter::once(("tenants".to_owned(), tenants)).collect();
    let root = Node { origin: flag.clone(), content: layer::Content::Table(root) };
    vec![layer(&["metrics", "listen"], text("127.0.0.1:0"), &flag), root]
}

fn table<const N: usize>(entries: [(&str, toml::Value); N]) -> toml::Value {
    toml::Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Lays the layers on each other and checks what comes out.
fn assemble(
    layers: Vec<Node>,
    env: &BTreeMap<String, String>,
    working_dir: &Path,
    base_dir: PathBuf,
) -> Result<Loaded, Breaches> {
    let shape = Shape::of_config();
    let mut breaches = Vec::new();
    let mut tree = Node::empty_table(Origin::Default);
    for layer in layers {
        merge(&mut tree, layer, Some(&shape));
    }
    merge(&mut tree, parse_env(env, &shape, &mut breaches), Some(&shape));
    prune::prune(&mut tree, &shape, &shape, "", &mut breaches);
    let (mut config, tree) = typed::build(tree, &shape, &mut breaches);
    let mut places = BTreeMap::new();
    tree.origins("", &mut places);
    let warnings = check::check(&config, &places, &mut breaches);
    if !breaches.is_empty() {
        breaches.sort_by(|one, other| one.origin.cmp(&other.origin));
        return Err(Breaches(breaches));
    }
    let origins = effective_origins(&config, &shape, &places);
    absolute_paths(&mut config, &places, working_dir);
    Ok(Loaded { config, origins, base_dir, warnings })
}

/// The origin of every key that has a value.
fn effective_origins(
    config: &Config,
    shape: &Shape,
    places: &BTreeMap<String, Origin>,
) -> BTreeMap<String, Origin> {
    fn walk(value: &toml::Value, shape: &Shape, key: &str, visit: &mut dyn FnMut(&str)) {
        match (value, shape) {
            (toml::Value::Table(table), Shape::Table(shapes)) => {
                for (name, value) in table {
                    shapes
                        .get(name)
                        .into_iter()
                        .for_each(|shape| walk(value, shape, &join(key, name), visit));
                }
            }
            (toml::Value::Array(list), Shape::Tables(shape)) => {
                for (index, value) in list.iter().enumerate() {
                    walk(value, shape, &format!("{key}[{index}]"), visit);
                }
            }
            (_, Shape::Table(_) | Shape::OneOf(_) | Shape::Tables(_) | Shape::Value(_)) => visit(key),
        }
    }
    let mut origins = BTreeMap::new();
    let value = toml::Value::try_from(config).expect("what was read from TOML can be written as TOML");
    walk(&value, shape, "", &mut |key| {
        origins.insert(key.to_owned(), places.get(key).cloned().unwrap_or_default());
    });
    origins
}

/// Makes relative paths absolute: they count from the file that names them, else from the working directory.
fn absolute_paths(config: &mut Config, places: &BTreeMap<String, Origin>, working_dir: &Path) {
    let absolute = |key: &str, path: &mut PathBuf| {
        let dir = match places.get(key) {
            Some(Origin::File { source, .. }) => &source.dir,
            Some(Origin::Default | Origin::Env(_) | Origin::Flag(_)) | None => working_dir,
        };
        *path = dir.join(&path);
    };
    let secret = |key: &str, secret: &mut SecretRef| match secret {
        SecretRef::File(path) => absolute(key, path),
        SecretRef::Env(_) | SecretRef::Credential(_) => {}
    };
    for path in &mut config.network.ca_files {
        absolute("network.ca_files", path);
    }
    if let Some(path) = &mut config.store.path {
        absolute("store.path", path);
    }
    if let Some(password) = &mut config.network.proxy_password {
        secret("network.proxy_password", password);
    }
    for (index, tenant) in config.tenants.iter_mut().enumerate() {
        secret(&format!("tenants[{index}].app_token"), &mut tenant.app_token);
        secret(&format!("tenants[{index}].signing_secret"), &mut tenant.signing_secret);
        if let Some(token) = &mut tenant.bot_token {
            secret(&format!("tenants[{index}].bot_token"), token);
        }
        if let Some(network) = &mut tenant.network {
            let key = format!("tenants[{index}].network");
            if let Some(password) = &mut network.proxy_password {
                secret(&format!("{key}.proxy_password"), password);
            }
            for path in &mut network.ca_files {
                absolute(&format!("{key}.ca_files"), path);
            }
        }
    }
}

/// The working directory, of which the rest relies on its name being UTF-8.
fn working_dir() -> Result<PathBuf, Breaches> {
    let refused =
        |rule: String| Breaches(vec![Breach { key: String::new(), value: None, rule, origin: None }]);
    let dir = std::env::current_dir()
        .map_err(|error| refused(format!("the working directory cannot be found: {error}")))?;
    if dir.to_str().is_none() {
        return Err(refused("the working directory's name must be UTF-8".into()));
    }
    Ok(dir)
}

fn unreadable(source: &Arc<Source>, rule: String) -> Breach {
    Breach { key: source.name.clone(), value: None, rule, origin: None }
}

/// A file's text, or what is wrong with it.
fn read(file: &Path, dir: &Path) -> Result<String, String> {
    if dir.to_str().is_none() {
        return Err(
            "is in a directory whose name is not UTF-8: its relative paths cannot be written down".into()
        );
    }
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {} MiB", FILE_BYTES_MAX >> 20));
    }
    Ok(text)
}

/// The path of every key that exists, with `[]` for a list's index.
pub fn keys() -> Vec<String> {
    Shape::of_config().keys()
}
