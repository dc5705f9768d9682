//! The dialer: from a host's name to a byte stream, through a proxy where one is configured.

mod connect;
mod descriptors;
mod error;
mod last_good;
mod resolve;
mod rules;
mod stream;
mod tcp;
mod walk;

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use taut_core::config::{Deadlines, NetworkConfig, Span, TenantNetwork};
use taut_vault::ProxyPassword;
use tokio_rustls::TlsConnector;

#[cfg(feature = "fuzzing")]
pub(crate) use self::connect::tunnel;
pub use self::error::{DialError, DialFault, DialerError, Flaw, Step, Whose};
use self::resolve::Resolver;
use self::rules::{Proxy, Rules};
pub use self::stream::Stream;
pub use self::walk::{Hop, Walk};
use crate::tls::{self, Trust};

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
    /// The endpoint of an `http://` or `https://` URL.
    pub fn of_http(url: &str) -> Option<Self> {
        Self::of(&url.parse().ok()?, "http", "https")
    }

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

/// Judges an address that a host's name stands for, before it is dialled.
pub type AddressRule = Arc<dyn Fn(&str, IpAddr) -> bool + Send + Sync>;

/// Dials everything. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    shared: Arc<Shared>,
    guard: Option<AddressRule>,
}

struct Shared {
    rules: Rules,
    resolver: Arc<Resolver>,
    trust: Arc<Trust>,
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
        let trust = Arc::new(Trust::new(&config.ca_files)?);
        let (resolver, deadlines) = (Arc::new(Resolver::new()), config.deadlines);
        Ok(Self { shared: Arc::new(Shared { rules, resolver, trust, deadlines }), guard: None })
    }

    /// A dialer for one tenant: its own proxy where it has one, and its own roots beside the host's. Blocks on files.
    ///
    /// # Errors
    /// As [`Dialer::new`].
    pub fn for_tenant(
        &self,
        network: &TenantNetwork,
        password: Option<ProxyPassword>,
    ) -> Result<Self, DialerError> {
        let TenantNetwork { proxy, proxy_user, proxy_password: _, ca_files } = network;
        let rules = match proxy {
            Some(url) => Rules::configured(url, proxy_user.as_deref(), password.as_ref())?,
            None => self.shared.rules.clone(),
        };
        drop(password);
        let trust = if ca_files.is_empty() {
            Arc::clone(&self.shared.trust)
        } else {
            Arc::new(self.shared.trust.with_more(ca_files)?)
        };
        let Shared { resolver, deadlines, .. } = &*self.shared;
        let (resolver, deadlines) = (Arc::clone(resolver), *deadlines);
        let shared = Arc::new(Shared { rules, resolver, trust, deadlines });
        Ok(Self { shared, guard: self.guard.clone() })
    }

    /// The same dialer, but straight dials go only to addresses that `rule` lets through; it is asked after name
    /// resolution, so what a name stands for counts. A proxy resolves names itself: dials through one are not asked.
    #[must_use]
    pub fn guarded(&self, rule: AddressRule) -> Self {
        Self { shared: Arc::clone(&self.shared), guard: Some(rule) }
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
        if let Err(kind) = descriptors::room(way, self.shared.deadlines.tcp.0).await {
            return Err(DialError { step: Step::Tcp, host: target.host.clone(), kind });
        }
        let stream = match self.proxy(target, way) {
            Some(proxy) => self.through(&proxy, target).await?,
            None => self.straight(target).await?,
        };
        if target.tls {
            self.secure(Step::Tls, &target.host, stream, self.shared.trust.config()).await
        } else {
            Ok(stream)
        }
    }

    fn proxy(&self, target: &Endpoint, way: Way) -> Option<Proxy> {
        match way {
            Way::Outside => self.shared.rules.proxy_for(target),
            Way::Direct => None,
        }
    }

    async fn straight(&self, target: &Endpoint) -> Result<Stream, DialError> {
        let addresses = self.resolve(Step::Dns, target).await?;
        let addresses = self.admitted(&target.host, addresses)?;
        self.connect(Step::Tcp, &target.host, addresses).await
    }

    async fn through(&self, proxy: &Proxy, target: &Endpoint) -> Result<Stream, DialError> {
        let addresses = self.resolve(Step::ProxyDns, &proxy.at).await?;
        let mut stream = self.connect(Step::ProxyTcp, &proxy.at.host, addresses).await?;
        if proxy.at.tls {
            let config = self.shared.trust.config();
            stream = self.secure(Step::ProxyTls, &proxy.at.host, stream, config).await?;
        }
        self.tunnel(proxy, target, &mut stream).await?;
        Ok(stream)
    }

    async fn resolve(&self, at: Step, host: &Endpoint) -> Result<Vec<SocketAddr>, DialError> {
        let limit = self.shared.deadlines.dns.0;
        let found = self.shared.resolver.resolve(&host.host, host.port, limit).await;
        found.map_err(|kind| DialError { step: at, host: host.host.clone(), kind })
    }

    /// Leaves only addresses that may be dialled.
    fn admitted(&self, host: &str, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, DialError> {
        let (Some(rule), Some(first)) = (&self.guard, addresses.first().map(SocketAddr::ip)) else {
            return Ok(addresses);
        };
        addresses.retain(|address| rule(host, address.ip()));
        if addresses.is_empty() {
            let kind = DialFault::NotAllowed { address: first };
            return Err(DialError { step: Step::Tcp, host: host.into(), kind });
        }
        Ok(addresses)
    }

    async fn connect(&self, at: Step, host: &str, addresses: Vec<SocketAddr>) -> Result<Stream, DialError> {
        let tcp = step(at, host, self.shared.deadlines.tcp, tcp::connect(addresses)).await?;
        Ok(Stream::Plain(tcp))
    }

    async fn tunnel(&self, proxy: &Proxy, target: &Endpoint, stream: &mut Stream) -> Result<(), DialError> {
        let ask = connect::tunnel(stream, target, proxy.auth.as_ref());
        step(Step::Connect, &proxy.at.host, self.shared.deadlines.connect, ask).await
    }

    async fn secure(
        &self,
        at: Step,
        host: &str,
        stream: Stream,
        config: Arc<ClientConfig>,
    ) -> Result<Stream, DialError> {
        step(at, host, self.shared.deadlines.tls, async {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| DialFault::Name { text: "no certificate can carry it".into() })?;
            let tls = TlsConnector::from(config).connect(name, stream).await.map_err(tls::fault)?;
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
