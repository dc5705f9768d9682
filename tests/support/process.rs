//! The worker as the kernel sees it: threads, processor time, limits.

use std::path::Path;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use taut::demo::worker::WorkerProcess;
use tokio::time::{sleep, timeout};

use super::{LOOK_EVERY, SOON, Site};

impl Site {
    /// Threads of the worker.
    pub fn threads(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).expect("a line");
        line.trim().parse().expect("a number")
    }

    /// Processor time of the worker, user and kernel, in steps of 10 ms.
    pub fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(')').expect("stat has a name");
        let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
        Duration::from_secs_f64(ticks.sum::<u64>() as f64 / clock_ticks_per_second() as f64)
    }

    fn proc(&self, file: &str) -> String {
        let id = self.worker.id().expect("the worker runs");
        std::fs::read_to_string(format!("/proc/{id}/{file}")).expect("the worker runs")
    }

    /// From the next start on the worker runs under these limits, in the words of the shell's `ulimit`.
    pub fn ulimit(&mut self, limits: &str) {
        let script = self.dir.path().join("limited");
        let text = format!("#!/bin/sh\nulimit {limits}\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_taut"));
        std::fs::write(&script, text).expect("the script is written");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&script, executable).expect("its mode is set");
        self.run_as(&script);
    }

    /// From the next start on the worker runs without limits of the test's making.
    pub fn no_ulimit(&mut self) {
        self.run_as(Path::new(env!("CARGO_BIN_EXE_taut")));
    }

    /// Limits what the running worker may have allocated, in bytes.
    pub fn limit_data(&self, bytes: u64) {
        let id = self.worker.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        prlimit(id, Resource::Data, limit).expect("a process may limit its child");
    }

    fn run_as(&mut self, program: &Path) {
        let dir = self.dir.path();
        let (config, log, socket) = (dir.join("taut.toml"), dir.join("worker.log"), dir.join("admin.sock"));
        self.worker = WorkerProcess::new(program, &config, &log, &socket);
    }

    /// Waits until a sample of `/metrics` is as wanted; 0 if it is not there.
    pub async fn until_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        let mut last = 0.0;
        let looking = async {
            loop {
                let value = self.metric(name).await;
                last = value;
                if wanted(value) {
                    return value;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        if let Ok(value) = timeout(SOON, looking).await {
            return value;
        }
        panic!("{name} stayed {last}\n{}", self.worker.log_tail())
    }
}
