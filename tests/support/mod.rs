//! A site to test on: the simulated Slack in process, the real binary as the worker, handlers of the test's choice.

#![expect(dead_code, reason = "each test file uses its own part")]
#![expect(unreachable_pub, reason = "a test binary exports nothing; `pub` says what tests use")]

pub mod fault_proxy;
pub mod letters;
pub mod process;
pub mod tools;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use taut::demo::worker::WorkerProcess;
use taut::seeing::status::{StatusReport, TenantStatus};
use taut_sim::{AppHandle, AppSpec, EchoConfig, EchoHandler, Sim, SimConfig, Switches};
use tempfile::TempDir;

use self::fault_proxy::FaultProxy;
use tokio::time::{sleep, timeout};

/// How long any state may take to come. Generous: tests wait for states, not for times.
pub const SOON: Duration = Duration::from_secs(30);
/// How often a state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The signing secret of a site's tenant.
pub fn signing_secret(tenant: &str) -> String {
    format!("test-signing-secret-of-{tenant}")
}

/// A site: everything a test needs around one worker.
pub struct Site {
    pub sim: Sim,
    pub worker: WorkerProcess,
    pub dir: TempDir,
    config: String,
}

impl Site {
    /// A site without tenants; `head` is more configuration, before the tenants.
    pub async fn new(head: &str) -> Self {
        Self::with_switches(head, Switches { speed: 60.0, ..Switches::default() }).await
    }

    /// A site whose simulated Slack has these switches.
    pub async fn with_switches(head: &str, switches: Switches) -> Self {
        Self::with_sim(head, SimConfig { switches, ..SimConfig::default() }).await
    }

    /// A site whose simulated Slack is set up like this.
    pub async fn with_sim(head: &str, sim: SimConfig) -> Self {
        let sim = Sim::start(sim).await.expect("the simulated Slack");
        let api_url = sim.api_url();
        Self::over(head, sim, &api_url)
    }

    /// A site whose sockets, and only they, go to the simulated Slack through a proxy that misbehaves on order.
    pub async fn behind(head: &str, switches: Switches) -> (Self, FaultProxy) {
        let proxy = FaultProxy::start();
        let public = Some(proxy.address().to_string());
        let sim = Sim::start(SimConfig { switches, public, ..SimConfig::default() })
            .await
            .expect("the simulated Slack");
        proxy.forward_to(sim.address());
        let api_url = format!("http://{}/api/", sim.address());
        (Self::over(head, sim, &api_url), proxy)
    }

    /// A site over a simulated Slack that is already there, reached by this URL.
    pub fn over(head: &str, sim: Sim, api_url: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().display();
        let config = format!(
            "[slack]\napi_url = \"{api_url}\"\n[store]\npath = \"{path}/store\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
             [admin]\nlisten = \"unix:{path}/admin.sock\"\n{head}\n"
        );
        let worker = WorkerProcess::new(
            Path::new(env!("CARGO_BIN_EXE_taut")),
            &dir.path().join("taut.toml"),
            &dir.path().join("worker.log"),
            &dir.path().join("admin.sock"),
        );
        Self { sim, worker, dir, config }
    }

    /// The worker is started by this line of shell from now on; `"$@"` stands for the binary and its arguments, and
    /// must be the last thing it runs, by `exec`: signals go to the process that the line becomes.
    pub fn launch_by(&mut self, line: &str) {
        use std::os::unix::fs::PermissionsExt;
        let launcher = self.dir.path().join("launcher");
        let text = format!("#!/bin/sh\nset -- {} \"$@\"\n{line}\n", env!("CARGO_BIN_EXE_taut"));
        std::fs::write(&launcher, text).expect("the launcher is written");
        std::fs::set_permissions(&launcher, std::fs::Permissions::from_mode(0o700)).expect("its mode is set");
        self.worker = WorkerProcess::new(
            &launcher,
            &self.dir.path().join("taut.toml"),
            &self.dir.path().join("worker.log"),
            &self.dir.path().join("admin.sock"),
        );
    }

    /// Adds a line to `[slack]`.
    pub fn slack(&mut self, line: &str) {
        self.line("[slack]\n", line);
    }

    /// Adds a line to `[store]`.
    pub fn store(&mut self, line: &str) {
        self.line("[store]\n", line);
    }

    /// Replaces a word of the configuration.
    pub fn replace(&mut self, word: &str, by: &str) {
        assert!(self.config.contains(word), "the configuration has it");
        self.config = self.config.replace(word, by);
    }

