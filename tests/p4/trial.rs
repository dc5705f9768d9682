//! One case through one app: directly, then through taut; and what must hold once all are through.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use taut_sim::{AppHandle, NoteKind, Push};
use tokio::time::{Instant, sleep};

use super::apps::App;
use super::cases::Case;
use super::direct::{self, Answer};
use super::expect;
use crate::support::{SOON, Site, signing_secret};

/// A status that says the server took no such body: no listener hears of it.
const TOO_LARGE: u16 = 413;

/// A case and the app's own answer to it.
pub(crate) struct Trial {
    pub(crate) case: Case,
    pub(crate) direct: Answer,
}

impl Trial {
    /// Asks the app directly.
    pub(crate) async fn ask(app: &App, case: Case) -> Self {
        let direct = direct::send(app.port, &signing_secret(app.program.name), &case).await;
        Self { case, direct }
    }

    /// Whether the app answers at once.
    pub(crate) fn is_quick(&self) -> bool {
        self.direct.took < Duration::from_secs(1)
    }

    /// Pushes the same payload through Slack's socket and compares the ack.
    pub(crate) async fn through(&self, line: &AppHandle) -> Option<String> {
        let (case, direct) = (&self.case, &self.direct);
        let push = Push::raw(case.payload.to_string())
            .typed(case.wire.envelope_type())
            .accepting_payload(case.accepts_response_payload);
        let acked = line.push(push).wait_ack(SOON).await;
        let wanted = expect::ack(case, direct);
        (!wanted.is(&acked))
            .then(|| format!("{}: directly {}; want {wanted:?}, got {acked:?}", case.name, direct.shown()))
    }
}

/// Each listener ran once for the direct request and once for taut's, and none where none is meant to.
pub(crate) async fn listener_faults(app: &App, trials: &[Trial]) -> Vec<String> {
    let record = app.record().await;
    let fault = |trial: &Trial| {
        let (case, id) = (&trial.case, trial.case.id());
        let ran: Vec<&str> =
            record.iter().filter(|ran| ran.id == id).map(|ran| ran.listener.as_str()).collect();
        let right = match case.listener(app.program.family) {
            Some(listener) if trial.direct.status != TOO_LARGE => {
                ran.iter().filter(|name| **name == listener).count() == 2
            }
            Some(_) | None => ran.is_empty(),
        };
        (!right).then(|| format!("{}: directly and through taut ran {ran:?}", case.name))
    };
    trials.iter().filter_map(fault).collect()
}

/// What did not fit an ack, or came after it, reaches the `response_url` once; nothing else does.
pub(crate) async fn posted_fault(site: &Site, line: &AppHandle, trials: &[Trial]) -> Option<String> {
    let wanted: BTreeMap<&str, Vec<Value>> = trials
        .iter()
        .filter_map(|trial| {
            Some((trial.case.name.as_str(), vec![expect::posted(&trial.case, &trial.direct)?]))
        })
        .collect();
    let until = Instant::now() + SOON;
    loop {
        let seen = posts(site, line);
        let same =
            seen.iter().map(|(name, bodies)| (name.as_str(), bodies)).eq(wanted.iter().map(|(n, b)| (*n, b)));
        if same {
            return None;
        }
        if Instant::now() >= until {
            let names = |bodies: &BTreeMap<String, Vec<Value>>| bodies.keys().cloned().collect::<Vec<_>>();
            return Some(format!("response_url got {:?}, want {:?}", names(&seen), wanted.keys()));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What was posted to this app's response URLs, by case.
fn posts(site: &Site, line: &AppHandle) -> BTreeMap<String, Vec<Value>> {
    let mut posts: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for note in site.sim.journal().notes(Some(line.id())) {
        if let NoteKind::Response { path, body, accepted: true } = note.kind {
            let case = path.rsplit('/').next().unwrap_or_default().to_owned();
            posts.entry(case).or_default().push(serde_json::from_str(&body).unwrap_or(Value::Null));
        }
    }
    posts
}
