//! The simulated Slack, a handler, and a configuration of many tenants for the worker.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::PrivateKeyDer;
use taut::admin::Changed;
use taut::admin::client::Worker;
use taut_sim::{
    AppHandle, AppSpec, EchoConfig, EchoHandler, Load, Sample, Sim, SimConfig, Switches, TlsIdentity,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::Outcome;
use super::args::Common;

/// How often a state is looked at while it is waited for.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long all tenants may take to connect, or the last acks to come; a client under valgrind is slow.
const STATE_MAX: Duration = Duration::from_mins(4);
/// What every post is signed with.
pub(crate) const SIGNING_SECRET: &str = "bench-signing-secret";

/// What the tenants' only route does with events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// It matches none of them: acked after their dedup keys are stored.
    Unmatched,
    /// It takes all of them to the handler.
    ToHandler,
}

/// What a worker is told beside its tenants.
pub(crate) struct Settings {
    pub(crate) opens_per_second: u32,
    /// Further sections, as TOML.
    pub(crate) more: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self { opens_per_second: 1_000, more: "" }
    }
}

/// A simulated Slack with its tenants.
pub(crate) struct Stage {
    pub(crate) sim: Sim,
    pub(crate) apps: Vec<AppHandle>,
    pub(crate) handler: EchoHandler,
    pub(crate) dir: TempDir,
    pub(crate) tls: bool,
}

impl Stage {
    /// Starts a simulated Slack over plain HTTP, patient enough for a client under valgrind.
    pub(crate) async fn new(common: &Common, route: Route) -> Outcome<Self> {
        Self::start(common, route, None).await
    }

