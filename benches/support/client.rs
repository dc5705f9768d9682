//! A client under test, as a process of its own on its own core: the real `taut` binary or the bare loop.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::args::Common;
use super::process;
use super::stage::{SIGNING_SECRET, Stage};
use super::{Failure, Outcome};

/// How long a client may take to end; under valgrind a drain is slow.
const STOP_MAX: Duration = Duration::from_mins(2);

/// What serves the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Taut,
    /// The bare loop, one write for each ack.
    Bare,
    /// The bare loop, acks of one read in one write.
    BareBatched,
    /// The bare loop that also writes and syncs each event before its ack, and posts it after.
    BareWay,
}

/// A running client.
pub(crate) struct Client {
    child: Child,
    pid: u32,
    counts: Option<PathBuf>,
}

impl Client {
    /// Starts a client for all tenants of a stage and waits until they are connected.
    pub(crate) async fn start(kind: Kind, stage: &Stage, common: &Common) -> Outcome<Self> {
        Self::launch(kind, stage, common, None).await
    }

    /// The same under `valgrind --tool=callgrind`.
    pub(crate) async fn start_counted(kind: Kind, stage: &Stage, common: &Common) -> Outcome<Self> {
        Self::launch(kind, stage, common, Some(stage.path("callgrind.out"))).await
    }

    /// Starts one of several workers of a stage, by its configuration's name. Does not wait.
    pub(crate) fn worker(name: &str, stage: &Stage, common: &Common) -> Outcome<Self> {
        Self::spawn(Kind::Taut, name, stage, common, None)
    }

    async fn launch(kind: Kind, stage: &Stage, common: &Common, counts: Option<PathBuf>) -> Outcome<Self> {
        let mut client = Self::spawn(kind, "taut", stage, common, counts)?;
        tokio::select! {
            connected = stage.connected() => match connected {
                Ok(()) => Ok(client),
                Err(error) => Err(format!("{error}; {}", log_tail(stage)).into()),
            },
            status = client.child.wait() => Err(format!("the client ended with {}; {}", status?, log_tail(stage)).into()),
        }
    }

    fn spawn(
        kind: Kind,
        name: &str,
        stage: &Stage,
        common: &Common,
        counts: Option<PathBuf>,
    ) -> Outcome<Self> {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(common.client_core.to_string());
        if let Some(out) = &counts {
            command.args(["valgrind", "--tool=callgrind", "--quiet"]);
            command.arg(format!("--callgrind-out-file={}", out.display()));
        }
        let bare = |command: &mut Command| {
            command.arg(bare_client()).args(["--api-url", &stage.sim.api_url()]);
            command.args(["--apps", &common.tenants.to_string()]);
            if stage.tls {
                command.arg("--ca-file").arg(stage.path("ca.pem"));
            }
        };
        match kind {
            Kind::Taut => {
                command.arg(taut()).arg("run").arg("--config").arg(stage.path(&format!("{name}.toml")));
            }
            Kind::Bare => bare(&mut command),
            Kind::BareBatched => {
                bare(&mut command);
                command.arg("--batch");
            }
            Kind::BareWay => {
                bare(&mut command);
                command.arg("--store").arg(stage.path("bare-store"));
                command.args(["--handler", &stage.handler.url(), "--signing-secret", SIGNING_SECRET]);
            }
        }
        let log = File::options().create(true).append(true).open(stage.path("client.log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let child = command.spawn()?;
        let pid = child.id().ok_or("the client ended at once")?;
        Ok(Self { child, pid, counts })
    }

    /// Its process.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> Duration {
        process::cpu(self.pid)
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        process::resident_kib(self.pid)
    }

    /// Processor time since an earlier reading.
    pub(crate) fn cpu_since(&self, earlier: Duration) -> Duration {
        self.cpu().saturating_sub(earlier)
    }

    /// SIGTERM, and the orderly end.
    pub(crate) async fn stop(mut self) -> Outcome {
        let pid = Pid::from_raw(self.pid.cast_signed()).ok_or("a process has an id")?;
        kill_process(pid, Signal::TERM)?;
        let status = tokio::time::timeout(STOP_MAX, self.child.wait()).await??;
        if status.success() { Ok(()) } else { Err(format!("the client ended with {status}").into()) }
    }

    /// Ends it and says how many instructions it executed in user mode.
    pub(crate) async fn stop_counted(self) -> Outcome<u64> {
        let out = self.counts.clone().ok_or("the client was not started under callgrind")?;
        self.stop().await?;
        let text = std::fs::read_to_string(&out)?;
        let count =
            text.lines().find_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")));
        Ok(count.ok_or("callgrind wrote no summary")?.trim().parse()?)
    }
}

/// The last lines the client wrote.
pub(crate) fn log_tail(stage: &Stage) -> String {
    let text = std::fs::read_to_string(stage.path("client.log")).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

fn taut() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_taut"))
}

fn bare_client() -> PathBuf {
    taut().with_file_name("examples").join("bare_client")
}

/// Builds the bare loop beside the `taut` under test and moves this process to its core. Call it before the runtime
/// starts, so that its threads inherit the core.
pub(crate) fn prepare(common: &Common) -> Outcome {
    let run = |command: &mut std::process::Command| -> Outcome {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
        let status = status.map_err(|error| -> Failure { format!("{command:?}: {error}").into() })?;
        if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
    };
    let mut build = std::process::Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "taut-sim", "--example", "bare_client"]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    if taut().parent().is_some_and(|directory| directory.ends_with("release")) {
        build.arg("--release");
    }
    run(&mut build)?;
    let own = std::process::id().to_string();
    run(std::process::Command::new("taskset").args(["-cp", &common.sim_core.to_string(), &own]))?;
    println!(
        "{}; client on core {}, simulated Slack on core {}",
        process::machine(),
        common.client_core,
        common.sim_core
    );
    Ok(())
}

/// A single-threaded runtime for the simulated Slack and the bench.
pub(crate) fn block_on<T>(bench: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(bench)
}
