//! A store checked against a model of a few lines: any script of appends, changes and restarts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use taut_core::log::{Append, Change, FullReason, NewEntry, Outcome, Overflow, QueueLimits};
use taut_core::{Clock, DedupKey, RouteBits, Seq, WallMs};

use crate::testing::{Bounds, Engine, ManualClock, Opened, event, request, tenant};

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const ENVELOPES_MAX: u64 = 8;
const RESERVED: u64 = 2;
const LIMITS: QueueLimits = QueueLimits {
    envelopes_max: ENVELOPES_MAX,
    bytes_max: 1 << 20,
    overflow: Overflow::Refuse,
    request_reserve_percent: 25,
    dedup_entries_max: 1000,
};

/// One step of a script. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
pub enum Step {
    /// Append a batch of one tenant.
    Append {
        /// Which tenant.
        tenant: usize,
        /// What.
        entries: Vec<Kinds>,
    },
    /// Commit one of the tenant's entries.
    Commit {
        /// Which tenant.
        tenant: usize,
        /// Which of its entries.
        pick: usize,
        /// For which routes.
        routes: u64,
    },
    /// Release one of the tenant's entries.
    Release {
        /// Which tenant.
        tenant: usize,
        /// Which of its entries.
        pick: usize,
    },
    /// Let time pass.
    Advance {
        /// How much of the dedup window, in percent.
        percent: u32,
    },
    /// Close and open.
    Reopen,
}

/// An entry of a script: its text (so its key), its length, and who wants it.
#[derive(Debug, Clone)]
pub enum Kinds {
    /// For routes 0 and 1.
    Event(u8, u16),
    /// Answered by route 0, with a copy for route 1.
    Request(u8),
    /// For nobody.
    Unrouted(u8),
    /// Past dedup.
    Replayed(u8),
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<Seq, Expected>,
    keys: HashMap<DedupKey, (Seq, WallMs)>,
}

struct Expected {
    frame: Bytes,
    routes: RouteBits,
    held: RouteBits,
}

/// Runs a script on a fresh store and panics where store and model part.
pub fn run(engine: &dyn Engine, script: &[Step]) {
    let clock = engine.clock();
    let mut models: [Model; 3] = Default::default();
    let mut opened = open(engine);
    for step in script {
        match step {
            Step::Append { tenant: at, entries } => {
                append(&opened, &mut models[at % 3], &clock, TENANTS[at % 3], entries);
            }
            Step::Commit { tenant: at, pick, routes } => {
                let model = &mut models[at % 3];
                let Some(seq) = picked(model, *pick) else { continue };
                let routes = RouteBits(*routes);
                let commit = Change::Commit { seq, routes, outcome: Outcome::Delivered };
                block_on(opened.log.change(&tenant(TENANTS[at % 3]), vec![commit])).expect("writable");
                let entry = model.entries.get_mut(&seq).expect("picked");
                entry.routes = entry.routes.without(routes);
                entry.held = entry.held.without(routes);
                model.entries.retain(|_, entry| !(entry.routes | entry.held).is_empty());
            }
            Step::Release { tenant: at, pick } => {
                let model = &mut models[at % 3];
                let Some(seq) = picked(model, *pick) else { continue };
                let release = vec![Change::Release { seq }];
                block_on(opened.log.change(&tenant(TENANTS[at % 3]), release)).expect("writable");
                let entry = model.entries.get_mut(&seq).expect("picked");
                entry.routes = entry.routes | entry.held;
                entry.held = RouteBits::NONE;
            }
            Step::Advance { percent } => clock.advance(Bounds::default().dedup_window * *percent / 100),
            Step::Reopen => {
                (opened.close)();
                opened = open(engine);
                for model in &mut models {
                    // Requests that were open are expired.
                    model.entries.values_mut().for_each(|entry| entry.held = RouteBits::NONE);
                    model.entries.retain(|_, entry| !entry.routes.is_empty());
                }
            }
        }
        for (name, model) in TENANTS.iter().zip(&models) {
            compare(&opened, model, name);
        }
    }
    (opened.close)();
}