    fn line(&mut self, table: &str, line: &str) {
        let at = self.config.find(table).expect("the configuration has it") + table.len();
        self.config.insert_str(at, &format!("{line}\n"));
    }

    /// Adds more configuration; before the first tenant.
    pub fn head(&mut self, text: &str) {
        self.config.push_str(text);
    }

    /// Replaces a part of the configuration that was added before.
    pub fn replace_config(&mut self, old: &str, new: &str) {
        assert!(self.config.contains(old), "it is there");
        self.config = self.config.replace(old, new);
    }

    /// Adds a tenant with its own simulated app; `routes` is TOML with `[[tenants.routes]]` tables.
    pub fn add_tenant(&mut self, number: u32, id: &str, routes: &str) -> AppHandle {
        self.add_app(AppSpec::numbered(number), id, routes)
    }

    /// Adds a tenant with an app of the test's own making.
    pub fn add_app(&mut self, spec: AppSpec, id: &str, routes: &str) -> AppHandle {
        self.write_secret(&format!("{id}.app"), &spec.app_token);
        self.write_secret(&format!("{id}.signing"), &signing_secret(id));
        write!(
            self.config,
            "[[tenants]]\nid = \"{id}\"\napp_token = {{ file = \"{id}.app\" }}\n\
             signing_secret = {{ file = \"{id}.signing\" }}\n{routes}\n"
        )
        .expect("a String takes every write");
        self.sim.add_app(spec)
    }

    /// Adds a tenant whose only route goes to this URL.
    pub fn add_simple(&mut self, number: u32, id: &str, url: &str) -> AppHandle {
        let route = format!("[[tenants.routes]]\nname = \"bot\"\ntarget = {{ http = \"{url}\" }}\n");
        self.add_tenant(number, id, &route)
    }

    /// A file in the site's directory, readable for its owner only.
    pub fn write_secret(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("the file is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode is set");
        path
    }

    /// The configuration so far.
    pub fn text(&self) -> &str {
        &self.config
    }

    /// Writes the configuration.
    pub fn write_config(&self) {
        self.write_secret("taut.toml", &self.config);
    }

    /// Writes the configuration and starts the worker.
    pub async fn start(&mut self) {
        self.write_config();
        if let Err(error) = self.worker.start().await {
            panic!("{error}\n{}", self.worker.log_tail());
        }
    }

    /// Starts the worker and waits until each of these apps has a socket that said hello.
    pub async fn start_connected(&mut self, apps: &[&AppHandle]) {
        self.start().await;
        for app in apps {
            assert!(connected(app).await, "{} never connected\n{}", app.id(), self.worker.log_tail());
        }
    }

    /// The worker's status.
    pub async fn status(&self) -> StatusReport {
        self.worker.status().await.unwrap_or_else(|| panic!("no status\n{}", self.worker.log_tail()))
    }

    /// One tenant's status.
    pub async fn tenant(&self, id: &str) -> TenantStatus {
        let report = self.status().await;
        report.tenants.into_iter().find(|tenant| tenant.id == id).expect("the tenant is in the status")
    }

    /// Waits until the tenant's status is as wanted.
    pub async fn until_tenant(
        &self,
        id: &str,
        what: &str,
        wanted: impl Fn(&TenantStatus) -> bool,
    ) -> TenantStatus {
        let looking = async {
            loop {
                let tenant = self.tenant(id).await;
                if wanted(&tenant) {
                    return tenant;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        if let Ok(tenant) = timeout(SOON, looking).await {
            return tenant;
        }
        panic!("never: {what}; last: {:?}\n{}", self.tenant(id).await, self.worker.log_tail())
    }

    /// The text of a file in the site's directory.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }
}

/// Waits until the app has a socket that said hello.
pub async fn connected(app: &AppHandle) -> bool {
    app.wait_until(SOON, |app| app.connections().iter().any(|socket| socket.helloed)).await
}

/// Waits until a condition holds; panics with `what` otherwise.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let looking = async {
        while !holds() {
            sleep(LOOK_EVERY).await;
        }
    };
    assert!(timeout(SOON, looking).await.is_ok(), "never: {what}");
}

/// An echo handler that verifies deliveries with the tenant's secret.
pub async fn echo(tenant: &str) -> EchoHandler {
    let config = EchoConfig { signing_secret: Some(signing_secret(tenant).into()), ..EchoConfig::default() };
    EchoHandler::start(config).await.expect("the echo handler listens")
}
