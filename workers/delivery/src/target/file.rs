//! `target = { file = "…" }`: each event becomes a line of a file that only ever grows.
//!
//! ```text
//! attempts ─► queue ─► one writer on a blocking thread: a write for each line, one fdatasync for all ─► answers
//! ```
//! A line is committed only after its `fdatasync`. A crash in the middle of one leaves a torn line without a line
//! break; the next opening ends it with one, and the envelope is written again as a whole, with the same
//! `idempotency_key`. Rotation by renaming is noticed before the next write, and needs no signal.
//!
//! Not done: rotation itself, a size limit, compression. A full disk is a target fault: nothing is lost, everything
//! waits.

mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::writer::Writer;
use crate::allow::paths::PathRules;

/// How an attempt ended, in this target's words.
pub(crate) enum FileEnd {
    /// The line is on the disk.
    Written,
    /// It is not; for this reason.
    Unusable(String),
    /// The disk has not answered in time; the line may be there.
    TimedOut,
}

/// One route's file.
pub(crate) struct FileTarget(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
}

/// Lines on their way; at most as many as the route has attempts under way.
#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether a blocking thread is at it.
    running: bool,
}

struct Waiting {
    line: Bytes,
    done: oneshot::Sender<Result<(), String>>,
}

impl FileTarget {
    pub(crate) fn new(path: &Path, allow: PathRules) -> Self {
        let writer = Mutex::new(Writer::new(path, allow));
        Self(Arc::new(Shared { queue: Mutex::default(), writer }))
    }

    /// Appends a line, its line break included.
    pub(crate) async fn append(&self, line: Bytes, patience: Duration) -> FileEnd {
        let (done, answer) = oneshot::channel();
        self.submit(Waiting { line, done });
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(Ok(()))) => FileEnd::Written,
            Ok(Ok(Err(why))) => FileEnd::Unusable(why),
            Ok(Err(_)) => FileEnd::Unusable("the file's writer ended".to_owned()),
            Err(_) => FileEnd::TimedOut,
        }
    }

    /// Closes the file, and so frees its lock for the route's successor. A writer whose disk hangs keeps both until it
    /// comes back: the successor's lines wait for that.
    pub(crate) fn let_go(&self) {
        if let Some(mut writer) = self.0.writer.try_lock() {
            writer.close();
        }
    }

    fn submit(&self, waiting: Waiting) {
        let mut queue = self.0.queue.lock();
        // Where the disk hangs, attempts give up and come again: only those that still wait count.
        queue.waiting.retain(|earlier| !earlier.done.is_closed());
        queue.waiting.push(waiting);
        if std::mem::replace(&mut queue.running, true) {
            return;
        }
        drop(queue);
        let run = Run(Arc::clone(&self.0));
        // Ends when the queue is empty; a panic in it ends the lines it held, and the next line starts another.
        tokio::task::spawn_blocking(move || run.until_empty());
    }
}

/// The writer's turn; says that it is over when dropped.
struct Run(Arc<Shared>);

impl Run {
    fn until_empty(self) {
        let mut writer = self.0.writer.lock();
        loop {
            let mut queue = self.0.queue.lock();
            let mut batch = std::mem::take(&mut queue.waiting);
            batch.retain(|waiting| !waiting.done.is_closed());
            if batch.is_empty() {
                // Under the lock: whoever comes now starts the next turn.
                queue.running = false;
                return;
            }
            drop(queue);
            let lines: Vec<_> = batch.iter().map(|waiting| waiting.line.clone()).collect();
            let result = writer.append(&lines);
            for waiting in batch {
                // Whoever gave up meanwhile gets the line again: at least once.
                let _gave_up: Result<(), _> = waiting.done.send(result.clone());
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.lock().running = false;
        }
    }
}
