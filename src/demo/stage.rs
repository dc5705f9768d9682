//! What the demo plays on: the simulated Slack, a handler for each tenant, the worker's directory and process.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use taut_sim::{
    AppHandle, AppSpec, EchoAnswer, EchoConfig, EchoHandler, End, EnvelopeType, Outage, SentEnvelope, Sim,
    SimConfig, Switches,
};
use tokio::time::{sleep, timeout};

use super::DemoArgs;
use super::view::{Row, percentile};
use super::worker::WorkerProcess;

/// How often states are looked at while one is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Divides Slack's retry waits (about 1 s, 1 min, 5 min), so that a demo of half a minute sees them.
const RETRY_SPEED: f64 = 60.0;

/// How soon a refreshed socket is closed; Slack's own time is not confirmed.
const CLOSE_AFTER: Duration = Duration::from_secs(1);

/// One tenant of the demo.
pub(super) struct DemoTenant {
    pub(super) id: String,
    pub(super) app: AppHandle,
    handler: EchoHandler,
}

impl DemoTenant {
    /// Ids of the events its handler took.
    pub(super) fn delivered(&self) -> BTreeSet<Arc<str>> {
        self.handler.keys().into_iter().map(|(key, _)| key).collect()
    }

    /// Deliveries whose signature did not verify.
    pub(super) fn forged(&self) -> u64 {
        self.handler.totals().refused
    }
}

/// Everything the demo needs.
pub(super) struct Stage {
    pub(super) sim: Sim,
    pub(super) tenants: Vec<DemoTenant>,
    pub(super) worker: WorkerProcess,
    pub(super) rate: u32,
    directory: PathBuf,
}

impl Stage {
    /// Builds the stage; the worker is not started yet.
    pub(super) async fn build(args: &DemoArgs) -> Result<Self, String> {
        let directory = std::env::temp_dir().join(format!("taut-demo-{}", std::process::id()));
        make_directory(&directory)?;
        let sim = Sim::start(SimConfig {
            switches: Switches {
                speed: RETRY_SPEED,
                close_after_disconnect: CLOSE_AFTER,
                ..Switches::default()
            },
            journal_envelopes_max: 4_000_000,
            ..SimConfig::default()
        });
        let sim = sim.await.map_err(|error| error.to_string())?;
        let mut tenants = Vec::new();
        let mut config = head(&sim, &directory);
        for number in 1..=args.tenants {
            let spec = AppSpec::numbered(number);
            let id = format!("tenant-{number}");
            let secret = format!("demo-signing-secret-{number}");
            write_secret(&directory.join(format!("{id}.app-token")), &spec.app_token)?;
            write_secret(&directory.join(format!("{id}.signing")), &secret)?;
            let handler = EchoHandler::start(EchoConfig {
                signing_secret: Some(secret.into()),
                ..EchoConfig::default()
            })
            .await
            .map_err(|error| error.to_string())?;
            let errors = json!({"response_action": "errors", "errors": {"title": "too short"}});
            handler.answer("view_submission", Some(EchoAnswer::json(&errors)));
            config.push_str(&tenant_config(&id, &handler.url()));
            tenants.push(DemoTenant { id, app: sim.add_app(spec), handler });
        }
        let config_file = directory.join("taut.toml");
        write_secret(&config_file, &config)?;
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find the taut binary: {error}"))?;
        let worker = WorkerProcess::new(
            &program,
            &config_file,
            &directory.join("worker.log"),
            &directory.join("admin.sock"),
        );
        Ok(Self { sim, tenants, worker, rate: args.rate, directory })
    }

    /// Waits until every tenant has one socket that said hello.
    pub(super) async fn all_connected(&self, limit: Duration) -> Result<(), String> {
        for tenant in &self.tenants {
            if !tenant
                .app
                .wait_until(limit, |app| app.connections().iter().any(|socket| socket.helloed))
                .await
            {
                return Err(format!("{} did not connect within {limit:?}", tenant.id));
            }
        }
        Ok(())
    }

    /// Resolves when any tenant has a socket that said hello.
    pub(super) async fn first_connected(&self) {
        let waits = self.tenants.iter().map(|tenant| {
            Box::pin(
                tenant
                    .app
                    .wait_until(Duration::from_mins(1), |app| app.connections().iter().any(|s| s.helloed)),
            )
        });
        futures::future::select_all(waits).await;
    }

    /// Has Slack refresh every connection; waits until each tenant's sockets of this moment are gone and a newer one
    /// lives.
    pub(super) async fn refresh_all(&self, limit: Duration) -> Result<(), String> {
        let sockets_of =
            |app: &AppHandle| app.connections().iter().map(|socket| socket.id).collect::<BTreeSet<_>>();
        let old: Vec<_> = self.tenants.iter().map(|tenant| sockets_of(&tenant.app)).collect();
        for tenant in &self.tenants {
            tenant.app.refresh();
        }
        for (tenant, old) in self.tenants.iter().zip(&old) {
            let renewed = |app: &AppHandle| {
                let sockets = app.connections();
                sockets.iter().any(|socket| socket.helloed)
                    && !sockets.iter().any(|socket| old.contains(&socket.id))
            };
            if !tenant.app.wait_until(limit, renewed).await {
                return Err(format!("{} did not renew its socket within {limit:?}", tenant.id));
            }
        }
        Ok(())
    }

