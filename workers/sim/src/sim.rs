//! Starting and stopping a simulator.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::act::{Act, Sockets};
use crate::config::{AppSpec, SimConfig, TlsIdentity};
use crate::error::SimError;
use crate::handle::AppHandle;
use crate::journal::Journal;
use crate::load::{self, Load, LoadHandle};
use crate::script::{self, Script};
use crate::shared::{Origins, Shared};
use crate::{http, scheduler};

/// A running simulated Slack. It ends when this is dropped or stopped.
#[derive(Debug)]
pub struct Sim {
    shared: Arc<Shared>,
    bound: SocketAddr,
}

impl Sim {
    /// Listens and serves until stopped.
    ///
    /// # Errors
    /// [`SimError::Listen`] or [`SimError::Tls`].
    pub async fn start(config: SimConfig) -> Result<Self, SimError> {
        let addr = config.listen;
        let listen = |source| SimError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let shared = Arc::new(Shared::new(&config));
        let secure = if config.tls.is_some() { "s" } else { "" };
        let authority = config.public.unwrap_or_else(|| bound.to_string());
        let web = format!("http{secure}://{authority}");
        let origins =
            Origins { socket: format!("ws{secure}://{authority}"), hooks: format!("{web}/response"), web };
        shared.origins.set(origins).expect("set only here");
        let tls = config.tls.map(acceptor).transpose()?;
        shared.tasks.spawn(http::accept(shared.clone(), listener, tls));
        shared.tasks.spawn(scheduler::run(shared.clone()));
        Ok(Self { shared, bound })
    }

    /// What clients take instead of `https://slack.com/api/`.
    pub fn api_url(&self) -> String {
        format!("{}/api/", self.url())
    }

    /// Where it listens, whatever its URLs name.
    pub const fn address(&self) -> SocketAddr {
        self.bound
    }

    /// `http://host:port` of the simulator, for `taut sim push` and the control requests.
    pub fn url(&self) -> &str {
        &self.shared.origins().web
    }

    /// Adds an app, or gives an app that is there a further token.
    pub fn add_app(&self, spec: AppSpec) -> AppHandle {
        let app = self.shared.add_app(spec);
        AppHandle { sim: self.shared.clone(), app, sockets: Sockets::All }
    }

    /// The app with this id.
    pub fn app(&self, app_id: &str) -> Option<AppHandle> {
        let app = self.shared.app(app_id)?;
        Some(AppHandle { sim: self.shared.clone(), app, sockets: Sockets::All })
    }

    /// All apps, in the order they were added.
    pub fn apps(&self) -> Vec<AppHandle> {
        let handle = |app| AppHandle { sim: self.shared.clone(), app, sockets: Sockets::All };
        self.shared.apps().into_iter().map(handle).collect()
    }

    /// Carries out an order on every app.
    pub fn act(&self, act: &Act) {
        for app in self.shared.apps() {
            act.apply(&self.shared, &app, Sockets::All);
        }
    }

    /// Plays the steps and the load of a script and adds its apps; its seed and switches count only at the start.
    pub fn play(&self, script: Script) {
        for spec in script.apps {
            self.shared.add_app(spec);
        }
        script::run(&self.shared, script.steps, script.load);
    }

    /// Starts a load over all apps there are at this moment.
    pub fn load(&self, load: Load) -> LoadHandle {
        load::start(&self.shared, self.shared.apps(), load)
    }

    pub fn journal(&self) -> Journal {
        self.shared.journal.clone()
    }

    /// Ends every socket and waits for all tasks.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

fn acceptor(identity: TlsIdentity) -> Result<TlsAcceptor, SimError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(identity.chain, identity.key))
        .map_err(|source| SimError::Tls { source })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
