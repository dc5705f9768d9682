//! Tools around a site: the command line, the listener, signals, and the reckoning of what was acked.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use taut::seeing::status::StatusReport;
use taut_sim::{AppHandle, EchoHandler, End, EnvelopeType, Sim};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::{LOOK_EVERY, SOON, Site};

/// How a command of the real binary ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; -1 after a signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// What it printed; panics unless it exited with 0.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Both outputs.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs the real binary to its end, with these variables and no other `SLACK_` or `TAUT__` ones.
pub async fn taut_with(args: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taut"));
    command.args(args).envs(variables.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(SOON, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("never ended: taut {args:?}")).expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("output is text");
    Run { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs the real binary to its end.
pub async fn taut(args: &[&str]) -> Run {
    taut_with(args, &[]).await
}

impl Site {
    /// Runs a command against this site's worker or store.
    pub async fn taut(&self, args: &[&str]) -> Run {
        let config = self.dir.path().join("taut.toml");
        let config = config.to_str().expect("temporary paths are text");
        taut(&[args, &["--config", config]].concat()).await
    }

    /// Waits until the worker's status is as wanted.
    pub async fn until_status(&self, what: &str, wanted: impl Fn(&StatusReport) -> bool) -> StatusReport {
        let looking = async {
            loop {
                let report = self.status().await;
                if wanted(&report) {
                    return report;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        if let Ok(report) = timeout(SOON, looking).await {
            return report;
        }
        panic!("never: {what}; last: {:?}\n{}", self.status().await, self.worker.log_tail())
    }

    /// A GET to the worker's listener: status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        get(&self.listener(), path).await
    }

    /// The address behind `metrics.listen`, as the worker logged it at its latest start.
    pub fn listener(&self) -> String {
        let log = self.read("worker.log");
        let address = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(line.get("metrics")?.as_str()?.to_owned())
        };
        // A long run's log has a million lines; few of them are worth parsing.
        log.lines()
            .rev()
            .filter(|line| line.contains("\"metrics\":"))
            .find_map(address)
            .expect("the worker logs its listener")
    }

    /// Sends the worker a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the worker runs");
    }

    fn pid(&self) -> Pid {
        let id = self.worker.id().expect("the worker runs");
        Pid::from_raw(id.cast_signed()).expect("a process id is no zero")
    }

    /// A value of the worker's `/proc` status in bytes, such as `VmHWM`, the most memory it ever had resident.
    pub fn memory(&self, what: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(path).expect("the worker runs");
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a size in kB");
        kib.parse::<u64>().expect("a number") << 10
    }

    /// One sample of `/metrics` by its full name with labels, 0 if it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a sample is a number"))
    }
}

/// A GET over HTTP/1.1: status and body.
pub async fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("the listener accepts");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the request is written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// What one app's events came to: the simulated Slack's journal beside the handler's record.
#[derive(Debug, Default)]
pub struct Reckoning {
    /// Events that came into being.
    pub produced: usize,
    /// Of those, acked on some attempt.
    pub acked: usize,
    /// Of those, never answered by the handler.
    pub lost: Vec<Arc<str>>,
    /// Never acked on any attempt.
    pub unacked: Vec<Arc<str>>,
    /// Events acked only on a retry.
    pub by_retry: usize,
}

/// Reconciles an app's events.
pub fn reckon(sim: &Sim, app: &AppHandle, handler: &EchoHandler) -> Reckoning {
    let mut acked_on: BTreeMap<Arc<str>, Option<u8>> = BTreeMap::new();
    for sent in sim.journal().envelopes(Some(app.id())) {
        if sent.envelope_type == EnvelopeType::EventsApi {
            let on = acked_on.entry(sent.dedup_id).or_default();
            if matches!(sent.end, End::Acked(_)) {
                *on = on.or(Some(sent.retry_attempt));
            }
        }
    }
    let mut reckoning = Reckoning { produced: acked_on.len(), ..Reckoning::default() };
    for (id, on) in acked_on {
        match on {
            None => reckoning.unacked.push(id),
            Some(attempt) => {
                reckoning.acked += 1;
                reckoning.by_retry += usize::from(attempt > 0);
                if handler.answered(&id) == 0 {
                    reckoning.lost.push(id);
                }
            }
        }
    }
    reckoning
}

/// Asserts that a text holds none of these words; names the word and its line.
pub fn assert_absent(place: &str, text: &str, words: &[&str]) {
    for word in words {
        if let Some(line) = text.lines().find(|line| line.contains(word)) {
            panic!("{place} shows {word}: {line}");
        }
    }
}

/// Whether any file below a directory contains these bytes; which one.
pub fn file_with(directory: &Path, word: &[u8]) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory is readable");
    entries.map(|entry| entry.expect("an entry").path()).find_map(|path| {
        if path.is_dir() {
            return file_with(&path, word);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        memchr::memmem::find(&bytes, word).map(|_| path)
    })
}
