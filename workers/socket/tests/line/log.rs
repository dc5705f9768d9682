//! A conforming log in memory that can be told to fail.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use taut_core::log::{
    Append, Backlog, Change, Entry, FullReason, Log, LogError, NewEntry, QueueLimits, StoreStats, Wake,
};
use taut_core::{DedupKey, Epoch, Seq, TenantId};
use tokio::sync::oneshot;

/// What appends come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Well,
    Full,
    Unavailable,
    /// Appends are decided only once the mood is another.
    Stuck,
}

#[derive(Default)]
pub(crate) struct MemoryLog {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mood: Mood,
    entries: BTreeMap<Seq, NewEntry>,
    keys: HashMap<(TenantId, DedupKey), Seq>,
    batches: usize,
    /// Envelopes of the largest batch, and the bytes of the largest without its last envelope.
    largest: (usize, usize),
    stuck: Vec<(Vec<NewEntry>, oneshot::Sender<Vec<Append>>)>,
}

impl MemoryLog {
    fn with<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        run(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.with(|state| {
            state.mood = mood;
            if mood != Mood::Stuck {
                for (batch, done) in std::mem::take(&mut state.stuck) {
                    // Whoever asked may have gone.
                    done.send(batch.into_iter().map(|entry| state.append(entry)).collect())
                        .unwrap_or_default();
                }
            }
        });
    }

    /// Everything stored, in order.
    pub(crate) fn entries(&self) -> Vec<NewEntry> {
        self.with(|state| state.entries.values().cloned().collect())
    }

    /// How many calls of `append` there were.
    pub(crate) fn batches(&self) -> usize {
        self.with(|state| state.batches)
    }

    /// Envelopes of the largest batch, and the bytes of the largest without its last envelope.
    pub(crate) fn largest(&self) -> (usize, usize) {
        self.with(|state| state.largest)
    }
}

impl State {
    fn append(&mut self, entry: NewEntry) -> Append {
        let key = entry.dedup.map(|dedup| (entry.tenant.clone(), dedup));
        if let Some(seq) = key.as_ref().and_then(|key| self.keys.get(key)) {
            return Append::Duplicate(*seq);
        }
        match self.mood {
            Mood::Well | Mood::Stuck => {}
            Mood::Full => return Append::Full(FullReason::Envelopes),
            Mood::Unavailable => return Append::Unavailable,
        }
        let seq = Seq(self.entries.len() as u64 + 1);
        if let Some(key) = key {
            self.keys.insert(key, seq);
        }
        self.entries.insert(seq, entry);
        Append::Stored(seq)
    }
}

impl Log for MemoryLog {
    fn append(&self, batch: Vec<NewEntry>) -> BoxFuture<'static, Vec<Append>> {
        self.with(|state| {
            state.batches += 1;
            let but_last: usize = batch.iter().rev().skip(1).map(|entry| entry.frame.len()).sum();
            state.largest = (state.largest.0.max(batch.len()), state.largest.1.max(but_last));
            if state.mood == Mood::Stuck {
                let (done, answers) = oneshot::channel();
                state.stuck.push((batch, done));
                return async { answers.await.unwrap_or_default() }.boxed();
            }
            let appends: Vec<_> = batch.into_iter().map(|entry| state.append(entry)).collect();
            // Not decided within the call: a real log answers later.
            async move {
                tokio::task::yield_now().await;
                appends
            }
            .boxed()
        })
    }

    fn change(&self, _: &TenantId, _: Vec<Change>) -> BoxFuture<'static, Result<(), LogError>> {
        async { Ok(()) }.boxed()
    }

    fn knows(&self, tenant: &TenantId, dedup: DedupKey) -> Option<Seq> {
        self.with(|state| state.keys.get(&(tenant.clone(), dedup)).copied())
    }

    fn backlog(&self, _: &TenantId, _: Seq, _: usize) -> Vec<Entry> {
        Vec::new()
    }

    fn read(&self, _: &TenantId, seq: Seq) -> Result<Option<Bytes>, LogError> {
        Ok(self.with(|state| state.entries.get(&seq).map(|entry| entry.frame.clone())))
    }

    fn subscribe(&self, _: &TenantId, _: Wake) {}

    fn set_limits(&self, _: &TenantId, _: QueueLimits) {}

    fn stats(&self, _: &TenantId) -> Backlog {
        Backlog::default()
    }

    fn store_stats(&self) -> StoreStats {
        StoreStats::default()
    }

    fn epoch(&self) -> Epoch {
        Epoch(7)
    }

    fn tenants(&self) -> Vec<TenantId> {
        Vec::new()
    }
}
