//! `target = { exec = […] }`: one program for each attempt, without a shell.
//!
//! The program gets the payload on its standard input and a few `TAUT_*` variables, nothing else: no environment of
//! ours, no descriptor, no secret. Its standard output answers a request; its standard error may reach the log. It
//! runs in a process group of its own, and whatever is left of the group when its leader ends, or when its time is
//! up, is killed. A program that leaves the group (`setsid`) is its own master: only the unit's control group ends it.
//!
//! Not done: another user, a file system view or limits of its own. The program runs as taut does and may do what the
//! unit lets taut do; `docs/handlers.md` says what that means.

mod child;
pub(crate) mod program;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use taut_core::config::Environment;
use taut_core::{Clock, Envelope, Moment};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::child::{Order, RunEnd};
use self::program::resolve;
use crate::allow::paths::PathRules;
use crate::pure::exec;
use crate::pure::headers::RouteHeaders;
use crate::route::Terms;

/// A tenant may have this part of the host's programs running, and at least one.
const TENANT_SHARE: usize = 4;
/// Pause between log lines with what a route's programs say on their standard error.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How many programs run at once on this host. Clones share the count.
#[derive(Debug, Clone)]
pub struct ExecPool {
    host: Arc<Semaphore>,
    share: usize,
}

impl ExecPool {
    /// A pool of `delivery.exec_max` programs.
    pub fn new(max: u32) -> Self {
        let max = usize::try_from(max).unwrap_or(Semaphore::MAX_PERMITS).clamp(1, Semaphore::MAX_PERMITS);
        Self { host: Arc::new(Semaphore::new(max)), share: (max / TENANT_SHARE).max(1) }
    }

    /// One tenant's share of it.
    pub(crate) fn slots(&self) -> Slots {
        Slots { host: Arc::clone(&self.host), tenant: Arc::new(Semaphore::new(self.share)) }
    }
}

/// One tenant's share of the host's programs. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    host: Arc<Semaphore>,
    tenant: Arc<Semaphore>,
}

/// Held while a program runs.
type Slot = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Slots {
    /// Waits for a place; first come, first served. Cancel safe.
    async fn take(&self) -> Slot {
        const OPEN: &str = "nobody closes these semaphores";
        let tenant = Arc::clone(&self.tenant).acquire_owned().await.expect(OPEN);
        let host = Arc::clone(&self.host).acquire_owned().await.expect(OPEN);
        (tenant, host)
    }
}

/// One route's program.
pub(crate) struct ExecTarget {
    program: PathBuf,
    args: Vec<String>,
    allow: Arc<PathRules>,
    slots: Slots,
    /// Cancelled by a drain: no event's program starts any more.
    stop: CancellationToken,
    /// Whether the log may show what programs say on their standard error: it may quote payloads.
    shows_words: bool,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    at: Option<Moment>,
    held_back: u64,
}

/// How an attempt ended, in this target's words.
pub(crate) enum ExecEnd {
    /// With this code, and what it printed; `None` if that was too much.
    Exited(i32, Option<Bytes>),
    /// By a signal that was not ours.
    Killed(i32),
    /// It was not done in time, and was killed.
    TimedOut,
    /// It could not be started, for this reason.
    Unusable(String),
}

impl ExecTarget {
    pub(crate) fn new(
        command: &[String],
        allow: PathRules,
        slots: Slots,
        stop: CancellationToken,
        environment: Environment,
    ) -> Self {
        let (program, args) = command
            .split_first()
            .map_or((PathBuf::new(), Vec::new()), |(program, args)| (PathBuf::from(program), args.to_vec()));
        let shows_words = match environment {
            Environment::Dev | Environment::Staging => true,
            Environment::Prod => false,
        };
        Self { program, args, allow: Arc::new(allow), slots, stop, shows_words, told: Mutex::default() }
    }

    /// Runs the program once. Its time begins when there is room for it.
    pub(crate) async fn run(
        &self,
        route: &RouteHeaders,
        envelope: &Envelope,
        terms: &Terms,
        clock: &dyn Clock,
    ) -> ExecEnd {
        let asked = clock.now();
        let Some(slot) = self.slot(envelope.kind.is_request(), terms.left).await else {
            return ExecEnd::TimedOut;
        };
        let left = terms.left.saturating_sub(clock.now().since(asked));
        let order = Order {
            arg0: self.program.clone(),
            args: self.args.clone(),
            environment: exec::environment(route, envelope, terms.attempt, left),
        };
        let (program, allow) = (self.program.clone(), Arc::clone(&self.allow));
        // Off the async threads: looking at a path and starting what is there wait for the disk.
        let spawning = tokio::task::spawn_blocking(move || {
            let program = resolve(&allow, &program)?;
            // The slot goes with the program: an attempt that is dropped meanwhile frees it when the program is gone.
            order.spawn(&program, slot).map_err(|error| error.to_string())
        });
        let running = match tokio::time::timeout(terms.timeout, spawning).await {
            Ok(Ok(Ok(running))) => running,
            Ok(Ok(Err(why))) => return ExecEnd::Unusable(why),
            Ok(Err(error)) => return ExecEnd::Unusable(error.to_string()),
            Err(_) => return ExecEnd::TimedOut,
        };
        let ended = running.finish(exec::input(envelope), terms.timeout).await;
        let end = match ended.end {
            RunEnd::Exited(code) => ExecEnd::Exited(code, ended.stdout.map(exec::answer)),
            RunEnd::Killed(signal) => ExecEnd::Killed(signal),
            RunEnd::TimedOut => ExecEnd::TimedOut,
            RunEnd::Failed(why) => ExecEnd::Unusable(why),
        };
        self.tell(route, &ended.stderr, ended.stderr_bytes, clock.now());
        end
    }

    /// A place among the programs; `None` if a request cannot wait for one, or if a drain begins.
    async fn slot(&self, is_request: bool, left: Duration) -> Option<Slot> {
        if is_request {
            return tokio::time::timeout(left, self.slots.take()).await.ok();
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            slot = self.slots.take() => Some(slot),
        }
    }

    fn tell(&self, route: &RouteHeaders, stderr: &[u8], bytes: u64, now: Moment) {
        if bytes == 0 {
            return;
        }
        let mut told = self.told.lock();
        if told.at.is_some_and(|at| now.since(at) < TELL_EVERY) {
            told.held_back += 1;
            return;
        }
        let held_back = std::mem::take(&mut told.held_back);
        told.at = Some(now);
        drop(told);
        let words =
            if self.shows_words { exec::last_words(stderr) } else { "(not shown in prod)".to_owned() };
        let (tenant, route) = (route.tenant(), route.route());
        info!(tenant, route, bytes, held_back, words, "a program wrote to its standard error");
    }
}