fn open(engine: &dyn Engine) -> Opened {
    let opened = engine.open(Bounds::default());
    for name in TENANTS {
        opened.log.set_limits(&tenant(name), LIMITS);
    }
    opened
}

fn picked(model: &Model, pick: usize) -> Option<Seq> {
    let count = model.entries.len().max(1);
    model.entries.keys().nth(pick % count).copied()
}

fn append(opened: &Opened, model: &mut Model, clock: &Arc<ManualClock>, name: &str, kinds: &[Kinds]) {
    let at = clock.wall();
    let batch: Vec<_> = kinds.iter().map(|kind| entry(name, kind, at)).collect();
    let answers = block_on(opened.log.append(batch.clone()));
    assert_eq!(answers.len(), batch.len(), "one answer for each entry");
    for (entry, answer) in batch.into_iter().zip(answers) {
        let known = entry.dedup.and_then(|key| model.keys.get(&key)).copied();
        let known = known.filter(|(_, since)| at.since(*since) < Bounds::default().dedup_window);
        let wanted = !(entry.routes | entry.answering).is_empty();
        let max = if entry.answering.is_empty() { ENVELOPES_MAX - RESERVED } else { ENVELOPES_MAX };
        match (known, answer) {
            (Some((seq, _)), answer) => assert_eq!(answer, Append::Duplicate(seq)),
            (None, Append::Stored(seq)) => {
                assert!(!wanted || (model.entries.len() as u64) < max, "a limit was passed");
                if let Some(key) = entry.dedup {
                    model.keys.insert(key, (seq, at));
                }
                if wanted {
                    let expected =
                        Expected { frame: entry.frame, routes: entry.routes, held: entry.answering };
                    assert!(model.entries.insert(seq, expected).is_none(), "a seq was used twice");
                }
            }
            (None, answer) => {
                assert_eq!(answer, Append::Full(FullReason::Envelopes));
                assert!(wanted && model.entries.len() as u64 >= max, "refused without need");
            }
        }
    }
}

fn entry(name: &str, kind: &Kinds, at: WallMs) -> NewEntry {
    let both = RouteBits::one(0) | RouteBits::one(1);
    let text = |number: &u8| format!("text {}", number % 24);
    match kind {
        Kinds::Event(number, length) => {
            let frame = format!("{}{}", text(number), "x".repeat(usize::from(*length)));
            NewEntry { frame: frame.into(), routes: both, ..event(name, &text(number), at) }
        }
        Kinds::Request(number) => NewEntry { routes: RouteBits::one(1), ..request(name, &text(number), at) },
        Kinds::Unrouted(number) => NewEntry { routes: RouteBits::NONE, ..event(name, &text(number), at) },
        Kinds::Replayed(number) => NewEntry { dedup: None, ..event(name, &text(number), at) },
    }
}

fn compare(opened: &Opened, model: &Model, name: &str) {
    let listed = opened.log.backlog(&tenant(name), Seq(0), usize::MAX);
    let listed: Vec<_> = listed.iter().map(|entry| (entry.seq, entry.routes)).collect();
    let deliverable = model.entries.iter().filter(|(_, entry)| !entry.routes.is_empty());
    let expected: Vec<_> = deliverable.map(|(seq, entry)| (*seq, entry.routes)).collect();
    assert_eq!(listed, expected, "{name}");
    for (seq, entry) in &model.entries {
        assert_eq!(opened.log.read(&tenant(name), *seq), Ok(Some(entry.frame.clone())), "{name} {seq}");
    }
    let stats = opened.log.stats(&tenant(name));
    let bytes: usize = model.entries.values().map(|entry| entry.frame.len()).sum();
    assert_eq!((stats.envelopes, stats.bytes), (model.entries.len() as u64, bytes as u64), "{name}");
}

/// How long a script's whole dedup window is, for scripts that let it pass.
pub fn window() -> Duration {
    Bounds::default().dedup_window
}
