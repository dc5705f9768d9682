//! `[[tenants]]` and their routes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Span;
use crate::order::Order;
use crate::{AppId, Kind, RouteName, TenantId};

/// `[[tenants]]`: one customer-owned Slack app in one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantConfig {
    /// Its id, part of every key, queue, log line and metric.
    pub id: TenantId,
    /// `dev`, `staging` or `prod`.
    #[serde(default)]
    pub environment: Environment,
    /// Its Slack app; checked against every hello where given, else learnt from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<AppId>,
    /// The app-level token (`xapp-…`) that opens sockets.
    pub app_token: SecretRef,
    /// What deliveries are signed with: the handler's `SLACK_SIGNING_SECRET`.
    pub signing_secret: SecretRef,
    /// The bot token, where taut is to know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot_token: Option<SecretRef>,
    /// Its own way out, where it differs from the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<TenantNetwork>,
    /// Starts paused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Where envelopes go, in order; the first that matches a request answers it.
    #[serde(default)]
    pub routes: Vec<RouteConfig>,
}

/// `network` of a tenant: what differs from `[network]`, for its Web API calls, sockets and `response_url` posts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantNetwork {
    /// CONNECT proxy instead of the host's, `NO_PROXY` and all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// User for that proxy's basic auth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_user: Option<String>,
    /// Password for that proxy's basic auth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_password: Option<SecretRef>,
    /// PEM files with more roots, beside the host's; its handlers' certificates may be of these too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca_files: Vec<PathBuf>,
}

/// Which environment a tenant's app is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Developers may see bodies.
    #[default]
    Dev,
    /// As dev, before prod.
    Staging,
    /// Bodies are hidden.
    Prod,
}

/// Where a secret is found; never the secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretRef {
    /// An environment variable (for development).
    Env(String),
    /// A file, trimmed of trailing line breaks. Relative to the configuration file.
    File(PathBuf),
    /// A systemd credential, a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// `[[tenants.routes]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Its name, unique within the tenant.
    pub name: RouteName,
    /// Which envelopes it gets; without it, all.
    #[serde(default, rename = "match")]
    pub matching: RouteMatch,
    /// Who gets them.
    pub target: Target,
    /// Which deliveries wait for each other.
    #[serde(default)]
    pub order: Order,
    /// What happens to a request whose answer is late, where its kind leaves a choice.
    #[serde(default)]
    pub on_late_answer: LateAnswer,
    /// Most attempts under way at once.
    #[serde(default = "default_concurrency")]
    pub concurrency: u32,
    /// How long one attempt may take (events; a request has its own deadline).
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Whether the handler is reached through the network's proxy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy: bool,
}

const fn default_concurrency() -> u32 {
    8
}

const fn default_timeout() -> Span {
    Span::secs(10)
}

/// `match`: lists that must all fit; an empty list fits everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteMatch {
    /// Envelope types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<KindMatch>,
    /// Events API types, e.g. `message`; judges events only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// Interactive payload types, e.g. `block_actions`; judges interactive payloads only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interactive_types: Vec<String>,
    /// Slash commands with their slash; judges commands only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// Callback ids (for block actions the action id); judges interactive payloads only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub callback_ids: Vec<String>,
    /// Team ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// Channel ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
}

/// An envelope type in `match.kinds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindMatch {
    /// Events API.
    EventsApi,
    /// Everything interactive.
    Interactive,
    /// Slash commands.
    SlashCommands,
    /// Types this version does not know.
    Unknown,
}

impl KindMatch {
    /// Whether an envelope of this kind is meant.
    pub const fn covers(self, kind: Kind) -> bool {
        match self {
            Self::EventsApi => matches!(kind, Kind::EventsApi),
            Self::SlashCommands => matches!(kind, Kind::SlashCommands),
            Self::Unknown => matches!(kind, Kind::Unknown),
            Self::Interactive => !matches!(kind, Kind::EventsApi | Kind::SlashCommands | Kind::Unknown),
        }
    }
}

/// Who gets a route's envelopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// A Request URL.
    Http(String),
    /// A program and its arguments, started for each attempt without a shell.
    Exec(Vec<String>),
    /// A file to which each event is appended as a line.
    File(PathBuf),
}

/// What happens to a request whose handler has not answered at the deadline, where its kind leaves a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateAnswer {
    /// No ack: the user sees Slack's error.
    #[default]
    Fail,
    /// A bare ack, recorded first; the handler gets it from the backlog until it takes it.
    AckThenDeliver,
}
