//! One program from its start to its last trace.
//!
//! A process id may be used again once its process has been reaped, so the group is signalled only while its leader
//! is not: the leader's end is seen without reaping it, the rest of the group is killed, then it is reaped.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::timeout;

use super::Slot;

/// Most of a program's standard output that is an answer, in bytes.
pub(super) const STDOUT_MAX: usize = 64 * 1024;
/// Most of its standard error that is kept, in bytes.
const STDERR_MAX: usize = 16 * 1024;
/// Read of either, in bytes, before taut closes its end.
const READ_MAX: u64 = 1024 * 1024;
/// From SIGTERM to SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// How long the pipes are read on once the group is dead; somebody who left the group may hold them open.
const LINGER: Duration = Duration::from_millis(500);
/// How long a killed leader may take to be gone before the attempt goes on without it.
const REAP_MAX: Duration = Duration::from_secs(1);

/// What to start, and with what.
pub(super) struct Order {
    pub(super) arg0: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) environment: [(&'static str, String); 8],
}

impl Order {
    /// Starts the program. Needs the runtime's context; waits until the program is loaded.
    ///
    /// # Errors
    /// The system's words: missing, no interpreter, not permitted, no memory, no descriptors.
    pub(super) fn spawn(self, program: &Path, slot: Slot) -> io::Result<Running> {
        // Listens before there is a child, so that no end is missed.
        let ends = signal(SignalKind::child())?;
        let mut child = Command::new(program)
            .arg0(self.arg0)
            .args(self.args)
            .env_clear()
            .envs(self.environment)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let leader = id.ok_or_else(|| io::Error::other("the program has no process id"))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("the program has no pipes"));
        };
        Ok(Running { group: Group { leader, reaped: false }, child, stdin, stdout, stderr, ends, slot })
    }
}

/// A program that runs. Dropping it kills its group.
pub(super) struct Running {
    /// Before `child`: dropped first, while the leader is not reaped.
    group: Group,
    child: Child,
    stdin: ChildStdin,
    stdout: tokio::process::ChildStdout,
    stderr: tokio::process::ChildStderr,
    ends: SignalStream,
    slot: Slot,
}

/// A process group by its leader.
struct Group {
    leader: Pid,
    reaped: bool,
}

impl Group {
    /// Signals every process of the group. One that is gone needs no signal.
    fn signal(&self, signal: Signal) {
        if !self.reaped
            && let Err(error) = kill_process_group(self.leader, signal)
        {
            tracing::debug!(%error, "a program's group could not be signalled");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// How a program ended.
pub(super) enum RunEnd {
    Exited(i32),
    Killed(i32),
    /// Out of time: it was killed.
    TimedOut,
    /// What became of it is not known.
    Failed(String),
}

/// A program's end and what it said.
pub(super) struct Ended {
    pub(super) end: RunEnd,
    /// `None` if it was more than [`STDOUT_MAX`].
    pub(super) stdout: Option<Bytes>,
    /// The beginning of it.
    pub(super) stderr: Vec<u8>,
    pub(super) stderr_bytes: u64,
}

impl Running {
    /// Feeds the program, hears it out, and sees to its end, and its group's, within `patience` and a little.
    pub(super) async fn finish(self, input: Bytes, patience: Duration) -> Ended {
        // Bindings are dropped last first: an attempt that is cut off kills the group before its leader is reaped.
        let Self { mut child, mut group, stdin, stdout, stderr, mut ends, slot } = self;
        let (mut out, mut err) = (Kept::new(STDOUT_MAX), Kept::new(STDERR_MAX));
        let in_time = {
            let talk = async {
                tokio::join!(feed(stdin, &input), keep(stdout, &mut out), keep(stderr, &mut err));
            };
            let mut talk = pin!(talk);
            let mut talked = false;
            let mut exited = pin!(exited(group.leader, &mut ends));
            let mut gone = async |patience: Duration| {
                let both = async {
                    loop {
                        tokio::select! {
                            () = &mut exited => return,
                            () = &mut talk, if !talked => talked = true,
                        }
                    }
                };
                timeout(patience, both).await.is_ok()
            };
            let in_time = gone(patience).await;
            if !in_time {
                group.signal(Signal::TERM);
                // Gone or not: what follows is the same.
                let _gone_by_itself: bool = gone(TERM_GRACE).await;
            }
            group.signal(Signal::KILL);
            if !talked {
                // Whether or not everybody has let go of the pipes, what was read until now is what there is.
                let _all_read: Result<(), _> = timeout(LINGER, talk).await;
            }
            in_time
        };
        let end = match timeout(REAP_MAX, child.wait()).await {
            Ok(Ok(status)) => {
                group.reaped = true;
                match (in_time, status.code(), status.signal()) {
                    (false, _, _) => RunEnd::TimedOut,
                    (true, Some(code), _) => RunEnd::Exited(code),
                    (true, None, signal) => RunEnd::Killed(signal.unwrap_or(0)),
                }
            }
            Ok(Err(error)) => RunEnd::Failed(error.to_string()),
            // It waits for a disk that does not answer. Its place stays taken until it is gone.
            Err(_) => {
                tokio::spawn(async move {
                    let status = child.wait().await;
                    group.reaped = status.is_ok();
                    drop((group, slot));
                });
                RunEnd::TimedOut
            }
        };
        Ended { end, stdout: out.whole(), stderr_bytes: err.seen, stderr: err.bytes }
    }
}

/// Waits for the leader's end without reaping it. Cancel safe.
async fn exited(leader: Pid, ends: &mut SignalStream) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    // An error says that there is no such child, so it has ended.
    while matches!(waitid(WaitId::Pid(leader), options), Ok(None)) {
        if ends.recv().await.is_none() {
            return;
        }
    }
}

/// Writes the payload and closes the pipe. A program need not read it.
async fn feed(mut stdin: ChildStdin, input: &[u8]) {
    if let Err(error) = stdin.write_all(input).await {
        tracing::debug!(%error, "a program did not read its whole input");
    }
}

/// What is kept of a pipe.
struct Kept {
    bytes: Vec<u8>,
    most: usize,
    seen: u64,
}

impl Kept {
    const fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most, seen: 0 }
    }

    fn take(&mut self, part: &[u8]) {
        let room = self.most - self.bytes.len();
        self.bytes.extend_from_slice(&part[..part.len().min(room)]);
        self.seen += part.len() as u64;
    }

    /// Everything that came, if all of it was kept.
    fn whole(&mut self) -> Option<Bytes> {
        (self.seen == self.bytes.len() as u64).then(|| std::mem::take(&mut self.bytes).into())
    }
}

/// Reads a pipe to its end, and keeps its beginning. A program that floods it finds it closed after [`READ_MAX`].
async fn keep(mut pipe: impl AsyncRead + Unpin, kept: &mut Kept) {
    let mut part = vec![0; 8 * 1024];
    while kept.seen < READ_MAX {
        match pipe.read(&mut part).await {
            Ok(0) => return,
            Ok(read) => kept.take(&part[..read]),
            Err(error) => {
                tracing::debug!(%error, "a program's output could not be read");
                return;
            }
        }
    }
}
