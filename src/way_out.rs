//! Everything that leaves this process: to Slack, to `response_url`s and to handlers. One for the host, and one for each
//! tenant with a `network` of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use taut_core::config::{Config, NetworkConfig, SecretRef, TenantNetwork};
use taut_delivery::allow::AllowHosts;
use taut_net::dial::{Dialer, Way};
use taut_net::http::{HttpClient, HttpLimits};
use taut_net::slack::SlackApi;
use taut_vault::ProxyPassword;

use crate::causes::with_causes;

/// How long an idle connection to a handler is kept. Node's HTTP server closes its own after 5 s: a request that meets
/// that close is lost to a reset.
const HANDLER_IDLE_MAX: Duration = Duration::from_secs(4);
/// Idle connections kept to Slack's Web API.
const API_IDLE_MAX: usize = 4;

/// The clients over one dialer. Cheap to clone.
#[derive(Clone)]
pub struct WayOut {
    /// The dialer, for sockets.
    pub dialer: Dialer,
    /// Slack's Web API.
    pub api: SlackApi,
    /// The dialer for handlers: straight dials go only where `delivery.allow_hosts` lets the address through.
    pub to_handlers: Dialer,
    /// Straight to handlers, where `delivery.allow_hosts` lets the address through.
    pub handlers: HttpClient,
    /// To handlers of routes with `proxy = true`. Where there is no proxy, or it does not serve that host, this is
    /// straight as well, and `delivery.allow_hosts` judges the address.
    pub handlers_by_proxy: HttpClient,
    /// To `response_url`s, which `slack.response_hosts` judges.
    pub outside: HttpClient,
}

impl WayOut {
    /// The host's. Blocks on the files of secrets and CAs.
    ///
    /// # Errors
    /// A sentence: which key cannot be used, and why.
    pub fn of_host(config: &Config, secrets_base: &Path) -> Result<Self, String> {
        let NetworkConfig { proxy_password, .. } = &config.network;
        let password = password(proxy_password.as_ref(), secrets_base)?;
        let dialer = Dialer::new(&config.network, password).map_err(|error| with_causes(&error))?;
        Self::over(&dialer, config)
    }

    /// A tenant's: its own proxy and roots over what this one has. Blocks as [`WayOut::of_host`].
    ///
    /// # Errors
    /// A sentence: which key cannot be used, and why.
    pub fn of_tenant(
        &self,
        network: &TenantNetwork,
        config: &Config,
        secrets_base: &Path,
    ) -> Result<Self, String> {
        let password = password(network.proxy_password.as_ref(), secrets_base)?;
        let dialer = self.dialer.for_tenant(network, password).map_err(|error| with_causes(&error))?;
        Self::over(&dialer, config)
    }

    /// The same way with the `delivery.allow_hosts` of another configuration.
    ///
    /// # Errors
    /// A sentence: which key cannot be used, and why.
    pub fn readmitting(&self, config: &Config) -> Result<Self, String> {
        Self::over(&self.dialer, config)
    }

    fn over(dialer: &Dialer, config: &Config) -> Result<Self, String> {
        let client = |dialer: &Dialer, way, limits| HttpClient::new(dialer.clone(), way, limits);
        // Opens are rare and paced: connections kept for them would be memory for nothing.
        let few = HttpLimits { idle_per_host: API_IDLE_MAX, ..HttpLimits::default() };
        let api = SlackApi::new(client(dialer, Way::Outside, few), &config.slack.api_url)
            .map_err(|error| error.to_string())?
            .with_timeout(config.network.deadlines.call.0);
        let allowed = AllowHosts::parse(&config.delivery.allow_hosts)
            .map_err(|error| format!("delivery.allow_hosts: {error}"))?;
        let guarded = dialer.guarded(Arc::new(move |host, address| allowed.admits(host, address)));
        let short = HttpLimits { idle_max: HANDLER_IDLE_MAX, ..HttpLimits::default() };
        Ok(Self {
            api,
            handlers: client(&guarded, Way::Direct, short),
            handlers_by_proxy: client(&guarded, Way::Outside, short),
            to_handlers: guarded,
            outside: client(dialer, Way::Outside, HttpLimits::default()),
            dialer: dialer.clone(),
        })
    }
}

fn password(reference: Option<&SecretRef>, secrets_base: &Path) -> Result<Option<ProxyPassword>, String> {
    let Some(reference) = reference else { return Ok(None) };
    let resolved = taut_vault::resolve(reference, secrets_base)
        .map_err(|error| format!("network.proxy_password: {}", with_causes(&error)))?;
    Ok(Some(ProxyPassword::new(resolved.secret)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::{HeaderMap, Method};
    use taut_core::config::DeliveryConfig;
    use taut_net::dial::DialFault;
    use taut_net::http::{HttpError, HttpRequest};

    use super::*;

    #[tokio::test]
    async fn a_route_by_a_proxy_that_is_not_there_goes_straight_and_is_judged_like_any_other() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("its address"));
        let delivery =
            DeliveryConfig { allow_hosts: vec!["bot.example".to_owned()], ..DeliveryConfig::default() };
        let config = Config { delivery, ..Config::default() };
        let way_out = WayOut::of_host(&config, Path::new(".")).expect("nothing needs a file");
        for client in [&way_out.handlers, &way_out.handlers_by_proxy] {
            let request = HttpRequest {
                method: Method::POST,
                url: url.parse().expect("a URL"),
                headers: HeaderMap::new(),
                body: "payload".into(),
                timeout: Duration::from_secs(5),
                answer_bytes_max: 1_024,
            };
            let answer = client.send(request).await;
            let refused = matches!(
                &answer,
                Err(HttpError::Dial(error)) if matches!(error.kind, DialFault::NotAllowed { .. })
            );
            assert!(refused, "{answer:?}");
        }
    }
}