    /// Waits until every envelope has its end and no backlog is left; whether that came in time.
    pub(super) async fn settled(&self, limit: Duration) -> bool {
        let settling = async {
            for tenant in &self.tenants {
                if !tenant.app.wait_settled(limit).await {
                    return false;
                }
            }
            while !self.backlog_is_empty().await {
                sleep(LOOK_EVERY).await;
            }
            true
        };
        timeout(limit, settling).await.unwrap_or(false)
    }

    async fn backlog_is_empty(&self) -> bool {
        let status = self.worker.status().await;
        status.is_some_and(|status| status.tenants.iter().all(|tenant| tenant.backlog_envelopes == 0))
    }

    /// Deaf seconds over all tenants, as the worker counts them.
    pub(super) async fn deaf_seconds(&self) -> f64 {
        let status = self.worker.status().await;
        status.map_or(0.0, |status| status.tenants.iter().map(|tenant| tenant.deaf_seconds).sum())
    }

    /// Every handler answers 503.
    pub(super) fn handlers_down(&self) {
        for tenant in &self.tenants {
            tenant.handler.outage(Outage::Status(503));
        }
    }

    /// Every handler works again.
    pub(super) fn handlers_up(&self) {
        for tenant in &self.tenants {
            tenant.handler.outage(Outage::None);
        }
    }

    /// Where every tenant stands: state and backlog from the worker, the rest from the outside.
    pub(super) async fn rows(&self) -> Vec<Row> {
        let status = self.worker.status().await;
        let rows = self.tenants.iter().map(|tenant| {
            let own = status.as_ref().and_then(|s| s.tenants.iter().find(|own| own.id == tenant.id));
            let totals = tenant.app.totals();
            let acks = self.event_acks(tenant);
            Row {
                tenant: tenant.id.clone(),
                state: own.map_or_else(|| "(down)".into(), |own| own.state.clone()),
                sent: totals.produced,
                acked: totals.acked,
                backlog: own.map_or(0, |own| own.backlog_envelopes),
                delivered: tenant.handler.totals().keys,
                ack_p50: percentile(&acks, 50),
                ack_p90: percentile(&acks, 90),
            }
        });
        rows.collect()
    }

    /// Every attempt at a tenant's events, from the journal.
    pub(super) fn events(&self, tenant: &DemoTenant) -> Vec<SentEnvelope> {
        let mut envelopes = self.sim.journal().envelopes(Some(tenant.app.id()));
        envelopes.retain(|envelope| envelope.envelope_type == EnvelopeType::EventsApi);
        envelopes
    }

    /// How long the acks of a tenant's events took, sorted, by the simulated Slack's clock.
    pub(super) fn event_acks(&self, tenant: &DemoTenant) -> Vec<Duration> {
        let mut acks: Vec<_> = self
            .events(tenant)
            .iter()
            .filter_map(|envelope| match &envelope.end {
                End::Acked(ack) => Some(ack.after),
                End::Waiting | End::Missed(_) => None,
            })
            .collect();
        acks.sort_unstable();
        acks
    }

    /// The end of the worker's log.
    pub(super) fn worker_log_tail(&self) -> String {
        self.worker.log_tail()
    }

    /// Takes everything down; the directory, if it was to be kept.
    pub(super) async fn close(self, keep: bool) -> Option<PathBuf> {
        drop(self.worker);
        self.sim.stop().await;
        if keep {
            return Some(self.directory);
        }
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("taut demo: {} could not be removed: {error}", self.directory.display());
        }
        None
    }
}

fn head(sim: &Sim, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "[slack]\napi_url = \"{}\"\n\n[store]\npath = \"{directory}/store\"\n\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n\n[admin]\nlisten = \"unix:{directory}/admin.sock\"\n\n\
         [delivery]\nretry_first = \"200ms\"\nretry_max = \"2s\"\nattempts_max = 100\n",
        sim.api_url()
    )
}

fn tenant_config(id: &str, handler: &str) -> String {
    let mut text = String::new();
    write!(
        text,
        "\n[[tenants]]\nid = \"{id}\"\napp_token = {{ file = \"{id}.app-token\" }}\n\
         signing_secret = {{ file = \"{id}.signing\" }}\n\n\
         [[tenants.routes]]\nname = \"echo\"\ntarget = {{ http = \"{handler}\" }}\n"
    )
    .expect("a String takes every write");
    text
}

fn make_directory(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().mode(0o700).create(path);
    made.map_err(|error| format!("{} could not be made: {error}", path.display()))
}

fn write_secret(path: &Path, text: &str) -> Result<(), String> {
    use std::io::Write;
    let file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("{} could not be written: {error}", path.display()))
}
