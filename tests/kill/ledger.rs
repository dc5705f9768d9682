//! The books: what Slack sent and saw acked, what the handlers took, what lies among the dead letters.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use taut_sim::{EchoRequest, End, EnvelopeType, Journal};

use crate::rig::{AUDIT, Tenant};
use crate::support::letters::Letter;

/// Breaches told; the first ones say what is wrong.
const BREACHES_MAX: usize = 20;

/// What one handler saw of one envelope on one route.
#[derive(Debug, Default)]
struct Course {
    /// Answers with 200, and the place of the first among all requests.
    taken: u32,
    first_taken: usize,
    /// Answers that nobody listens.
    unhandled: u32,
    idempotency_keys: BTreeSet<String>,
    bodies: HashSet<u64>,
    /// The channel of an event.
    channel: String,
}

/// Everything the handlers saw. Keys are tenant, route, and the event's id or the command's text.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    courses: HashMap<(&'static str, &'static str, String), Course>,
    requests: usize,
}

impl Ledger {
    /// Adds requests in the order they came.
    pub(crate) fn add(&mut self, tenant: &'static str, requests: Vec<EchoRequest>) {
        for request in requests {
            self.requests += 1;
            let route = if request.path == AUDIT { "audit" } else { "bot" };
            let key = command_text(&request).unwrap_or_else(|| request.key.to_string());
            let course = self.courses.entry((tenant, route, key)).or_default();
            if request.status == 200 {
                if course.taken == 0 {
                    course.first_taken = self.requests;
                }
                course.taken += 1;
            }
            course.unhandled += u32::from(request.status == 404);
            course.idempotency_keys.insert(request.header("idempotency-key").to_owned());
            let mut hasher = DefaultHasher::new();
            request.body.hash(&mut hasher);
            course.bodies.insert(hasher.finish());
            if course.channel.is_empty() {
                let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
                body["event"]["channel"].as_str().unwrap_or_default().clone_into(&mut course.channel);
            }
        }
    }
}

/// The text of a slash command, which the rig gave it for a name.
fn command_text(request: &EchoRequest) -> Option<String> {
    if request.kind != "slash_commands" {
        return None;
    }
    let body = std::str::from_utf8(&request.body).ok()?;
    body.split('&').find_map(|field| field.strip_prefix("text=")).map(str::to_owned)
}

/// What the journal says of one event or request.
struct Sent {
    is_event: bool,
    name: &'static str,
    acked_on: Option<u8>,
}

/// The books of all tenants, closed.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// What must not be; empty is good.
    pub(crate) breaches: Vec<String>,
    /// Kills before the worker answered.
    early: u32,
    produced: usize,
    acked: usize,
    acked_on_retry: usize,
    unacked: usize,
    taken: usize,
    again: usize,
    unhandled: usize,
    unrouted: usize,
    dead: BTreeMap<String, usize>,
    dead_and_taken: usize,
}

impl Account {
    pub(crate) fn new(early: u32) -> Self {
        Self { early, ..Self::default() }
    }

    /// Whether every way to end was gone at least once.
    pub(crate) fn is_telling(&self) -> bool {
        self.taken > 0
            && self.unhandled > 0
            && self.unrouted > 0
            && self.acked_on_retry > 0
            && self.dead.contains_key("overflow")
    }

    /// Closes one tenant's books.
    pub(crate) fn reconcile(&mut self, journal: &Journal, tenant: &Tenant, ledger: &Ledger, dead: &[Letter]) {
        assert_eq!(journal.dropped().0, 0, "the journal has forgotten nothing");
        let mut sent: Vec<(Arc<str>, Sent)> = Vec::new();
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        for envelope in journal.envelopes(Some(tenant.app.id())) {
            let is_event = envelope.envelope_type == EnvelopeType::EventsApi;
            let key = if is_event { envelope.dedup_id } else { tenant.command(envelope.envelope_id) };
            let place = *places.entry(key.clone()).or_insert_with(|| {
                let name = if is_event { envelope.name } else { "slash_command" };
                sent.push((key, Sent { is_event, name, acked_on: None }));
                sent.len() - 1
            });
            if matches!(envelope.end, End::Acked(_)) {
                let acked_on = &mut sent[place].1.acked_on;
                *acked_on = acked_on.or(Some(envelope.retry_attempt));
            }
        }
        let buried: HashMap<(&str, &str), &str> = dead
            .iter()
            .filter(|letter| letter.tenant == tenant.id)
            .map(|letter| ((letter.route.as_str(), letter.key.as_str()), letter.reason.as_str()))
            .collect();
        for (key, envelope) in &sent {
            self.end_of(tenant, key, envelope, ledger, &buried);
        }
        self.order_of(tenant, &sent, ledger, &buried);
        for ((of, route, key), course) in &ledger.courses {
            if *of == tenant.id {
                self.course(tenant, route, key, course, places.contains_key(key.as_str()));
            }
        }
        for ((route, key), reason) in buried {
            *self.dead.entry(reason.to_owned()).or_default() += 1;
            if !places.contains_key(key) {
                self.breach(format!("{}: dead letter {key} of {route} was never sent", tenant.id));
            }
        }
    }

