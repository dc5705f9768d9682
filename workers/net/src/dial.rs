//! The dialer: from a host's name to a byte stream, through a proxy where one is configured.

mod connect;
mod error;
mod rules;
mod stream;
mod tcp;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use taut_core::config::{Deadlines, NetworkConfig, Span};
use taut_vault::ProxyPassword;
use tokio_rustls::TlsConnector;

pub use self::error::{DialError, DialFault, DialerError, Step};
use self::rules::{Proxy, Rules};
pub use self::stream::Stream;
use self::tcp::Resolver;
use crate::tls;

/// Where to go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether TLS comes on top.
    pub tls: bool,
}

impl Endpoint {
    /// The endpoint of a URL; `secure` is the scheme with TLS, `plain` the one without.
    pub(crate) fn of(url: &http::Uri, plain: &str, secure: &str) -> Option<Self> {
        let tls = match url.scheme_str()? {
            scheme if scheme.eq_ignore_ascii_case(secure) => true,
            scheme if scheme.eq_ignore_ascii_case(plain) => false,
            _ => return None,
        };
        let host = url.host()?.trim_matches(['[', ']']);
        let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port, tls })
    }
}

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// To Slack: the proxy's rules apply.
    Outside,
    /// To a handler: straight.
    Direct,
}

/// Dials everything. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    shared: Arc<Shared>,
}

struct Shared {
    rules: Rules,
    resolver: Resolver,
    tls: TlsConnector,
    deadlines: Deadlines,
}

impl Dialer {
    /// A dialer as configured; reads CA files and, without a configured proxy, the environment. Blocks on files.
    ///
    /// # Errors
    /// [`DialerError`] if a proxy or a CA file cannot be used: taut never goes on without one that was asked for.
    pub fn new(config: &NetworkConfig, password: Option<ProxyPassword>) -> Result<Self, DialerError> {
        // Dropped, and so wiped, here: only the finished header stays.
        let rules = Rules::new(config, password.as_ref(), |name| std::env::var(name).ok())?;
        drop(password);
        let tls = TlsConnector::from(tls::client_config(&config.ca_files)?);
        let (resolver, deadlines) = (Resolver::new(), config.deadlines);
        Ok(Self { shared: Arc::new(Shared { rules, resolver, tls, deadlines }) })
    }

    /// The deadlines of its steps.
    pub fn deadlines(&self) -> &Deadlines {
        &self.shared.deadlines
    }

    /// The proxy that [`Way::Outside`] takes to `target`, as `host:port`.
    pub fn proxy_for(&self, target: &Endpoint) -> Option<String> {
        let proxy = self.shared.rules.proxy_for(target)?;
        Some(format!("{}:{}", rules::bracketed(&proxy.at.host), proxy.at.port))
    }

    /// Reaches `target`. Every step has its own deadline. Cancel safe: dropping it closes what was open.
    ///
    /// # Errors
    /// [`DialError`] names the step that failed.
    pub async fn dial(&self, target: &Endpoint, way: Way) -> Result<Stream, DialError> {
        let proxy = match way {
            Way::Outside => self.shared.rules.proxy_for(target),
            Way::Direct => None,
        };
        let stream = match proxy {
            Some(proxy) => self.through(&proxy, target).await?,
            None => self.straight(&target.host, target.port).await?,
        };
        if target.tls { self.secure(Step::Tls, &target.host, stream).await } else { Ok(stream) }
    }

    async fn straight(&self, host: &str, port: u16) -> Result<Stream, DialError> {
        let deadlines = &self.shared.deadlines;
        let addresses =
            step(Step::Dns, host, deadlines.dns, self.shared.resolver.resolve(host, port)).await?;
        let tcp = step(Step::Tcp, host, deadlines.tcp, tcp::connect(addresses)).await?;
        Ok(Stream::Plain(tcp))
    }

    async fn through(&self, proxy: &Proxy, target: &Endpoint) -> Result<Stream, DialError> {
        let Endpoint { host, port, tls } = &proxy.at;
        let mut stream = self.straight(host, *port).await?;
        if *tls {
            stream = self.secure(Step::ProxyTls, host, stream).await?;
        }
        let ask = connect::tunnel(&mut stream, target, proxy.auth.as_ref());
        step(Step::Connect, host, self.shared.deadlines.connect, ask).await?;
        Ok(stream)
    }

    async fn secure(&self, at: Step, host: &str, stream: Stream) -> Result<Stream, DialError> {
        step(at, host, self.shared.deadlines.tls, async {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| DialFault::Name { text: "no certificate can carry it".into() })?;
            let tls = self.shared.tls.connect(name, stream).await.map_err(tls::fault)?;
            Ok(Stream::Tls(Box::new(tls)))
        })
        .await
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("rules", &self.shared.rules).finish_non_exhaustive()
    }
}

/// Runs one step under its deadline and names it in its error.
async fn step<T>(
    step: Step,
    host: &str,
    Span(limit): Span,
    work: impl Future<Output = Result<T, DialFault>>,
) -> Result<T, DialError> {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or(Err(DialFault::Timeout { limit })).map_err(|kind| DialError {
        step,
        host: host.into(),
        kind,
    })
}
