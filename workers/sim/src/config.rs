//! What a simulator is started with.

use std::net::{Ipv4Addr, SocketAddr};

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::switches::Switches;

/// How to start a simulator.
#[derive(Debug)]
pub struct SimConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Serves https and wss instead of http and ws.
    pub tls: Option<TlsIdentity>,
    /// `host:port` that URLs name instead of the bound address, when clients reach it by another one.
    pub public: Option<String>,
    pub switches: Switches,
    /// Seeds every random choice: ids, tickets, and which socket gets an envelope. Two simulators that one client
    /// meets need two seeds, or their ids repeat.
    pub seed: u64,
    /// Adds an app on the first call with an unknown token `xapp-1-<app id>-…`; otherwise that is `invalid_auth`.
    pub adopt_unknown_apps: bool,
    /// Envelopes the journal keeps; older ones are forgotten and counted.
    pub journal_envelopes_max: usize,
    /// Notes the journal keeps; older ones are forgotten and counted.
    pub journal_notes_max: usize,
    /// Events and requests of one app without an end, those between two attempts included; above it pushes are refused
    /// and counted.
    pub unacked_max: usize,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            public: None,
            switches: Switches::default(),
            seed: 1,
            adopt_unknown_apps: false,
            journal_envelopes_max: 200_000,
            journal_notes_max: 50_000,
            unacked_max: 100_000,
        }
    }
}

/// Certificate chain and key for https and wss.
#[derive(Debug)]
pub struct TlsIdentity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// One Slack app, installed in one workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    /// `A…`; what `hello` reports.
    pub app_id: String,
    /// The app-level token, `xapp-…`.
    pub app_token: String,
    /// Scopes of the app-level token; without `connections:write` an open answers `missing_scope`.
    pub app_token_scopes: Vec<String>,
    /// The bot token `xoxb-…` that the Web API takes for this app.
    pub bot_token: Option<String>,
    pub team_id: String,
    /// Channels that samples happen in; load goes through them in turn. The default is `C0SIMLINE01`.
    pub channels: Vec<String>,
    /// Whether Socket Mode is on in the app's settings.
    pub socket_mode: bool,
}

impl AppSpec {
    /// An installed app with Socket Mode on; the other fields can be set afterwards.
    pub fn new(app_id: impl Into<String>, app_token: impl Into<String>) -> Self {
        Self {
            app_id: app_id.into(),
            app_token: app_token.into(),
            app_token_scopes: vec!["connections:write".to_owned()],
            bot_token: None,
            team_id: "T0SIMTEAM01".to_owned(),
            channels: vec!["C0SIMLINE01".to_owned()],
            socket_mode: true,
        }
    }

    /// A well-formed app-level token for an app id, useless at Slack.
    pub fn token_for(app_id: &str) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, app_id.as_bytes());
        format!("xapp-1-{app_id}-4000000001-{}", crate::app::hex(digest.as_ref()))
    }

    /// An app of the given number with ids and tokens derived from it; for fleets in demos and benches.
    pub fn numbered(number: u32) -> Self {
        let app_id = format!("A0SIM{number:06}");
        let app_token = Self::token_for(&app_id);
        Self {
            bot_token: Some(format!("xoxb-simulated-{number}")),
            team_id: format!("T0SIM{number:06}"),
            ..Self::new(app_id, app_token)
        }
    }
}