    /// Starts a simulated Slack over TLS, with a certificate made for this run.
    pub(crate) async fn over_tls(common: &Common, route: Route) -> Outcome<Self> {
        let issued = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der())?;
        let identity = TlsIdentity { chain: vec![issued.cert.der().clone()], key };
        Self::start(common, route, Some((identity, issued.cert.pem()))).await
    }

    async fn start(common: &Common, route: Route, tls: Option<(TlsIdentity, String)>) -> Outcome<Self> {
        let dir = TempDir::with_prefix_in(
            "bench-",
            common.dir.as_deref().unwrap_or(Path::new(env!("CARGO_TARGET_TMPDIR"))),
        )?;
        let (identity, ca) = tls.unzip();
        let switches = Switches { ack_deadline: STATE_MAX, ..Switches::default() };
        let sim = Sim::start(SimConfig { switches, tls: identity, ..SimConfig::default() }).await?;
        let apps = (1..=common.tenants).map(|number| sim.add_app(AppSpec::numbered(number))).collect();
        let handler = EchoHandler::start(EchoConfig {
            signing_secret: Some(SIGNING_SECRET.into()),
            requests_max: 1,
            ..EchoConfig::default()
        });
        let stage = Self { sim, apps, handler: handler.await?, dir, tls: ca.is_some() };
        if let Some(ca) = ca {
            stage.write("ca.pem", &ca)?;
        }
        stage.configure("taut", 1..=common.tenants, route, &Settings::default())?;
        Ok(stage)
    }

    /// Starts a simulated Slack whose tenants, numbered from 1, each have the handler that `url_of` says; a backlog
    /// overflows at 2,000 envelopes.
    pub(crate) async fn with_handlers(common: &Common, url_of: impl Fn(u32) -> String) -> Outcome<Self> {
        let stage = Self::start(common, Route::ToHandler, None).await?;
        let settings = Settings { more: "[queue]\nenvelopes_max = 2000\n", ..Settings::default() };
        stage.configure_with("taut", 1..=common.tenants, Route::ToHandler, &settings, url_of)?;
        Ok(stage)
    }

    /// A handler that remembers all its requests.
    pub(crate) async fn handler() -> Outcome<EchoHandler> {
        let config = EchoConfig {
            signing_secret: Some(SIGNING_SECRET.into()),
            requests_max: 1_000_000,
            ..EchoConfig::default()
        };
        Ok(EchoHandler::start(config).await?)
    }

    /// Writes `<name>.toml` for a worker of these tenants, with a store of its own.
    pub(crate) fn configure(
        &self,
        name: &str,
        tenants: RangeInclusive<u32>,
        route: Route,
        settings: &Settings,
    ) -> Outcome {
        self.configure_with(name, tenants, route, settings, |_| self.handler.url())
    }

    fn configure_with(
        &self,
        name: &str,
        tenants: RangeInclusive<u32>,
        route: Route,
        settings: &Settings,
        url_of: impl Fn(u32) -> String,
    ) -> Outcome {
        let dir = self.dir.path().display();
        let mut config = format!(
            "[slack]\napi_url = \"{}\"\nopens_per_second = {}\n[store]\npath = \"{dir}/{name}-store\"\n\
             [metrics]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"unix:{dir}/{name}.sock\"\n{}",
            self.sim.api_url(),
            settings.opens_per_second,
            settings.more
        );
        if self.tls {
            write!(config, "[network]\nca_files = [\"{dir}/ca.pem\"]\n")?;
        }
        let matching = match route {
            Route::Unmatched => "match = { kinds = [\"slash_commands\"] }\n",
            Route::ToHandler => "",
        };
        self.write("signing", SIGNING_SECRET)?;
        for number in tenants {
            self.write(&format!("app-{number}"), &AppSpec::numbered(number).app_token)?;
            write!(
                config,
                "[[tenants]]\nid = \"tenant-{number}\"\napp_token = {{ file = \"app-{number}\" }}\n\
                 signing_secret = {{ file = \"signing\" }}\n[[tenants.routes]]\nname = \"bot\"\n{matching}\
                 target = {{ http = \"{}\" }}\n",
                url_of(number)
            )?;
        }
        self.write(&format!("{name}.toml"), &config)
    }

    /// A file that only its owner may read, as the worker wants its secrets.
    fn write(&self, name: &str, text: &str) -> Outcome {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::write(&path, text)?;
        Ok(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?)
    }

    /// A file of this stage.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Waits until every tenant has a socket that said hello.
    pub(crate) async fn connected(&self) -> Outcome {
        for app in &self.apps {
            let helloed = |app: &AppHandle| app.connections().iter().any(|socket| socket.helloed);
            if !app.wait_until(STATE_MAX, helloed).await {
                return Err(format!("{} did not connect within {STATE_MAX:?}", app.id()).into());
            }
        }
        Ok(())
    }

    /// Envelopes acked so far.
    pub(crate) fn acked(&self) -> u64 {
        self.sim.journal().totals(None).acked
    }

    /// Envelopes the handler took so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.handler.totals().answered
    }

    /// Waits until a number is reached.
    pub(crate) async fn until(&self, what: &str, wanted: u64, count: impl Fn(&Self) -> u64) -> Outcome {
        let end = Instant::now() + STATE_MAX;
        while count(self) < wanted {
            if Instant::now() >= end {
                return Err(format!("{what}: {} of {wanted} after {STATE_MAX:?}", count(self)).into());
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Pauses every tenant's route: envelopes are stored, delivery waits.
    pub(crate) async fn pause_routes(&self) -> Outcome {
        let worker = Worker::at(&self.path("taut.sock"));
        for number in 1..=self.apps.len() {
            let path = format!("/v1/tenants/tenant-{number}/routes/bot/pause");
            let _: Changed = worker.post(&path, &()).await?;
        }
        Ok(())
    }

    /// Pushes this many events of 1.9 KB, at most 64 unacked on each socket, and waits for every ack.
    pub(crate) async fn push(&self, count: u64) -> Outcome {
        let before = self.acked();
        let load = self.sim.load(Load { count: Some(count), ..burst() });
        load.finished().await;
        self.until("acks", before + count, Self::acked).await
    }
}

/// As many events as the client takes with at most 64 unacked on each socket.
pub(crate) fn burst() -> Load {
    Load { rate: f64::INFINITY, kinds: vec![Sample::Message], in_flight_max: 64, ..Load::default() }
}

/// Events at a steady rate.
pub(crate) fn steady(rate: f64, time: Duration) -> Load {
    Load { rate, time: Some(time), in_flight_max: 10_000, ..burst() }
}
