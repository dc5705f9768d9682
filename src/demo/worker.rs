//! A real `taut run` process that can be killed and started again: for the demo and for tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::admin::client::Worker;
use crate::seeing::status::StatusReport;

/// How long a worker may take to answer on its socket.
const START_MAX: Duration = Duration::from_secs(30);
/// How long a drain may take; the worker's own limit is below.
const STOP_MAX: Duration = Duration::from_secs(40);
/// How often a starting worker is asked.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// A worker process.
pub struct WorkerProcess {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    client: Worker,
    variables: Vec<(String, String)>,
    child: Option<Child>,
}

impl WorkerProcess {
    /// A process not yet started: the binary, its configuration, where its log lines go, its admin socket.
    pub fn new(program: &Path, config: &Path, log: &Path, socket: &Path) -> Self {
        Self {
            program: program.to_owned(),
            config: config.to_owned(),
            log: log.to_owned(),
            client: Worker::at(socket),
            variables: Vec::new(),
            child: None,
        }
    }

    /// Sets a variable of its environment, from the next start on.
    pub fn variable(&mut self, key: &str, value: &str) {
        self.variables.push((key.to_owned(), value.to_owned()));
    }

    /// Starts the process and waits until it answers.
    ///
    /// # Errors
    /// A sentence.
    pub async fn start(&mut self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("the worker could not be started: {error}");
        let log = File::options().create(true).append(true).open(&self.log).map_err(failed)?;
        let child = Command::new(&self.program)
            .arg("run")
            .arg("--config")
            .arg(&self.config)
            .envs(self.variables.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        self.child = Some(child);
        self.answers().await
    }

    async fn answers(&mut self) -> Result<(), String> {
        let asking = async {
            while self.status().await.is_none() {
                let ended = self.child.as_mut().map(Child::try_wait);
                if let Some(Ok(Some(status))) = ended {
                    return Err(format!("the worker ended while it started: {status}"));
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
            Ok(())
        };
        match tokio::time::timeout(START_MAX, asking).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("the worker did not answer within {START_MAX:?} of its start")),
        }
    }

    /// What the worker says of itself; `None` while it is down.
    pub async fn status(&self) -> Option<StatusReport> {
        self.client.get("/v1/status").await.ok()
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Waits until it ends by itself and gives its exit code; none after a signal.
    ///
    /// # Errors
    /// A sentence; also if it does not end in time.
    pub async fn ended(&mut self) -> Result<Option<i32>, String> {
        let Some(mut child) = self.child.take() else { return Err("the worker was not started".into()) };
        match tokio::time::timeout(STOP_MAX, child.wait()).await {
            Ok(Ok(status)) => Ok(status.code()),
            Ok(Err(error)) => Err(format!("the worker's end could not be read: {error}")),
            Err(_) => Err(format!("the worker did not end within {STOP_MAX:?}")),
        }
    }

    /// SIGKILL: no drain, no flush, nothing.
    ///
    /// # Errors
    /// A sentence.
    pub async fn kill(&mut self) -> Result<(), String> {
        match &mut self.child {
            Some(child) => {
                child.kill().await.map_err(|error| format!("the worker could not be killed: {error}"))
            }
            None => Ok(()),
        }
    }

    /// SIGTERM; whether it drained and exited with 0, and how long that took.
    ///
    /// # Errors
    /// A sentence; also if it does not end in time.
    pub async fn terminate(&mut self) -> Result<(bool, Duration), String> {
        let Some(mut child) = self.child.take() else { return Ok((false, Duration::ZERO)) };
        let asked = tokio::time::Instant::now();
        if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(pid, Signal::TERM)
                .map_err(|error| format!("the worker could not be asked to stop: {error}"))?;
        }
        match tokio::time::timeout(STOP_MAX, child.wait()).await {
            Ok(Ok(status)) => Ok((status.success(), asked.elapsed())),
            Ok(Err(error)) => Err(format!("the worker's end could not be read: {error}")),
            Err(_) => Err(format!("the worker did not stop within {STOP_MAX:?}")),
        }
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        const LINES: usize = 15;
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}
