//! Targets other than HTTP, with real programs and real files: what they are told, what their end means, and that they
//! never get more than the host's lists give.

#[path = "../support/mod.rs"]
mod support;

mod exec;
mod file;
mod groups;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use support::Site;
use taut_sim::{AckOutcome, AppHandle, Push};

/// Attempts follow each other fast.
const EAGER: &str = "retry_first = \"20ms\"\nretry_max = \"100ms\"\n";

/// A site with one tenant, acme, and room for its programs and files.
struct Stand {
    site: Site,
    app: AppHandle,
}

impl Stand {
    /// `delivery` is more of `[delivery]`; `tenant` the tenant's own keys and routes, with `DIR` for the directory that
    /// is allowed.
    async fn new(delivery: &str, tenant: &str) -> Self {
        let mut site = Site::new("").await;
        let dir = site.dir.path().join("run");
        fs::create_dir(&dir).expect("a fresh directory");
        let dir = dir.display().to_string();
        let head =
            format!("[delivery]\n{EAGER}exec_allow = [\"{dir}/\"]\nfile_dirs = [\"{dir}\"]\n{delivery}\n");
        site.head(&head);
        let app = site.add_tenant(1, "acme", &tenant.replace("DIR", &dir));
        Self { site, app }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.dir.path().join("run").join(name)
    }

    /// Writes an executable shell script.
    fn script(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode is set");
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn lines(&self, name: &str) -> Vec<String> {
        self.text(name).lines().map(str::to_owned).collect()
    }

    async fn start(&mut self) {
        let app = self.app.clone();
        self.site.start_connected(&[&app]).await;
    }

    /// The ack's payload, `None` without one; panics if there is no ack.
    async fn acked(&self, push: impl Into<Push>) -> Option<String> {
        match self.app.push(push).wait_ack(support::SOON).await {
            AckOutcome::Acked { payload, .. } => {
                payload.map(|payload| String::from_utf8(payload.to_vec()).expect("JSON is text"))
            }
            outcome @ AckOutcome::Unacked { .. } => panic!("{outcome:?}\n{}", self.site.worker.log_tail()),
        }
    }

    async fn attempts(&self, outcome: &str) -> f64 {
        self.site
            .metric(&format!("taut_delivery_attempts_total{{tenant=\"acme\",outcome=\"{outcome}\"}}"))
            .await
    }

    /// Waits until nothing is left to deliver.
    async fn until_dry(&self) {
        self.site.until_tenant("acme", "the backlog is dry", |tenant| tenant.backlog_envelopes == 0).await;
    }
}

/// A route to a program in the allowed directory, with more keys.
fn exec_route(program: &str, more: &str) -> String {
    format!(
        "[[tenants.routes]]\nname = \"bot\"\ntarget = {{ exec = [\"DIR/{program}\", \"DIR\"] }}\n{more}\n"
    )
}
