//! What was sent, what was acked, and everything else a test or a developer may want to ask later.
//!
//! Envelopes and notes are kept in two rings of bounded length; the totals per app are exact however long the run.

mod record;
mod totals;

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

pub use record::{Ack, AckFlaw, End, Missed, Note, NoteKind, SentEnvelope};
pub use totals::Totals;

use crate::clock::Epoch;

/// A view of the simulator's memory; cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Mutex<Inner>>,
    epoch: Epoch,
}

#[derive(Debug)]
struct Inner {
    envelopes: VecDeque<SentEnvelope>,
    /// Position of each kept envelope, as its number since the start.
    index: HashMap<Uuid, u64>,
    first: u64,
    notes: VecDeque<Note>,
    notes_dropped: u64,
    totals: HashMap<Arc<str>, Totals>,
    envelopes_max: usize,
    notes_max: usize,
}

impl Journal {
    pub(crate) fn new(epoch: Epoch, envelopes_max: usize, notes_max: usize) -> Self {
        let inner = Inner {
            envelopes: VecDeque::new(),
            index: HashMap::new(),
            first: 0,
            notes: VecDeque::new(),
            notes_dropped: 0,
            totals: HashMap::new(),
            envelopes_max: envelopes_max.max(1),
            notes_max: notes_max.max(1),
        };
        Self { inner: Arc::new(Mutex::new(inner)), epoch }
    }

    /// The envelopes kept, oldest first, of one app or of all.
    pub fn envelopes(&self, app_id: Option<&str>) -> Vec<SentEnvelope> {
        let inner = self.inner.lock();
        inner.envelopes.iter().filter(|sent| app_id.is_none_or(|app| *sent.app == *app)).cloned().collect()
    }

    /// The kept envelope with this id.
    pub fn envelope(&self, envelope_id: Uuid) -> Option<SentEnvelope> {
        let inner = self.inner.lock();
        inner.find(envelope_id).map(|position| inner.envelopes[position].clone())
    }

    /// The notes kept, oldest first, of one app or of all.
    pub fn notes(&self, app_id: Option<&str>) -> Vec<Note> {
        let inner = self.inner.lock();
        inner
            .notes
            .iter()
            .filter(|note| app_id.is_none_or(|app| note.app.as_deref() == Some(app)))
            .cloned()
            .collect()
    }

    /// Exact counts since the start, of one app or of all.
    pub fn totals(&self, app_id: Option<&str>) -> Totals {
        let inner = self.inner.lock();
        match app_id {
            Some(app) => inner.totals.get(app).copied().unwrap_or_default(),
            None => inner.totals.values().fold(Totals::default(), |sum, totals| sum + *totals),
        }
    }

    /// Dedup ids of the kept envelopes that were acked at least once, in order of sending, without repeats.
    pub fn acked_ids(&self, app_id: Option<&str>) -> Vec<Arc<str>> {
        self.ids(app_id, |acked| acked)
    }

    /// Dedup ids of the kept envelopes that were never acked, in order of sending, without repeats.
    pub fn unacked_ids(&self, app_id: Option<&str>) -> Vec<Arc<str>> {
        self.ids(app_id, |acked| !acked)
    }

