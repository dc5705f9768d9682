//! `taut sim` and `taut sim push`: the simulator for people, and a client of its `/sim/` requests.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::config::{AppSpec, SimConfig, TlsIdentity};
use crate::error::SimError;
use crate::sample::Sample;
use crate::script::Script;
use crate::sim::Sim;

const DEFAULT_LISTEN: &str = "127.0.0.1:9470";
const DEFAULT_URL: &str = "http://127.0.0.1:9470";

/// Run a simulated Slack for your handler: Web API, Socket Mode, faults, and a journal of every ack
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SimArgs {
    #[command(subcommand)]
    command: Option<SimCommand>,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// HOST:PORT that URLs name, when clients reach the simulator by another address than --listen
    #[arg(long, value_name = "HOST:PORT")]
    public: Option<String>,
    /// Apps, switches, load and a timeline of faults (TOML; see docs/simulator.md)
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Id of an app to simulate; repeat it for several. Apps with unknown xapp tokens are added when they connect
    #[arg(long, value_name = "APP_ID")]
    app: Vec<String>,
    /// Divide the waits before Slack's retries (1 s, 1 min, 5 min) by this
    #[arg(long, value_name = "FACTOR")]
    speed: Option<f64>,
    /// Seed of every random choice; without it each run has its own ids
    #[arg(long)]
    seed: Option<u64>,
    /// Write the journal here (NDJSON) at the end
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Certificate chain (PEM), for https and wss
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum SimCommand {
    Push(PushArgs),
}

/// Push one payload through a running simulator and print the ack it got
#[derive(Debug, Args)]
pub struct PushArgs {
    /// Sample to push, such as message, shortcut or view-submission; a wrong name lists them all
    #[arg(long, default_value = "message", value_parser = parse_sample)]
    kind: Sample,
    /// Payload of your own (JSON file, `-` for stdin), sent byte for byte instead of a sample
    #[arg(long, value_name = "FILE", conflicts_with = "kind")]
    payload: Option<PathBuf>,
    /// App to push to; not needed when there is only one
    #[arg(long, value_name = "APP_ID")]
    app: Option<String>,
    /// Channel the sample happens in
    #[arg(long, value_name = "ID")]
    channel: Option<String>,
    /// Where the simulator runs
    #[arg(long, default_value = DEFAULT_URL)]
    url: String,
    /// How long to wait for the ack, such as 500ms or 6m; the default is a little over Slack's 3 s
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    wait: Option<Duration>,
}

fn parse_sample(name: &str) -> Result<Sample, crate::sample::UnknownSample> {
    name.parse()
}

impl SimArgs {
    /// Runs the simulator until Ctrl-C or SIGTERM, or the `push` below it.
    ///
    /// # Errors
    /// Any [`SimError`]; a push without an ack is exit code 1.
    pub async fn run(self) -> Result<ExitCode, SimError> {
        if let Some(SimCommand::Push(push)) = self.command {
            return push.run().await;
        }
        let script = self.script.as_deref().map(Script::read).transpose()?;
        let sim = Sim::start(self.config(script.as_ref())?).await?;
        for app_id in &self.app {
            sim.add_app(AppSpec::new(app_id.clone(), AppSpec::token_for(app_id)));
        }
        let specs = script.as_ref().map_or_else(Vec::new, |script| script.apps.clone());
        if let Some(script) = script {
            sim.play(script);
        }
        let tokens = self.app.iter().map(|app_id| AppSpec::token_for(app_id));
        say(&greeting(&sim, tokens.chain(specs.into_iter().map(|spec| spec.app_token))));
        ended().await;
        self.farewell(&sim)?;
        sim.stop().await;
        Ok(ExitCode::SUCCESS)
    }

    fn config(&self, script: Option<&Script>) -> Result<SimConfig, SimError> {
        let mut config = SimConfig { listen: self.listen, adopt_unknown_apps: true, ..SimConfig::default() };
        config.public.clone_from(&self.public);
        if let Some(script) = script {
            config.switches = script.switches.clone();
        }
        config.seed = self.seed.or(script.and_then(|script| script.seed)).unwrap_or_else(rand::random);
        if let Some(speed) = self.speed {
            if speed.is_nan() || speed <= 0.0 {
                return Err(SimError::Script { reason: "--speed must be above 0".to_owned() });
            }
            config.switches.speed = speed;
        }
        if let (Some(chain), Some(key)) = (&self.tls_cert, &self.tls_key) {
            config.tls = Some(identity(chain, key)?);
        }
        Ok(config)
    }

    fn farewell(&self, sim: &Sim) -> Result<(), SimError> {
        let totals = sim.journal().totals(None);
        say(&format!(
            "produced {}  sent {}  acked {}  lost {}  dispatch_failed {}  operation_timeout {}  open {}",
            totals.produced,
            totals.sent,
            totals.acked,
            totals.events_lost,
            totals.dispatch_failed,
            totals.operation_timeout,
            totals.open(),
        ));
        let Some(path) = &self.journal else { return Ok(()) };
        let written = std::fs::File::create(path).and_then(|file| {
            let mut out = io::BufWriter::new(file);
            sim.journal().dump(&mut out)?;
            out.flush()
        });
        written.map_err(|source| SimError::Write { path: path.clone(), source })
    }
}

fn greeting(sim: &Sim, tokens: impl Iterator<Item = String>) -> String {
    const SHOWN_MAX: usize = 5;
    let mut lines = vec![
        format!("simulated Slack  {}", sim.url()),
        format!("api_url          {}", sim.api_url()),
        format!("push             taut sim push --url {} --kind slash_command", sim.url()),
    ];
    let tokens: Vec<_> = tokens.collect();
    lines.extend(tokens.iter().take(SHOWN_MAX).map(|token| format!("app token        {token}")));
    if tokens.len() > SHOWN_MAX {
        lines.push(format!(
            "                 and {} more; GET /sim/apps lists the apps",
            tokens.len() - SHOWN_MAX
        ));
    }
    if tokens.is_empty() {
        lines.push(
            "app token        any xapp-1-<APP_ID>-…: unknown apps are added when they connect".to_owned(),
        );
    }
    lines.join("\n")
}

/// Prints a line; a closed pipe is nobody's failure.
fn say(text: &str) {
    if let Err(error) = writeln!(io::stdout(), "{text}") {
        tracing::debug!(%error, "nobody reads the output");
    }
}

async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => if interrupted.is_err() {
            std::future::pending::<()>().await;
        },
        _ = terminate.recv() => {}
    }
}

