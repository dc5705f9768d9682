//! The store's traits in memory: durable at once, unless a test says otherwise.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use taut_core::log::{
    Append, Backlog, Change, DeadLetter, DeadLetterStats, DeadLetters, DeadLettersError, Entry, Log,
    LogError, NewEntry, Outcome, QueueLimits, StoreStats, Wake,
};
use taut_core::{DedupKey, Epoch, RouteBits, RouteName, Seq, TenantId, WallMs};

#[derive(Default)]
pub(crate) struct MemLog(Mutex<State>);

#[derive(Default)]
struct State {
    last: u64,
    entries: BTreeMap<Seq, Stored>,
    keys: HashMap<DedupKey, Seq>,
    commits: Vec<(Seq, RouteBits, Outcome)>,
    released: Vec<Seq>,
    damaged: HashSet<Seq>,
    refusing: bool,
    refused: usize,
    panicking: bool,
    wake: Option<Wake>,
}

struct Stored {
    entry: Entry,
    answering: RouteBits,
    frame: Bytes,
}

impl MemLog {
    /// How copies ended, in order.
    pub(crate) fn commits(&self) -> Vec<(u64, Outcome)> {
        self.0.lock().commits.iter().map(|(seq, _, outcome)| (seq.0, *outcome)).collect()
    }

    /// The same with the routes they ended for.
    pub(crate) fn commits_of(&self, routes: RouteBits) -> Vec<(u64, Outcome)> {
        let of =
            |(seq, bits, outcome): &(Seq, RouteBits, Outcome)| (*bits == routes).then_some((seq.0, *outcome));
        self.0.lock().commits.iter().filter_map(of).collect()
    }

    pub(crate) fn released(&self) -> Vec<Seq> {
        self.0.lock().released.clone()
    }

    /// Reading this entry fails from now on.
    pub(crate) fn damage(&self, seq: u64) {
        self.0.lock().damaged.insert(Seq(seq));
    }

    /// Changes are refused while this is set.
    pub(crate) fn refuse_changes(&self, refuse: bool) {
        self.0.lock().refusing = refuse;
    }

    /// How often changes were refused.
    pub(crate) fn refused(&self) -> usize {
        self.0.lock().refused
    }

    /// Reading the backlog panics from now on.
    pub(crate) fn panic_on_backlog(&self) {
        self.0.lock().panicking = true;
        self.wake();
    }

    /// Entries that still owe something, unreleased requests included.
    pub(crate) fn open(&self) -> usize {
        self.0.lock().entries.len()
    }

    fn wake(&self) {
        let wake = self.0.lock().wake.clone();
        if let Some(wake) = wake {
            wake();
        }
    }
}

impl State {
    fn append(&mut self, new: NewEntry) -> Append {
        if let Some(seq) = new.dedup.and_then(|key| self.keys.get(&key)) {
            return Append::Duplicate(*seq);
        }
        self.last += 1;
        let seq = Seq(self.last);
        if let Some(key) = new.dedup {
            self.keys.insert(key, seq);
        }
        let NewEntry { kind, order, routes, answering, frame, received_at, .. } = new;
        if !(routes | answering).is_empty() {
            let bytes = u32::try_from(frame.len()).expect("small frames");
            let entry = Entry { seq, kind, order, routes, bytes, received_at };
            self.entries.insert(seq, Stored { entry, answering, frame });
        }
        Append::Stored(seq)
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Commit { seq, routes, outcome } => {
                self.commits.push((seq, routes, outcome));
                let Some(stored) = self.entries.get_mut(&seq) else { return };
                stored.entry.routes = stored.entry.routes.without(routes);
                stored.answering = stored.answering.without(routes);
                if (stored.entry.routes | stored.answering).is_empty() {
                    self.entries.remove(&seq);
                }
            }
            Change::Release { seq } => {
                self.released.push(seq);
                let Some(stored) = self.entries.get_mut(&seq) else { return };
                stored.entry.routes = stored.entry.routes | stored.answering;
                stored.answering = RouteBits::NONE;
            }
        }
    }
}