    /// Time since the simulator started: what the journal's times count from.
    pub fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// How many envelopes and notes were forgotten because the journal was full.
    pub fn dropped(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.first, inner.notes_dropped)
    }

    /// Writes everything kept as NDJSON: one `totals` line per app, then envelopes, then notes.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn dump(&self, out: &mut impl Write) -> io::Result<()> {
        let totals: Vec<_> =
            self.inner.lock().totals.iter().map(|(app, totals)| (app.clone(), *totals)).collect();
        for (app, totals) in &totals {
            record::line(out, &record::Line::Totals { app, totals })?;
        }
        for sent in &self.envelopes(None) {
            record::line(out, &record::Line::Envelope(sent))?;
        }
        for note in &self.notes(None) {
            record::line(out, &record::Line::Note(note))?;
        }
        Ok(())
    }

    fn ids(&self, app_id: Option<&str>, wanted: impl Fn(bool) -> bool) -> Vec<Arc<str>> {
        let inner = self.inner.lock();
        let kept = || inner.envelopes.iter().filter(|sent| app_id.is_none_or(|app| *sent.app == *app));
        let mut acked: HashMap<&str, bool> = HashMap::new();
        for sent in kept() {
            *acked.entry(&sent.dedup_id).or_default() |= matches!(sent.end, End::Acked(_));
        }
        kept()
            .filter(|sent| acked.remove(&*sent.dedup_id).is_some_and(&wanted))
            .map(|sent| sent.dedup_id.clone())
            .collect()
    }

    pub(crate) fn note(&self, app: Option<&Arc<str>>, kind: NoteKind) {
        let note = Note { at: self.epoch.elapsed(), app: app.cloned(), kind };
        let mut inner = self.inner.lock();
        if inner.notes.len() >= inner.notes_max {
            inner.notes.pop_front();
            inner.notes_dropped += 1;
        }
        inner.notes.push_back(note);
    }

    pub(crate) fn count<T>(&self, app: &Arc<str>, change: impl FnOnce(&mut Totals) -> T) -> T {
        self.inner.lock().count(app, change)
    }

    /// Records an attempt, whether a socket took it or not.
    pub(crate) fn attempt(&self, sent: SentEnvelope) {
        let mut inner = self.inner.lock();
        inner.count(&sent.app, |totals| {
            totals.produced += u64::from(sent.retry_attempt == 0);
            totals.sent += u64::from(sent.connection.is_some());
            totals.retries += u64::from(sent.retry_attempt > 0);
        });
        if inner.envelopes.len() >= inner.envelopes_max
            && let Some(oldest) = inner.envelopes.pop_front()
        {
            let position = inner.first;
            inner.first += 1;
            if inner.index.get(&oldest.envelope_id) == Some(&position) {
                inner.index.remove(&oldest.envelope_id);
            }
        }
        let position = inner.first + inner.envelopes.len() as u64;
        inner.index.insert(sent.envelope_id, position);
        inner.envelopes.push_back(sent);
    }

    pub(crate) fn acked(&self, app: &Arc<str>, envelope_id: Uuid, ack: Ack) {
        let mut inner = self.inner.lock();
        inner.count(app, |totals| totals.acked += 1);
        inner.end(envelope_id, End::Acked(ack));
    }

    pub(crate) fn missed(&self, envelope_id: Uuid, missed: Missed) {
        self.inner.lock().end(envelope_id, End::Missed(missed));
    }

    /// Records an ack frame that counts for nothing, and says why.
    pub(crate) fn flawed_ack(
        &self,
        app: &Arc<str>,
        envelope_id: Option<Uuid>,
        flaw: Option<AckFlaw>,
        frame_bytes: usize,
    ) {
        let flaw = flaw.unwrap_or_else(|| {
            let inner = self.inner.lock();
            let end =
                envelope_id.and_then(|id| inner.find(id)).map(|position| &inner.envelopes[position].end);
            match end {
                Some(End::Acked(_)) => AckFlaw::Duplicate,
                Some(End::Missed(_) | End::Waiting) => AckFlaw::Late,
                None => AckFlaw::UnknownId,
            }
        });
        self.count(app, |totals| totals.flawed(flaw));
        self.note(Some(app), NoteKind::Ack { flaw, envelope_id, frame_bytes });
    }

    pub(crate) fn since_start(&self, at: Instant) -> Duration {
        self.epoch.since_start(at)
    }
}

impl Inner {
    fn count<T>(&mut self, app: &Arc<str>, change: impl FnOnce(&mut Totals) -> T) -> T {
        if let Some(totals) = self.totals.get_mut(app) {
            return change(totals);
        }
        change(self.totals.entry(app.clone()).or_default())
    }

    fn find(&self, envelope_id: Uuid) -> Option<usize> {
        let position = self.index.get(&envelope_id)?.checked_sub(self.first)?;
        usize::try_from(position).ok().filter(|position| *position < self.envelopes.len())
    }

    fn end(&mut self, envelope_id: Uuid, end: End) {
        if let Some(position) = self.find(envelope_id) {
            self.envelopes[position].end = end;
        }
    }
}

#[cfg(test)]
mod tests;