fn identity(chain: &Path, key: &Path) -> Result<TlsIdentity, SimError> {
    let unreadable = |path: &Path, error: rustls_pki_types::pem::Error| SimError::Read {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
    };
    let read = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    Ok(TlsIdentity {
        chain: read.map_err(|error| unreadable(chain, error))?,
        key: PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?,
    })
}

impl PushArgs {
    /// Pushes and prints the ack; the exit code is 1 when there was none.
    ///
    /// # Errors
    /// Any [`SimError`] of reading the payload or reaching the simulator.
    pub async fn run(self) -> Result<ExitCode, SimError> {
        if let Some(path) = &self.payload {
            let text = read_payload(path)?;
            let raw: Box<RawValue> =
                serde_json::from_str(&text).map_err(|source| SimError::Payload { source })?;
            return self.send(&format!(r#"{{{}"payload":{raw}}}"#, self.common())).await;
        }
        let kind = json!(self.kind.name());
        self.send(&format!(r#"{{{}"kind":{kind}}}"#, self.common())).await
    }

    /// The fields beside the payload, each with a comma behind it.
    fn common(&self) -> String {
        let wait = self.wait.map(|wait| format!("{}ms", wait.as_millis()));
        let fields = [("app", &self.app), ("channel", &self.channel), ("wait", &wait)];
        let given = fields.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given.fold(String::new(), |text, (name, value)| text + &format!("{}:{},", json!(name), json!(value)))
    }

    async fn send(&self, body: &str) -> Result<ExitCode, SimError> {
        let answer = post(&self.url, "/sim/push", body.to_owned()).await?;
        if let Some(reason) =
            answer.get("error").and_then(Value::as_str).filter(|_| answer.get("acked").is_none())
        {
            return Err(SimError::Refused { reason: reason.to_owned() });
        }
        say(&serde_json::to_string_pretty(&answer).unwrap_or_default());
        let acked = answer.get("acked").and_then(Value::as_bool).unwrap_or(false);
        Ok(if acked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn read_payload(path: &Path) -> Result<String, SimError> {
    let text =
        if path == Path::new("-") { io::read_to_string(io::stdin()) } else { std::fs::read_to_string(path) };
    text.map_err(|source| SimError::Read { path: path.to_owned(), source })
}

/// One POST to a simulator on this host or network, over plain HTTP.
async fn post(url: &str, path: &str, body: String) -> Result<Value, SimError> {
    let bad_url = || SimError::Url { url: url.to_owned() };
    let authority = url.strip_prefix("http://").ok_or_else(bad_url)?.trim_end_matches('/').to_owned();
    let request = Request::post(path).header("host", &authority).header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from(body))).map_err(|_| bad_url())?;
    let exchange = async {
        let stream = TcpStream::connect(&authority).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let answer = sender.send_request(request).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer.into_body().collect().await?.to_bytes())
        };
        tokio::pin!(connection);
        tokio::select! {
            answer = answer => answer,
            ended = &mut connection => Err(ended.err().map_or_else(|| "the connection ended".into(), Into::into)),
        }
    };
    let unreachable = |source| SimError::Unreachable { url: url.to_owned(), source };
    let bytes = exchange.await.map_err(unreachable)?;
    serde_json::from_slice(&bytes)
        .map_err(|source| SimError::Unreachable { url: url.to_owned(), source: source.into() })
}
