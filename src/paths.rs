//! The environment, and where a worker keeps its store and its socket when the configuration does not say.

use std::collections::BTreeMap;
use std::path::PathBuf;

use taut_core::config::Config;

/// Directory of the store: `store.path`, else `$STATE_DIRECTORY`, else XDG's state directory.
///
/// # Errors
/// If nothing names a directory.
pub fn store(config: &Config, environment: &BTreeMap<String, String>) -> Result<PathBuf, String> {
    if let Some(path) = &config.store.path {
        return Ok(path.clone());
    }
    let named = |key: &str| environment.get(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("STATE_DIRECTORY")
        .or_else(|| named("XDG_STATE_HOME").map(|state| state.join("taut")))
        .or_else(|| named("HOME").map(|home| home.join(".local/state/taut")))
        .ok_or_else(|| {
            "store.path is not set, and neither are STATE_DIRECTORY, XDG_STATE_HOME and HOME".into()
        })
}

/// The admin socket's file: `admin.listen`, else in `$RUNTIME_DIRECTORY`, else beside the store.
///
/// # Errors
/// If nothing names a directory.
pub fn admin_socket(config: &Config, environment: &BTreeMap<String, String>) -> Result<PathBuf, String> {
    if let Some(path) = config.admin.listen.as_deref().and_then(|listen| listen.strip_prefix("unix:")) {
        return Ok(PathBuf::from(path));
    }
    match environment.get("RUNTIME_DIRECTORY").filter(|value| !value.is_empty()) {
        Some(directory) => Ok(PathBuf::from(directory).join("admin.sock")),
        None => Ok(store(config, environment)?.join("admin.sock")),
    }
}

/// The process's environment, as far as it is text.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