    /// Each route that wants it has an end for what was acked, and for what was not there may be one.
    fn end_of(
        &mut self,
        tenant: &Tenant,
        key: &str,
        sent: &Sent,
        ledger: &Ledger,
        buried: &HashMap<(&str, &str), &str>,
    ) {
        self.produced += 1;
        let Some(attempt) = sent.acked_on else {
            self.unacked += 1;
            return;
        };
        self.acked += 1;
        self.acked_on_retry += usize::from(attempt > 0);
        let routes = tenant.wanted_by(sent.name);
        self.unrouted += usize::from(routes.is_empty());
        for route in routes {
            let course = ledger.courses.get(&(tenant.id, *route, key.to_owned()));
            let taken = course.is_some_and(|course| course.taken > 0);
            let unhandled = course.is_some_and(|course| course.unhandled > 0);
            let dead = buried.contains_key(&(*route, key));
            self.taken += usize::from(taken);
            self.unhandled += usize::from(unhandled);
            self.dead_and_taken += usize::from(dead && taken);
            if !taken && !unhandled && !dead {
                self.breach(format!(
                    "{}: {} {key} was acked on attempt {attempt} and has no end with route {route}",
                    tenant.id, sent.name
                ));
            }
        }
    }

    /// What a handler saw was sent, is wanted there, and was always the same.
    fn course(&mut self, tenant: &Tenant, route: &str, key: &str, course: &Course, sent: bool) {
        self.again += usize::from(course.taken > 1);
        if !sent {
            self.breach(format!("{}: {key} was delivered to {route} and never sent", tenant.id));
        }
        let own = format!("{}:", tenant.id);
        let is_own = |idempotency_key: &String| idempotency_key.starts_with(&own);
        if course.idempotency_keys.len() != 1 || !course.idempotency_keys.iter().all(is_own) {
            self.breach(format!("{}: {key} came as {:?}", tenant.id, course.idempotency_keys));
        }
        if course.bodies.len() != 1 {
            self.breach(format!("{}: {key} came with {} different bodies", tenant.id, course.bodies.len()));
        }
    }

    /// Messages of one channel, acked at their first attempt and not given up, were first taken in the order sent.
    fn order_of(
        &mut self,
        tenant: &Tenant,
        sent: &[(Arc<str>, Sent)],
        ledger: &Ledger,
        buried: &HashMap<(&str, &str), &str>,
    ) {
        let mut last: HashMap<&str, (usize, &str)> = HashMap::new();
        for (key, envelope) in sent {
            if !envelope.is_event || envelope.acked_on != Some(0) || buried.contains_key(&("bot", &**key)) {
                continue;
            }
            let Some(course) = ledger.courses.get(&(tenant.id, "bot", key.to_string())) else { continue };
            if course.taken == 0 {
                continue;
            }
            let before = last.insert(&course.channel, (course.first_taken, key));
            if let Some((place, earlier)) = before.filter(|(place, _)| *place >= course.first_taken) {
                self.breach(format!(
                    "{}: {key} (place {}) overtook {earlier} (place {place}) in {}",
                    tenant.id, course.first_taken, course.channel
                ));
            }
        }
    }

    fn breach(&mut self, what: String) {
        if self.breaches.len() < BREACHES_MAX {
            self.breaches.push(what);
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills before the worker answered; {} events and requests, {} acked ({} on a retry), {} never; \
             ends with routes: {} taken ({} of all more than once), {} unhandled, dead letters {:?} ({} of them also \
             taken); {} wanted by no route; {} breaches",
            self.early,
            self.produced,
            self.acked,
            self.acked_on_retry,
            self.unacked,
            self.taken,
            self.again,
            self.unhandled,
            self.dead,
            self.dead_and_taken,
            self.unrouted,
            self.breaches.len()
        )
    }
}