impl Log for MemLog {
    fn append(&self, batch: Vec<NewEntry>) -> BoxFuture<'static, Vec<Append>> {
        let mut state = self.0.lock();
        let answers: Vec<_> = batch.into_iter().map(|new| state.append(new)).collect();
        drop(state);
        self.wake();
        ready(answers).boxed()
    }

    fn change(&self, _: &TenantId, changes: Vec<Change>) -> BoxFuture<'static, Result<(), LogError>> {
        let mut state = self.0.lock();
        if state.refusing {
            state.refused += 1;
            return refusal(state.refused).boxed();
        }
        // As on disk: whoever waits for commits knows of them, and only what becomes deliverable wakes.
        let wakes = changes.iter().any(|change| matches!(change, Change::Release { .. }));
        for change in changes {
            state.apply(change);
        }
        drop(state);
        if wakes {
            self.wake();
        }
        ready(Ok(())).boxed()
    }

    fn knows(&self, _: &TenantId, dedup: DedupKey) -> Option<Seq> {
        self.0.lock().keys.get(&dedup).copied()
    }

    fn backlog(&self, _: &TenantId, after: Seq, max: usize) -> Vec<Entry> {
        let state = self.0.lock();
        assert!(!state.panicking, "the test says so");
        let later = state.entries.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
        later.map(|(_, stored)| stored.entry).filter(|entry| !entry.routes.is_empty()).take(max).collect()
    }

    fn read(&self, _: &TenantId, seq: Seq) -> Result<Option<Bytes>, LogError> {
        let state = self.0.lock();
        if state.damaged.contains(&seq) {
            return Err(LogError::Read { seq, cause: "checksum".into() });
        }
        Ok(state.entries.get(&seq).map(|stored| stored.frame.clone()))
    }

    fn subscribe(&self, _: &TenantId, wake: Wake) {
        self.0.lock().wake = Some(wake);
    }

    fn set_limits(&self, _: &TenantId, _: QueueLimits) {}

    fn stats(&self, _: &TenantId) -> Backlog {
        Backlog { envelopes: self.0.lock().entries.len() as u64, ..Backlog::default() }
    }

    fn store_stats(&self) -> StoreStats {
        StoreStats { writable: true, ..StoreStats::default() }
    }

    fn epoch(&self) -> Epoch {
        Epoch(7)
    }

    fn tenants(&self) -> Vec<TenantId> {
        Vec::new()
    }
}

#[derive(Default)]
pub(crate) struct MemDeadLetters {
    pub(crate) letters: Mutex<Vec<(DeadLetter, Bytes)>>,
    pub(crate) full: Mutex<bool>,
}

impl MemDeadLetters {
    pub(crate) fn all(&self) -> Vec<DeadLetter> {
        self.letters.lock().iter().map(|(letter, _)| letter.clone()).collect()
    }
}

impl DeadLetters for MemDeadLetters {
    fn put(&self, letters: Vec<(DeadLetter, Bytes)>) -> Result<(), DeadLettersError> {
        if *self.full.lock() {
            return Err(DeadLettersError::Full);
        }
        self.letters.lock().extend(letters);
        Ok(())
    }

    fn list(
        &self,
        _: Option<&TenantId>,
        _: Option<(TenantId, Seq, RouteName)>,
        _: usize,
    ) -> Result<Vec<DeadLetter>, DeadLettersError> {
        Ok(self.all())
    }

    fn get(
        &self,
        _: &TenantId,
        _: Seq,
        _: &RouteName,
    ) -> Result<Option<(DeadLetter, Bytes)>, DeadLettersError> {
        Ok(None)
    }

    fn remove(&self, _: &[(TenantId, Seq, RouteName)]) -> Result<u64, DeadLettersError> {
        Ok(0)
    }

    fn expire(&self, _: WallMs) -> Result<u64, DeadLettersError> {
        Ok(0)
    }

    fn stats(&self, _: &TenantId) -> DeadLetterStats {
        DeadLetterStats::default()
    }
}

/// A store that cannot write says so at once, and later takes its time to find out that nothing has changed.
async fn refusal(nth: usize) -> Result<(), LogError> {
    if nth > 1 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Err(LogError::Unavailable { cause: "the test says so".into() })
}

/// The log as its users see it.
pub(crate) fn shared(log: &Arc<MemLog>) -> Arc<dyn Log> {
    Arc::clone(log) as Arc<dyn Log>
}
