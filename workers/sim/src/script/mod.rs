//! Scripts: apps, switches, a load and a timeline of orders in one TOML file.
//!
//! ```toml
//! [[app]]
//! id = "A0123456789"
//!
//! [[step]]
//! at = "5s"
//! do = "refresh"
//!
//! [[step]]
//! when = { hellos = 2 }
//! do = "drop"
//! ```

mod run;

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

pub(crate) use run::run;

use crate::act::Act;
use crate::config::AppSpec;
use crate::duration;
use crate::error::SimError;
use crate::load::Load;
use crate::sample::Sample;
use crate::switches::Switches;

/// Most steps of one script, and most numbered apps.
const STEPS_MAX: usize = 10_000;
const APPS_MAX: u32 = 100_000;

/// A checked script.
#[derive(Debug, Clone)]
pub struct Script {
    pub seed: Option<u64>,
    pub switches: Switches,
    pub apps: Vec<AppSpec>,
    pub(crate) steps: Vec<Step>,
    pub(crate) load: Option<TimedLoad>,
}

/// One order and when it is due.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub when: When,
    /// Repeats the order at this interval once it was due.
    pub every: Option<Duration>,
    /// The app it concerns; none means all.
    pub app: Option<String>,
    pub act: Act,
    /// What the journal says when it is carried out.
    pub name: String,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// Since the start of the script.
    At(Duration),
    /// Once a count has been reached, and this much later.
    Reached(Reached, Duration),
}

/// A count of one app; with several keys all must be reached.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Reached {
    pub opens: u64,
    pub hellos: u64,
    pub sent: u64,
    pub acked: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct TimedLoad {
    pub start: Duration,
    pub load: Load,
}

impl Script {
    /// Reads and checks a script file.
    ///
    /// # Errors
    /// [`SimError::Read`], or [`SimError::Script`] with what is wrong and where.
    pub fn read(path: &Path) -> Result<Self, SimError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SimError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Checks a script.
    ///
    /// # Errors
    /// [`SimError::Script`] with what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, SimError> {
        let file: ScriptFile = toml::from_str(text).map_err(|error| refused(error.to_string()))?;
        if file.step.len() > STEPS_MAX || file.apps > APPS_MAX {
            return Err(refused(format!("at most {STEPS_MAX} steps and {APPS_MAX} apps")));
        }
        if file.switches.speed.is_nan() || file.switches.speed <= 0.0 {
            return Err(refused("switches.speed must be above 0".to_owned()));
        }
        let apps: Vec<AppSpec> =
            file.app.into_iter().map(AppEntry::spec).chain((1..=file.apps).map(AppSpec::numbered)).collect();
        let mut steps = Vec::with_capacity(file.step.len());
        for (index, entry) in file.step.into_iter().enumerate() {
            let step =
                Step::from_entry(entry).map_err(|reason| refused(format!("step {}: {reason}", index + 1)))?;
            if let Some(app) = step.app.as_deref().filter(|app| !apps.iter().any(|spec| spec.app_id == **app))
            {
                let reason = format!("step {}: no app `{app}`; add it as [[app]]", index + 1);
                return Err(refused(reason));
            }
            steps.push(step);
        }
        let load = file.load.map(LoadEntry::timed);
        Ok(Self { seed: file.seed, switches: file.switches, apps, steps, load })
    }
}

fn refused(reason: String) -> SimError {
    SimError::Script { reason }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptFile {
    seed: Option<u64>,
    #[serde(default)]
    switches: Switches,
    #[serde(default)]
    app: Vec<AppEntry>,
    /// This many further apps with derived ids and tokens.
    #[serde(default)]
    apps: u32,
    #[serde(default)]
    step: Vec<toml::Table>,
    load: Option<LoadEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppEntry {
    id: String,
    token: Option<String>,
    bot_token: Option<String>,
    team: Option<String>,
    channels: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    socket_mode: Option<bool>,
}

impl AppEntry {
    fn spec(self) -> AppSpec {
        let token = self.token.unwrap_or_else(|| AppSpec::token_for(&self.id));
        let default = AppSpec::new(self.id, token);
        AppSpec {
            bot_token: self.bot_token,
            team_id: self.team.unwrap_or(default.team_id),
            channels: self.channels.unwrap_or(default.channels),
            app_token_scopes: self.scopes.unwrap_or(default.app_token_scopes),
            socket_mode: self.socket_mode.unwrap_or(default.socket_mode),
            ..default
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadEntry {
    /// Envelopes per second over all apps.
    rate: f64,
    #[serde(default)]
    kinds: Vec<Sample>,
    #[serde(default, with = "duration::option")]
    start: Option<Duration>,
    #[serde(default, rename = "for", with = "duration::option")]
    time: Option<Duration>,
    count: Option<u64>,
    in_flight_max: Option<usize>,
}

impl LoadEntry {
    fn timed(self) -> TimedLoad {
        let default = Load::default();
        let kinds = if self.kinds.is_empty() { default.kinds } else { self.kinds };
        let in_flight_max = self.in_flight_max.unwrap_or(default.in_flight_max);
        let load = Load { rate: self.rate, kinds, in_flight_max, count: self.count, time: self.time };
        TimedLoad { start: self.start.unwrap_or_default(), load }
    }
}

impl Step {
    /// Splits the keys that say when and whom from those of the order.
    fn from_entry(mut entry: toml::Table) -> Result<Self, String> {
        let mut time = |key: &str| match entry.remove(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => {
                duration::parse(&text).map(Some).map_err(|error| format!("{key}: {error}"))
            }
            Some(_) => Err(format!("{key} is a duration such as \"5s\"")),
        };
        let (at, after, every) = (time("at")?, time("after")?, time("every")?);
        if every.is_some_and(|every| every < Duration::from_millis(1)) {
            return Err("every must be at least 1ms".to_owned());
        }
        let reached = entry
            .remove("when")
            .map(Reached::deserialize)
            .transpose()
            .map_err(|error| format!("when: {error}"))?;
        let when = match (at, reached, after) {
            (Some(at), None, None) => When::At(at),
            (None, Some(reached), after) => When::Reached(reached, after.unwrap_or_default()),
            (None, None, None) if every.is_some() => When::At(every.unwrap_or_default()),
            _ => return Err("give `at`, or `when` with an optional `after`, or `every` alone".to_owned()),
        };
        let app = match entry.remove("app") {
            None => None,
            Some(toml::Value::String(app)) => Some(app),
            Some(_) => return Err("app is an app id such as \"A0123456789\"".to_owned()),
        };
        let name = entry.get("do").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let keys: Vec<String> = entry.keys().cloned().collect();
        let act = Act::deserialize(toml::Value::Table(entry)).map_err(|error| error.message().to_owned())?;
        act.check(keys.iter().map(String::as_str))?;
        Ok(Self { when, every, app, act, name })
    }
}

#[cfg(test)]
mod tests;
